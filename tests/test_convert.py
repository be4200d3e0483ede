"""`convert` on torchvision's models: outputs and gradients agree, nothing else changes, and it reverses."""

import copy
import io

import pytest
import torch
import torchvision
from strategies import ON_CPU
from torch import nn
from torch.testing import assert_close

import normsuite
from normsuite import conversion, modules
from normsuite.errors import UnknownNameError
from normsuite.spec import NORMS

MODELS = {
    "resnet18": (64, {}),
    "densenet121": (64, {}),
    "convnext_tiny": (32, {"LayerNorm2d"}),  # torchvision's subclass has its own forward pass
    "swin_t": (64, {}),
}


def step(model, x):
    """Output and gradients of one training step, with dropped paths drawn from the same seed."""
    torch.manual_seed(0)
    y = model(x)
    model.zero_grad()
    y.square().mean().backward()
    return y.detach(), [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("name", MODELS)
def test_models_of_torchvision(name, backend):
    size, left = MODELS[name]
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=10).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    ours = copy.deepcopy(model)
    before = {key: id(value) for key, value in ours.state_dict(keep_vars=True).items()}
    made = normsuite.convert(ours, backend=backend)
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    assert {*made.changed, *made.left} == set(norms) and made.changed
    assert set(made.left.values()) == set(left)
    assert {key: id(value) for key, value in ours.state_dict(keep_vars=True).items()} == before

    expected, found = step(model, x), step(ours, x)
    assert_close(found[0], expected[0], rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(found[1], expected[1], strict=True):
        scale = theirs.abs().max().item()
        assert_close(mine, theirs, rtol=1e-7, atol=1e-7 * max(scale, 1e-3))
    assert_close(dict(ours.state_dict()), dict(model.state_dict()), rtol=1e-9, atol=1e-9)  # running statistics too
    model.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(model.state_dict(), strict=True)
    assert_close(ours.eval()(x), model.eval()(x), rtol=1e-9, atol=1e-9)

    normsuite.revert(ours)
    assert [type(m) for m in ours.modules()] == [type(m) for m in model.modules()]
    assert repr(ours) == repr(model)
    assert_close(ours(x), model(x), rtol=0, atol=0)


def test_hooks_sharing_and_modes_are_kept():
    shared = nn.LayerNorm(4).eval()
    model = nn.Sequential(shared, nn.BatchNorm1d(4), shared)
    calls = []
    shared.register_forward_hook(lambda *arguments: calls.append(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    made = normsuite.convert(model, backend="reference")
    assert made.changed == ("0", "1") and made.left == {}
    assert model[0] is model[2] is shared and not shared.training and model[1].training
    assert type(shared) is modules.LayerNorm and shared.backend == "reference"
    (model(torch.randn(3, 4)) * torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert len(calls) == 2 and model[1].bias.abs().sum() > 0


def test_a_norm_itself_is_converted_again_and_pickled():
    norm = nn.GroupNorm(2, 4)
    normsuite.convert(norm, backend="reference")
    normsuite.convert(norm, backend="torch")
    assert norm.backend == "torch"
    normsuite.convert(norm, backend="reference")
    buffer = io.BytesIO()
    torch.save(norm, buffer)
    buffer.seek(0)
    again = torch.load(buffer, weights_only=False)
    assert type(again) is modules.GroupNorm and again.backend == "reference"


def test_subclasses_and_other_norms_are_listed_and_left():
    class Mine(nn.LayerNorm):
        pass

    model = nn.ModuleDict(
        {"mine": Mine(4), "sync": nn.SyncBatchNorm(4), "rms": nn.RMSNorm(4), "own": modules.BatchNorm(4)}
    )
    made = normsuite.convert(model, backend="reference")
    assert made.left == {"mine": Mine.__qualname__, "sync": "SyncBatchNorm"}
    assert made.changed == ("rms", "own") and type(model["rms"]) is modules.RMSNorm
    reverted = normsuite.revert(model)
    assert reverted.changed == ("rms",) and type(model["rms"]) is nn.RMSNorm
    assert reverted.left.keys() == {"mine", "sync", "own"}


def test_what_torch_s_class_would_leave_out_is_not_reverted():
    model = nn.Sequential(modules.BatchNorm2d(3, activation="relu"), modules.BatchNorm2d(3), modules.BatchNorm2d(3))
    model[1].process_group = object()
    x = torch.randn(2, 3, 4, 4)
    expected = model[0](x)
    reverted = normsuite.revert(model)
    assert reverted.changed == ("2",) and reverted.left == {"0": "BatchNorm2d", "1": "BatchNorm2d"}
    assert torch.equal(model[0](x), expected) and expected.min() == 0


def test_the_general_module_gets_the_backend_and_is_not_reverted():
    made = modules.RMSNorm(8, backend="reference")
    general = modules.Norm(NORMS["GroupNorm"], 8, num_groups=2)
    model = nn.Sequential(general, made)
    assert normsuite.convert(model, backend="numba").changed == ("0", "1")
    assert general.backend == "numba" and type(general) is modules.Norm
    assert "0" in normsuite.revert(model).left


def test_a_forward_of_its_own_is_left_by_a_second_conversion_too():
    model = nn.Sequential(nn.LayerNorm(4))
    normsuite.convert(model, backend="reference")
    model[0].forward = lambda x: x
    assert normsuite.convert(model, backend="numba").left == {"0": "LayerNorm with a forward of its own"}
    assert model[0].backend == "reference"


def test_an_unknown_backend_changes_nothing():
    norm = nn.LayerNorm(4)
    with pytest.raises(UnknownNameError):
        normsuite.convert(norm, backend="fast")
    assert type(norm) is nn.LayerNorm


@pytest.mark.parametrize("library", [nn, modules], ids=["torch", "ours"])
def test_torch_s_checks_and_warnings_are_kept(library):
    with pytest.warns(UserWarning, match="does not match num_features"):
        library.InstanceNorm1d(3)(torch.randn(2, 4, 5))
    with pytest.raises(ValueError, match="expected input's size at dim=1 to match num_features"):
        library.InstanceNorm1d(3, affine=True)(torch.randn(2, 4, 5))
    with pytest.raises(ValueError, match="expected 4D input"):
        library.BatchNorm2d(3)(torch.randn(2, 3))
    assert library.InstanceNorm2d(3)(torch.randn(3, 4, 5)).shape == (3, 4, 5)  # without a batch dimension


@pytest.mark.parametrize("name", [t.__name__ for t in conversion._OURS])
def test_the_constructor_and_repr_are_torch_s(name):
    import inspect

    theirs, ours = getattr(nn, name), getattr(modules, name)
    arguments = {"LayerNorm": ((4, 5),), "GroupNorm": (2, 4)}.get(name, (4,))
    assert repr(ours(*arguments)) == repr(theirs(*arguments))
    assert list(ours(*arguments).state_dict()) == list(theirs(*arguments).state_dict())
    found = list(inspect.signature(ours).parameters)
    further = ["process_group"] if name.startswith("Batch") else []
    assert found == [*inspect.signature(theirs).parameters, *further, "backend", "activation"]
    with pytest.raises(TypeError, match="unexpected keyword"):
        ours(*arguments, activate="relu")


def test_a_forward_that_was_replaced_is_left_by_both():
    """Hooks of other libraries do so, around the bound method that they found."""
    model = nn.Sequential(nn.LayerNorm(4), nn.LayerNorm(4))
    normsuite.convert(model, backend="reference")
    wrapped = model[0].forward
    model[0].forward = lambda x: wrapped(x)
    reverted = normsuite.revert(model)
    assert reverted.changed == ("1",) and reverted.left == {"0": "LayerNorm with a forward of its own"}
    assert_close(model(torch.ones(2, 4)), torch.zeros(2, 4))
