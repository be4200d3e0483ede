"""The records in reports/reference: whole, of today's presets, and what pages and presets say by them."""

import math
import re
import shutil
from collections import Counter
from pathlib import Path
from statistics import fmean, median

import pytest

from normsuite import report, tunings
from normsuite.bench.row import FASTER, SLOWER, SLOWER_ABOVE
from normsuite.bench.summary import AUTO, COMPILED_FORMS
from normsuite.records import compact, kinds, results, schema
from normsuite.spec import NO_NORM, NORMS
from normsuite.statistics import mean_interval
from normsuite.study import comparisons, summary
from normsuite.study.comparisons import UNDECIDED
from normsuite.study.plan import plan, preset
from normsuite.tune import streaming
from tools import accelerator_table as accelerator_table_tool
from tools import pages, processor_table
from tools.page_benches import benches, collected, of_processors
from tools.page_records import leaders

REFERENCE = Path(__file__).parent.parent / "reports" / "reference"
DOCS = REFERENCE.parent.parent / "docs"


def page(name):
    """Return the text of a page of the documentation on one line."""
    return " ".join((DOCS / f"{name}.md").read_text(encoding="utf-8").split())


def records(folder):
    found = results.read_records(REFERENCE / folder, "study")
    assert found.good and not found.damaged
    return found.good


def test_what_is_kept_is_small_and_whole():
    files = [path for path in REFERENCE.rglob("*") if path.is_file()]
    assert len(files) <= 40 and sum(path.stat().st_size for path in files) <= 3_000_000
    kept = [path for path in files if path.name.endswith(compact.SUFFIX)]
    members = [member.value for path in kept for member in compact.members(path)]
    assert len(kept) == len(files) - 13, "eleven pages, a picture and the outcomes of simulations"
    assert not [reason for record in members if "what" in record and (reason := schema.problem(record))]
    assert len(members) > 500


def test_the_full_study_has_the_rates_that_tuning_found():
    """Each norm the one of the highest mean accuracy on held-out digits, of the same rates for all."""
    tuned = [record for record in records("tune") if record["case"]["epochs"] == preset("tune")["epochs"]]
    wanted = {(run.norm, run.seed, run.learning_rate) for run in plan("tune")}
    assert {(r["case"]["norm"], r["case"]["seed"], r["case"]["learning_rate"]) for r in tuned} == wanted
    assert all(r["case"]["hold_out"] == preset("tune")["hold_out"] for r in tuned)
    _, cells = summary.cells(tuned)
    assert {norm: cell.setting[0] for norm, cell in summary.best(cells).items()} == preset("full")["learning_rate"]


def test_the_full_study_has_the_epochs_that_tuning_found():
    """The fewest with which BatchNorm got 99.3 % of the held-out digits right."""
    accuracy = {}
    for record in records("tune"):
        case = record["case"]
        if (case["norm"], case["learning_rate"]) == ("BatchNorm", preset("full")["learning_rate"]["BatchNorm"]):
            accuracy.setdefault(case["epochs"], []).append(record["samples"]["epochs"][-1]["test_accuracy"])
    enough = [epochs for epochs, found in accuracy.items() if fmean(found) >= 0.993]
    assert preset("full")["epochs"] == min(enough) <= 15


def test_the_study_is_the_preset_s():
    found = [record["case"] for record in records("study")]
    wanted = [run.as_dict() for preset in ("full", "batch-size") for run in plan(preset)]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert {case["norm"] for case in found} == {NO_NORM, *NORMS}


def of_the_full_study():
    return [record for record in records("study") if record["case"]["epochs"] == preset("full")["epochs"]]


