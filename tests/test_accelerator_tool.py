"""What `make accelerator` tries first, with the processor in the place of the accelerator."""

import json

import pytest
import torch

from normsuite.measure.cases import Case
from normsuite.measure.task import Task
from normsuite.spec import NORMS
from tools import accelerator

pytest.importorskip("numba", reason="needs numba")
pytestmark = pytest.mark.usefixtures("kernels_at_every_size")

CASE = Case("maps", (4, 8, 6, 5), 4, "maps")


def task(norm, **settings):
    return Task(NORMS[norm], CASE, **{"mode": "step", **settings})


@pytest.mark.parametrize("activation", [None, "relu", "silu"])
@pytest.mark.parametrize("norm", ["BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm"])
def test_what_is_right_is_not_wrong(norm, activation):
    found = accelerator.tried(task(norm, activation=activation), "numba", runs=3)
    assert not found.wrong and set(found.errors) == {"y", "dx", "dweight", "dbias"}


def test_other_gradients_where_one_is_not_asked_for_are_wrong(monkeypatch):
    right = accelerator._gradients

    def wrong(task, given, backend, names):
        found = right(task, given, backend, names)
        return {name: t if "bias" in names else t + 1 for name, t in found.items()}

    monkeypatch.setattr(accelerator, "_gradients", wrong)
    found = accelerator.tried(task("GroupNorm"), "numba", runs=1)
    assert found.wrong and found.same_bits and "where one is not asked for" in str(found)


def test_each_task_is_recorded_as_it_ends_and_what_is_wrong_is_counted(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(accelerator, "BACKENDS", ("numba", "triton"))
    monkeypatch.setattr(accelerator, "tasks", lambda device: iter([task("GroupNorm"), task("RMSNorm")]))
    monkeypatch.setattr(accelerator, "BOUNDS", {"float32": 0.0})
    record = tmp_path / "reports" / "correctness.jsonl"
    assert accelerator.correctness("cpu", 60.0, record) == 2
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["title"].split()[:2] for line in lines] == [["numba", "GroupNorm"], ["numba", "RMSNorm"]]
    said = capsys.readouterr().out
    assert "wrong: numba RMSNorm 4×8×6×5" in said and "triton: not tried everywhere (" in said


def test_every_shape_comes_without_an_activation_in_each_type_first():
    found = list(accelerator.tasks("cpu"))
    plain = [each for each in found if each.activation is None]
    assert found[: len(plain)] == plain and {each.case.name for each in plain} == {c.name for c in accelerator.SHAPES}


def test_the_processor_is_no_accelerator(capsys):
    assert accelerator.main(["--device", "cpu"]) == 2 and "for an accelerator" in capsys.readouterr().err
    if not torch.accelerator.is_available():
        assert accelerator.main(["--device", "cuda"]) == 2
