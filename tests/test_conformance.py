"""Checks of users' norms: each fault is named by its check, and the other checks are done all the same."""

import json
import math
import os
from pathlib import Path

import odd_norms
import pytest
import torch
from checked_norms import LIKE, QUICK, SLOW, checked
from torch import nn

import normsuite
from normsuite.conformance import ConformanceError, Report, recorded, run, tables
from normsuite.conformance.checks import derivatives, every
from normsuite.conformance.run import smaller
from normsuite.errors import ArgumentError, UnknownNameError
from normsuite.files import writing
from normsuite.records import kinds, results
from normsuite.targets import Target
from normsuite.targets.build import TargetError
from normsuite.targets.loading import ImportPathError
from normsuite.testing import parametrize_with_checks

# Which check names which fault.
FAULTS = {
    "OnePass": ("mean_10000", "fails", "is not what float64 gives"),
    "Transposed": ("result_kind", "fails", "returns shape"),
    "Wider": ("result_kind", "fails", "returns torch.float64"),
    "Tuples": ("result_kind", "fails", "returns tuple"),
    "InPlace": ("keeps_its_input", "fails", "changes its input"),
    "Remembers": ("keeps_no_state", "fails", "gives another output"),
    "Prints": ("prints_nothing", "differs", "normalising"),
    "Raises": ("output[float32]", "fails", "cannot take"),
    "WrongGradient": ("input_gradient[float32]", "fails", "is not what float64 gives"),
    "LosesStatistics": ("own_state", "fails", "the one that loaded computes something else in evaluation"),
    "MixesSamples": ("nan_in_its_group", "fails", "values of others"),
    "Random": ("determinism", "fails", "between equal calls"),
    "OtherNames": ("state_to_torch", "differs", "has beta, gamma where the other has bias, weight"),
    "Wasteful": ("peak_bytes", "differs", "the least possible"),
    "IgnoresGaps": ("strided", "fails", "is not what float64 gives"),
    "IgnoresSharing": ("expanded", "fails", "is not what float64 gives"),
    "NoGradient": ("input_gradient[float32]", "fails", "is not what float64 gives"),
}


@pytest.mark.parametrize(("norm", "expected"), FAULTS.items(), ids=FAULTS)
def test_a_fault_is_named_by_its_check(norm, expected):
    name, status, said = expected
    options = {"like": "BatchNorm", "num_groups": None} if norm == "LosesStatistics" else {}
    found = checked(getattr(odd_norms, norm), name, **options)
    assert found[name].status == status and said in found[name].line(), found[name]
    right = checked(odd_norms.Right, name)[name]
    assert right.status in ("ok", "differs") and not right.is_failure


def test_gradients_are_looked_at_under_autocast():
    found = checked(odd_norms.WrongGradient, "autocast")["autocast"]
    assert found.status == "fails" and "input gradient is not what float64 gives" in found.line()
    assert checked(odd_norms.Right, "autocast")["autocast"].status == "ok"


def test_every_shape_is_checked():
    shapes = [(2, odd_norms.CHANNELS, 3), (4, odd_norms.CHANNELS, 3)]
    found = checked(odd_norms.Raises, "output", shapes=shapes)["output[float32]"]
    assert found.status == "fails" and found.finding.smallest["shape"] == [3, odd_norms.CHANNELS, 1]
    assert checked(odd_norms.Raises, "output", shapes=shapes[:1])["output[float32]"].status == "ok"


def test_a_type_that_nobody_declared_says_so():
    found = checked(odd_norms.OnlyFloat32, "output")["output[bfloat16]"]
    assert found.status == "differs" and "not declared, and wrong in bfloat16" in found.line()


def test_a_type_that_nobody_declared_is_no_failure_however_long_it_takes(monkeypatch, importable):
    monkeypatch.setattr(run, "_MOST_S", -1.0)
    assert checked(odd_norms.OnlyFloat32, "output")["output[bfloat16]"].status == "differs"
    only = ("output[[]float32]", "output[[]float64]")
    report = normsuite.check("odd_norms:LeavesInFloat64", only=only, limit_s=60, **LIKE)
    assert [result.status for result in report.results] == ["ok", "differs"]
    assert "not declared, and wrong in float64: the process ended" in report.results[1].line()
    assert "the process ended" in tables._cell(report.results[1])