def test_the_study_s_page_says_what_the_full_study_found():
    """Its figures, computed again: means over seeds at the last epoch, corrected intervals, epochs to 99 %."""
    shown = page("study")
    found = of_the_full_study()
    last = {norm: [r["samples"]["epochs"][-1] for r in found if r["case"]["norm"] == norm] for norm in NORMS}
    accuracy = {norm: [100 * e["test_accuracy"] for e in epochs] for norm, epochs in last.items()}
    best = mean_interval(accuracy["BatchNorm"])
    assert best.value >= 99.3
    assert f"{best.value:.2f} % [{best.low:.2f}, {best.high:.2f}] of the test digits right" in shown
    assert f"a test loss of {fmean(e['test_loss'] for e in last['BatchNorm']):.4f}" in shown
    for norm in set(NORMS) - {"BatchNorm"}:
        loss = fmean(e["test_loss"] for e in last[norm])
        assert f"{norm} ({fmean(accuracy[norm]):.2f} %, {loss:.4f})" in shown
    metrics = ("test loss", "test accuracy")
    others = [pair for pair in comparisons.pairs(found, metrics) if pair.left == "BatchNorm"]
    apart = [(pair.metric, pair.right) for pair in others if pair.verdict != comparisons.EQUIVALENT]
    assert apart == [("test accuracy", "LayerNorm")] and len(others) == 8, "the others are within the margins"
    judged = {claim["claim"]: claim for claim in summary.as_dict(found)["claims"]}
    verdicts = {name: claim["verdict"] for name, claim in judged.items()}
    assert [name for name in verdicts if verdicts[name] == "contradicted"] == ["training loss", "training accuracy"]
    assert verdicts["test loss"] == verdicts["convergence"] == "supported"
    assert verdicts["covariate shift"] == "undecided"
    order = [(r["left"], r["right"], r["verdict"]) for r in judged["test accuracy"]["relations"]]
    assert order == [("BatchNorm", "GroupNorm", "undecided"), ("GroupNorm", "LayerNorm", "supported")]
    (loss,) = (r for r in judged["training loss"]["relations"] if r["verdict"] == "contradicted")
    assert f"by {-loss['difference']:.4f} [{-loss['high']:.4f}, {-loss['low']:.4f}]" in shown
    (faster,) = (r for r in judged["training accuracy"]["relations"] if r["verdict"] == "contradicted")
    points = [100 * -faster[key] for key in ("difference", "high", "low")]
    assert f"by {points[0]:.2f} points [{points[1]:.2f}, {points[2]:.2f}]" in shown
    without = [[e["test_accuracy"] for e in r["samples"]["epochs"]] for r in found if r["case"]["norm"] == NO_NORM]
    (collapsed,) = [of for of in without if of[-1] < 0.2]
    assert len(without) == 10 and min(collapsed[:2]) > 0.9 and max(collapsed[2:]) < 0.2, "in its third epoch"
    epochs = {row["norm"]: row for row in summary.as_dict(found)["epochs_to"] if row["test_accuracy"] == 0.99}
    reached = [e for e in epochs[NO_NORM]["epochs"] if e is not None]
    medians = median(reached), epochs["BatchNorm"]["median"]
    said = f"nine came to 99 % in a median of {medians[0]:.0f} epochs, BatchNorm's in {medians[1]:.0f}"
    assert len(reached) == 9 and said in shown


def test_the_report_kept_here_is_made_of_the_records_kept_here(tmp_path):
    """The same words, tables and what charts say; with the same versions of libraries the same bytes."""
    copy = shutil.copytree(REFERENCE, tmp_path / "reference", ignore=shutil.ignore_patterns("html"))
    report.write(copy, copy / "html")
    kept, made = (
        {path.name: VERSION.sub("normsuite", path.read_text()) for path in (of / "html").glob("*.html")}
        for of in (REFERENCE, copy)
    )
    assert {name: words(page) for name, page in kept.items()} == {name: words(page) for name, page in made.items()}
    assert "learning.html" in kept and "99.31%" in kept["learning.html"]
    if {generator(page) for page in kept.values()} == {generator(page) for page in made.values()}:
        assert kept == made


GENERATOR = '<meta name="generator" content="([^"]*)">'
VERSION = re.compile(r"normsuite \S+(?=(, matplotlib|\. This page))")
"""What each commit changes: the version is made from tags."""


def generator(page):
    return re.search(GENERATOR, page)[1]


def words(page):
    """A page without its drawings, whatever drew them."""
    return re.sub(rf"<svg.*?</svg>|{GENERATOR}", "", page, flags=re.DOTALL)


