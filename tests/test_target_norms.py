"""Users' norms in what measures: named by path and arguments, on the task's operands."""

import pytest
import torch

from normsuite.bench import worker
from normsuite.cli.target_norms import planned
from normsuite.errors import ArgumentError, NormsuiteError, UnsupportedError
from normsuite.gate import counting
from normsuite.measure import accuracy, implementations
from normsuite.measure.device_accuracy import DeviceTruth
from normsuite.measure.implementations.target_norms import _with_eps, name_of, parsed
from normsuite.measure.task import EPS, shape_case
from normsuite.measure.workload import named
from normsuite.targets import Target
from normsuite.targets.build import build
from normsuite.targets.inspection import norm_of


def test_a_name_says_the_arguments():
    name = name_of("torch.nn:GroupNorm", (4, 8), {"eps": 1e-6})
    assert name == "torch.nn:GroupNorm(4, 8, eps=1e-06)"
    assert (parsed(name).args, parsed(name).kwargs) == ((4, 8), {"eps": 1e-6})
    assert parsed("torch.nn") is None and parsed("numba") is None
    assert implementations.find(name).label == name == implementations.choose([name])[-1].label
    with pytest.raises(ArgumentError, match="literals"):
        parsed("torch.nn:GroupNorm(len)")


@pytest.mark.parametrize(
    ("path", "args", "like", "activation"),
    [
        ("torch.nn:RMSNorm", "16", None, None),
        ("torch.nn:LayerNorm", "16", None, None),
        ("torch.nn:GroupNorm", "4,8", None, None),
        ("torch.nn:BatchNorm2d", "8", None, None),
        ("torch.nn.functional:instance_norm", "", None, None),
        ("normsuite:GroupNorm", "4, 8, activation='silu'", "GroupNorm", "silu"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_errors_are_those_of_torch_where_it_computes(path, args, like, activation, dtype):
    (norm,), (case,), (name,) = planned([path], args=args, like=like, norms=None, own=[], backends=None)
    settings = {"activation": activation, "dtype": dtype}
    found = accuracy.errors(named(norm, name, case, **settings))
    beside = accuracy.errors(named(norm, "torch.nn", case, **settings))
    assert found == pytest.approx(beside, rel=0.5)


@pytest.mark.parametrize(
    ("path", "norm", "case"),
    [
        ("torch.nn:InstanceNorm2d(8)", "InstanceNorm", "tiny"),
        ("torch.nn:BatchNorm2d(8, affine=False)", "BatchNorm", "tiny"),
        ("torch.nn:LayerNorm(768, bias=False)", "LayerNorm", "token"),
    ],
)
def test_a_norm_without_weight_or_bias_is_judged_as_such(path, norm, case):
    workload = named(norm, path, case, "step")
    assert max(accuracy.errors(workload)) < 1e-5
    for mode in ("forward", "step"):
        found = counting.errors(None, named(norm, path, case, mode))
        assert [error < most for error, most in zip(found.values(), (1e-5, 1e-2), strict=True)] == [True, True]
    lacking = workload.implementation.lacks(workload.task)
    given = accuracy.without(workload.task.operands(), lacking)
    for one in (accuracy.Truth, DeviceTruth):
        y, dx, *_ = workload.implementation.tensors(workload.prepare()())
        assert max(one(workload.task, given).errors((y, dx))) < 1e-5
    counts = worker._count(workload.task, [path])
    assert path in counts["counts"] and not counts["different"] and path not in counts["refused"]


def test_a_step_gives_the_parameters_gradients():
    (norm,), (case,), (name,) = planned(
        ["torch.nn:GroupNorm"], args="4,8", like=None, norms=None, own=[], backends=None
    )
    for mode, count in (("forward", 1), ("step", 4), ("backward", 3)):
        workload = named(norm, name, case, mode)
        with torch.set_grad_enabled(workload.task.gradients):
            assert len(workload.implementation.tensors(workload.prepare()())) == count


def test_a_shape_gets_the_targets_settings():
    _, (case,), _ = planned(
        ["torch.nn:RMSNorm"], args="768", like=None, norms=None, own=[shape_case("2,3,768")], backends=None
    )
    assert case.shape == (2, 3, 768) and case.normalized_shape == (768,)
    _, (case,), _ = planned(
        ["torch.nn:GroupNorm"], args="2,8", like=None, norms=None, own=[shape_case("2,8,3")], backends=None
    )
    assert case.num_groups == 2


def test_a_norm_is_guessed_by_its_name_or_refused():
    assert norm_of(Target("torch.nn:BatchNorm3d")).name == "BatchNorm"
    assert norm_of(Target("torch.nn.functional:rms_norm")).name == "RMSNorm"
    with pytest.raises(ArgumentError, match="say --like"):
        norm_of(Target("torch.nn:Linear"))
    with pytest.raises(ArgumentError, match="say --like"):  # it averages over the channels of each place
        norm_of(Target("torchvision.models.convnext:LayerNorm2d"))
    with pytest.raises(ArgumentError, match="of one norm"):
        planned(["torch.nn:RMSNorm", "torch.nn:LayerNorm"], args="8", like=None, norms=None, own=[], backends=None)


def test_what_does_not_fit_a_task_is_unsupported():
    with pytest.raises(UnsupportedError, match="weight of shape"):
        named("BatchNorm", "torch.nn:BatchNorm2d(9)", "tiny").prepare()
    with pytest.raises(UnsupportedError, match="cannot be imported"):
        named("BatchNorm", "no_such_module:Norm", "tiny").prepare()


def test_a_target_with_another_number_of_groups_says_nothing():
    case = shape_case("2,8,5,5", num_groups=2)
    for name in ("torch.nn:GroupNorm(4, 8)", "torch.nn.functional:group_norm(4)"):
        with pytest.raises(NormsuiteError, match="has 4 groups, not 2: say its num_groups"):
            named("GroupNorm", name, case).prepare()


def without_eps(x, weight):
    return x / x.square().mean(-1, keepdim=True).sqrt() * weight


def with_epsilon(x, weight, epsilon=1e-3):
    return x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt() * weight


@pytest.mark.parametrize("function", [without_eps, with_epsilon])
def test_a_function_is_given_the_eps_that_it_takes(function):
    built = _with_eps(build(Target(function, like="RMSNorm"), shape=(4, 8)))
    x = torch.full((4, 8), 1e-3)
    expected = function(x, built.weight) if function is without_eps else function(x, built.weight, EPS)
    torch.testing.assert_close(built(x), expected)


def test_a_named_case_is_measured_alone():
    path = ["torch.nn:BatchNorm2d"]
    _, own, _ = planned(path, args="8", like=None, norms=None, own=[], named=["tiny"], backends=None)
    assert own == []