@pytest.mark.parametrize("norm", ["Tuples", "Raises"])
def test_the_other_checks_are_done(norm):
    found = checked(getattr(odd_norms, norm))
    assert len(found) == len(QUICK)
    assert found["strict_loading"].status == "ok" and found["casting"].status == "ok"


def test_running_statistics_of_float64_are_compared_with_those_of_before():
    """They are not to be read from the buffers that a batch has moved since."""
    found = checked("torch.nn:BatchNorm2d", "running_statistics", like="BatchNorm", num_groups=None, dtypes=["float64"])
    assert found["running_statistics"].status == "ok", found


def test_a_right_norm_fails_nothing_and_is_judged_by_any_oracle():
    names = [check.name for check in every() if check.name not in SLOW]
    assert list(checked(odd_norms.Right)) == names
    for options in ({"like": None, "num_groups": None}, {"oracle": "odd_norms:oracle"}):
        found = checked(odd_norms.Right, "output", "*gradient*", "mean_100", shapes=[(2, 8, 3)], **options)
        assert not any(result.is_failure for result in found.values()), found
        assert found["output[float32]"].finding.figure is not None


def test_the_smallest_input_still_fails():
    found = checked(odd_norms.Raises, "output")["output[float32]"].finding
    assert found.smallest["shape"] == [3, 8, 1, 1]
    found = checked(odd_norms.OnePass, "mean_1000000")["mean_1000000"].finding
    assert found.smallest["shape"][:2] == [1, 8] and found.smallest["mean"] == 1e6
    assert found.figure > 100 * found.beside


def test_a_failure_is_made_no_smaller_once_its_time_is_over(monkeypatch):
    monkeypatch.setattr(run, "_MOST_S", -1.0)
    found = checked(odd_norms.Raises, "output")["output[float32]"].finding
    assert found.status == "fails" and found.smallest["shape"] == [4, odd_norms.CHANNELS, 6, 5]


def test_shrinking_finds_the_least_and_keeps_fixed_axes():
    assert smaller((9, 8, 7), lambda shape: shape[0] * shape[2] >= 6, {1}) in [
        (1, 8, 6),
        (6, 8, 1),
        (2, 8, 3),
        (3, 8, 2),
    ]
    assert smaller((4, 4), lambda shape: True) == (1, 1)


def test_what_is_expected_is_no_failure_and_is_told_when_it_passes():
    report = normsuite.check(
        odd_norms.OnePass,
        only=("mean_*", "output[[]float32]"),
        isolated=False,
        expected={"mean_100": "one pass", "mean_10000": "one pass", "mean_1000000": "one pass", "output": "no reason"},
        **LIKE,
    )
    assert report.ok and report.assert_ok() is report
    assert "no longer expected: no reason" in report.results[0].line()
    with pytest.raises(ConformanceError, match="mean_10000"):
        normsuite.check(odd_norms.OnePass, only=("mean_*",), isolated=False, **LIKE).assert_ok()


def test_reports_travel_as_json_and_markdown():
    report = normsuite.check(odd_norms.OnePass, only=("mean_*", "huge_values"), isolated=False, **LIKE)
    assert Report.from_dict(json.loads(writing.to_json(report.as_dict()))) == report
    assert report.markdown().count("\n| ") == len(report.shown) + 2 and "mean_10000" in repr(report)


def test_a_record_of_checks_is_of_their_kind(tmp_path):
    target = Target(odd_norms.Right, shapes=[(4, odd_norms.CHANNELS, 6, 5)], **LIKE)
    report = normsuite.check(target, only=("result_kind",), isolated=False)
    for _ in range(2):
        recorded.record(report, target, tmp_path)
    found = results.read_records(tmp_path, kinds.CONFORMANCE.what)
    assert not found.damaged and [record["case"]["target"] for record in found.good] == [target.title], "one a target"


