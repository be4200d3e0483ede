"""asv's results, written by asv's own writer and read back: fails when asv changes how it stores them."""

import math
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.machine import Machine
from asv.results import Results

from normsuite import history
from normsuite.errors import DataError

LATENCY = {
    "name": "latency.Latency.track_training_step",
    "params": [["'BatchNorm'", "'LayerNorm'"], ["'torch'"], ["'tiny'"], ["'cpu'", "'cuda'"]],
    "param_names": ["norm", "backend", "case", "device"],
    "unit": "seconds",
    "version": "1",
    "type": "track",
    "code": "",
}
SAMPLES = [1.0, 2.0, 3.0, 2.0, 2.0, 2.5, 1.5, 2.0, 2.0, 2.0]


def write(folder, commits, *, version="1", torch="2.14.1", samples=SAMPLES, cpu="A processor"):
    """Store one result for each commit, oldest first, as `asv run --record-samples` does."""
    config = Config()
    config.results_dir = str(folder)
    Benchmarks(config, [LATENCY]).save()
    machine = Machine()
    machine.__dict__.update(machine="secret-host", cpu=cpu, num_cpu="2", os="Linux", arch="x86_64", ram="1")
    machine.save(str(folder))
    for number, commit in enumerate(commits):
        result = Results(
            {**machine.__dict__, "python": "3.11", "torch": torch}, {"torch": torch}, commit, number * 86_400_000,
            "3.11", f"venv-{torch}", {},
        )  # fmt: skip
        values = SimpleNamespace(
            result=[samples, math.nan, None, math.nan],
            samples=[samples, None, None, None],
            number=[1, None, None, None],
            errcode=0, stderr="", profile=None,
        )  # fmt: skip
        result.add_result(
            {**LATENCY, "version": version},
            values,
            record_samples=True,
            started_at=datetime(2026, 1, 1 + number, tzinfo=UTC),
        )
        result.save(str(folder))


def test_results_come_back_with_samples_interval_and_machine(tmp_path):
    write(tmp_path, ["b" * 40, "a" * 40])
    found = history.read(tmp_path)
    assert [m.commit[0] for m in found] == ["b"] * 4 + ["a"] * 4  # by date, not by name
    first = found[0]
    assert first.parameters == {"norm": "BatchNorm", "backend": "torch", "case": "tiny", "device": "cpu"}
    assert (first.value, first.samples, first.unit) == (2.0, tuple(SAMPLES), "seconds")
    assert first.low <= 2.0 <= first.high
    assert first.machine == "A processor, 2 cores" and first.torch == "2.14.1"
    assert found[4].date - found[0].date == 86_400
    missing, failed = found[1], found[2]
    assert math.isnan(missing.value) and failed.value is None and missing.samples == ()


def test_results_of_another_version_of_a_benchmark_are_left_out(tmp_path):
    write(tmp_path, ["a" * 40], version="0")
    assert history.read(tmp_path) == []


def test_no_results_are_no_error(tmp_path):
    assert history.read(tmp_path) == [] == history.read(tmp_path / "absent")


def test_a_damaged_list_of_benchmarks_is_named(tmp_path):
    (tmp_path / "benchmarks.json").write_text("{")
    with pytest.raises(DataError, match=r"benchmarks\.json"):
        history.read(tmp_path)
