"""The report: made from records alone, the same for the same records, and safe to open."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import test_bench_command
import test_gate_decisions
import test_history

from normsuite import mnist, report, results
from normsuite.bench import summary as bench
from normsuite.errors import ArgumentError, OutputError, UnknownNameError
from normsuite.report import charts, gate, learning, numerics, tables
from normsuite.report.collect import FOLDERS, collect
from normsuite.report.compare import merge
from normsuite.spec import NORMS, find

HOSTILE = "<script>alert(1)</script>"

NOT_RECORDED = {
    "no two versions have been compared: run `normsuite gate BASE`",
    "no numerical errors have been recorded: run `normsuite numerics --json reports/numerics/cpu.json`",
}
"""Notes on what most of these tests do without."""


def watched(seed):
    """What newer records say beside the epochs."""
    layer = {"mean": 0.1, "std": 1.0, "shift": 0.2 + seed / 100, "gradient_change": 0.3, "gradient_cosine": 0.9}
    mistake = {"digit": 8, "label": 5, "taken_for": 6, "confidence": 0.75}
    return {
        "shift": [
            {"step": 10 * step, "layers": [{**layer, "shift": layer["shift"] if step else None}] * 2}
            for step in range(6)
        ],
        "mistakes": [mistake, {**mistake, "digit": 9 + seed, "label": 4, "taken_for": 9}],
        "tested": [1000] * 10,
    }


def write_study(folder, *, seeds=3, written="2026-01-01T00:00:00+00:00", further=lambda seed: {}, **changes):
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
                {"epochs": epochs, "network_parameters": 8506, "norm_parameters": 16 * place, **further(seed)},
                environment={**results.environment(threads=1), "cpu": f"Processor {HOSTILE}"},
                seeds=[seed],
                depends={"norm": norm, "data": mnist.checksum(list(mnist.FILES.values()))},
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


def write_gate(folder, *, written="2026-01-01T00:00:00+00:00"):
    counts = {"cell 0": {"base": {"peak bytes": 1000}, "head": {"peak bytes": 1512}}}
    record = test_gate_decisions.record(counts=counts)
    record["case"]["head"] |= {"name": HOSTILE, "subject": HOSTILE}
    record["environment"] |= {"cpu": f"Processor {HOSTILE}", "packages": {"torch": "2.14.1"}}
    record.update(written=written, commit="c" * 40, source="s", notes=[HOSTILE])
    results.write_record(folder / "gate", f"gate-{written[:10]}", record)


def write_numerics(folder):
    rows = [
        {"norm": norm, "mean": mean, "backend": backend, "output": 1e-7 * (1 + mean), "gradient": 2e-7}
        for norm in NORMS
        for mean in (0.0, 1e4)
        for backend in ("reference", "torch")
    ]
    rows[-1] |= {"output": float("inf"), "gradient": f"cannot {HOSTILE}"}
    record = results.make_record(
        "numerics",
        {"shape": [64, 32, 32], "dtype": "float32", "device": "cpu"},
        rows,
        environment=results.environment(threads=2),
        seeds=[0],
    )
    record.update(written="2026-01-01T00:00:00+00:00", commit="c" * 40, source="s")
    results.write_record(folder / "numerics", "cpu", record)


def write_source(folder):
    """Records as they were before covariate shift and mistakes were recorded."""
    write_study(folder)
    write_bench(folder)
    test_history.write(folder / "asv" / "results", ["b" * 40, "a" * 40], cpu=f"Other {HOSTILE}")
    return folder


def write_whole(folder):
    """Everything that there is to show."""
    write_source(folder)
    write_gate(folder)
    write_numerics(folder)
    write_study(folder, written="2026-02-01T00:00:00+00:00", further=watched, l1=0.0)
    for size in (2, 32):
        write_study(folder, seeds=2, batch_size=size, train_size=6000)
    return folder


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "reports")


@pytest.fixture
def whole(tmp_path):
    return write_whole(tmp_path / "reports")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The folder of everything, what was written of it, and the notes: charts take their time."""
    folder = write_whole(tmp_path_factory.mktemp("whole") / "reports")
    (folder / "study" / "<img src=x onerror=alert(1)>.json").write_text("{")
    return folder, *write(folder, folder / "html")


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
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)


