"""Files that are odd, damaged, hostile or no files: read for what they are, refused with a reason, summed by kind."""

import json
import os

import pytest
from asv_folder import DAY, NAME, START, Folder, commit_of
from report_records import write_bench, write_gate, write_numerics, write_study

from normsuite import history
from normsuite.errors import ArgumentError, DataError, OutputError
from normsuite.files import reading, writing
from normsuite.records import results, schema
from normsuite.report.collect import collect
from normsuite.spec import load

pytestmark = pytest.mark.usefixtures("own_cache")


def put(**changes):
    """Changes fields of a result."""
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def row(of):
    return put(results={NAME: of})


def instead(content):
    return lambda path: path.write_bytes(content)


def again(change):
    """The same file in other bytes."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def linked(path):
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def piped(path):
    path.unlink()
    os.mkfifo(path)


def endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


# What becomes of the twelfth result: what the note says, or None where it is read as it is.
ODD = {
    "byte order mark": (again(lambda old: b"\xef\xbb\xbf" + old), None),
    "DOS line ends": (again(lambda old: old.replace(b", ", b",\r\n")), None),
    "unknown column": (put(result_columns=["result", "params", "x"], results={NAME: [[1.0], [], "red"]}), None),
    "a short row": (row([[1.0]]), None),
    "never started": (row([[1.0], [], "1", None]), None),
    "another format's": (instead(b'{"benchmarks": [], "version": "5.3.1"}'), "no version of its format"),
    "null": (instead(b"null"), "no object"),
    "a number": (instead(b"1"), "no object"),
    "a list": (instead(b"[]"), "no object"),
    "empty": (instead(b""), "it is empty"),
    "zeros": (instead(bytes(99)), "it holds zeros alone"),
    "half": (again(lambda old: old[: len(old) // 2]), "is no JSON"),
    "UTF-16": (again(lambda old: old.decode().encode("utf-16")), "is no UTF-8"),
    "Latin 1": (instead('{"version": 2, "é": 1}'.encode("latin-1")), "is no UTF-8"),
    "a conflict": (instead(b"<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n"), "merge conflict"),
    "a pointer": (instead(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "deep": (instead(b"[" * 100_000), "nested too deeply"),
    "5,000 digits": (again(lambda old: old.replace(b'"date": ', b'"date": ' + b"9" * 5000)), "more than 300 digits"),
    "format 1": (put(version=1), "asv update"),
    "format 3": (put(version=3), "newer"),
    "format of text": (put(version="2"), "no version of its format"),
    "no commit": (put(commit_hash=None), "commit_hash is no commit"),
    "a commit with a path": (put(commit_hash="../../etc/passwd"), "commit_hash is no commit"),
    "a date of text": (put(date="2026-01-01"), "date is no number"),
    "no date": (put(date=None), "without a date"),
    "no params": (put(params=None), "params is no object"),
    "no results": (put(results=None), "results is no object"),
    "results in a list": (put(results=[]), "results is no object"),
    "an empty row": (row([]), "row is empty"),
    "no rows": (put(results={}), "has no results"),
    "no row": (row(None), "row is no list"),
    "a bare value": (row([1.0, []]), "values are no list"),
    "a value of text": (row([["1.0"], [], "1"]), "value is no number"),
    "a true value": (row([[True], [], "1"]), "value is no number"),
    "too many values": (row([[1.0, 2.0], [], "1"]), "number of values is not the number of choices"),
    "a negative time": (row([[-1.0], [], "1"]), "negative time"),
    "a time without end": (row([[float("inf")], [], "1"]), "no time or size"),
    "a date before all": (put(date=-1), "date is out of range"),
    "a date after all": (put(date=1e300), "date is out of range"),
    "a start of text": (row([[1.0], [], "1", "2026-01-01T00:00:00"]), "started_at is no time"),
    "a half interval": (row([[1.0], [], "1", 1, 1, [0.9, 1.0], [1.1]]), "number of interval ends is not"),
    "an interval the wrong way round": (row([[1.0], [], "1", 1, 1, [1.2], [1.1]]), "ends before it begins"),
    "parameters that are none": (row([[1.0], 7, "1"]), "no list of lists"),
    "a dangling link": (linked, "leads nowhere"),
    "a named pipe": (piped, "no regular file"),
    "an endless device": (endless, "no regular file"),
}  # fmt: skip


def folder_of(path, count=12):
    folder = Folder(path).list({NAME: {"type": "time"}})
    for n in range(count):
        last = folder.add(commit_of(n), START + DAY * n, {NAME: [folder.noisy(1.0)]})
    return folder, last


@pytest.mark.parametrize(("spoil", "says"), ODD.values(), ids=ODD)
def test_an_odd_file_of_asv_s(tmp_path, spoil, says):
    _, last = folder_of(tmp_path)
    spoil(last)
    found = history.read(tmp_path)
    (segment,) = history.segments(found.results)
    assert segment.commits[:11] == [commit_of(n) for n in range(11)]
    assert len(found.notes) == (says is not None) and all(says in note for note in found.notes), found.notes


LISTS = {
    "null": "null", "list": "[]", "half": '{"version": 2, "lat', "format 1": '{"version": 1}', "empty": "",
    "surrogates alone": '{"version": "\\ud800"}',
}  # fmt: skip


@pytest.mark.parametrize("content", LISTS.values(), ids=LISTS)
def test_a_damaged_list_of_benchmarks_leaves_the_other_records(tmp_path, content):
    folder_of(tmp_path / "asv" / "results")
    (tmp_path / "asv" / "results" / "benchmarks.json").write_text(content)
    write_numerics(tmp_path)
    with pytest.raises(DataError, match=r"benchmarks\.json"):
        history.read(tmp_path / "asv" / "results")
    found = collect(tmp_path)
    assert found.numerics and not found.history
    assert sum("benchmarks.json" in note for note in found.notes) == 1


def test_a_damaged_benchmark_in_the_list_leaves_the_others(tmp_path):
    folder, _ = folder_of(tmp_path)
    folder.list({NAME: {}, "other": {"params": 7}, "third": {"unit": ["s"]}})
    found = history.read(tmp_path)
    assert len(found.results) == 12 and sum("benchmarks.json is left out" in note for note in found.notes) == 2


def test_a_damaged_machine_s_file_is_said_and_the_results_are_read(tmp_path):
    folder, _ = folder_of(tmp_path)
    (folder.machine / "machine.json").write_text('{"version": 1, "mach')
    found = history.read(tmp_path)
    assert len(found.results) == 12 and "asv itself ignores the results there" in found.notes[0]


def test_notes_are_summed_by_kind(tmp_path):
    folder, _ = folder_of(tmp_path, 40)
    for n in range(30):
        (folder.machine / f"{commit_of(n)[:8]}-venv.json").write_text("{" + " " * n)
    (note,) = history.read(tmp_path).notes
    assert note.startswith("30 results of asv's left out: is no JSON") and note.endswith("and 27 more)")


def test_nothing_readable_is_an_error(tmp_path):
    folder, _ = folder_of(tmp_path, 3)
    for path in folder.machine.glob("0*.json"):
        path.write_text("{}")
    with pytest.raises(DataError, match=r"no result in .* can be read"):
        history.read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_said(tmp_path):
    write_numerics(tmp_path)
    (tmp_path / "numerics").chmod(0)
    try:
        assert any("cannot be read" in note for note in collect(tmp_path).notes)
    finally:
        (tmp_path / "numerics").chmod(0o755)


def test_a_folder_that_fails_is_said(tmp_path, monkeypatch):
    write_numerics(tmp_path)

    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return iter(())

    monkeypatch.setattr(reading.os, "walk", walk)
    assert any("the folder cannot be read (Permission denied)" in note for note in collect(tmp_path).notes)


# ---- records ----


def changed(record, path, value):
    """A record in which one value, by the keys that lead to it, is another; `...` takes it out."""
    *way, last = path
    at = record
    for key in way:
        at = at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return record


TWICE = {"norm": "BatchNorm", "mean": 0.0, "backend": "reference", "output": 1.0, "gradient": 1.0}
EPOCH = ("samples", "epochs", 0)
WRONG = {
    "an accuracy of 17.5": (write_study, "study", (*EPOCH, "test_accuracy"), 17.5),
    "a negative accuracy": (write_study, "study", (*EPOCH, "train_accuracy"), -0.1),
    "a negative time": (write_study, "study", (*EPOCH, "seconds"), -2.0),
    "a loss of text": (write_study, "study", (*EPOCH, "test_loss"), "small"),
    "an epoch twice": (write_study, "study", (*EPOCH, "epoch"), 2),
    "a seed of text": (write_study, "study", ("case", "seed"), "0"),
    "half a norm": (write_study, "study", ("case", "norm"), None),
    "a day that is none": (write_study, "study", ("written",), "yesterday"),
    "no cores": (write_study, "study", ("environment", "cores"), 0),
    "a time of 0": (write_bench, "bench", ("samples", "processes", 0, "times_s", "auto", 0), 0.0),
    "a negative call": (write_bench, "bench", ("samples", "processes", 0, "times_s", "auto", 0), -1e-3),
    "bytes of text": (write_bench, "bench", ("samples", "counts"), {"auto": {"peak_bytes": "1"}}),
    "a shape of nothing": (write_bench, "bench", ("case", "shape"), []),
    "a cell is gone": (write_gate, "gate", ("samples", "log_ratios", "cell 0"), ...),
    "a ratio of text": (write_gate, "gate", ("samples", "log_ratios", "cell 0", "1"), "1"),
    "half of a count": (write_gate, "gate", ("samples", "counts", "cell 0", "head"), {}),
    "a margin of text": (write_gate, "gate", ("case", "margins", "time"), "1%"),
    "a row is gone": (write_numerics, "numerics", ("samples", 3), ...),
    "a row twice": (write_numerics, "numerics", ("samples", 3), TWICE),
    "a negative error": (write_numerics, "numerics", ("samples", 0, "output"), -1.0),
}  # fmt: skip


@pytest.mark.parametrize(("write", "what", "path", "value"), WRONG.values(), ids=WRONG)
def test_a_value_that_no_measurement_gives_is_damage(tmp_path, write, what, path, value):
    write(tmp_path)
    file = min((tmp_path / what).glob("*.json"))
    record = results.read_record(file)
    assert schema.problem(record) is None
    results.write_record(file.parent, file.stem, changed(record, path, value))
    notes = [note for note in collect(tmp_path).notes if file.name in note]
    assert len(notes) == 1 and "damaged" in notes[0], collect(tmp_path).notes


def other(value):
    """Another value of the same kind, as likely as that one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    return value * 1.01 if isinstance(value, float) else value + 1 if isinstance(value, int) else [value]


