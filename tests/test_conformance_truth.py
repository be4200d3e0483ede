"""What a target is judged by: the settings that are found, the user's oracle, itself in float64."""

import odd_norms
import pytest
import torch
from checked_norms import LIKE, checked
from torch import nn
from torch.nn import functional as F

from normsuite.errors import ArgumentError, UnknownNameError
from normsuite.targets import Target
from normsuite.testing import parametrize_with_checks


@pytest.mark.parametrize("norm", ["Gated", "HasFourAxes", "HidesEps"])
def test_a_right_norm_with_a_state_of_another_kind_fails_nothing(norm):
    drawn = norm == "Gated"  # is like no norm, so that inputs far from zero are judged by float64 alone
    options = {"like": None, "num_groups": None} if drawn else {}
    found = checked(getattr(odd_norms, norm), *(("output", "determinism", "threads") if drawn else ()), **options)
    assert not [result.line() for result in found.values() if result.is_failure]
    if norm == "HasFourAxes":
        said = "weight has the shape (1, 8, 1, 1) in the state and (8,) in the module"
        assert said in found["state_to_torch"].line()


def test_a_wrong_guess_of_eps_says_what_was_guessed():
    class Hides(odd_norms.HidesEps):
        def __init__(self):
            super().__init__(eps=0.5)

    found = checked(Hides, "output")["output[float32]"]
    assert found.status == "fails" and "eps is taken to be 1e-05: give the module an attribute eps" in found.line()

    def make(eps=0.5):
        return Hides()

    assert checked(make, "output")["output[float32]"].status == "ok"


def test_an_oracle_is_asked_for_some_elements_of_a_gradient(monkeypatch):
    calls = []

    def truth(x, weight, bias):
        calls.append(1)
        return odd_norms.oracle(x, weight, bias)

    monkeypatch.setattr("normsuite.conformance.truth._PLACES", 10)
    found = checked(odd_norms.Right, "input_gradient", shapes=[(4, odd_norms.CHANNELS, 6, 5)], like=None, oracle=truth)
    assert found["input_gradient[float32]"].status == "ok" and len(calls) < 10 * 2 * 10
    found = checked(odd_norms.WrongGradient, "input_gradient", like=None, oracle=truth)
    assert found["input_gradient[float32]"].status == "fails"


def test_an_oracle_of_one_rank_costs_the_checks_of_that_rank_alone():
    def truth(x, weight, bias):
        assert x.ndim == 4
        return odd_norms.oracle(x, weight, bias)

    found = checked(odd_norms.Right, "output", "channels_last*", like=None, oracle=truth)
    assert found["output[float32]"].status == found["channels_last"].status == "ok"
    assert found["channels_last_3d"].status == "not applicable"


def test_a_gain_of_all_is_judged():
    class OneGain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.eps = torch.nn.Parameter(torch.ones(1)), 1e-6

        def forward(self, x):
            return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight

    found = checked(OneGain, "*gradient*", "output", "strided", like="RMSNorm", num_groups=None, shapes=[(4, 16)])
    assert not [result.line() for result in found.values() if result.is_failure]
    assert found["weight_gradient[float32]"].status == "ok"


@pytest.mark.parametrize(
    ("oracle", "said"),
    [
        (lambda x, w, b: x, "takes w, b: behind the input it is given"),
        (lambda x, w=None, b=None: x, "takes w, b"),
        (lambda x, weight, bias: weight[99], "fails: IndexError"),
        (lambda x, weight, bias: x.ravel(), r"returns shape \(960,\) for an input of shape"),
    ],
)
def test_an_oracle_that_cannot_be_asked_is_named(oracle, said):
    with pytest.raises(ArgumentError, match=f"oracle = .*{said}"):
        checked(odd_norms.Right, "output", oracle=oracle)


def test_an_output_in_float64_is_judged_to_its_last_place_by_an_oracle_too():
    class InFloat32(odd_norms.Right):
        def forward(self, x):
            single = odd_norms.F.group_norm(
                x.float(), odd_norms.GROUPS, self.weight.float(), self.bias.float(), self.eps
            )
            return single.to(x.dtype)

    options = {"like": None, "num_groups": None, "oracle": "odd_norms:oracle", "dtypes": ["float64"]}
    assert checked(InFloat32, "output[[]float64]", **options)["output[float64]"].status == "fails"
    assert checked(odd_norms.Right, "output[[]float64]", **options)["output[float64]"].status == "ok"


def test_a_norm_that_takes_no_float64_needs_a_truth():
    class Only32(odd_norms.Right):
        def forward(self, x):
            if x.dtype != torch.float32:
                raise TypeError("float32 only")
            return super().forward(x)

    with pytest.raises(ArgumentError, match=r"like = None: .* does not compute in float64.*float32 only"):
        checked(Only32, "output", like=None, num_groups=None)


def test_a_check_that_is_expected_to_fail_must_exist():
    with pytest.raises(UnknownNameError, match="expected = 'vmap': unknown; did you mean vmapped"):
        checked(odd_norms.Right, "output", expected={"vmap": "no"})
    with pytest.raises(UnknownNameError, match="expected = 'vmap'"):
        parametrize_with_checks([Target(odd_norms.Right, expected={"vmap": "no"}, **LIKE)])


