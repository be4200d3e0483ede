"""What a target is judged by: the settings that are found, the user's oracle, itself in float64."""

import odd_norms
import pytest
import torch
from checked_norms import LIKE, checked

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