@pytest.mark.parametrize("way", [of[:3] for of in WRONG.values()], ids=WRONG)
def test_a_value_that_was_changed_or_deleted_later_is_damage(tmp_path, way):
    """However likely what is there now looks."""
    write, what, path = way
    write(tmp_path)
    file = min((tmp_path / what).glob("*.json"))
    whole = json.loads(file.read_text())
    at = whole
    for key in path:
        at = at[key]
    for value in (other(at), ...):
        file.write_text(json.dumps(changed(json.loads(json.dumps(whole)), path, value)))
        assert [file.name in note and "damaged" in note for note in collect(tmp_path).notes].count(True) == 1
    file.write_text(json.dumps(whole, indent=3, sort_keys=True))
    assert not [note for note in collect(tmp_path).notes if file.name in note], "other white space and order"


def test_what_newer_records_have_besides_is_let_be(tmp_path):
    write_gate(tmp_path)
    file = min((tmp_path / "gate").glob("*.json"))
    record = {**results.read_record(file), "new": [1], "schema": 1}
    record["samples"]["new"] = {}
    assert schema.problem(record) is None


@pytest.mark.parametrize("content", [b"[" * 10**6, b'{"a": ' + b"1" * 5000 + b"}", b'"\\ud800"', b"{}", b"\xff"])
def test_a_damaged_record_is_refused_with_its_name(tmp_path, content):
    (tmp_path / "x\x1b[31m.json").write_bytes(content)
    with pytest.raises(ArgumentError, match=r"x\\\\x1b\[31m\.json"):
        results.read_record(tmp_path / "x\x1b[31m.json")
    (damaged,) = results.read_records(tmp_path, "study").damaged
    assert damaged[0] == r"x\x1b[31m.json"


