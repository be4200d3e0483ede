"""A user's norm in the study: made for every size, trained beside the others, and named wherever norms are."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from normsuite import Target
from normsuite.errors import ArgumentError, NormsuiteError
from normsuite.records import provenance, results
from normsuite.report.collect import Collected
from normsuite.spec import NORMS
from normsuite.study import comparisons, network, summary, target_norms, trial
from normsuite.study.identity import record_name
from normsuite.study.plan import plan
from normsuite.targets.source import digest, source_of

SETTINGS = {"norms": ["none"], "seeds": 1, "epochs": 1, "train_size": 640, "batch_size": 64}
GROUP = Target("torch.nn:GroupNorm", args=(4, 64), like="GroupNorm")
MODULE = """
import time
import torch
from torch import nn


class MyNorm(nn.GroupNorm):
    "Draws random numbers, as a constructor may."

    def __init__(self, num_groups, num_channels, eps=1e-5):
        torch.randn(3)
        super().__init__(num_groups, num_channels, eps)


class Half(MyNorm):
    def forward(self, input):
        return super().forward(input)[:1]


class Told(MyNorm):
    def __init__(self, num_groups, num_channels, temperature):
        super().__init__(num_groups, num_channels)


class Broken(MyNorm):
    def __init__(self, num_groups, num_channels):
        raise RuntimeError("not today")


class Leaves(MyNorm):
    def forward(self, input):
        raise SystemExit(0)


class EndsItsProcess(MyNorm):
    def forward(self, input):
        import os

        os._exit(0)


class ChangesDtype(MyNorm):
    def forward(self, input):
        torch.set_default_dtype(torch.float64)
        return super().forward(input)


class Hangs(MyNorm):
    def forward(self, input):
        time.sleep(3600)


class TrainsOnly(MyNorm):
    def forward(self, input):
        if not self.training:
            raise RuntimeError("no evaluation")
        return super().forward(input)


class Lazy(MyNorm):
    def __init__(self, num_groups, num_channels):
        super().__init__(num_groups, num_channels)
        self.more = nn.LazyBatchNorm2d()

    def forward(self, input):
        return super().forward(input)


class Prints(MyNorm):
    def forward(self, input):
        print("forward")
        return super().forward(input)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "studynorms.py").write_text(MODULE)
    (tmp_path / ".git").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("studynorms", None)


@pytest.mark.parametrize(
    ("target", "norm"),
    [
        (GROUP, "GroupNorm"),
        (Target("torch.nn:BatchNorm2d", args=(3,), like="BatchNorm"), "BatchNorm"),
        (Target("torch.nn.functional:layer_norm", like="LayerNorm"), "LayerNorm"),
        (Target("torch.nn:RMSNorm", args=(768,), kwargs={"eps": 1e-5}, like="RMSNorm"), "RMSNorm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_target_computes_what_the_norm_that_it_is_like_does(target, norm):
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    mine, theirs = network.build(target, seed=0), network.build(NORMS[norm], seed=0)
    torch.testing.assert_close(mine(x), theirs(x), rtol=1e-4, atol=1e-5)
    assert network.parameter_counts(mine) == network.parameter_counts(theirs)


def test_an_activation_of_its_own_is_applied_once():
    plain, own = (network.build(replace(GROUP, activation=name), seed=0) for name in (None, "relu"))
    assert [sum(type(m) is nn.ReLU for m in of.modules()) for of in (plain, own)] == [5, 0]


@pytest.mark.usefixtures("package")
def test_weights_are_the_same_whatever_a_constructor_draws():
    plain, mine = network.build(None, seed=3), network.build(Target("studynorms:MyNorm", like="GroupNorm"), seed=3)
    for left, right in zip(*([m for m in of if isinstance(m, network.LEARNING)] for of in (plain, mine)), strict=True):
        assert torch.equal(left.weight, right.weight)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Target("studynorms:Told", like="GroupNorm"), ArgumentError, "temperature"),
        (Target("studynorms:Broken", like="GroupNorm"), NormsuiteError, "RuntimeError: not today"),
        (Target("studynorms:Half", like="GroupNorm"), NormsuiteError, r"returns \(1, 8, 14, 14\)"),
        (Target("studynorms:Nothing", like="GroupNorm"), ArgumentError, "has no Nothing"),
        (Target("no_such_module:Norm"), ArgumentError, "cannot be imported"),
        (Target(prepare="studynorms:MyNorm"), ArgumentError, "is a prepared call"),
        (Target("studynorms:MyNorm", name="GroupNorm"), ArgumentError, "another name"),
        (Target(nn.GroupNorm(4, 8), like="GroupNorm"), ArgumentError, "no import path"),
    ],
)
def test_what_cannot_take_part_is_one_line_before_anything_is_trained(target, error, says):
    with pytest.raises(error, match=says) as found:
        plan(targets=[target], **SETTINGS)
    assert "\n" not in str(found.value)


