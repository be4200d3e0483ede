"""The fault harness sees what it is for; `make faults` runs it whole."""

import json
import random

import pytest

from normsuite.files import writing
from normsuite.records import results
from tools import faults, mutations, situations

pytestmark = pytest.mark.usefixtures("own_cache")


def tried(tmp_path, name="numerics", count=6, ways=None, monkeypatch=None):
    if ways is not None:
        monkeypatch.setattr(faults, "OF_JSON", ways)
        monkeypatch.setattr(faults, "OF_BYTES", {})
    of = faults.Run(0)
    of.records(tmp_path, name, count)
    return of


def test_whole_readers_pass(tmp_path):
    of = tried(tmp_path, count=40)
    assert not of.bad and of.counts["numerics"]["mutations"] == 40 and of.counts["numerics"]["said"] > 30
    of.settings(tmp_path, 30)
    of.results(tmp_path / "results", 20)
    of.caches(tmp_path / "results" / "asv" / "results", 5)
    assert not of.bad, of.bad


@pytest.mark.parametrize("name", ["repositories", "streams", "full disk", "two at once"])
def test_whole_commands_pass(name):
    of = faults.Run(1)
    of.situation(name, 2)
    assert not of.bad and of.counts[name]["mutations"] == 2


def test_a_reader_that_breaks_is_seen(tmp_path, monkeypatch):
    def breaks(folder, what):
        found = results.Records()
        for path in sorted(folder.glob("*.json")):
            found.good.append(json.loads(path.read_text()))
            found.names.append(path.name)
        return found

    faults.records_of(tmp_path / "other", "numerics")
    monkeypatch.setattr(faults, "records_of", lambda folder, name: tmp_path / "other" / name)
    monkeypatch.setattr(results, "read_records", breaks)
    of = tried(tmp_path, ways={"zeros": mutations.OF_BYTES["zeros"]}, monkeypatch=monkeypatch)
    assert of.counts["numerics"]["traceback"] == 6


@pytest.mark.parametrize("way", [mutations.LIKELY, "a field or value is gone"])
def test_a_reader_that_believes_everything_is_seen(tmp_path, monkeypatch, way):
    monkeypatch.setattr(results, "_problem", lambda value: None)
    of = tried(tmp_path, ways={way: mutations.OF_JSON[way]}, monkeypatch=monkeypatch)
    assert of.counts["numerics"]["wrong"] + of.counts["numerics"]["traceback"] >= 4


def test_a_reader_that_says_nothing_is_seen(tmp_path, monkeypatch):
    whole = results.read_records

    def silent(folder, what):
        found = whole(folder, what)
        found.damaged.clear()
        return found

    monkeypatch.setattr(results, "read_records", silent)
    of = tried(tmp_path, ways={"zeros": mutations.OF_BYTES["zeros"]}, monkeypatch=monkeypatch)
    assert of.counts["numerics"]["wrong"] == 6


def test_a_reader_that_loses_is_seen(tmp_path, monkeypatch):
    whole = results.read_records

    def losing(folder, what):
        found = whole(folder, what)
        for name, _ in found.damaged:
            (folder / name).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(results, "read_records", losing)
    of = tried(tmp_path, ways={"zeros": mutations.OF_BYTES["zeros"]}, monkeypatch=monkeypatch)
    assert of.counts["numerics"]["lost"] == 6


def test_a_writer_that_leaves_half_a_record_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_write_aside", lambda path, content: path.write_bytes(content))
    outcomes = []
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        outcomes.append(situations.full_disk(tmp_path / str(number), random.Random(number))[0])
    assert "lost" in outcomes