def test_texts_come_back_printable(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a\x1b": ["\u202e", "\ud800", "ok\nok"]}))
    assert reading.read_json(tmp_path / "a.json") == {r"a\x1b": [r"\u202e", r"\ud800", "ok\nok"]}


def test_a_long_file_is_not_read_to_its_end(tmp_path):
    (tmp_path / "long").write_bytes(b"1" * 5000)
    with pytest.raises(reading.Unreadable, match="longer than"):
        reading.read_bytes(tmp_path / "long", limit=4999)
    assert len(reading.read_bytes(tmp_path / "long", limit=5000)) == 5000


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "/etc/x", "a\\b", "a\0b"])
def test_a_name_is_no_path(tmp_path, name):
    with pytest.raises(ArgumentError):
        results.write_record(tmp_path / "in", name, {})
    assert not list(tmp_path.rglob("*.json"))
    norm = tmp_path / "norm.toml"
    escaped = json.dumps(name)
    norm.write_text(
        f'name = {escaped}\ngroups = "channels"\naxes = ["spatial"]\naffine = "channel"\naffine_by_default = true\n'
        'running = "never"\npaper = "x"\ncentred = false\n'
    )
    with pytest.raises(DataError):
        load(norm)


# ---- writing ----


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    writing.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_name_may_be_as_long_as_the_system_has_it(tmp_path):
    name = "記" * 80 + ".md"  # 243 of 255 bytes
    assert writing.write_text(tmp_path / name, "new").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_of_two_names_stays_one(tmp_path):
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    writing.write_text(tmp_path / "a", "new")
    assert (tmp_path / "b").read_text() == "new" and os.path.samefile(tmp_path / "a", tmp_path / "b")


def test_a_pipe_and_a_device_stay_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writing.write_text(tmp_path / "pipe", "said")
    assert os.read(reader, 99) == b"said" and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    writing.write_text(results.Path("/dev/null"), "gone")
    assert results.Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="No space left on device"):
        writing.write_text(results.Path("/dev/full"), "x" * 10**6)


def test_a_new_file_is_readable_by_whom_the_umask_says(tmp_path):
    for umask, mode in ((0o077, 0o600), (0o002, 0o664)):
        before = os.umask(umask)
        try:
            writing.write_text(tmp_path / f"{mode}", "new")
        finally:
            os.umask(before)
        assert (tmp_path / f"{mode}").stat().st_mode & 0o777 == mode


def test_a_file_keeps_its_mode_and_a_failure_keeps_the_file(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o600)
    writing.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError):
        writing.write_text(tmp_path / "a", "\ud800")
    assert (tmp_path / "a").read_text() == "new" and [path.name for path in tmp_path.iterdir()] == ["a"]
