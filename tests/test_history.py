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

pytestmark = pytest.mark.usefixtures("own_cache")

TORCH = {
    "name": history.TORCH,
    "params": [],
    "param_names": [],
    "unit": "v",
    "version": "1",
    "type": "track",
    "code": "",
}
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


def write(folder, commits, *, version="1", torch="2.14.1", samples=SAMPLES, cpu="A processor", ran=None):
    """Store one result for each commit, oldest first, as `asv run --record-samples` does.

    `torch` is what asv installed, None in an environment that exists; `ran` what `track_torch` found.
    """
    config = Config()
    config.results_dir = str(folder)
    Benchmarks(config, [LATENCY, TORCH]).save()
    machine = Machine()
    machine.__dict__.update(machine="secret-host", cpu=cpu, num_cpu="2", os="Linux", arch="x86_64", ram="1")
    machine.save(str(folder))
    for number, commit in enumerate(commits):
        result = Results(
            {**machine.__dict__, "python": "3.11", "torch": torch}, {}, commit, number * 86_400_000,
            "3.11", f"venv-{torch}", {},
        )  # fmt: skip
        values = SimpleNamespace(
            result=[samples, math.nan, None, math.nan],
            samples=[samples, None, None, None],
            number=[1, None, None, None],
            errcode=0, stderr="", profile=None,
        )  # fmt: skip
        started = datetime(2026, 1, 1 + number, tzinfo=UTC)
        result.add_result({**LATENCY, "version": version}, values, record_samples=True, started_at=started)
        if ran is not None:
            value = SimpleNamespace(result=[ran], samples=[None], number=[None], errcode=0, stderr="", profile=None)
            result.add_result(TORCH, value, started_at=started)
        result.save(str(folder))


def measurements(folder):
    return [m for result in history.read(folder).results for m in result.measurements]


def test_the_torch_that_ran_is_known_in_an_environment_that_exists(tmp_path):
    write(tmp_path, ["a" * 40], torch=None, ran=2_014_001)
    assert {m.torch for m in measurements(tmp_path)} == {"2.14.1"}


def test_the_last_measurement_of_a_commit_counts(tmp_path):
    """Once in asv's own environment, once in one that exists: the same machine, commit and torch."""
    write(tmp_path, ["a" * 40], samples=[1.0] * 10)
    write(tmp_path, ["b" * 40, "a" * 40], torch=None, ran=2_014_001)
    found = [m for m in measurements(tmp_path) if m.commit == "a" * 40 and m.benchmark != history.TORCH]
    assert len(found) == 4 and found[0].value == 2.0


def test_results_come_back_with_samples_interval_and_machine(tmp_path):
    write(tmp_path, ["b" * 40, "a" * 40])
    found = measurements(tmp_path)
    assert [m.commit[0] for m in found] == ["b"] * 4 + ["a"] * 4  # by date, not by name
    first = found[0]
    assert first.parameters == {"norm": "BatchNorm", "backend": "torch", "case": "tiny", "device": "cpu"}
    assert (first.value, first.samples, first.unit) == (2.0, tuple(SAMPLES), "seconds")
    assert first.low <= 2.0 <= first.high
    assert first.machine == "A processor, 2 cores" and first.torch == "2.14.1"
    assert found[4].date - found[0].date == 86_400
    missing, failed = found[1], found[2]
    assert math.isnan(missing.value) and failed.value is None and missing.samples == ()


def test_results_of_another_version_of_a_benchmark_are_a_segment_of_their_own(tmp_path):
    write(tmp_path, ["a" * 40], version="0")
    found = history.read(tmp_path)
    assert [result.former for result in found.results] == [True]
    (segment,) = history.segments(found.results)
    assert not segment.newest and segment.versions == "torch 2.14.1, benchmark version 0"
    assert "1 result of another version of a benchmark" in found.notes[0]


def test_no_results_are_no_error(tmp_path):
    assert history.read(tmp_path) == history.History() == history.read(tmp_path / "absent")


def test_a_damaged_list_of_benchmarks_is_named(tmp_path):
    (tmp_path / "benchmarks.json").write_text("{")
    with pytest.raises(DataError, match=r"benchmarks\.json"):
        history.read(tmp_path)