PAGES = ["cost", "gate", "history", "index", "learning", "method", "norms", "numerics", "records"]


def write(source, out):
    """Each page's text by its name, and the notes."""
    page, notes = report.write(source, out)
    assert page == out / "index.html"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(out.glob("*.html"))}, notes


def words(text):
    return " ".join(" ".join(Page(text).text).split())


def test_every_part_is_there(rendered):
    _, texts, notes = rendered
    assert list(texts) == PAGES
    charts = 0
    for text in texts.values():
        page = Page(text)
        assert page.tags.count("svg") == page.tags.count("figure") + text.count('class="series" aria-hidden')
        charts += page.tags.count("svg")
        assert len(page.ids) == len(set(page.ids))
        assert [link for link in page.links if link.endswith(".html")][:8] == [
            f"{key}.html" for key in ("index", "norms", "learning", "cost", "numerics", "history", "gate", "method")
        ]
    assert charts >= 2 * len(NORMS) + 4 + 1 + 1 + 2
    everything = words("".join(texts.values()))
    for said in ("Training loss", "Test loss", "Training accuracy", "Test accuracy", *NORMS, "undecided", "bbbbbbbb"):
        assert said in everything
    assert "".join(texts.values()).count('class="absent"') == 1 and "--self-check" in words(texts["gate"])
    damaged, others = notes
    assert damaged.startswith("record <img src=x onerror=alert(1)>.json is damaged")
    assert others.startswith(f"{3 * (1 + len(NORMS))} records of other settings, sources, machines or versions")


def test_links_lead_somewhere(rendered):
    _, texts, _ = rendered
    pages = {f"{name}.html": Page(text) for name, text in texts.items()}
    linked = 0
    for page in pages.values():
        for target, _, part in (link.partition("#") for link in page.links if "html" in link):
            assert target in pages and (not part or part in pages[target].ids)
            linked += bool(part)
    assert linked >= 7, "the overview's answers lead to what they rest on"


def test_the_overview_answers_with_figures_and_intervals(rendered):
    _, texts, _ = rendered
    said = words(texts["index"])
    for answer in (
        "Which norm learns best? Test accuracy after 3 epochs, 3 seeds: BatchNorm 98.10% [97.85%, 98.35%]",
        "Is a norm worth it? Without one the runs end at 98.00% to 98.20% test accuracy, with one none ends below "
        "98.00%; none − BatchNorm = +0.00 pp, undecided.",
        "Small batches? With 2 digits in a batch: none 98.05% [97.41%, 98.69%]",
        "Which is cheapest? A training step on large inputs, in copies of the same tensor: RMSNorm 1 [",
        "Which backend? Time of a training step with auto over that of torch.nn, large inputs: alone 0.5 [",
        "Inputs far from zero? At a mean of 10000 deviations the largest relative error of the output is, by backend: "
        "reference 1.0e-03 (RMSNorm); torch inf (RMSNorm).",
        "Is the lesson right? Of the 26 figures",
        "Did a change make it worse?",
    ):
        assert answer in said, said


def test_what_the_gate_found(whole):
    write_gate(whole, written="2026-02-01T00:00:00+00:00")
    found = collect(whole)
    assert found.gate["written"][:7] == "2026-02" and "1 records of earlier gates are left out" in found.notes
    rows = gate.table(found.gate).rows
    assert rows[0] == ("cell 0", "peak bytes", "1000 B", "1.48 KiB", "+51.2%", "worse", "")
    verdicts = [row[5] for row in rows[1:]]
    assert verdicts == ["undecided"] * verdicts.count("undecided") + ["same"] * verdicts.count("same")
    assert len(verdicts) == 48 and verdicts.count("same") > 24
    assert rows[1][2] == "1 ms" and " % [" in rows[1][4], "times have an interval"
    assert gate.headline(found.gate) == f"{HOSTILE} ({'a' * 9}) against base ({'a' * 9}): a regression."


