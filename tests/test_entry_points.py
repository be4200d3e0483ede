"""Targets, norms, backends and metrics of other packages, found by their entry points in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BACKEND = """
def why_not(call): return None
def apply(call): return call.deliver(call.activate(call.input * 0 + 7))
def again(call): return None
"""
METRIC = 'from normsuite.measure.metric import Metric\nCALLS = Metric("calls", "calls", "calls", 0.01, exact=True)\n'
TARGETS = (
    'from normsuite import Target\nALL = [Target("torch.nn:LayerNorm", args=(8,), like="LayerNorm", name="theirs")]\n'
    "import torch\n"
    'SEVERAL = [Target("torch.nn:LayerNorm", args=(4,)), Target("torch.nn:LayerNorm", args=(8,)), torch.nn.RMSNorm]\n'
)
NORM = """
name = "Everything"
groups = "one"
axes = ["batch", "group", "spatial"]
affine = "channel"
affine_by_default = true
running = "never"
paper = "none"
"""


def announced(folder, **groups):
    """Run a line of Python where a package with those entry points is installed."""
    package = folder / "theirs"
    (package / "norms").mkdir(parents=True)
    for name, text in (("__init__", ""), ("sevens", BACKEND), ("metric", METRIC), ("targets", TARGETS)):
        (package / f"{name}.py").write_text(text)
    (package / "norms" / "everything.toml").write_text(NORM)
    info = folder / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("\n".join(f"[normsuite.{group}]\n{line}" for group, line in groups.items()))

    def run(line):
        path = os.pathsep.join([str(folder), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run([sys.executable, "-c", line], env=environment, capture_output=True, text=True, cwd=folder)

    return run


def test_each_kind_is_found(tmp_path):
    run = announced(
        tmp_path,
        backends="sevens = theirs.sevens",
        metrics="calls = theirs.metric:CALLS",
        norms="theirs = theirs.norms",
        targets="theirs = theirs.targets:ALL",
    )
    done = run(
        "import torch, pathlib, normsuite\n"
        "from normsuite.measure.metric import METRICS\n"
        "from normsuite.targets.announced import all_by_name\n"
        "y = normsuite.layer_norm(torch.ones(2, 8), (8,), backend='sevens')\n"
        "print(y.unique().tolist(), 'calls' in METRICS, 'Everything' in normsuite.NORMS)\n"
        "print(all_by_name(pathlib.Path())['theirs'].like)\n"
    )
    assert done.stdout.split("\n")[:2] == ["[7.0] True True", "LayerNorm"], done.stderr


def test_a_list_loses_none_of_its_targets(tmp_path):
    run = announced(tmp_path, targets="several = theirs.targets:SEVERAL")
    done = run("from normsuite.targets.announced import announced; print(sorted(announced()))")
    assert done.stdout == "['several.1', 'several.2', 'several.3']\n", done.stderr


@pytest.mark.parametrize(
    ("groups", "line", "said"),
    [
        (
            {"metrics": "bad = theirs.metric:Metric"},
            "import normsuite.measure.metric",
            "is no Metric",
        ),
        ({"norms": "bad = nowhere.norms"}, "import normsuite.spec", "entry point bad = 'nowhere.norms': is no package"),
        (
            {"targets": "bad = theirs.targets:NONE"},
            "from normsuite.targets.announced import announced; announced()",
            "entry point bad = theirs.targets:NONE",
        ),
        (
            {"backends": "bad = theirs.metric"},
            "from normsuite import backends; backends.get('bad')",
            "is no backend: lacks why_not(call)",
        ),
    ],
)
def test_one_that_leads_nowhere_is_named(tmp_path, groups, line, said):
    done = announced(tmp_path, **groups)(line)
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr
