"""What a report takes from records, and the tables and charts' data that come of them."""

import json
import re

import asv_results
import gate_records
import pytest
from report_records import (
    HOSTILE,
    NOT_RECORDED,
    watched,
    write_bench,
    write_gate,
    write_source,
    write_study,
    write_whole,
)

from normsuite import report
from normsuite.bench.sentences import sentences
from normsuite.files import writing
from normsuite.gate import summary as gate
from normsuite.gate import tables as gate_tables
from normsuite.history import cost
from normsuite.lesson import diagrams
from normsuite.lesson.tables import worked_example
from normsuite.numerics import charts as numerics_charts
from normsuite.numerics import tables as numerics
from normsuite.records import provenance, results, schema
from normsuite.report.collect import collect
from normsuite.spec import NORMS, find
from normsuite.study import mistakes
from normsuite.study import tables as study

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "reports")


@pytest.fixture
def whole(tmp_path):
    return write_whole(tmp_path / "reports")


def test_what_the_gate_found(whole):
    write_gate(whole, written="2026-02-01T00:00:00+00:00")
    found = collect(whole)
    assert found.gate["written"][:7] == "2026-02" and "1 records of earlier gates are left out" in found.notes
    write_gate(whole, written="2026-03-01T00:00:00+00:00", bisection=True)
    again = collect(whole)
    assert again.gate["written"][:7] == "2026-02", "a bisection's margins follow the step that it looks for"
    assert "1 records of bisections are left out: their margins follow the step" in again.notes
    rows = gate_tables.verdicts(found.gate, gate.rows(found.gate)).rows
    assert rows[0] == ("cell 0", "peak bytes", "1000 B", "1.48 KiB", "+51.2%", "worse", "", "")
    verdicts = [row[5] for row in rows[1:]]
    assert verdicts == ["undecided"] * verdicts.count("undecided") + ["same"] * verdicts.count("same")
    assert len(verdicts) == 48 and verdicts.count("same") > 24
    assert rows[1][2] == "1 ms" and " % [" in rows[1][4], "times have an interval"
    assert gate.headline(found.gate) == f"{HOSTILE} ({'a' * 9}) against base ({'a' * 9}): a regression."


def test_damaged_records_of_a_gate_and_of_errors_are_named_and_skipped(whole):
    for folder, change in (("gate", {"samples": {}}), ("numerics", {"samples": [{"norm": "BatchNorm"}]})):
        path = next((whole / folder).glob("*.json"))
        results.write_record(path.parent, path.stem, {**json.loads(path.read_text()), **change})
    found = collect(whole)
    assert found.gate is None and found.numerics == []
    for missing in ("`log_ratios` - at `$.samples`", "`mean` - at `$.samples[0]`"):
        said = f"is damaged (Object missing required field {missing})"
        assert sum(said in note for note in found.notes) == 1, found.notes


def test_the_errors_far_from_zero(whole):
    (record,) = collect(whole).numerics
    table = numerics.errors(record)
    assert table.names[:4] == ("of the", "input mean", "backend", "BatchNorm")
    assert table.rows[0] == ("output", "0", "reference", *["1.0e-07"] * len(NORMS))
    assert table.rows[3][-1] == "inf" and table.rows[-1][-1] == f"n/a: cannot {HOSTILE}"
    first, second = numerics_charts.charts(record)
    assert "BatchNorm 1.0e-07 at 0, 1.0e-03 at 10000" in first.alternative
    assert second.alternative.endswith("1.0e-07 at 0"), "an infinite error is no point of a chart"


def test_how_often_the_gate_is_wrong_is_told_by_the_newest_records_that_add_up(tmp_path):
    def write_table(name, verdicts, injected=None, method="new", injection="new", written="2026-02-02"):
        record = gate_records.checked(verdicts, injected)
        record["case"] |= {"identity": {"method": method}, "injection": injection}
        record |= {"schema": results.SCHEMA, "environment": provenance.environment(), "written": written}
        writing.write_text(tmp_path / "self-check" / f"{name}.json", writing.to_json(record))

    write_table("a", ["same", "worse"]), write_table("copy", ["same", "worse"])
    write_table("b", ["worse", "same"], {"cell 0": 0.05})
    write_table("c", ["worse", "worse"], method="old", written="2026-01-01")
    write_table("e", ["same", "same"], {"cell 0": 0.05}, injection="old", written="2026-01-01")
    write_table("f", ["same", "same"], injection="old", written="2026-01-01")
    write_table("d", [])
    writing.write_text(tmp_path / "self-check" / "d.json", (tmp_path / "self-check" / "a.json").read_text()[:-9] + "}")
    found = collect(tmp_path)
    assert "2 records of self-checks by other methods or elsewhere are left out" in found.notes
    assert any(note.startswith("record d.json") for note in found.notes)
    rows = {row[:2]: row[2:4] for row in gate_tables.error_rates(found.self_check).rows}
    assert rows["equal", "tables with a false alarm"] == ("1", "2")
    assert rows["not slower", "cells called worse"] == ("1", "5")
    assert rows["slower by 5%", "cells called worse"] == ("1", "1")