def test_damaged_records_of_a_gate_and_of_errors_are_named_and_skipped(whole):
    for folder, change in (("gate", {"samples": {}}), ("numerics", {"samples": [{"norm": "BatchNorm"}]})):
        path = next((whole / folder).glob("*.json"))
        results.write_text(path, results.to_json({**json.loads(path.read_text()), **change}))
    found = collect(whole)
    assert found.gate is None and found.numerics == []
    assert "a record of the gate is damaged (KeyError: 'log_ratios')" in found.notes
    assert "a record of numerical errors is damaged (its rows lack something)" in found.notes


def test_the_errors_far_from_zero(whole):
    (record,) = collect(whole).numerics
    table = numerics.table(record)
    assert table.columns[:4] == ("of the", "input mean", "backend", "BatchNorm")
    assert table.rows[0] == ("output", "0", "reference", *["1.0e-07"] * len(NORMS))
    assert table.rows[3][-1] == "inf" and table.rows[-1][-1] == f"n/a: cannot {HOSTILE}"
    first, second = numerics.charts(record)
    assert "BatchNorm 1.0e-07 at 0, 1.0e-03 at 10000" in first.alternative
    assert second.alternative.endswith("1.0e-07 at 0"), "an infinite error is no point of a chart"


def test_how_often_the_gate_is_wrong_is_told_by_the_newest_records_that_add_up(tmp_path):
    def write_table(name, verdicts, planted=None, method="new", written="2026-02-02"):
        record = test_gate_decisions.checked(verdicts, planted)
        record["case"]["identity"] = {"method": method}
        record |= {"schema": results.SCHEMA, "environment": results.environment(), "written": written}
        results.write_text(tmp_path / "self-check" / f"{name}.json", results.to_json(record))

    write_table("a", ["same", "worse"])
    write_table("b", ["worse", "same"], {"cell 0": 0.05})
    write_table("c", ["worse", "worse"], method="old", written="2026-01-01")
    write_table("d", [])
    results.write_text(tmp_path / "self-check" / "d.json", (tmp_path / "self-check" / "a.json").read_text()[:-9] + "}")
    found = collect(tmp_path)
    assert "1 records of self-checks by other methods or elsewhere are left out" in found.notes
    assert any(note.startswith("record d.json") for note in found.notes)
    rows = {row[:2]: row[2:4] for row in gate.error_rates(found.self_check).rows}
    assert rows["equal", "tables with a false alarm"] == ("1", "1")
    assert rows["not slower", "cells called worse"] == ("1", "3")
    assert rows["slower by 5%", "cells called worse"] == ("1", "1")


def test_records_are_linked_where_the_report_lies_beside_them(rendered, source, tmp_path):
    folder, texts, _ = rendered
    linked = [link for text in texts.values() for link in Page(text).links if link.startswith("..")]
    ours = set(FOLDERS.values()) - {"asv/results"}
    recorded = {folder / "asv" / "results", *(path for part in ours for path in (folder / part).glob("*.json"))}
    assert {(folder / "html" / unquote(link)).resolve() for link in linked} == {path.resolve() for path in recorded}
    listed = {link for text in texts.values() for link in Page(text).links if link.startswith("records.html#")}
    assert listed == {f"records.html#{part}" for part in ("study", "bench", "gate", "numerics", "asv")}
    elsewhere, _ = write(source, tmp_path / "elsewhere")
    assert "records" not in elsewhere
    assert not any(link.startswith(("..", "records")) for text in elsewhere.values() for link in Page(text).links)


