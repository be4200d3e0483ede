"""asv's results, written by asv's own writer and read back: fails when asv changes how it stores them."""

import math

import pytest
from asv_results import SAMPLES, write

from normsuite import history
from normsuite.errors import DataError
from normsuite.measure import labels

pytestmark = pytest.mark.usefixtures("own_cache")


def measurements(folder):
    return [m for result in history.read(folder).results for m in result.measurements]


def test_the_torch_that_ran_is_known_in_an_environment_that_exists(tmp_path):
    write(tmp_path, ["a" * 40], torch=None, ran=2_014_001)
    assert {m.result.torch for m in measurements(tmp_path)} == {"2.14.1"}


def test_the_last_measurement_of_a_commit_counts(tmp_path):
    """Once in asv's own environment, once in one that exists: the same machine, commit and torch."""
    write(tmp_path, ["a" * 40], samples=[1.0] * 10)
    write(tmp_path, ["b" * 40, "a" * 40], torch=None, ran=2_014_001)
    found = [
        m for m in measurements(tmp_path) if m.result.commit == "a" * 40 and m.result.benchmark != labels.ASV_TORCH
    ]
    assert len(found) == 4 and found[0].value == 2.0


def test_results_come_back_with_samples_interval_and_machine(tmp_path):
    write(tmp_path, ["b" * 40, "a" * 40])
    found = measurements(tmp_path)
    assert [m.result.commit[0] for m in found] == ["b"] * 4 + ["a"] * 4  # by date, not by name
    first = found[0]
    assert first.parameters == {"norm": "BatchNorm", "backend": "torch", "case": "tiny", "device": "cpu"}
    assert (first.value, first.samples, first.result.unit) == (2.0, tuple(SAMPLES), "seconds")
    low, high = first.interval
    assert low <= 2.0 <= high
    assert first.result.machine == "A processor, 2 cores" and first.result.torch == "2.14.1"
    assert found[4].result.date - found[0].result.date == 86_400
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
