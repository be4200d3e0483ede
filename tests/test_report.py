"""The report: made from records alone, the same for the same records, and safe to open."""

import subprocess
import sys
from html.parser import HTMLParser

import pytest
import test_bench_command
import test_history

from normsuite import report, results
from normsuite.errors import ArgumentError, OutputError
from normsuite.report import tables
from normsuite.report.collect import collect
from normsuite.spec import NORMS, find

HOSTILE = "<script>alert(1)</script>"


def write_study(folder, *, seeds=3, written="2026-01-01T00:00:00+00:00", **changes):
    for seed in range(seeds):
        for place, norm in enumerate(["none", *NORMS]):
            epochs = [
                {
                    "epoch": e, "train_loss": 1 / e + place / 10 + seed / 100, "train_accuracy": 0.9 + e / 100,
                    "test_loss": 0.5 / e + seed / 100, "test_accuracy": 0.95 + e / 100 + seed / 1000, "seconds": 2.0,
                }
                for e in (1, 2, 3)
            ]  # fmt: skip
            record = results.make_record(
                "study",
                {"norm": norm, "seed": seed, "epochs": 3, "dataset": "mnist", **changes},
                {"epochs": epochs, "network_parameters": 8506, "norm_parameters": 16 * place},
                environment={**results.environment(threads=1), "cpu": f"Processor {HOSTILE}"},
                seeds=[seed],
            )
            record.update(written=written, commit="c" * 40, source="s")
            results.write_record(folder / "study", f"{norm}-{seed}-{results.digest(changes)}", record)


def write_bench(folder, *, written="2026-01-01T00:00:00+00:00", **changes):
    for place, (norm, mode) in enumerate((norm, mode) for norm in NORMS for mode in ("forward", "step")):
        record = test_bench_command.record({"auto": 0.5, "flax": 1.5}, norm=norm, mode=mode, seed=place)
        record["environment"] |= {"cpu": f"Processor {HOSTILE}"}
        record["samples"]["refused"] = {"liger": HOSTILE}
        record.update(written=written, commit="c" * 40, source="s", **changes)
        results.write_record(folder / "bench", f"{norm}-{mode}-{results.digest(changes)}", record)


@pytest.fixture
def source(tmp_path):
    write_study(tmp_path / "reports")
    write_bench(tmp_path / "reports")
    test_history.write(tmp_path / "reports" / "asv" / "results", ["b" * 40, "a" * 40], cpu=f"Other {HOSTILE}")
    return tmp_path / "reports"


class Page(HTMLParser):
    """Tags, ids, text and links of a page; fails on tags that do not nest."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "path", "use", "rect"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.ids, self.links = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [v for k, v in attributes if k == "id"]
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def write(source, out):
    page, notes = report.write(source, out)
    text = page.read_text(encoding="utf-8")
    return text, notes


def test_every_part_is_there(source, tmp_path):
    text, notes = write(source, tmp_path / "html")
    page = Page(text)
    words = " ".join(page.text)
    for part in ("overview", "averages", "learning", "against", "cost", "trend", "method"):
        assert part in page.ids
    assert page.tags.count("svg") == page.tags.count("figure") >= len(NORMS) + 4 + 1 + 1
    for said in ("Training loss", "Test loss", "Training accuracy", "Test accuracy", *NORMS, "undecided", "bbbbbbbb"):
        assert said in words
    assert 'class="absent"' not in text and notes == []


def test_nothing_outside_the_page_is_asked_for(source, tmp_path):
    text, _ = write(source, tmp_path / "html")
    page = Page(text)
    assert "script" not in page.tags and "iframe" not in page.tags
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "@import" not in text and "url(http" not in text


def test_hostile_strings_stay_text(source, tmp_path):
    text, _ = write(source, tmp_path / "html")
    assert HOSTILE not in text and text.count("&lt;script&gt;") >= 2


def test_no_host_is_named(source, tmp_path):
    text, _ = write(source, tmp_path / "html")
    assert "secret-host" not in text and str(tmp_path) not in text


def test_the_same_records_give_the_same_bytes(source, tmp_path):
    assert write(source, tmp_path / "one")[0] == write(source, tmp_path / "two")[0]


def test_identifiers_are_unique_to_their_chart(source, tmp_path):
    """Charts share a page: a clip path of one must not be another's."""
    text, _ = write(source, tmp_path / "html")
    clips = {}
    for number, svg in enumerate(text.split("<svg ")[1:]):
        for part in svg.split('<clipPath id="')[1:]:
            clips.setdefault(part.split('"')[0], set()).add(number)
    assert clips and all(len(charts) == 1 for charts in clips.values())