def test_the_results_say_what_the_benches_of_a_study_and_of_a_history_found():
    from tools import bench_history as history
    from tools import study_throughput as throughput

    shown = page("results")
    suite = {member.name: member.value for member in compact.members(REFERENCE / "suite.jsonl.xz")}
    record = suite["bench-throughput"]
    speedups = throughput.speedups(record)
    one, sweep = (f"{of.value:.2f} × [{of.low:.2f}, {of.high:.2f}]" for of in map(speedups.get, throughput.WAYS[1:]))
    assert f"a whole study trains {sweep} as many digits per second as the plain loop" in shown
    assert f"in one process with two threads it is {one} as many" in shown
    assert len(record["case"]["norms"]) == record["case"]["epochs"] == 6, "as the page says"
    record = suite["bench-history"]
    ours = [of_round[history.OURS] for of_round in record["samples"]]
    peak = max(found[stage]["peak_bytes"] for found in ours for stage in (history.WHOLE, history.ONE_MORE))
    assert f"with {peak / 2**20:.0f} MiB of memory at most" in shown and peak < 2**30
    assert max(size for found in ours for size in found["page_bytes"].values()) <= 3_000_000
    loads = [seconds for found in ours for of in found["interactive_seconds"].values() for seconds in of]
    assert f"Its pages can be used after {1000 * max(loads):.0f} ms at most" in shown and max(loads) < 1
    ratios = history.ratios(record)
    whole, more = (f"{r.value:.2f} × [{r.low:.2f}, {r.high:.2f}]" for r in ratios.values())
    assert (
        f"the report takes {whole} of asv's time" in shown
        and f"and {more} after one more commit, the mean of eight" in shown
    )


def test_the_method_claims_of_the_gate_what_its_self_check_supports():
    from normsuite.gate import self_check_rates, selfcheck

    shown = page("method")
    found = results.read_records(REFERENCE / "self-check-before", kinds.SELF_CHECK.what)
    assert not found.damaged and len({str(record["case"]["identity"]) for record in found.good}) == 1
    assert found.good[0]["case"]["identity"]["method"] != selfcheck.method()
    assert "measured by an earlier version of the gate, judged by today's thresholds" in shown
    of = self_check_rates.found(found.good)
    assert f"{of.false_alarms.k} of {of.false_alarms.n} tables of a version against itself" in shown
    assert f"a rate of at most {of.false_alarms.at_most:.1%}".replace("%", " %") in shown
    assert f"{of.false_cells.k} of {of.false_cells.n} cells without a slowdown called worse" in shown
    assert f"{of.undecided.k} undecided" in shown
    one, two, five, ten = (of.injected[share] for share in (0.01, 0.02, 0.05, 0.10))
    assert f"slowdowns of 5 % found in {five.k} of {five.n} cells, of 10 % in {ten.k} of {ten.n}" in shown
    assert f"of 2 % in {two.k} of {two.n}, of 1 % in {one.k} of {one.n}" in shown
    sizes = [
        100 * math.expm1(fmean(record["samples"]["log_ratios"][cell]))
        for record in found.good
        for cell, share in record["case"]["planted"].items()
        if share == 0.02
    ]
    said = f"as 2 % was measured as {fmean(sizes):.2f} % in the mean, from {min(sizes):.2f} to {max(sizes):.2f} %"
    assert said in shown
    assert f"took {of.seconds[0]:.0f} s in the median, {of.seconds[1]:.0f} s at most" in shown
    rivals = results.read_records(REFERENCE / "self-check-before", kinds.ASV_CHECK.what).good
    assert {record["samples"]["factor"] for record in rivals} == {1.03}
    assert all(record["case"]["identity"] == found.good[0]["case"]["identity"] for record in rivals)
    asv = self_check_rates.found(rivals)
    assert f"worse in {asv.false_alarms.k} of {asv.false_alarms.n} tables of a version against itself, and in" in shown
    assert f"in {asv.false_cells.k} of {asv.false_cells.n} cells without a slowdown; it found 5 %" in shown
    two, five, ten = (f"{of.k} of {of.n}" for of in map(asv.injected.get, (0.02, 0.05, 0.10)))
    found = (
        f"it found 5 % in {five} cells, 10 % in {ten}, 2 % in {two}, in {asv.seconds[0]:.0f} s a table in the median"
    )
    assert found in shown


# ---- non-temporal stores ----


