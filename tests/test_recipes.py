"""Every recipe of docs/recipes.md, followed in a copy of the project: what is added turns up where the page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report_records import write_study

ROOT = Path(__file__).resolve().parents[1]
_RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.slow  # kernels are compiled for the copy
_BLOCK = r":\n\n```\w+\n(?P<text>.*?)```"

LOOK = """
import json, sys
from unittest import mock

import torch

from normsuite import backends, doctor, functional, modules
from normsuite.bench import worker
from normsuite.bench.summary import Bench
from normsuite.gate import counting
from normsuite.measure import accuracy, implementations, labels, metric, own_workloads, task
from normsuite.measure.workload import Workload, named
from normsuite.spec import NORMS

sys.path.insert(0, ".")
from benchmarks import counts, latency, numerics, parameters

torch.set_num_threads(1)


def bench(**of):
    (made,) = task.plan(**of)
    found = []
    job = {"tasks": [made.as_dict()], "backends": ["handwritten", "plain", "numba"], "threads": 1, "number": 1}
    for count in (True, False):
        worker.work({**job, "count": count, "seconds": 1e-3}, found.append)
    return {"counts": found[2]["counts"], "timed": list(found[5]["times_s"]), "different": found[2]["different"]}


def samples(benchmark, *cell):
    with mock.patch.object(latency, "SECONDS", 1e-3):
        benchmark.setup(*cell)
        return benchmark.track_training_step(*cell)["samples"]