def test_digits_that_are_not_this_package_s_are_not_drawn(source):
    write_study(source, written="2026-02-01T00:00:00+00:00", further=watched, l1=0.0)
    found = collect(source)
    assert mistakes.gallery(found.studied)
    found.study[0]["samples"]["mistakes"][0]["confidence"] = "nan"  # of a run that diverged
    assert "nan" not in mistakes.gallery(found.studied)[0].alternative
    for record in found.study:
        record["depends"]["data"] = "others"
    assert (
        mistakes.gallery(found.studied) == []
        and mistakes.disagreements(found.studied) is None
        and mistakes.confusion(found.studied)
    )


def test_runs_that_chose_settings_are_not_the_study(source):
    write_study(source, written="2026-03-01T00:00:00+00:00", hold_out=5000)
    found = collect(source)
    assert all(not record["case"].get("hold_out") for record in found.study) and len(found.study) == 18
    assert set(found.notes) - NOT_RECORDED == {"18 records of runs that chose settings are left out"}


def test_damaged_records_are_named_and_skipped(source):
    (source / "study" / "bad.json").write_text("{")
    found = collect(source)
    assert any("bad.json is damaged" in n for n in found.notes) and len(found.study) == 3 * (1 + len(NORMS))


def without(record, path):
    """The record, less what lies at the end of that path."""
    *way, last = path
    inner = record
    for key in way:
        inner = inner[key]
    del inner[last]
    return record


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("study", ("case", "norm")),
        ("study", ("case", "seed")),
        ("study", ("samples", "epochs")),
        ("study", ("samples", "epochs", 0)),
        ("study", ("samples", "epochs", 0, "test_loss")),
        ("study", ("samples", "norm_parameters")),
        ("study", ("environment", "cpu")),
        ("bench", ("settings", "processes")),
        ("bench", ("environment", "packages")),
        ("gate", ("case", "threads")),
        ("gate", ("case", "head", "commit")),
        ("gate", ("environment", "packages")),
        ("numerics", ("case", "dtype")),
        ("numerics", ("samples", 0, "mean")),
        ("numerics", ("environment", "cores")),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_a_record_that_lacks_something_is_named_and_skipped(whole, folder, path):
    """The rest is shown as if it were not there."""
    chosen = sorted((whole / folder).glob("*.json"))[0]
    results.write_record(chosen.parent, chosen.stem, without(json.loads(chosen.read_text()), path))
    _, notes = report.write(whole, whole / "html")
    assert sum(note.startswith(f"record {chosen.name} is damaged (") for note in notes) == 1, notes


def test_a_record_of_a_run_has_what_a_run_has():
    from dataclasses import fields

    from normsuite.study.train import Epoch

    assert tuple(field.name for field in fields(Epoch)) == schema.study.Epoch.__struct_fields__


def test_results_of_a_norm_that_is_not_known_here_are_in_the_history_only(source):
    for path in (source / "asv" / "results").rglob("*.json"):
        path.write_text(path.read_text().replace("'BatchNorm'", "'Whitening$'"))
    found = collect(source)
    assert "no such norm here: results of Whitening$ are in the history only" in found.notes
    texts = report.write(source, source / "html")
    assert texts[0].is_file() and "Whitening$" in (source / "html" / "history.html").read_text()


def test_what_was_accepted_is_not_shown_as_a_regression(whole):
    (path,) = (whole / "gate").glob("*.json")
    entry = {"cell": "*", "metric": "*", "reason": "known", "until": "2030-01-01", "at_most": None}
    record = {**json.loads(path.read_text()), "accepted": {"day": "2026-01-01", "entries": [entry]}}
    results.write_record(path.parent, path.stem, record)
    found = collect(whole).gate
    assert (
        gate.headline(found).endswith("no regression.")
        and gate_tables.verdicts(found, gate.rows(found)).rows[0][5] == "accepted"
    )


