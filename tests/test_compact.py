"""Records of today and of every past schema, as files of their own and as one compressed file."""

import lzma
import shutil
from pathlib import Path

import pytest
from report_records import watched, write_bench, write_gate, write_numerics, write_study

from normsuite.errors import ArgumentError, NormsuiteError
from normsuite.files import reading, writing
from normsuite.records import compact, results, schema
from normsuite.report.collect import collect
from normsuite.report.markdown import markdown
from normsuite.report.pages import pages
from tools.compact import expand, pack

PAST = sorted((Path(__file__).parent / "data").glob("records-of-schema-*.jsonl.xz"))
KINDS = ("study", "bench", "gate", "numerics")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of every kind of record, and the same with a compact file in the place of each folder of records."""
    aside = tmp_path_factory.mktemp("made")
    folder, other = aside / "folder", aside / "packed"
    write_study(folder, seeds=2, further=watched)
    write_bench(folder)
    write_gate(folder)
    write_numerics(folder)
    for name in KINDS:
        pack(folder / name, other / name / f"{name}.jsonl.xz")
    return folder, other


@pytest.fixture
def packed(made, tmp_path, own_cache):
    """The same, to be damaged."""
    return made[0], Path(shutil.copytree(made[1], tmp_path / "packed"))


def test_a_report_of_compact_files_is_that_of_the_folders(packed):
    """Without its drawings; those of the reference report are compared byte by byte."""
    folder, other = map(collect, packed)
    assert markdown(pages(folder)) == markdown(pages(other))
    assert (folder.study, folder.gate, folder.notes) == (other.study, other.gate, other.notes)
    assert folder.study and folder.benches and folder.gate and folder.numerics


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_lost(packed, tmp_path, name):
    folder, other = packed
    expand(other / name / f"{name}.jsonl.xz", tmp_path / "again")
    files = {path.name: path.read_bytes() for path in (folder / name).glob("*.json")}
    assert files and files == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert results.read_records(folder, name).good == results.read_records(other, name).good


def test_the_same_records_give_the_same_bytes(packed, tmp_path):
    _, other = packed
    expand(other / "bench" / "bench.jsonl.xz", tmp_path / "again")
    pack(tmp_path / "again", tmp_path / "again.jsonl.xz")
    assert (tmp_path / "again.jsonl.xz").read_bytes() == (other / "bench" / "bench.jsonl.xz").read_bytes()


DAMAGES = {
    "cut off": (lambda whole: whole[:-20], "is cut off"),
    "a byte is another": (lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], "is no whole xz file"),
    "something behind its end": (lambda whole: whole + b"\0more", "something behind its end"),
    "no xz": (lambda whole: lzma.decompress(whole), "is no whole xz file"),
    "empty": (lambda whole: b"", "is cut off"),
    "no JSON": (lambda whole: lzma.compress(b"{"), "is no JSON"),
    "no record behind a good one": (
        lambda whole: lzma.compress(lzma.decompress(whole) + b"[]\n"),
        "is no named record",
    ),
    "no record": (lambda whole: lzma.compress(b"[]\n"), "line 1 is no named record"),
    "no text": (lambda whole: lzma.compress(b"\xff"), "utf-8"),
    "nested": (lambda whole: lzma.compress(b"[" * 100_000), "is nested too deeply"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_compact_file_is_named_and_left_out(packed, damage, says):
    path = packed[1] / "study" / "study.jsonl.xz"
    path.write_bytes(damage(path.read_bytes()))
    found = collect(packed[1])
    assert found.study == [] and found.gate is not None
    assert sum(path.name in note and says in note for note in found.notes) == 1, found.notes


def test_a_compact_file_is_not_unpacked_without_end(tmp_path):
    (tmp_path / "bomb.jsonl.xz").write_bytes(lzma.compress(bytes(10**7), preset=0))
    with pytest.raises(reading.Unreadable, match="holds more than 1 MiB"):
        next(compact.members(tmp_path / "bomb.jsonl.xz", 2**20))


def test_a_damaged_record_in_a_compact_file_is_named_and_left_out(packed):
    path = packed[1] / "study" / "study.jsonl.xz"
    members = [(member.name, member.value) for member in compact.members(path)]
    members[0][1]["samples"]["epochs"][0]["test_accuracy"] = 17.5
    path.write_bytes(compact.packed(members))
    good = results.read_records(path.parent, "study")
    assert len(good.good) == len(members) - 1
    ((name, reason),) = good.damaged
    assert name == f"{members[0][0]} in {path.name}" and "test_accuracy" in reason


def test_the_same_name_twice_or_a_damaged_record_is_not_packed(tmp_path):
    here = {"cpu": "A", "cores": 1, "packages": {}}
    record = {"schema": 1, "what": "x", "case": {}, "samples": {}, "environment": here}
    for name in ("a", "b"):
        writing.write_text(tmp_path / name / "one.json", writing.to_json(record))
    with pytest.raises(NormsuiteError, match="two records are called one"):
        pack(tmp_path, tmp_path / "found.jsonl.xz")
    del here["cpu"]
    writing.write_text(tmp_path / "a" / "one.json", writing.to_json(record))
    with pytest.raises(ArgumentError, match=r"one\.json.*`cpu`"):
        pack(tmp_path / "a", tmp_path / "found.jsonl.xz")
    assert not (tmp_path / "found.jsonl.xz").exists()


def test_samples_that_are_left_out_are_named_in_each_record(made, tmp_path):
    whole = results.read_records(made[0] / "study", "study").good
    pack(made[0] / "study", tmp_path / "study.jsonl.xz", without=["mistakes", "nothing of that name"])
    found = results.read_records(tmp_path, "study")
    assert not found.damaged and len(found.good) == len(whole) > 0
    for record, other in zip(whole, found.good, strict=True):
        assert set(record["samples"]) - set(other["samples"]) == {"mistakes"}
        assert other["notes"][-1] == "kept without mistakes" and other["case"] == record["case"]


# ---- past schemas ----


def samples_of(path):
    return [(member.name, member.value) for member in compact.members(path)]


def test_there_are_records_of_every_schema_and_kind():
    schemas = {record["schema"] for path in PAST for _, record in samples_of(path)}
    kinds = {record["what"] for path in PAST for _, record in samples_of(path)}
    assert schemas == set(range(1, results.SCHEMA + 1)) and kinds >= schema.KINDS.keys()


@pytest.mark.parametrize("path", PAST, ids=lambda path: path.name)
def test_every_past_record_is_read_as_it_is(path, tmp_path):
    for name, record in samples_of(path):
        file = results.write_value(tmp_path, name, record)
        assert results.read_record(file) == record and "digest" not in record
        found = schema.typed(record)
        assert type(found) is schema.KINDS.get(record["what"], schema.Record)
        assert found.environment.cpu == record["environment"]["cpu"]
    expected = {what: sum(record["what"] == what for _, record in samples_of(path)) for what in schema.KINDS}
    assert {what: len(results.read_records(tmp_path, what).good) for what in schema.KINDS} == expected
