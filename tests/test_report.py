"""The report: made from records alone, the same for the same records, and safe to open."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from report_records import HOSTILE, NOT_RECORDED, PAGES, write_source, write_study, write_whole

from normsuite import report
from normsuite.bench import tables as bench_tables
from normsuite.errors import ArgumentError, OutputError, UnknownNameError
from normsuite.machine.helpers import Helpers
from normsuite.presentation.table import Table
from normsuite.records import kinds, results
from normsuite.report.collect import collect
from normsuite.report.compare import merge
from normsuite.spec import NORMS
from normsuite.study import mistakes, tables
from normsuite.study.charts import batch_sizes, shift
from normsuite.study.summary import Study

pytestmark = pytest.mark.usefixtures("own_cache")


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


NAVIGATION = ["index", "norms", "learning", "cost", "numerics", "history", "gate", "conformance", "ahead", "method"]


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
        assert [link for link in page.links if link.endswith(".html")][:10] == [f"{key}.html" for key in NAVIGATION]
    assert charts >= 2 * len(NORMS) + 4 + 1 + 1 + 2
    everything = words("".join(texts.values()))
    for said in ("Training loss", "Test loss", "Training accuracy", "Test accuracy", *NORMS, "undecided", "bbbbbbbb"):
        assert said in everything
    assert "".join(texts.values()).count('class="absent"') == 3 and "self-check" in words(texts["gate"])
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
        "Is a norm worth it? Without a norm runs end at 98.00% to 98.20% test accuracy, with one at 98.00% or more; "
        "none − BatchNorm = +0.00 pp, undecided.",
        "Small batches? With 2 digits in a batch: none 98.05% [97.41%, 98.69%]",
        "Which is cheapest? A training step on the 1 large shape that all norms were measured on "
        f"(Processor {HOSTILE}) takes so many times as long as copying the same tensor: RMSNorm 1 [",
        "Which backend? Time of a training step with auto over that of torch.nn, large inputs "
        f"(Processor {HOSTILE}): alone 0.5 [",
        "Inputs far from zero? At a mean of 10000 deviations the largest relative error of the output in "
        "float32 on cpu is, by backend: "
        "reference 1.0e-03 (RMSNorm); torch inf (RMSNorm).",
        "Is the lesson right? Of the 26 figures",
        "Did a change make it worse?",
    ):
        assert answer in said, said


def test_records_are_linked_where_the_report_lies_beside_them(rendered, source, tmp_path):
    folder, texts, _ = rendered
    linked = [link for text in texts.values() for link in Page(text).links if link.startswith("..")]
    ours = {kind.folder for kind in kinds.REPORTED} - {kinds.ASV.folder}
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
    assert {r["case"]["batch_size"] for r in found.batches} == {2, 32} and found.studied.seeds == [0, 1, 2]
    (chart,), table = batch_sizes.charts(Study(found.batches)), tables.small_batches(found.batches)
    assert table.names == ("norm", "2 digits", "32 digits") and table.rows[0][0] == "none"
    assert "6,000 digits" in chart.caption
    first, second = shift.charts(found.studied)
    assert "none 0.21 (0.2 to 0.22)" in first.alternative and "none 0.3 (0.3 to 0.3)" in second.alternative
    assert "5 taken for 6 1.0 times" in mistakes.confusion(found.studied)[0].alternative
    assert "number 8, a 5 for 6, 75%" in mistakes.gallery(found.studied)[0].alternative
    assert mistakes.disagreements(found.studied) is None, "each norm takes each of them for something else as often"
    for record in found.study:
        if record["case"]["norm"] == "LayerNorm":
            record["samples"]["mistakes"] = record["samples"]["mistakes"][1:]
    assert [row[:2] for row in mistakes.disagreements(found.studied)[1].rows] == [("8", "5")]


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
        apart = {"XDG_CACHE_HOME": str(tmp_path / f"cache-{seed}")}  # nothing that the other one drew
        subprocess.run(command, check=True, env={**os.environ, **apart, "PYTHONHASHSEED": seed})
        written.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert written[0] == written[1] and len(written[0]) > 5


def test_helpers_change_no_byte(whole, tmp_path, monkeypatch):
    """Nothing is kept from before in either."""
    written = []
    for count in (0, 1):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache-{count}"))
        with Helpers(count=count) as helpers:
            helpers.start()
            report.write(whole, tmp_path / f"out-{count}", helpers=helpers)
        written.append({file.name: file.read_bytes() for file in (tmp_path / f"out-{count}").iterdir()})
        assert len(list((tmp_path / f"cache-{count}").rglob("report/*.svg"))) > 10
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
        ("numerics", "normsuite numerics"),
        ("history", "asv run --record-samples A..B"),
        ("gate", "normsuite gate BASE"),
        ("gate", "normsuite self-check"),
        ("conformance", "normsuite check TARGET --out reports/conformance"),
        ("ahead", "python -m tools.kernel_proof --out reports/ahead"),
    ):
        assert f"Run {command} , then" in words(texts[page]) and f"Run {command}." in words(texts["index"])
    assert "".join(texts.values()).count('class="absent"') == 9
    assert any("no study" in n for n in notes) and any("asv has no results" in n for n in notes)


def test_a_diverged_run_is_shown_as_it_went(source, tmp_path):
    path = next((source / "study").glob("none-1-*.json"))
    record = results.read_record(path)
    for epoch in record["samples"]["epochs"]:
        epoch.update(train_loss=float("nan"), test_loss=float("inf"))
    results.write_record(path.parent, path.stem, record)
    texts, notes = write(source, tmp_path / "html")
    assert set(notes) == NOT_RECORDED and "nan" in words(texts["learning"])


def test_the_cost_of_a_commit_that_is_asked_for(source, tmp_path):
    assert collect(source).commit == "a" * 40
    assert collect(source, "bb").commit == "b" * 40
    with pytest.raises(
        ArgumentError,
        match="commit = 'c0ffee': was not measured in the newest setting; measured are bbbbbbbb, aaaaaaaa",
    ):
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
    row = tables.last_epoch(collect(whole).studied).rows[1]
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
    (other / "study" / "bad.json").write_text("{")
    page, notes = report.write_comparison(whole, other, tmp_path / "html")
    assert any(note.startswith("B: record bad.json is damaged") for note in notes)
    text = page.read_text(encoding="utf-8")
    said = words(text)
    assert page.name == "compare.html" and HOSTILE not in text
    assert "A is reports, B is other." in said
    assert "B: After 3 epochs: mean over 2 seeds" in said and "test accuracy: A test accuracy: B" in said
    table = merge(tables.last_epoch(collect(whole).studied), tables.last_epoch(collect(other).studied), 1)
    assert table.names[:3] == ("norm", "its parameters: A", "its parameters: B")
    assert table.rows[1][:3] == ("BatchNorm", "16", "16")
    place = table.names.index("test accuracy: A")
    assert table.rows[1][place] == "98.10% [97.85%, 98.35%]" and table.rows[1][place + 1].startswith("98.05% [")


def test_two_folders_of_one_name_are_told_apart(source, tmp_path):
    other = write_source(tmp_path / "other" / source.name)
    page, _ = report.write_comparison(source, other, tmp_path / "html")
    assert f"A is {tmp_path.name}/reports, B is other/reports." in words(page.read_text(encoding="utf-8"))


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


def test_the_comparison_with_the_alternatives(rendered):
    source, texts, _ = rendered
    text, said = texts["cost"], words(texts["cost"])
    assert "auto / torch.nn, step, 5 large tasks: 0.5 [" in said and "slower than torch.nn in 0 of 10 tasks" in said
    assert "Training step, large cases: time over that of a copy. BatchNorm torch.nn 2 [" in text
    found = collect(source).bench
    first, *_ = bench_tables.means(found)
    assert first.names[:5] == ("by", "mode", "tasks", "all norms", "BatchNorm")
    assert [row[:3] for row in first.rows if row[0] == "flax"] == [("flax", m, "5 large") for m in ("forward", "step")]
    assert len(bench_tables.every_case(found).rows) == 10


def test_what_only_one_folder_has_is_a_dash():
    left, right = (
        Table("same", ("key", "value"), [(name, value)], "command") for name, value in (("x", "1"), ("y", "2"))
    )
    assert merge(left, right, 1).rows == [("x", "1", "–"), ("y", "–", "2")]
    assert merge(left, right, 1).caption == "same"
    further = Table("same", ("key", "value", "more"), [("x", "1", "9")], "command")
    assert merge(left, further, 1).names == ("key", "value: A", "value: B", "more: A", "more: B")
    assert merge(left, further, 1).rows == [("x", "1", "1", "–", "9")]