def test_studies_of_other_settings_are_not_pooled(source):
    write_study(source, seeds=2, written="2026-02-01T00:00:00+00:00", dataset="fashion-mnist")
    found = collect(source)
    assert len(found.study) == 2 * (1 + len(NORMS)) and {r["case"]["dataset"] for r in found.study} == {"fashion-mnist"}
    assert any(f"{3 * (1 + len(NORMS))} records of other settings" in n for n in found.notes)


def test_a_newer_study_that_is_not_the_one_shown_is_named(source):
    """The same study of another batch size is one of several sizes with the one before; an older one stands alone."""
    for written, size in (("2026-03", 128), ("2026-04", 64)):
        write_study(source, written=f"{written}-01T00:00:00+00:00", dataset="fashion-mnist", batch_size=size)
    found = collect(source)
    assert {r["case"]["dataset"] for r in found.study} == {"mnist"}
    assert any("the newest study has the batch sizes 64, 128" in note for note in found.notes)


def test_only_seeds_that_every_norm_has_are_averaged(source):
    study = source / "study"
    next(study.glob("LayerNorm-2-*.json")).unlink()
    (study / "copy").mkdir()
    copied = next(study.glob("BatchNorm-0-*.json"))
    (study / "copy" / copied.name).write_text(copied.read_text())
    found = collect(source)
    assert found.studied.seeds == [0, 1] and len(found.study) == 2 * (1 + len(NORMS))
    assert any(n.startswith(f"{len(NORMS)} records of seeds that not every norm has") for n in found.notes)
    assert any(n.startswith("1 records of a norm and a seed that are there twice") for n in found.notes)


def test_a_damaged_result_of_asv_is_named(source):
    damaged = next((source / "asv" / "results").rglob("bbbbbbbb-*.json"))
    damaged.write_text(damaged.read_text()[:50])
    (note,) = (note for note in collect(source).notes if "bbbbbbbb" in note)
    assert note.startswith("a result of asv's left out: is no JSON (Unterminated string")


def test_results_of_another_torch_are_not_pooled(source):
    asv_results.write(source / "asv" / "results", ["a" * 40, "b" * 40, "d" * 40], torch="2.15.0")
    found = collect(source)
    assert {m.torch for m in found.history} == {"2.15.0"}
    assert {m.result.commit[0] for m in found.cost} == {"d"}
    assert any("8 results of other machines" in n for n in found.notes)


@pytest.mark.parametrize(
    ("norm", "faces", "said"),
    [
        (
            "BatchNorm",
            "AAAAABBBBBCCCCCDDDDDDDDDDD",
            "4 groups, each with a colour and a letter. A: channel 1; B: channel 2",
        ),
        (
            "LayerNorm",
            "AAAAAAAAAAAAAABBBBBBCCCCCC",
            "3 groups, each with a colour and a letter. A: image 1; B: image 2",
        ),
        ("GroupNorm", "AAAAAABBBBBBBBCCDDDDEEFFFF", "A: image 1, channels 1 to 2; B: image 1, channels 3 to 4"),
        (
            "InstanceNorm",
            "AAABBBCCCDDDDDEFGHHHIJKLLL",
            "12 groups, each with a colour and a letter. A: image 1, channel 1",
        ),
    ],
)
def test_the_cube_shows_what_is_averaged_over(norm, faces, said):
    """Four channels of two places in front, of three images above, and three images of two places on the right."""
    drawn = diagrams.cube(find(norm))
    letters = re.findall(r">([A-L])</text>", drawn.svg)
    assert "".join(sorted(letters)) == faces and said in drawn.alternative


def test_the_table_of_figures():
    figures, others = worked_example(find("LayerNorm"))
    assert figures.names[2:5] == ("mean: printed", "mean: computed", "mean: verdict")
    assert figures.rows == [
        ("A", "2, 3, 5, 7, 11, 13, 17, 19", "9.625", "9.625", "exact", "5.97", "5.97782", "truncated", "35.7344", ""),
        ("B", "0, 1, 1, 2, 3, 5, 8, 13", "4.125", "4.125", "exact", "4.13", "4.13635", "truncated", "17.1094", ""),
        ("C", "1, 2, 3, 4, 5, 6, 7, 8", "4.5", "4.5", "exact", "2.29", "2.29129", "rounded", "5.25", ""),
    ]  # fmt: skip
    assert others.rows == [
        ("the std row's label", "std", "std", "exact", ""),
        ("learnable parameters", "6", "16", "wrong", "it is one pair per mean, 6"),
    ]