def test_records_of_other_settings_are_other_records(tmp_path):
    settings = ({"num_groups": 2}, {"num_groups": 4}, {"num_groups": 4, "shapes": [(2, odd_norms.CHANNELS, 3)]})
    for options in settings:
        target = Target(odd_norms.Right, **{**LIKE, **options})
        recorded.record(normsuite.check(target, only=("result_kind",), isolated=False), target, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_torchs_own_norm_has_torchs_state_in_every_type(dtype):
    options = {"like": "LayerNorm", "num_groups": None, "args": (8,), "shapes": [(4, 8)], "dtypes": [dtype]}
    found = checked(nn.LayerNorm, "state_*", **options)
    assert {result.status for result in found.values()} == {"ok"} and len(found) == 2, found


def test_a_derivative_that_is_no_number_is_no_right_one(monkeypatch):
    monkeypatch.setattr(derivatives, "_relative", lambda found, true: float("nan"))
    found = checked(odd_norms.Right, "double_backward", "forward_mode")
    assert {result.status for result in found.values()} == {"fails"}, found


def test_an_oracle_is_not_asked_for_gradients_that_nobody_judges():
    calls = []

    def oracle(x, weight=None, bias=None, eps=1e-5):
        calls.append(x.shape)
        return odd_norms.oracle(x, weight, bias, eps)

    assert checked(odd_norms.Right, "huge_values", oracle=oracle)["huge_values"].finding.figure is not None
    assert len(calls) <= 4


class HasMoreState(nn.LayerNorm):
    def get_extra_state(self):
        return {"version": 3}

    def set_extra_state(self, state):
        assert state == {"version": 3}


class TrainsWithoutAWord(nn.LayerNorm):
    def train(self, mode=True):
        super().train(mode)


class HasATemperature(nn.LayerNorm):
    def __init__(self, size):
        super().__init__(size)
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return super().forward(x) * self.temperature


def test_a_parameter_that_no_check_compares_is_named():
    options = {"like": "LayerNorm", "num_groups": None, "args": (8,), "shapes": [(4, 8)]}
    only = "gradients_reach_parameters"
    assert checked(nn.LayerNorm, only, **options)[only].line() == ""
    found = checked(HasATemperature, only, **options)[only]
    assert found.status == "ok" and "are compared, and not temperature (" in found.line()
    report = normsuite.check(HasATemperature, only=only, isolated=False, **options)
    assert "temperature" in tables.results(report, everything=False).rows[0][-1]


@pytest.mark.parametrize("norm", [HasMoreState, TrainsWithoutAWord])
def test_modules_that_do_more_or_less_than_usual_are_checked(norm):
    options = {"like": "LayerNorm", "num_groups": None, "args": (8,), "shapes": [(4, 8)]}
    found = checked(norm, "own_state", "evaluation_changes_nothing", "output[[]float32]", "casting", **options)
    assert {result.status for result in found.values()} == {"ok"} and len(found) == 4, found


def test_what_a_type_or_shape_does_not_allow_is_not_applicable():
    options = {"like": "LayerNorm", "num_groups": None, "args": (64,)}
    found = checked(nn.LayerNorm, "*_bytes", shapes=[(64,)], **options)
    assert {result.status for result in found.values()} == {"not applicable"} and len(found) == 2
    found = checked(nn.LayerNorm, "mean_1000000", shapes=[(4, 64)], dtypes=["float16"], **options)
    assert found["mean_1000000"].status == "not applicable"


@pytest.fixture
def importable(monkeypatch):
    """Lets the checks' process import this folder's modules."""
    folder = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize(
    ("norm", "said"), [("HangsOnEmpty", "hangs"), ("LeavesOnEmpty", "ended"), ("CrashesOnEmpty", "SIGSEGV")]
)
def test_a_target_that_ends_its_process_or_hangs_costs_one_check(importable, norm, said):
    only = ("result_kind", "empty", "casting")
    report = normsuite.check(f"odd_norms:{norm}", only=only, limit_s=8, **LIKE)
    assert [result.status for result in report.results] == ["ok", "fails", "ok"]
    assert said in report.results[1].line()


def test_errors_of_a_path_come_back_from_the_process(importable):
    with pytest.raises(ImportPathError, match="has no Rigt; near are Right"):
        normsuite.check("odd_norms:Rigt", **LIKE)
    with pytest.raises(TargetError, match="cannot be made"):
        normsuite.check("torch.nn:GroupNorm", args=(3, 8), like="GroupNorm", only=("output",))


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(UnknownNameError, match="check = 'outputs'"):
        normsuite.check(odd_norms.Right, only=("outputs",), **LIKE)
    for limit_s in (0, math.nan, math.inf):
        with pytest.raises(ArgumentError, match="limit_s"):
            normsuite.check("torch.nn:GroupNorm", args=(4, 8), like="GroupNorm", limit_s=limit_s)
    with pytest.raises(ArgumentError, match="are a part of the target"):
        normsuite.check(Target(odd_norms.Right), like="GroupNorm")


def test_what_no_other_process_could_be_told_is_checked_here(importable):
    options = {"args": (4, 8), "kwargs": {"dtype": torch.float32}, "like": "GroupNorm"}
    assert normsuite.check("torch.nn:GroupNorm", only=("output[[]float32]",), **options).assert_ok().results
    with pytest.raises(ArgumentError, match=r"kwargs = .*: holds what JSON cannot carry to another process"):
        normsuite.check("torch.nn:GroupNorm", only=("output",), isolated=True, **options)


def test_an_object_is_checked_here():
    report = normsuite.check(nn.GroupNorm(4, 8), only=("output", "state_*"), like="GroupNorm")
    assert report.assert_ok().results


OURS = [
    Target("normsuite:BatchNorm2d", args=(8,), like="BatchNorm"),
    Target("normsuite:LayerNorm", args=(16,), like="LayerNorm"),
    Target("normsuite:GroupNorm", args=(4, 8), like="GroupNorm"),
    Target("normsuite:InstanceNorm2d", args=(8,), kwargs={"affine": True}, like="InstanceNorm"),
    Target("normsuite:RMSNorm", args=(16,), like="RMSNorm"),
    Target(
        "normsuite.functional:group_norm", args=(4,), like="GroupNorm", kwargs={"activation": "silu"}, activation="silu"
    ),
]
TORCHS = [
    Target(str(t.make).replace("normsuite:", "torch.nn:"), args=t.args, kwargs=t.kwargs, like=t.like) for t in OURS[:5]
]


@parametrize_with_checks([OURS[0], OURS[4], TORCHS[2]], only=QUICK)
def test_norms_of_each_kind_conform(check):
    check()


@pytest.mark.slow
@parametrize_with_checks([*OURS[1:4], OURS[5], *TORCHS[:2], *TORCHS[3:]], only=QUICK)
def test_our_norms_and_torchs_conform(check):
    check()


@pytest.mark.slow
@parametrize_with_checks(OURS[:1] + OURS[4:], only=SLOW)
def test_our_norms_as_programs(check):
    check()


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("timm.layers:RmsNorm", {"args": (64,), "like": "RMSNorm"}),
        ("timm.layers:GroupNorm1", {"args": (8,), "like": "GroupNorm"}),
        ("timm.layers:BatchNormAct2d", {"args": (8,), "like": "BatchNorm", "activation": "relu"}),
        ("transformers.models.llama.modeling_llama:LlamaRMSNorm", {"args": (64,), "like": "RMSNorm"}),
    ],
)
def test_norms_of_others_are_measured(path, options):
    pytest.importorskip(path.partition(".")[0].partition(":")[0], reason="not installed", exc_type=ImportError)
    report = normsuite.check(path, only=("output", "input_gradient", "mean_*", "state_*"), isolated=False, **options)
    assert report.results[0].finding.figure < 32 and not [
        r for r in report.results if r.check == "output[float32]" and r.is_failure
    ]


def test_no_targets_are_refused():
    with pytest.raises(ArgumentError, match="targets"):
        parametrize_with_checks([torch.nn.Identity()])
    with pytest.raises(ArgumentError, match="targets = 5"):
        parametrize_with_checks(5)


def test_an_error_of_torchs_own_call_is_named(monkeypatch):
    def failing(*arguments, **settings):
        raise RuntimeError("torch's own")

    monkeypatch.setattr(torch.nn.functional, "group_norm", failing)
    target = Target(odd_norms.OnePass, shapes=[(2, 8, 3)], **LIKE)
    found = normsuite.check(target, only=("output[[]float32]", "mean_1000000"), isolated=False)
    assert [result.finding.beside for result in found.results] == [None, None]
    assert all("torch's own call fails: RuntimeError: torch's own" in r.finding.text for r in found.results)
    assert [result.status for result in found.results] == ["ok", "fails"]