class ComputesInFloat32(nn.Module):
    """An RMSNorm as language models have it."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt()).to(x.dtype)


def test_derivatives_of_a_norm_in_float32_are_no_false_failures():
    """Without like and oracle it is judged by itself in float64, where it computes in float32 all the same."""
    options = {"like": None, "num_groups": None, "args": (64,), "shapes": [(4, 6, 64)]}
    found = checked(ComputesInFloat32, "double_backward", "forward_mode", **options)
    assert {result.status for result in found.values()} == {"ok"} and len(found) == 2, found


@pytest.mark.parametrize("norm", [nn.LayerNorm, ComputesInFloat32])
def test_squares_that_overflow_are_no_failure_without_torch_s_beside(norm):
    options = {"like": None, "num_groups": None, "args": (64,), "shapes": [(4, 6, 64)]}
    found = checked(norm, "huge_values", **options)["huge_values"]
    assert not found.is_failure, found.line()


class ForgetsTheCast(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)


@pytest.mark.parametrize("dtypes", [["float32", "bfloat16"], ["bfloat16", "float32"]])
def test_an_output_of_another_type_fails_in_every_declared_type(dtypes):
    options = {"like": "LayerNorm", "num_groups": None, "args": (64,), "shapes": [(4, 6, 64)], "dtypes": dtypes}
    found = checked(ForgetsTheCast, "output", **options)
    assert found["output[float32]"].status == "ok"
    assert found["output[bfloat16]"].is_failure and "returns torch.float32" in found["output[bfloat16]"].line()


class _Forgets(torch.autograd.Function):
    """Batch norm in evaluation, whose backward pass is that of training."""

    @staticmethod
    def forward(ctx, x, mean, var, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.batch_norm(x, mean, var, weight, bias)

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = F.batch_norm(x, None, None, weight, torch.zeros_like(weight), True)
            return torch.autograd.grad(y, x, dy)[0], None, None, (dy * y).sum((0, 2, 3)), dy.sum((0, 2, 3))


class ForgetsEvaluation(nn.BatchNorm2d):
    def forward(self, x):
        if self.training:
            return super().forward(x)
        return _Forgets.apply(x, self.running_mean, self.running_var, self.weight, self.bias)


def test_gradients_in_evaluation_are_judged():
    options = {"like": "BatchNorm", "num_groups": None, "args": (8,), "shapes": [(4, 8, 5, 6)]}
    assert checked(nn.BatchNorm2d, "evaluation", **options)["evaluation"].status == "ok"
    found = checked(ForgetsEvaluation, "evaluation", **options)["evaluation"]
    assert found.is_failure and "gradient: is not what float64 gives" in found.line()


def test_a_user_s_oracle_is_right_far_from_zero():
    options = {"like": None, "oracle": odd_norms.oracle, "shapes": [(4, odd_norms.CHANNELS, 6, 5)]}
    found = checked(odd_norms.Right, "mean_*", **options)
    assert not [result.line() for result in found.values() if result.is_failure], found


class HasLeadingOnes(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(1, 1, size)), 1e-6

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], None, self.eps) * self.weight


def test_a_weight_with_leading_ones_is_of_the_last_size():
    found = checked(HasLeadingOnes, like="RMSNorm", num_groups=None, args=(64,), shapes=[(8, 19, 64)])
    assert not [result.line() for result in found.values() if result.is_failure], found


class KeepsItsOwn(nn.Module):
    """Uses the variance that it has kept in evaluation, under a name of its own."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("moving_var", torch.ones(size))

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.moving_var.lerp_(x.var((0, 2, 3)), 0.1)
        var = x.var((0, 2, 3)) if self.training else self.moving_var
        return x / (var + 1e-5).sqrt()[:, None, None]


def test_a_norm_that_keeps_statistics_under_another_name_may_use_them():
    options = {"like": None, "num_groups": None, "args": (8,), "shapes": [(4, 8, 5, 6)]}
    found = checked(KeepsItsOwn, "evaluation_as_training", **options)["evaluation_as_training"]
    assert found.status == "not applicable" and "training changes moving_var" in found.line(), found


class OverRows(nn.Module):
    """As ConvNeXt V2's global response: channels last, a mean over places."""

    def __init__(self, size):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(1, 1, 1, size)), nn.Parameter(torch.zeros(1, 1, 1, size))

    def forward(self, x):
        norm = x.norm(p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * norm / (norm.mean(-1, keepdim=True) + 1e-6)) + self.beta + x


def test_a_shape_that_a_norm_keeps_is_found():
    found = checked(OverRows, "result_kind", like=None, num_groups=None, args=(64,), shapes=())["result_kind"]
    assert found.status == "ok", found.line()


def test_groups_are_found_in_the_constructor_s_arguments():
    class Grouped(nn.Module):
        def __init__(self, channels, num_groups=2):
            super().__init__()
            self.groups, self.eps = num_groups, 1e-5
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

        def forward(self, x):
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    found = checked(Grouped, "output", like="GroupNorm", num_groups=None, args=(8, 4))
    assert found["output[float32]"].status == "ok"