plain = numerics.RelativeError()
plain.setup("PlaneNorm", "plain", "study", "cpu", 0.0)
tensors = counts.Count()
tensors.setup("saved tensors", "GroupNorm", "torch", "tiny", "cpu")
step = named("GroupNorm", "torch", "tiny", "step")
given = step.task.operands()
print(json.dumps({
    "bench of the norm": bench(norms=["PlaneNorm"], names=["tiny"], modes=["step"], activations=["none"]),
    "bench of RMSNorm": bench(norms=["RMSNorm"], names=["tiny"], modes=["step"], activations=["gelu"]),
    "bench's cases": sorted({made.case.name for made in task.plan()}),
    "bench's norms": sorted({made.spec.name for made in task.plan()}),
    "gate": [cell.name for cell in own_workloads.plan()],
    "gate with gelu": [cell.name for cell in own_workloads.plan(activations=["gelu"], norms=["GroupNorm"])],
    "gate counts": list(counting.values(step.ready([given])[0], step, given)),
    "margins": metric.margins(),
    "asv": {name: getattr(parameters, name) for name in ("NORMS", "BACKENDS", "CASES", "METRICS")},
    "asv's samples": len(samples(latency.Latency(), "PlaneNorm", "plain", "audio", "cpu")),
    "asv's error": plain.output,
    "asv's count": tensors.track_training_step("saved tensors"),
    "doctor": {**doctor.refused_norms(), **doctor.usable_rivals()},
    "errors": accuracy.errors(named("GroupNorm", "auto", "tiny", activation="gelu")),
    "module": repr(modules.make(NORMS["PlaneNorm"], 8, (4, 4), activation="gelu", backend="plain")),
    "rivals": labels.rivals(["torch.nn", "auto", "plain", "handwritten", "numba, preallocated", "auto BatchNorm2d"]),
}))
"""


def added(folder):
    """Follow the page in that copy of the project."""
    files = re.finditer(r"Add `(?P<path>[^`]+)`" + _BLOCK, _RECIPES, re.DOTALL)
    for recipe in files:
        path = folder / recipe["path"]
        assert not path.exists() and path.parent.is_dir(), "one file, in a folder that is there"
        path.write_text(recipe["text"], encoding="utf-8")
    entries = re.finditer(
        r"In `(?P<path>[^`]+)`, (?P<how>before|instead of) `(?P<anchor>[^`]+)`" + _BLOCK, _RECIPES, re.DOTALL
    )
    for recipe in entries:
        path, anchor = folder / recipe["path"], recipe["anchor"]
        text = path.read_text(encoding="utf-8")
        assert text.count(anchor) == 1, f"{anchor} is one place in {recipe['path']}"
        behind = (
            "" if recipe["how"] == "instead of" else f"\n\n{anchor}" if anchor.endswith("=") else f"        {anchor}"
        )
        path.write_text(text.replace(anchor, recipe["text"] + behind), encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in ("normsuite", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "mnist"))
    added(folder)
    return folder


def run(project, *command):
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seen(project):
    """Return what is found in the copy."""
    return json.loads(run(project, "-c", LOOK).splitlines()[-1])


def test_every_recipe_of_the_page_is_followed():
    titles = re.findall(r"^## (.*)$", _RECIPES, re.MULTILINE)
    steps = re.findall(r"^(?:Add|In) `", _RECIPES, re.MULTILINE)
    assert len(titles) == len(steps) >= 7


def test_a_norm_is_everywhere(project, seen):
    found = seen["bench of the norm"]
    assert {"numba", "plain"} <= set(found["timed"]) and found["counts"]["numba"]["output_error"] < 1e-5
    assert "PlaneNorm" in seen["bench's norms"] and "PlaneNorm" in seen["asv"]["NORMS"]
    assert {"PlaneNorm/auto/study/step", "PlaneNorm/numba/study/forward"} <= set(seen["gate"])
    assert seen["asv's samples"] >= 10 and seen["asv's error"] < 1e-6
    assert seen["module"].startswith("Norm(PlaneNorm")
    assert "PlaneNorm" in run(project, "-m", "normsuite", "explain", "PlaneNorm")


def test_a_backend_is_everywhere(seen):
    assert "plain" in seen["bench of the norm"]["timed"] and "plain" in seen["asv"]["BACKENDS"]
    assert seen["bench of the norm"]["counts"]["plain"]["gradient_error"] < 1e-6
    assert "GroupNorm/plain/study/step" in seen["gate"]
    assert seen["doctor"]["plain"] == {"BatchNorm": "keeps no running statistics"}


def test_an_implementation_takes_part_in_the_bench(seen):
    found = seen["bench of RMSNorm"]
    assert "handwritten" in found["timed"] and found["counts"]["handwritten"]["gradient_error"] < 1e-5
    assert found["different"] == {} and seen["doctor"]["handwritten"] is None and seen["rivals"] == ["handwritten"]


def test_a_metric_is_counted_by_the_bench_the_gate_and_asv(seen):
    assert seen["bench of RMSNorm"]["counts"]["torch.nn"]["saved_tensors"] > 0
    assert seen["gate counts"] == ["peak bytes", "saved bytes", "saved tensors"] and seen["margins"]["count"] == 0.01
    assert "saved tensors" in seen["asv"]["METRICS"] and seen["asv's count"] > 0


def test_a_case_is_measured_by_the_bench_the_gate_and_asv(seen):
    assert "audio" in seen["bench's cases"] and "audio" in seen["asv"]["CASES"]
    assert "LayerNorm/auto/audio/step" in seen["gate"]


def test_an_activation_is_computed_and_measured(seen):
    found = seen["bench of RMSNorm"]["counts"]
    assert all(found[name]["gradient_error"] < 1e-5 for name in ("torch.nn", "numba", "plain", "handwritten"))
    assert "GroupNorm/numba/study/step/gelu" in seen["gate with gelu"] and max(seen["errors"]) < 1e-5
    assert "activation=gelu" in seen["module"]


def test_a_chart_is_in_the_report(project, tmp_path):
    source = tmp_path / "reports"
    write_study(source)
    run(project, "-m", "normsuite", "report", "--from", str(source), "--out", str(tmp_path / "html"))
    page = (tmp_path / "html" / "learning.html").read_text(encoding="utf-8")
    (results_part,) = re.findall(r'<section id="results">.*?</section>', page, re.DOTALL)
    assert "Spread of the test accuracy over the seeds, in percentage points. none 0.20" in results_part
    assert results_part.count("<figure>") == 6


def test_a_command_is_listed(project):
    assert " hello " in run(project, "-m", "normsuite", "--help")
    assert run(project, "-m", "normsuite", "hello") == "hello\n"