def test_a_target_has_no_affine_map_of_the_study():
    with pytest.raises(ArgumentError, match="affine"):
        plan(targets=[GROUP], affine="element", **SETTINGS)


def test_another_source_makes_another_run(package):
    (run,) = [r for r in plan(targets=[Target("studynorms:MyNorm", like="GroupNorm")], **SETTINGS) if r.target]
    name = record_name(run, "digits")
    assert name.startswith("study-studynorms-MyNorm-seed0-") and name == record_name(run, "digits")
    (package / "studynorms.py").write_text(MODULE + "\n")
    assert record_name(run, "digits") != name
    assert source_of("torch.nn:GroupNorm") == f"torch {provenance.version('torch')}"
    assert digest([package / "studynorms.py"]) == source_of("studynorms:MyNorm")


def test_a_package_without_init_has_a_source(package):
    (package / "folders").mkdir()
    (package / "folders" / "norms.py").write_text(MODULE)
    before = source_of("folders.norms:MyNorm")
    (package / "folders" / ".#norms.py").symlink_to("somebody@somewhere.1")  # an editor's lock
    assert before == source_of("folders.norms:MyNorm")
    (package / "folders" / "norms.py").write_text(MODULE + "\n")
    assert None not in (before, source_of("folders.norms:MyNorm")) and before != source_of("folders.norms:MyNorm")


@pytest.mark.slow
def test_a_study_with_a_target_names_it(package, digits_cache):
    (package / "pyproject.toml").write_text(
        '[tool.normsuite]\n[[tool.normsuite.target]]\nname = "second"\nmake = "studynorms:MyNorm"\nargs = [2, 64]\n'
        'like = "GroupNorm"\n'
    )
    command = ["study", "--with", "studynorms:MyNorm", "--with", "second", "--like", "GroupNorm", "--norm", "none"]
    command += ["--seeds", "2", "--epochs", "1", "--train-size", "640", "--batch-size", "64", "--workers", "1"]
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "normsuite", *command],
        cwd=package,
        env={**os.environ, "PYTHONPATH": root, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "studynorms:MyNorm" in done.stdout and "second" in done.stdout
    records = results.read_records(package / "reports" / "study", "study").good
    assert (
        comparisons.norms_of(records)
        == ["none", "second", "studynorms:MyNorm"]
        == Collected(study=records).studied.norms
    )
    found = summary.as_dict(records)
    assert "varied" not in found  # one comparison, of norms
    assert {pair["right"] for pair in found["comparisons"]} == {"studynorms:MyNorm", "second"}
    accuracies = {cell["norm"]: cell["test_accuracy"] for cell in found["cells"]}
    assert accuracies["second"] == accuracies["studynorms:MyNorm"] != accuracies["none"]  # the same by two names
    assert json.loads(json.dumps(records[0]["case"]))["norm"] in accuracies
    command = [sys.executable, "-m", "normsuite", "study", "--with", "studynorms:Broken", "--like", "GroupNorm"]
    done = subprocess.run(command, cwd=package, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "not today" in done.stderr


def test_maps_are_those_that_the_norms_get():
    assert network.maps() == [(8, 14), (16, 7), (16, 7), (16, 7), (16, 7)]
    target_norms.try_out(GROUP, 8, 14, 4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Leaves", "fails on .*: SystemExit: 0"),
        ("ChangesDtype", "changes torch's default dtype"),
        ("EndsItsProcess", "ends its process"),
        ("Hangs", "hangs: ended after 20 s"),
        ("TrainsOnly", "no evaluation"),
        ("Lazy", "uninitialized"),
    ],
)
def test_a_target_that_cannot_be_trained_is_named_before_anything_is(package, monkeypatch, name, said):
    """In a process of its own, which it may end."""
    monkeypatch.setattr(trial, "LIMIT_S", 20.0)
    with pytest.raises(NormsuiteError, match=rf"studynorms:{name} .*{said}"):
        plan(targets=[Target(f"studynorms:{name}", like="GroupNorm")], **SETTINGS)


@pytest.mark.slow
def test_what_a_target_prints_is_no_result(package):
    command = ["study", "--norm", "none", "--with", "studynorms:Prints", "--like", "GroupNorm", "--seeds", "1"]
    command += ["--epochs", "1", "--train-size", "640", "--batch-size", "64", "--workers", "1", "--json", "-"]
    root = str(Path(__file__).parent.parent)
    for further in ([], ["--dry-run"]):
        done = subprocess.run(
            [sys.executable, "-m", "normsuite", *command, *further],
            cwd=package, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0 and json.loads(done.stdout), done.stderr