def test_what_the_study_found_beside_the_document(rendered):
    whole, texts, _ = rendered
    text = words(texts["learning"])
    for said in (
        "Covariate shift",
        "Small batches",
        "log-rank",
        "Hedges' g",
        "equivalence",
        "deviations of the paired",
    ):
        assert said in text
    found = collect(whole)
    assert {r["case"]["batch_size"] for r in found.batches} == {2, 32} and found.seeds == [0, 1, 2]
    chart, table = learning.small_batches(found)
    assert table.columns == ("norm", "2 digits", "32 digits") and table.rows[0][0] == "none"
    assert "6,000 digits" in chart.caption
    first, second = learning.shift(found)
    assert "none 0.21 (0.2 to 0.22)" in first.alternative and "none 0.3 (0.3 to 0.3)" in second.alternative
    assert "5 taken for 6 1.0 times" in learning.confusion(found)[0].alternative
    assert "number 8, a 5 for 6, 75%" in learning.gallery(found)[0].alternative
    assert learning.disagreements(found)[1].rows[0][:2] == ("8", "5")


def test_digits_that_are_not_this_package_s_are_not_drawn(source):
    write_study(source, written="2026-02-01T00:00:00+00:00", further=watched, l1=0.0)
    found = collect(source)
    assert learning.gallery(found)
    for record in found.study:
        record["depends"]["data"] = "others"
    assert learning.gallery(found) == [] and learning.disagreements(found) is None and learning.confusion(found)


def test_runs_that_chose_settings_are_not_the_study(source):
    write_study(source, written="2026-03-01T00:00:00+00:00", hold_out=5000)
    found = collect(source)
    assert all(not record["case"].get("hold_out") for record in found.study) and len(found.study) == 18
    assert set(found.notes) - NOT_RECORDED == {"18 records of runs that chose settings are left out"}


def test_norms_may_have_learning_rates_of_their_own(source):
    for record in list(collect(source).study):
        record["case"]["learning_rate"] = 0.01 if record["case"]["norm"] == "none" else 0.02
        record["written"] = "2026-02-01T00:00:00+00:00"
        name = f"rates-{record['case']['norm']}-{record['case']['seed']}"
        results.write_record(source / "study", name, record)
    found = collect(source)
    assert len(found.study) == 18 and {r["written"][:7] for r in found.study} == {"2026-02"}
    rows = dict(tables.method(found)[0].rows)
    assert rows["learning rate"].startswith("none 0.01, BatchNorm 0.02")


def test_nothing_outside_the_page_is_asked_for(rendered):
    _, texts, _ = rendered
    for text in texts.values():
        page = Page(text)
        assert page.tags.count("script") == 1 and "iframe" not in page.tags
        own = ("", "data:,", *(f"{name}.html" for name in PAGES))
        for link in page.links:
            assert link.partition("#")[0] in own or link.startswith(("data:image/png;base64,", "../"))
        assert "@import" not in text and "url(http" not in text
        assert "default-src 'none'" in text.partition("<style>")[0], "what slips through is refused"


def test_hostile_strings_stay_text(rendered):
    _, texts, _ = rendered
    text = "".join(texts.values())
    assert HOSTILE not in text and text.count("&lt;script&gt;") >= 8
    assert "<img" not in text and "&lt;img src=x onerror" in texts["method"]


def test_no_host_is_named(rendered):
    folder, texts, _ = rendered
    text = "".join(texts.values())
    assert "secret-host" not in text and str(folder.parent) not in text


def test_the_same_records_give_the_same_bytes(rendered):
    folder, texts, _ = rendered
    assert write(folder, folder / "again")[0] == texts