def test_without_records_the_report_says_what_to_run(tmp_path):
    text, notes = write(tmp_path / "nothing", tmp_path / "html")
    words = " ".join(Page(text).text)
    assert "normsuite study" in words and "asv run --record-samples" in words
    assert text.count('class="absent"') == 4 and "normsuite bench" in words
    assert any("no study" in n for n in notes) and any("asv has no results" in n for n in notes)


def test_damaged_records_are_named_and_skipped(source, tmp_path):
    (source / "study" / "bad.json").write_text("{")
    text, notes = write(source, tmp_path / "html")
    assert any("bad.json is damaged" in n for n in notes) and "bad.json" in text


def test_studies_of_other_settings_are_not_pooled(source):
    write_study(source, seeds=2, written="2026-02-01T00:00:00+00:00", dataset="fashion-mnist")
    found = collect(source)
    assert len(found.study) == 2 * (1 + len(NORMS)) and {r["case"]["dataset"] for r in found.study} == {"fashion-mnist"}
    assert any(f"{3 * (1 + len(NORMS))} records of other settings" in n for n in found.notes)


def test_a_diverged_run_is_shown_as_it_went(source, tmp_path):
    path = next((source / "study").glob("none-1-*.json"))
    record = results.read_record(path)
    for epoch in record["samples"]["epochs"]:
        epoch.update(train_loss=float("nan"), test_loss=float("inf"))
    results.write_text(path, results.to_json(record))
    text, notes = write(source, tmp_path / "html")
    assert notes == [] and "nan" in " ".join(Page(text).text)


def test_only_seeds_that_every_norm_has_are_averaged(source):
    study = source / "study"
    next(study.glob("LayerNorm-2-*.json")).unlink()
    (study / "copy").mkdir()
    copied = next(study.glob("BatchNorm-0-*.json"))
    (study / "copy" / copied.name).write_text(copied.read_text())
    found = collect(source)
    assert found.seeds == [0, 1] and len(found.study) == 2 * (1 + len(NORMS))
    assert any(n.startswith(f"{len(NORMS)} records of seeds that not every norm has") for n in found.notes)
    assert any(n.startswith("1 records of a norm and a seed that are there twice") for n in found.notes)


def test_a_damaged_result_of_asv_is_named(source, tmp_path):
    damaged = next((source / "asv" / "results").rglob("bbbbbbbb-*.json"))
    damaged.write_text(damaged.read_text()[:50])
    _, notes = write(source, tmp_path / "html")
    assert any(n.startswith("asv result bbbbbbbb cannot be read") for n in notes)


def test_results_of_another_torch_are_not_pooled(source):
    test_history.write(source / "asv" / "results", ["a" * 40, "b" * 40, "d" * 40], torch="2.15.0")
    found = collect(source)
    assert {m.torch for m in found.history} == {"2.15.0"}
    assert {m.commit[0] for m in found.cost} == {"d"}
    assert any("8 results of other machines" in n for n in found.notes)


def test_the_cost_of_a_commit_that_is_asked_for(source, tmp_path):
    assert collect(source).commit == "a" * 40
    assert collect(source, "bb").commit == "b" * 40
    with pytest.raises(ArgumentError, match="commit = 'c0ffee': was not measured; measured are bbbbbbbb, aaaaaaaa"):
        report.write(source, tmp_path / "html", commit="c0ffee")
    assert not (tmp_path / "html").exists()


