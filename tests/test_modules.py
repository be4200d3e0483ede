"""The modules against torch.nn's: outputs, buffers, state_dict both ways."""

import copy

import pytest
import torch
from strategies import ON_CPU
from torch import nn
from torch.testing import assert_close

from normsuite import modules
from normsuite.errors import ArgumentError, ShapeError, UnknownNameError
from normsuite.spec import NORMS

PAIRS = [
    ("BatchNorm1d", modules.BatchNorm, nn.BatchNorm1d, (4,), {}, (6, 4)),
    ("BatchNorm1d sequence", modules.BatchNorm, nn.BatchNorm1d, (4,), {}, (6, 4, 3)),
    ("BatchNorm2d", modules.BatchNorm, nn.BatchNorm2d, (4,), {}, (3, 4, 5, 2)),
    ("BatchNorm3d", modules.BatchNorm, nn.BatchNorm3d, (4,), {}, (3, 4, 2, 2, 2)),
    ("BatchNorm cumulative", modules.BatchNorm, nn.BatchNorm2d, (4,), {"momentum": None}, (3, 4, 5, 2)),
    ("BatchNorm plain", modules.BatchNorm, nn.BatchNorm2d, (4,), {"affine": False}, (3, 4, 5, 2)),
    ("BatchNorm untracked", modules.BatchNorm, nn.BatchNorm2d, (4,), {"track_running_stats": False}, (3, 4, 5, 2)),
    ("LayerNorm", modules.LayerNorm, nn.LayerNorm, ((4, 5, 2),), {}, (3, 4, 5, 2)),
    ("LayerNorm last", modules.LayerNorm, nn.LayerNorm, (5,), {}, (3, 4, 5)),
    ("LayerNorm no bias", modules.LayerNorm, nn.LayerNorm, (5,), {"bias": False}, (3, 4, 5)),
    ("LayerNorm plain", modules.LayerNorm, nn.LayerNorm, (5,), {"elementwise_affine": False}, (3, 4, 5)),
    ("GroupNorm", modules.GroupNorm, nn.GroupNorm, (2, 4), {}, (3, 4, 5, 2)),
    ("GroupNorm plain", modules.GroupNorm, nn.GroupNorm, (2, 4), {"affine": False}, (3, 4, 5, 2)),
    ("InstanceNorm1d", modules.InstanceNorm, nn.InstanceNorm1d, (4,), {}, (3, 4, 5)),
    ("InstanceNorm2d", modules.InstanceNorm, nn.InstanceNorm2d, (4,), {"affine": True}, (3, 4, 5, 2)),
    (
        "InstanceNorm tracked",
        modules.InstanceNorm,
        nn.InstanceNorm2d,
        (4,),
        {"track_running_stats": True},
        (3, 4, 5, 2),
    ),
]


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize(
    ("mine", "theirs", "arguments", "options", "shape"), [p[1:] for p in PAIRS], ids=[p[0] for p in PAIRS]
)
def test_training_then_evaluation_equals_torch(mine, theirs, arguments, options, shape, backend):
    options = {**options, "eps": 1e-3, "dtype": torch.float64}
    mine, theirs = mine(*arguments, **options, backend=backend), theirs(*arguments, **options)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    mine.load_state_dict(theirs.state_dict(), strict=True)
    for _ in range(3):
        x = 3 * torch.randn(shape, generator=draw, dtype=torch.float64) + 1
        assert_close(mine(x), theirs(x), rtol=1e-12, atol=1e-12)
    mine.eval(), theirs.eval()
    assert_close(mine(x), theirs(x), rtol=1e-12, atol=1e-12)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(mine.state_dict(), strict=True)
    assert_close(dict(mine.state_dict()), dict(theirs.state_dict()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ON_CPU)
def test_running_statistics_may_be_taken_away(backend):
    ours, theirs = modules.BatchNorm2d(3, momentum=None, backend=backend), nn.BatchNorm2d(3, momentum=None)
    x = torch.randn(4, 3, 2, 2)
    for each in (ours, theirs):
        each.running_mean = each.running_var = None
    assert_close(ours(x), theirs(x))
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 1
    assert_close(ours.eval()(x), theirs.eval()(x))


def test_one_running_statistic_alone_is_refused():
    ours = modules.BatchNorm2d(3).eval()
    ours.running_mean = None
    with pytest.raises(ArgumentError, match="running"):
        ours(torch.randn(4, 3, 2, 2))


def test_repr_names_a_chosen_backend():
    assert repr(modules.GroupNorm(2, 4)) == repr(nn.GroupNorm(2, 4))
    assert repr(modules.LayerNorm(4, backend="reference")).endswith("backend=reference)")


def test_a_copy_is_independent():
    first = modules.BatchNorm(4)
    second = copy.deepcopy(first)
    second(torch.randn(8, 4))
    assert first.num_batches_tracked == 0 and second.num_batches_tracked == 1


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
def test_make_gives_every_norm_an_affine_map(spec):
    module = modules.make(spec, 8, (3, 3), num_groups=2)
    assert spec.name in repr(module)
    expected = (8, 3, 3) if spec.affine == "element" else (8,)
    assert module.weight.shape == expected and (getattr(module, "bias", None) is not None) == spec.centred
    assert module(torch.randn(2, 8, 3, 3)).shape == (2, 8, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: modules.BatchNorm(4)(torch.ones(4)), ShapeError, "input.shape = (4,)"),
        (lambda: modules.BatchNorm(4)(torch.ones(2, 5)), ShapeError, "weight.shape = (4,): must be (5,)"),
        (lambda: modules.InstanceNorm(4)(torch.ones(2, 5, 3)), ShapeError, "must have 4 channels"),
        (lambda: modules.BatchNorm(4)(torch.ones(1, 4)), ShapeError, "more than 1 value per channel"),
        (lambda: modules.InstanceNorm(4)(torch.ones(2, 4)), ShapeError, "from 3 to 5 dimensions"),
        (lambda: modules.InstanceNorm(4)([1.0]), ArgumentError, "input = 'list': must be a torch.Tensor"),
        (lambda: modules.BatchNorm(4)([1.0]), ArgumentError, "input = 'list': must be a torch.Tensor"),
        (lambda: modules.LayerNorm((4, 5))(torch.ones(2, 4, 6)), ShapeError, "must end in normalized_shape = (4, 5)"),
        (lambda: modules.GroupNorm(3, 8), ArgumentError, "num_groups = 3"),
        (lambda: modules.GroupNorm(0, 8), ArgumentError, "num_groups = 0"),
        (lambda: modules.GroupNorm(2, 8)(torch.ones(2, 4, 6)), ShapeError, "weight.shape = (8,): must be (4,)"),
        (lambda: modules.GroupNorm(2, 8, backend="cudnn"), UnknownNameError, "backend = 'cudnn'"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value) and "\n" not in str(caught.value)
