"""The tool that tries other tile constants: which cases they change, what is timed and kept; without a device."""

import json
import math
import sys
import types
from dataclasses import asdict, replace

import pytest
import torch
from device_double import Double

pytest.importorskip("triton", reason="needs triton")

from normsuite.backends.triton import operator, tiles
from normsuite.machine import device as devices
from normsuite.measure import device_clock, workload
from normsuite.measure.task import plan
from normsuite.spec import NORMS
from tools import tiles as tool


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(devices, "check", lambda device: device)
    return plan(names=["unet-64", "rows-8192x4096"], modes=tool.MODES, dtypes=["float32"], device="cuda")


def test_each_constant_is_tried_at_half_and_twice_its_value():
    found = list(tool.candidates(tiles.HOPPER))
    tried = {name for name, _, _ in found}
    assert tried == asdict(tiles.HOPPER).keys() - set(tool.OF_THE_DEVICE)
    for name, value, family in found:
        assert family == replace(tiles.HOPPER, **{name: value}) != tiles.HOPPER
    assert {value for name, value, _ in found if name == "waves"} == {4, 16}
    assert {name for name, _, _ in tool.candidates(tiles.HOPPER, "resident*")} == {
        "resident", "resident_rows", "resident_single", "resident_backward",
    }  # fmt: skip


def test_cases_are_those_whose_launches_a_constant_changes(there):
    by_name = {(task.case.name, task.mode): task for task in there}
    rows = by_name["rows-8192x4096", "backward"]
    same = replace(tiles.HOPPER, tile_activated=2048)
    assert not tool.changes(rows, 90, tiles.HOPPER, same), "no activation follows"
    assert tool.changes(rows, 90, tiles.HOPPER, replace(tiles.HOPPER, per_thread=16))
    assert not tool.changes(by_name["rows-8192x4096", "forward"], 90, tiles.HOPPER, replace(tiles.HOPPER, kept=1024))
    changed = {name for name, _, family in tool.candidates(tiles.HOPPER)
               if any(tool.changes(task, 90, tiles.HOPPER, family) for task in there)}  # fmt: skip
    assert len(changed) > 5, changed


def test_kernels_are_launched_with_other_constants_within_the_block_alone():
    spec, shape = NORMS["GroupNorm"], (2, 8, 4, 4)
    view = spec.view(shape, num_groups=4)

    def family():
        settings = operator.settings(spec, view, 0, False, 1e-5, None)
        return settings.launch(torch.empty(shape), affine=True).family

    other = replace(tiles.HOPPER, waves=1)
    assert family() is tiles.HOPPER
    with tool.launched_with(other):
        assert family() is other
    assert family() is tiles.HOPPER


def test_calls_are_captured_with_the_constants_that_are_tried(there, monkeypatch):
    double, families = Double(), []
    ready = types.SimpleNamespace(
        ready=lambda sets: families.append(tiles.family_of("cuda")) or [lambda: None] * len(sets)
    )
    monkeypatch.setattr(workload, "named", lambda *of, **further: ready)
    other = replace(tiles.HOPPER, stages=2)
    timer = tool.captured(there[0], other, double, [None, None])
    assert families == [other] and timer.calls == 2 and "capture of 2" in double.log


def test_what_was_measured_is_kept_and_not_measured_again(there, monkeypatch, tmp_path):
    monkeypatch.setattr(device_clock, "accelerator", lambda name: Double())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(tiles, "family_of", lambda device: tiles.HOPPER)
    monkeypatch.setattr(workload, "sets", lambda task, held: [None])
    tried = []

    def captured(task, family, device, sets):
        tried.append(family)
        if family.per_thread == 16:
            raise RuntimeError("out of resource: shared memory")
        return family.per_thread

    monkeypatch.setattr(tool, "captured", captured)
    monkeypatch.setattr(tool, "log_ratio", lambda base, other: math.log(other / base))
    arguments = {"only": "per_thread", "names": ["rows-8192x4096"], "seconds": 60.0}
    lines = tool.measure("cuda", tmp_path / "tiles.jsonl", **arguments)
    kept = [json.loads(line) for line in (tmp_path / "tiles.jsonl").read_text().splitlines()]
    assert kept == lines and {line["value"] for line in lines} == {16, 64}
    assert all(line["reason"] == "out of resource: shared memory" for line in lines if line["value"] == 16)
    (said,) = tool.summary(lines)
    assert said.startswith("per_thread = 64: 2.000 [")
    number = len(tried)
    assert tool.measure("cuda", tmp_path / "tiles.jsonl", **arguments) == lines and len(tried) == number
    assert len(tool.measure("cuda", tmp_path / "none.jsonl", **{**arguments, "seconds": -1.0})) == 0


def test_two_families_are_timed_in_turn():
    double = Double(graph_s=2e-3)
    base, other = (device_clock.captured([lambda: None], double) for _ in range(2))
    assert tool.log_ratio(base, other) == pytest.approx(0.0, abs=1e-9)
    replays = [word for word in double.log if word.startswith("replay")]
    assert {"replay 1", "replay 2"} == set(replays)


def test_a_machine_without_an_accelerator_is_told_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tiles", "--device", "cuda"])
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="device = 'cuda'"):
            tool.main()