def test_an_output_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"out = .*file"):
        report.write(source, tmp_path / "file")


def test_the_report_imports_no_torch(source, tmp_path):
    code = (
        "import sys; from pathlib import Path; from normsuite import report;"
        f"report.write(Path({str(source)!r}), Path({str(tmp_path / 'html')!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_table_of_figures():
    table = tables.worked_example(find("LayerNorm"))
    assert table.rows == [
        ("A", "2, 3, 5, 7, 11, 13, 17, 19", "9.625", "9.625", "exact", "5.97", "5.97782", "truncated", "35.7344", ""),
        ("B", "0, 1, 1, 2, 3, 5, 8, 13", "4.125", "4.125", "exact", "4.13", "4.13635", "truncated", "17.1094", ""),
        ("C", "1, 2, 3, 4, 5, 6, 7, 8", "4.5", "4.5", "exact", "2.29", "2.29129", "rounded", "5.25", ""),
        ("all", "the std row's label", "std", "std", "exact", "", "", "", "", ""),
        ("all", "learnable parameters", "6", "16", "wrong", "", "", "", "", "it is one pair per mean, 6"),
    ]  # fmt: skip


def test_the_table_of_the_last_epoch(source):
    row = tables.last_epoch(collect(source)).rows[1]
    assert row[:3] == ("BatchNorm", "16", "0.4433 [0.4185, 0.4682]")
    assert row[5] == "98.10% [97.85%, 98.35%]" and row[6] == "2 s"


def test_the_tables_of_cost(source):
    (table,) = tables.latency(collect(source).cost)
    assert table.rows[0][:3] == ("cpu", "tiny", "torch")
    assert table.rows[0][3].startswith("2 s [") and set(table.rows[0][4:]) == {"n/a"}
    assert tables.not_measured(collect(source).cost) == "Not measured here (n/a): cuda."


def test_the_comparison_with_the_alternatives(source, tmp_path):
    text, _ = write(source, tmp_path / "html")
    words = " ".join(Page(text).text)
    assert "auto / torch.nn, step, 5 large cases: 0.5 [" in words and "slower than torch.nn in 0 of 10 cases" in words
    assert "Training step, large cases: time over that of a copy. BatchNorm torch.nn 2 [" in text
    bench = collect(source).bench
    first, *_ = tables.against(bench)
    assert first.columns[:5] == ("by", "mode", "cases", "all norms", "BatchNorm")
    assert [row[:3] for row in first.rows if row[0] == "flax"] == [("flax", m, "5 large") for m in ("forward", "step")]
    assert len(tables.every_case(bench).rows) == 10


def test_benches_of_other_settings_are_not_pooled(source):
    write_bench(source, written="2026-02-01T00:00:00+00:00", settings={"processes": 2, "seconds": 1.0})
    found = collect(source)
    assert {r["settings"]["processes"] for r in found.bench.records} == {2} and len(found.bench.records) == 10
    assert any(n.startswith("10 records of benches made otherwise") for n in found.notes)


def test_damaged_records_of_a_bench_are_named_and_skipped(source, tmp_path):
    path = next((source / "bench").glob("BatchNorm-step-*.json"))
    record = results.read_record(path)
    record["samples"]["processes"] = [{}]
    results.write_text(path, results.to_json(record))
    (source / "bench" / "bad.json").write_text("[")
    text, notes = write(source, tmp_path / "html")
    assert notes == [
        "record bad.json is damaged (Expecting value: line 1 column 2 (char 1))",
        "records of a bench are damaged (a process lacks times): 1",
    ]
    assert "auto / torch.nn, step, 4 large cases" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2 s"), (-1.7, "-1.7 s"), (0.00153, "1.53 ms"), (2.5e-5, "25 µs"), (3e-9, "3 ns"), (0.0, "0 ns")],
)
def test_seconds(value, shown):
    assert tables.seconds(value) == shown