def test_the_table_of_the_last_epoch(source):
    row = study.last_epoch(collect(source).studied).rows[1]
    assert row[:3] == ("BatchNorm", "16", "0.4433 [0.4185, 0.4682]")
    assert row[5] == "98.10% [97.85%, 98.35%]" and row[6] == "2 s"


def test_the_tables_of_cost(source):
    (table,) = cost.latency(collect(source).cost)
    assert table.rows[0][:3] == ("cpu", "tiny", "torch")
    assert table.rows[0][3].startswith("2 s [") and set(table.rows[0][4:]) == {"n/a"}
    assert cost.not_measured(collect(source).cost) == "Not measured here (n/a): cuda."


def test_benches_of_other_settings_are_not_pooled(source):
    write_bench(source, written="2026-02-01T00:00:00+00:00", settings={"processes": 5, "seconds": 1.0})
    found = collect(source)
    assert {r["settings"]["seconds"] for r in found.bench.records} == {1.0} and len(found.bench.records) == 10
    assert any(n.startswith("10 records of benches made otherwise") for n in found.notes)


def test_benches_of_several_devices_stand_one_behind_the_other(source):
    """Each with the newest of its kind, under a name of its own, and the processor's first."""
    there = {"task": {"device": "cuda"}, "accelerator": HOSTILE}
    write_bench(source, written="2026-03-01T00:00:00+00:00", **there)
    write_bench(source, written="2026-05-01T00:00:00+00:00", task={"dtype": "bfloat16"})
    found = collect(source)
    kinds = [("", "float32"), ("", "bfloat16"), (HOSTILE, "float32")]
    assert [b.key for b in found.benches] == kinds and found.bench is found.benches[0]
    here = f"Processor {HOSTILE}"
    assert [b.where for b in found.benches] == [here, f"{here}, bfloat16", HOSTILE]
    assert not [n for n in found.notes if "benches" in n]
    page, _ = report.write(source, source / "html")
    cost, method = (page.with_name(f"{name}.html").read_text() for name in ("cost", "method"))
    assert cost.count("Against the alternatives") == 3 and "Not measured here: an accelerator" not in cost
    for found in (re.findall(r'<section[^>]* id="([^"]+)"', cost), re.findall(r'<clipPath id="([^"]+)"', cost)):
        assert found and len(set(found)) == len(found)
    assert "<script>alert" not in cost + method
    assert method.count("seconds a task and process") == 3


def test_benches_of_two_processors_are_not_pooled(source):
    """The one with most in its table comes first, however old it is."""
    write_bench(source, written="2026-05-01T00:00:00+00:00", cpu="Another", ratios={"auto": 0.7})
    found = collect(source)
    assert [b.processor for b in found.benches] == [f"Processor {HOSTILE}", "Another"]
    assert all(len(b.records) == 10 for b in found.benches) and not [n for n in found.notes if "benches" in n]
    text = report.write(source, source / "html")[0].with_name("cost.html").read_text()
    assert "Against the alternatives (Another)" in text and "Every task (Another)" in text


def test_two_folders_of_two_accelerators_stand_side_by_side(source, tmp_path):
    other = write_source(tmp_path / "other")
    for folder, model in ((source, "Model A"), (other, "Model B")):
        write_bench(folder, written="2026-03-01T00:00:00+00:00", task={"device": "cuda"}, accelerator=model)
    page, _ = report.write_comparison(source, other, tmp_path / "html")
    text = page.read_text()
    assert "A: Every task (Model A): time" in text and "B: Every task (Model B): time" in text


def test_damaged_records_of_a_bench_are_named_and_skipped(source):
    path = next((source / "bench").glob("BatchNorm-step-*.json"))
    record = results.read_record(path)
    record["samples"]["processes"] = [{}]
    results.write_record(path.parent, path.stem, record)
    (source / "bench" / "bad.json").write_text("[")
    found = collect(source)
    notes = [note for note in found.notes if note not in NOT_RECORDED]
    assert len(notes) == 2 and notes[1].startswith("record bad.json is damaged (is no JSON (Expecting value")
    said = "is damaged (Object missing required field `times_s` - at `$.samples.processes[0]`)"
    assert notes[0] == f"record {path.name} {said}"
    assert sentences(found.bench)[1].startswith("auto / torch.nn, step, 4 large tasks")
