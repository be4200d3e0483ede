"""Records: whole or not at all, strict JSON, and no word of the host."""

import json
import os
import platform

import pytest

from normsuite.errors import ArgumentError, OutputError
from normsuite.files import writing
from normsuite.records import provenance, results


def record(**changes):
    made = results.make_record("test", {"a": 1}, [1.0], environment=provenance.environment(threads=1), seeds=[0])
    return {**made, **changes}


def test_a_record_comes_back_as_it_went(tmp_path):
    made = record()
    results.write_record(tmp_path, "one", made)
    assert results.read_record(tmp_path / "one.json") == made
    assert [p.name for p in tmp_path.iterdir()] == ["one.json"]


def test_a_record_names_no_host_and_no_folder():
    text = json.dumps(record())
    for word in (platform.node(), os.getcwd(), os.path.expanduser("~")):
        assert word not in text
    assert record()["environment"]["packages"]["torch"]


def test_a_diverged_run_is_kept(tmp_path):
    results.write_record(tmp_path, "one", record(samples=[float("nan"), float("inf"), (float("-inf"), 1)]))
    kept = results.read_record(tmp_path / "one.json")["samples"]
    assert kept == ["nan", "inf", ["-inf", 1]] and float(kept[1]) == float("inf")


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    path = results.write_record(tmp_path, "one", record())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"one\.json.*No space left"):
        results.write_record(tmp_path, "one", record(case={"a": 2}))
    assert results.read_record(path)["case"] == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["one.json"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "damaged"), ("[]", "lacks schema"), ("{}", "lacks schema, what"), ("\x00", "damaged")],
)
def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path, text, says):
    results.write_record(tmp_path, "good", record())
    results.write_record(tmp_path, "other", record(what="else"))
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ArgumentError, match=says):
        results.read_record(tmp_path / "bad.json")
    found = results.read_records(tmp_path, "test")
    assert len(found.good) == 1 and [name for name, _ in found.damaged] == ["bad.json"]


def test_a_newer_schema_is_refused(tmp_path):
    results.write_record(tmp_path, "new", record(schema=results.SCHEMA + 1))
    with pytest.raises(ArgumentError, match="has schema 2; this version reads up to 1"):
        results.read_record(tmp_path / "new.json")


def test_digests_follow_the_value_and_not_its_order():
    assert results.digest({"a": 1, "b": 2}) == results.digest({"b": 2, "a": 1}) != results.digest({"a": 1, "b": 3})
    assert len(provenance.source_digest()) == 16


def test_an_interruption_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    writing.write_text(tmp_path / "a.json", "old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writing.write_text(tmp_path / "a.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_text() == "old"