def test_the_results_say_what_non_temporal_stores_save():
    _, record = processor_table.recorded(REFERENCE / "processors" / "amd-25-17-avx512")
    (sizes,) = (tuned.streaming for key, tuned in tunings.shipped() if key == "AuthenticAMD 25-17 AVX512")
    saved, samples = {}, processor_table.with_intervals(record["samples"])
    for way, least in sizes.items():
        rows = [row for row in samples if row["chain"].startswith(way) and row["bytes"] >= least]
        assert len(rows) >= 2 * len(streaming.NORMALISED)
        assert not [row for row in rows if row["interval"][0] > SLOWER_ABOVE], "nowhere slower"
        saved[way] = math.exp(fmean(math.log(row["ratio"]) for row in rows))
    shown = page("results")
    mib = [size / 2**20 for size in sizes.values()]
    assert f"all takes {saved['forward']:.2f} × the time at {mib[0]:.1f} MiB, the largest size that was tried" in shown
    assert f"and a step {saved['backward']:.2f} × in the mean of {mib[1]:.1f} to {mib[0]:.1f} MiB" in shown
    assert sizes["forward"] == max(row["bytes"] for row in samples)
    assert f"From {mib[0]:.1f} MiB on, in the backward pass from {mib[1]:.1f} MiB," in shown


# ---- the comparison with the alternatives ----


def test_the_benches_are_the_processor_s_and_the_accelerator_s_in_two_types():
    assert len({found["environment"]["cpu"] for found in of_processors()}) == 5
    assert [bench.key for bench in benches()] == [
        ("", "float32"),
        ("NVIDIA H200", "float32"),
        ("NVIDIA H200", "bfloat16"),
    ]
    assert not [note for note in collected().notes if "bench" in note]
    assert all(found["settings"]["backends"][0] == AUTO for found in of_processors()[1:])


def test_the_bench_with_every_rival_says_its_table_of_sizes():
    first = of_processors()[0]
    assert first["settings"]["processes"] == 4 and "tuning" in first["environment"], "as the page says"
    verdicts = first["summary"]["verdicts_of_auto"]
    assert verdicts["slower"] == len(first["summary"]["slower_cases_of_auto"])
    assert sum(verdicts.values()) == first["tasks"] == 268
    rivals = {mean["against"] for mean in first["summary"]["geometric_means_of_auto_to_rivals"]}
    assert rivals > {*COMPILED_FORMS, "flax", "onnxruntime"}


def test_the_results_say_what_an_accelerator_found():
    shown = page("results")
    wide, narrow = [bench for bench in benches() if bench.key[0]]
    found = wide.as_dict()
    assert found["settings"]["processes"] == 2 and found["settings"]["clock"] == "captured graphs"
    tasks, torch_version = len(wide.records) + len(narrow.records), found["environment"]["packages"]["torch"]
    assert f"{tasks} tasks of an {found['environment']['accelerator']} (torch {torch_version}, two processes)" in shown
    verdicts = Counter(row.verdict for bench in (wide, narrow) for row in bench.compared(bench.ours))
    assert sum(verdicts.values()) == tasks
    assert f"faster in {verdicts[FASTER]} of the tasks and slower in {verdicts[SLOWER]}" in shown
    noise = found["summary"]["noise"]
    assert f"torch.nn over itself takes {noise['value']:.3f} × [{noise['low']:.3f}, {noise['high']:.3f}]" in shown


def test_the_table_of_accelerators_is_made_of_the_records():
    made = accelerator_table_tool.table(results.read_records(REFERENCE / "bench", kinds.BENCH.what))
    assert accelerator_table_tool.as_toml(made) == (Path(tunings.__file__).parent / "accelerators.toml").read_text()


def test_which_norm_says_of_small_batches_what_was_found():
    def decided(size):
        first, pairs = leaders()[size]
        return first, {pair.right for pair in pairs if pair.verdict == UNDECIDED}

    assert decided(2) == ("RMSNorm", set(NORMS) - {"RMSNorm", "GroupNorm"})
    assert [decided(size) for size in (4, 8, 32)] == [("BatchNorm", set())] * 3
    shown = page("which-norm")
    assert "In batches of four BatchNorm learned best, and its difference to each other norm is decided" in shown
    assert "In batches of 2 RMSNorm has the highest mean, and whether BatchNorm is below it is undecided" in shown


@pytest.mark.parametrize("path", pages.pages(), ids=lambda path: path.stem)
def test_generated_parts_are_what_records_and_commands_make(path):
    text = path.read_text(encoding="utf-8")
    assert pages.made(text) == text, "run `make pages`"


def test_every_generated_part_stands_on_a_page():
    used = {part[2] for path in pages.pages() for part in pages.PART.finditer(path.read_text(encoding="utf-8"))}
    assert used == set(pages.PARTS)