def test_other_processes_give_the_same_bytes(whole, tmp_path):
    """Whatever order sets and hashes have there."""
    written = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        code = (
            "import sys; from pathlib import Path; from normsuite import report; report.write(*map(Path, sys.argv[1:]))"
        )
        command = [sys.executable, "-c", code, str(whole), str(out)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        written.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert written[0] == written[1] and len(written[0]) > 5


def test_identifiers_are_unique_to_their_chart(rendered):
    """Charts share a page: a clip path of one must not be another's."""
    _, texts, _ = rendered
    clips = {}
    for name, text in texts.items():
        for number, svg in enumerate(text.split("<svg ")[1:]):
            for part in svg.split('<clipPath id="')[1:]:
                clips.setdefault((name, part.split('"')[0]), set()).add(number)
    assert clips and all(len(charts) == 1 for charts in clips.values())


def test_without_records_the_report_says_what_to_run(tmp_path):
    texts, notes = write(tmp_path / "nothing", tmp_path / "html")
    for page, command in (
        ("learning", "normsuite study"),
        ("cost", "normsuite bench"),
        ("cost", "asv run --record-samples"),
        ("numerics", "normsuite numerics --json reports/numerics/cpu.json"),
        ("history", "asv run --record-samples A..B"),
        ("gate", "normsuite gate BASE"),
        ("gate", "normsuite gate --self-check"),
    ):
        assert f"Run {command} , then" in words(texts[page]) and f"Run {command}." in words(texts["index"])
    assert "".join(texts.values()).count('class="absent"') == 7
    assert any("no study" in n for n in notes) and any("asv has no results" in n for n in notes)


def test_damaged_records_are_named_and_skipped(source):
    (source / "study" / "bad.json").write_text("{")
    found = collect(source)
    assert any("bad.json is damaged" in n for n in found.notes) and len(found.study) == 3 * (1 + len(NORMS))


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
    texts, notes = write(source, tmp_path / "html")
    assert set(notes) == NOT_RECORDED and "nan" in words(texts["learning"])


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


def test_a_damaged_result_of_asv_is_named(source):
    damaged = next((source / "asv" / "results").rglob("bbbbbbbb-*.json"))
    damaged.write_text(damaged.read_text()[:50])
    assert any(n.startswith("asv result bbbbbbbb cannot be read") for n in collect(source).notes)


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


def test_the_report_as_markdown(whole, tmp_path):
    page, _ = report.write(whole, tmp_path / "out", format="markdown")
    text = page.read_text(encoding="utf-8")
    assert page.name == "report.md" and [path.name for path in page.parent.iterdir()] == ["report.md"]
    assert text.startswith("# Normalization layers compared\n")
    assert "- **Which norm learns best?** Test accuracy after 3 epochs, 3 seeds: BatchNorm 98.10% \\[97.85%" in text
    row = tables.last_epoch(collect(whole)).rows[1]
    assert "| " + " | ".join(cell.replace("[", "\\[").replace("]", "\\]") for cell in row) + " |" in text
    for found in (line for line in text.splitlines() if line.startswith("|")):
        assert found.endswith("|")
    assert HOSTILE not in text and "&lt;script&gt;" in text
    widths = [line.replace("\\|", "").count("|") for line in text.splitlines()]
    for at, line in enumerate(text.splitlines()):
        if line.startswith("| ---"):
            assert widths[at - 1] == widths[at] == widths[at + 1]


def test_the_report_is_shown_on_request(tmp_path):
    """In the browser that the environment names."""
    browser, shown = tmp_path / "browser.py", tmp_path / "shown"
    browser.write_text("import pathlib, sys; pathlib.Path(sys.argv[2]).write_text(sys.argv[1])")
    done = subprocess.run(
        [sys.executable, "-m", "normsuite", "report", "--open", "--format", "markdown"],
        env={**os.environ, "BROWSER": f"{sys.executable} {browser} %s {shown}"},
        cwd=tmp_path,
    )
    assert done.returncode == 0
    assert shown.read_text() == (tmp_path / "reports" / "html" / "report.md").as_uri()


def test_an_unknown_format_is_refused(source, tmp_path):
    with pytest.raises(UnknownNameError, match="format = 'pdf': unknown; known are html, markdown"):
        report.write(source, tmp_path / "out", format="pdf")
    assert not (tmp_path / "out").exists()


def test_two_folders_side_by_side(whole, tmp_path):
    other = write_source(tmp_path / "other")
    write_study(other, seeds=2, written="2026-03-01T00:00:00+00:00", l1=0.5)
    page = report.write_comparison(whole, other, tmp_path / "html")
    text = page.read_text(encoding="utf-8")
    said = words(text)
    assert page.name == "compare.html" and HOSTILE not in text
    assert "A is reports, B is other." in said
    assert "B: After 3 epochs: mean over 2 seeds" in said and "test accuracy: A test accuracy: B" in said
    table = merge(tables.last_epoch(collect(whole)), tables.last_epoch(collect(other)), 1)
    assert table.columns[:3] == ("norm", "its parameters: A", "its parameters: B")
    assert table.rows[1][:3] == ("BatchNorm", "16", "16")
    place = table.columns.index("test accuracy: A")
    assert table.rows[1][place] == "98.10% [97.85%, 98.35%]" and table.rows[1][place + 1].startswith("98.05% [")


def test_what_only_one_folder_has_is_a_dash():
    left, right = (
        tables.Table("same", ("key", "value"), [(name, value)], "command") for name, value in (("x", "1"), ("y", "2"))
    )
    assert merge(left, right, 1).rows == [("x", "1", "–"), ("y", "–", "2")]
    assert merge(left, right, 1).caption == "same"


def test_a_folder_that_is_not_there_is_not_compared(source, tmp_path):
    with pytest.raises(ArgumentError, match=r"compare = '.*nowhere': is no folder"):
        report.write_comparison(source, tmp_path / "nowhere", tmp_path / "html")
    assert not (tmp_path / "html").exists()


def test_the_report_imports_no_torch(source, tmp_path):
    code = (
        "import sys; from pathlib import Path; from normsuite import report;"
        f"report.write(Path({str(source)!r}), Path({str(tmp_path / 'html')!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


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
    drawn = charts.cube(find(norm))
    letters = re.findall(r">([A-L])</text>", drawn.svg)
    assert "".join(sorted(letters)) == faces and said in drawn.alternative


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


def test_the_comparison_with_the_alternatives(rendered):
    source, texts, _ = rendered
    text, said = texts["cost"], words(texts["cost"])
    assert "auto / torch.nn, step, 5 large cases: 0.5 [" in said and "slower than torch.nn in 0 of 10 cases" in said
    assert "Training step, large cases: time over that of a copy. BatchNorm torch.nn 2 [" in text
    found = collect(source).bench
    first, *_ = tables.against(found)
    assert first.columns[:5] == ("by", "mode", "cases", "all norms", "BatchNorm")
    assert [row[:3] for row in first.rows if row[0] == "flax"] == [("flax", m, "5 large") for m in ("forward", "step")]
    assert len(tables.every_case(found).rows) == 10


def test_benches_of_other_settings_are_not_pooled(source):
    write_bench(source, written="2026-02-01T00:00:00+00:00", settings={"processes": 2, "seconds": 1.0})
    found = collect(source)
    assert {r["settings"]["processes"] for r in found.bench.records} == {2} and len(found.bench.records) == 10
    assert any(n.startswith("10 records of benches made otherwise") for n in found.notes)


def test_damaged_records_of_a_bench_are_named_and_skipped(source):
    path = next((source / "bench").glob("BatchNorm-step-*.json"))
    record = results.read_record(path)
    record["samples"]["processes"] = [{}]
    results.write_text(path, results.to_json(record))
    (source / "bench" / "bad.json").write_text("[")
    found = collect(source)
    assert [note for note in found.notes if note not in NOT_RECORDED] == [
        "record bad.json is damaged (Expecting value: line 1 column 2 (char 1))",
        "records of a bench are damaged (a process lacks times): 1",
    ]
    assert bench.sentences(found.bench)[1].startswith("auto / torch.nn, step, 4 large cases")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2 s"), (-1.7, "-1.7 s"), (0.00153, "1.53 ms"), (2.5e-5, "25 µs"), (3e-9, "3 ns"), (0.0, "0 ns")],
)
def test_seconds(value, shown):
    assert tables.seconds(value) == shown
