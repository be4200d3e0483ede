"""Faults that a check must not forgive, and right norms that it must not refuse, by what surrounds their formula."""

import pytest
import torch
from checked_norms import checked
from torch import nn
from typer.testing import CliRunner

from normsuite.cli import app
from normsuite.gate import guarded
from normsuite.measure.implementations import target_norms
from normsuite.targets import Target
from normsuite.targets.build import build
from normsuite.targets.inspection import norm_in

RMS = {"like": "RMSNorm", "num_groups": None, "shapes": [(4, 6, 8)]}


class Gemma(nn.Module):
    """It multiplies by 1 + weight, or, wrongly, by the weight."""

    def __init__(self, one=1.0):
        super().__init__()
        self.weight, self.eps, self.one = nn.Parameter(torch.zeros(8)), 1e-6, one

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * (self.one + self.weight)


def gemma(x, weight, eps):
    return x / ((x * x).mean(-1, keepdims=True) + eps) ** 0.5 * (1 + weight)


@pytest.mark.parametrize(("one", "status"), [(1.0, "ok"), (0.0, "fails")])
def test_an_oracle_of_one_s_own_counts_beside_a_norm_that_it_is_like(one, status):
    """Torch's own function has the same error as one that forgets the 1: it is no measure there."""
    found = checked(lambda: Gemma(one), "output", **{**RMS, "oracle": gemma})
    assert found["output[float32]"].status == status


class ReadsGradientsAsContiguous(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, eps):
        rstd = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, rstd)
        return x * rstd

    @staticmethod
    def backward(ctx, dy):
        x, rstd = ctx.saved_tensors
        dy = torch.as_strided(dy, dy.shape, torch.empty(dy.shape).stride())  # as a kernel that never asks
        return rstd * (dy - x * rstd.square() * (dy * x).mean(-1, keepdim=True)), None


def test_a_backward_pass_that_reads_gradients_as_contiguous_is_found():
    def make(eps=1e-6):
        return lambda input: ReadsGradientsAsContiguous.apply(input, eps)

    found = checked(make, "input_gradient", "transposed", **RMS)
    assert found["input_gradient[float32]"].status == "ok" and found["transposed"].status == "fails"


def test_a_norm_that_is_compared_with_itself_alone_is_told():
    done = CliRunner().invoke(app, ["check", "torch.nn:LayerNorm", "--args", "8", "--only", "result_kind"])
    assert "is compared with its own run in float64 alone: --like LayerNorm compares the formula, too" in done.stderr
    told = CliRunner().invoke(app, ["check", "torch.nn:LayerNorm", "--args", "8", "--like", "none", "--only", "empty"])
    assert "alone" not in told.stderr


def test_a_target_whose_groups_nothing_says_has_no_cell():
    options = {"args": (64,), "like": "GroupNorm", "shapes": ((4, 64, 7, 7),)}
    said = guarded.why_not(Target("torch.nn:GroupNorm", **options))
    assert said == "64 may be the channels or the groups: say num_groups"
    assert guarded.why_not(Target("torch.nn:GroupNorm", **options, num_groups=8)) is None


class OfMaps(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(channels, 1, 1)), 1e-5
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        return nn.functional.instance_norm(x, eps=self.eps) * self.weight * self.scale / 2


def test_a_weight_with_sizes_of_1_shares_the_operand_and_a_constant_is_none():
    built = build(Target(OfMaps, like="InstanceNorm", shapes=((2, 8, 5, 5),)))
    operand = torch.linspace(1, 2, 8).requires_grad_()
    shared = target_norms._shared(built, "weight", operand)
    assert shared.shape == (8, 1, 1) and torch.equal(shared.flatten(), operand) and shared.requires_grad
    assert built.module.scale == 2, "a buffer called scale is no weight"


def test_t5_s_norm_centres_nothing():
    assert norm_in("LongT5LayerNorm").name == "RMSNorm" and norm_in("MyLayerNorm").name == "LayerNorm"


def test_statistics_that_never_move_are_used_in_training_too():
    options = {"like": "BatchNorm", "num_groups": None, "args": (8,), "shapes": [(4, 8, 6, 5)]}
    found = checked("torchvision.ops:FrozenBatchNorm2d", **options)
    assert not [(name, result.line()) for name, result in found.items() if result.is_failure]
    assert found["running_statistics"].status == "not applicable" and found["evaluation"].status == "ok"


class SqueezesOne(nn.Module):
    """It forgets the batch where that is one sample."""

    def forward(self, x):
        x = x.squeeze(0)
        return x * torch.rsqrt(x.square().mean(tuple(range(1, x.dim())), keepdim=True) + 1e-6)


def test_a_batch_of_one_is_computed_too():
    found = checked(SqueezesOne, "output", "one_sample", like="RMSNorm", num_groups=None, shapes=[(4, 8)])
    assert found["one_sample"].status == "fails"


class OverAnAxis(nn.Module):
    def __init__(self, dim=1):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(self.dim, keepdim=True) + 1e-8)


def test_an_attribute_that_is_an_axis_is_no_number_of_channels():
    for dim in (1, -1):
        assert build(Target(OverAnAxis, kwargs={"dim": dim})).shape[1] > 1


class SquaresInItsOwnType(nn.Module):
    def forward(self, x):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize(("dtypes", "status"), [(("float32", "float16"), "fails"), (("float32",), "differs")])
def test_squares_that_overflow_in_a_type_that_a_norm_is_declared_for_are_found(dtypes, status):
    found = checked(SquaresInItsOwnType, "output", "deviation_300", **{**RMS, "dtypes": dtypes})
    assert found["output[float16]"].status == "ok" and found["deviation_300[float16]"].status == status
    assert found["deviation_300[float32]"].status == found["deviation_300[bfloat16]"].status == "ok"
