"""What is kept in reports/reference: whole, of today's presets, and what the README and the presets say by it."""

import json
import math
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from statistics import fmean, median

from normsuite import comparisons, report, results
from normsuite.backends.numba import outputs
from normsuite.bench import streaming
from normsuite.bench.summary import SLOWER_ABOVE
from normsuite.report.collect import collect
from normsuite.spec import NO_NORM, NORMS
from normsuite.statistics import mean_interval
from normsuite.study import summary
from normsuite.study.plan import plan, preset
from tools import accelerator_table as accelerator_table_tool

REFERENCE = Path(__file__).parent.parent / "reports" / "reference"


def records(folder):
    found = results.read_records(REFERENCE / folder, "study")
    assert found.good and not found.damaged
    return found.good


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
    found = {(r["case"]["norm"], r["case"]["seed"]): r["case"] for r in records("study")}
    assert found == {(run.norm, run.seed): run.as_dict() for run in plan("full")}
    assert {norm for norm, _ in found} == {NO_NORM, *NORMS}


def test_the_readme_says_what_the_full_study_found():
    """Its figures, computed again: means over seeds at the last epoch, corrected intervals, epochs to 99 %."""
    readme = " ".join((REFERENCE.parent.parent / "README.md").read_text().split())
    found = records("study")
    last = {norm: [r["samples"]["epochs"][-1] for r in found if r["case"]["norm"] == norm] for norm in NORMS}
    accuracy = {norm: [100 * e["test_accuracy"] for e in epochs] for norm, epochs in last.items()}
    best = mean_interval(accuracy["BatchNorm"])
    assert best.value >= 99.3
    assert f"{best.value:.2f} % [{best.low:.2f}, {best.high:.2f}] of the test digits right" in readme
    assert f"a test loss of {fmean(e['test_loss'] for e in last['BatchNorm']):.4f}" in readme
    for norm in set(NORMS) - {"BatchNorm"}:
        loss = fmean(e["test_loss"] for e in last[norm])
        assert f"{norm} ({fmean(accuracy[norm]):.2f} %, {loss:.4f})" in readme
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
    assert f"by {-loss['difference']:.4f} [{-loss['high']:.4f}, {-loss['low']:.4f}]" in readme
    (faster,) = (r for r in judged["training accuracy"]["relations"] if r["verdict"] == "contradicted")
    points = [100 * -faster[key] for key in ("difference", "high", "low")]
    assert f"by {points[0]:.2f} points [{points[1]:.2f}, {points[2]:.2f}]" in readme
    without = [[e["test_accuracy"] for e in r["samples"]["epochs"]] for r in found if r["case"]["norm"] == NO_NORM]
    (collapsed,) = [of for of in without if of[-1] < 0.2]
    assert len(without) == 10 and min(collapsed[:2]) > 0.9 and max(collapsed[2:]) < 0.2, "in its third epoch"
    epochs = {row["norm"]: row for row in summary.as_dict(found)["epochs_to"] if row["test_accuracy"] == 0.99}
    reached = [e for e in epochs[NO_NORM]["epochs"] if e is not None]
    medians = median(reached), epochs["BatchNorm"]["median"]
    said = f"nine came to 99 % in a median of {medians[0]:.0f} epochs, BatchNorm's in {medians[1]:.0f}"
    assert len(reached) == 9 and said in readme


def test_the_report_kept_here_is_made_of_the_records_kept_here(tmp_path):
    """The same words, tables and what charts say; with the same versions of libraries the same bytes."""
    copy = shutil.copytree(REFERENCE, tmp_path / "reference", ignore=shutil.ignore_patterns("html"))
    report.write(copy, copy / "html")
    kept, made = ({path.name: path.read_text() for path in (of / "html").glob("*.html")} for of in (REFERENCE, copy))
    assert {name: words(page) for name, page in kept.items()} == {name: words(page) for name, page in made.items()}
    assert "learning.html" in kept and "99.31%" in kept["learning.html"]
    if {generator(page) for page in kept.values()} == {generator(page) for page in made.values()}:
        assert kept == made


GENERATOR = '<meta name="generator" content="([^"]*)">'


def generator(page):
    return re.search(GENERATOR, page)[1]


def words(page):
    """A page without its drawings, whatever drew them."""
    return re.sub(rf"<svg.*?</svg>|{GENERATOR}", "", page, flags=re.DOTALL)


def test_the_readme_says_what_the_benches_of_a_study_and_of_a_history_found():
    from normsuite.bench import history, throughput

    readme = " ".join((REFERENCE.parent.parent / "README.md").read_text().split())
    record = results.read_record(REFERENCE / "bench-throughput.json")
    speedups = throughput.speedups(record)
    one, sweep = (f"{of.value:.2f} × [{of.low:.2f}, {of.high:.2f}]" for of in map(speedups.get, throughput.WAYS[1:]))
    assert f"a study has {sweep} the plain loop" in readme and f"one process with two threads {one}" in readme
    assert len(record["case"]["norms"]) == record["case"]["epochs"] == 6, "as the README says"
    record = results.read_record(REFERENCE / "bench-history.json")
    ours = [of_round[history.OURS] for of_round in record["samples"]]
    peak = max(found[stage]["peak_bytes"] for found in ours for stage in (history.WHOLE, history.ONE_MORE))
    assert f"with {peak / 2**20:.0f} MiB of memory at most" in readme and peak < 2**30
    assert max(size for found in ours for size in found["page_bytes"].values()) <= 3_000_000
    loads = [seconds for found in ours for of in found["interactive_seconds"].values() for seconds in of]
    assert f"Its pages can be used after {1000 * max(loads):.0f} ms at most" in readme and max(loads) < 1
    ratios = history.ratios(record)
    whole, more = (f"{r.value:.2f} × [{r.low:.2f}, {r.high:.2f}]" for r in ratios.values())
    assert (
        f"the report takes {whole} of asv's time" in readme
        and f"and {more} after one more commit, the mean of eight" in readme
    )


def test_the_readme_claims_of_the_gate_what_its_self_check_supports():
    from normsuite.gate import rates, selfcheck

    readme = " ".join((REFERENCE.parent.parent / "README.md").read_text().split())
    found = results.read_records(REFERENCE / "self-check", rates.WHAT)
    assert not found.damaged and len({str(record["case"]["identity"]) for record in found.good}) == 1
    if sys.version_info[:2] == (3, 11) and found.good[0]["case"]["identity"]["method"] != selfcheck.method():
        assert "measured by an earlier version of the gate, judged by today's thresholds" in readme
    of = rates.found(found.good)
    assert f"{of.false_alarms.k} of {of.false_alarms.n} tables of a version against itself" in readme
    assert f"a rate of at most {of.false_alarms.at_most:.1%}".replace("%", " %") in readme
    assert f"{of.false_cells.k} of {of.false_cells.n} cells without a slowdown called worse" in readme
    assert f"{of.undecided.k} undecided" in readme
    one, two, five, ten = (of.planted[share] for share in (0.01, 0.02, 0.05, 0.10))
    assert f"slowdowns of 5 % found in {five.k} of {five.n} cells, of 10 % in {ten.k} of {ten.n}" in readme
    assert f"of 2 % in {two.k} of {two.n}, of 1 % in {one.k} of {one.n}" in readme
    sizes = [
        100 * math.expm1(fmean(record["samples"]["log_ratios"][cell]))
        for record in found.good
        for cell, share in record["case"]["planted"].items()
        if share == 0.02
    ]
    said = f"as 2 % was measured as {fmean(sizes):.2f} % in the mean, from {min(sizes):.2f} to {max(sizes):.2f} %"
    assert said in readme
    assert f"took {of.seconds[0]:.0f} s in the median, {of.seconds[1]:.0f} s at most" in readme
    rivals = results.read_records(REFERENCE / "self-check", rates.ASV).good
    assert {record["samples"]["factor"] for record in rivals} == {1.03}
    assert all(record["case"]["identity"] == found.good[0]["case"]["identity"] for record in rivals)
    asv = rates.found(rivals)
    assert f"worse in {asv.false_alarms.k} of {asv.false_alarms.n} tables of a version against itself, and in" in readme
    assert f"in {asv.false_cells.k} of {asv.false_cells.n} cells without a slowdown; it found 5 %" in readme
    two, five, ten = (f"{of.k} of {of.n}" for of in map(asv.planted.get, (0.02, 0.05, 0.10)))
    found = (
        f"it found 5 % in {five} cells, 10 % in {ten}, 2 % in {two}, in {asv.seconds[0]:.0f} s a table in the median"
    )
    assert found in readme


# ---- writing past the caches ----


def test_the_readme_says_what_writing_past_the_caches_saves():
    record = results.read_record(REFERENCE / "streaming-avx512.json")
    saved = []
    for way, share in outputs.SHARE.items():
        least = record["case"]["last-level cache"] // share
        rows = [row for row in record["samples"] if row["chain"].startswith(way) and row["bytes"] >= least]
        assert len(rows) >= 4 * len(streaming.NORMALISED)
        assert not [row for row in rows if row["interval"][0] > SLOWER_ABOVE], "nowhere slower"
        saved.append(math.exp(fmean(math.log(row["ratio"]) for row in rows)))
    forward, step = saved
    readme = " ".join((REFERENCE.parent.parent / "README.md").read_text().split())
    assert f"all takes {forward:.2f} × the time then, and a step {step:.2f} ×" in readme
    names = {3: "From a third of the last-level cache on", 8: "on the way back from an eighth"}
    assert all(names[share] in readme for share in outputs.SHARE.values())


# ---- the comparison with the alternatives ----

COLUMNS = (("forward", "none"), ("forward", "relu"), ("step", "none"), ("step", "relu"))


@cache
def benches():
    """The processor's, and the accelerator's in two types."""
    found = collect(REFERENCE)
    assert [bench.key for bench in found.benches] == [
        ("", "float32", False),
        ("NVIDIA H200", "float32", False),
        ("NVIDIA H200", "bfloat16", False),
    ]
    assert not [note for note in found.notes if "bench" in note]
    return found.benches


@cache
def bench_summaries():
    """Of a run with everybody, by its records, and of one with `auto` alone, which is kept as what it said."""
    again = json.loads((REFERENCE / "bench-summary-again.json").read_text())
    assert again["settings"]["backends"] == ["auto"]
    return benches()[0].as_dict(), again


def over_torch_nn(found, contestant, size, norm="all"):
    """Geometric means by mode and activation."""
    return {
        (mean["mode"], mean["activation"]): mean["ratio"]
        for mean in found["summary"]["geometric_means_to_torch_nn"]
        if (mean["contestant"], mean["size"], mean["norm"]) == (contestant, size, norm)
    }


def bench_table():
    """As the README has it."""
    first, again = bench_summaries()
    rows = {name: over_torch_nn(first, "auto", "large", name) for name, spec in NORMS.items() if spec.torch_call}
    rows["all"] = over_torch_nn(first, "auto", "large")
    rows["all, the other run"] = over_torch_nn(again, "auto", "large")
    rows["two passes without a norm"] = over_torch_nn(first, "sum and product", "large")
    rows["the same over GroupNorm"] = over_torch_nn(first, "sum and product", "large", "GroupNorm")
    rows["all, tiny cases"] = over_torch_nn(first, "auto", "tiny")
    rows["tiny cases, the other run"] = over_torch_nn(again, "auto", "tiny")
    lines = ["| | forward | forward, relu | step | step, relu |", "|---|---|---|---|---|"]
    for name, of in rows.items():
        cells = [f"{of[c]['value']:.2f} [{of[c]['low']:.2f}, {of[c]['high']:.2f}]" if c in of else "–" for c in COLUMNS]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return lines


def test_the_readme_says_what_the_bench_of_norms_found():
    readme = (REFERENCE.parent.parent / "README.md").read_text()
    assert "\n".join(bench_table()) in readme
    first, again = bench_summaries()
    readme = " ".join(readme.split())
    for found, said in ((first, "cases by themselves it is"), (again, "and in the other run")):
        verdicts, slow = found["summary"]["verdicts_of_auto"], found["summary"]["slower_cases_of_auto"]
        slower = [
            f"{c['norm']} in {c['mode']} of `{c['case']}`{f' with {a}' if (a := c['activation']) != 'none' else ''}"
            for c in slow
        ]
        of_slower = f"{len(slower)} ({', '.join(slower)})" if slower else "none"
        assert f"{said} slower in {of_slower}, faster in {verdicts['faster']} and undecided in" in readme
        assert f"undecided in {verdicts['undecided']}" in readme
        assert verdicts["slower"] == len(slower) and f"Of {sum(verdicts.values())} cases" in readme
    forward, step = (
        "{value:.2f} × [{low:.2f}, {high:.2f}]".format(**mean["ratio"])
        for mode in ("forward", "step")
        for mean in first["summary"]["geometric_means_of_auto_to_rivals"]
        if (mean["against"], mean["size"], mean["norm"]) == ("torch.compile", "large", "all")
        and (mean["mode"], mean["activation"]) == (mode, "none")
    )
    assert f"Of torch.compile of the plain formula a forward pass takes {forward} the time, and a step {step}" in readme
    assert [found["settings"]["processes"] for found in (first, again)] == [4, 5], "as the README says"


@cache
def of_accelerator(index):
    """Means and rows of the kernels."""
    bench = benches()[index]
    rows = [row for row in bench.as_dict()["rows"] if row["contestant"] == "triton"]
    return bench.means(contestants=["triton"]), rows


def accelerator_cell(index, norm, mode):
    """Time of the kernels over torch.nn's, and the share of a copy's speed, both as geometric means over cases."""
    means, rows = of_accelerator(index)
    ratios = [
        mean.ratio
        for mean in means
        if (mean.size, mean.activation, mean.norm, mean.mode) == ("large", "none", norm, mode)
    ]
    shares = [
        row["traffic_share"] for row in rows if (row["norm"], row["mode"], row["activation"]) == (norm, mode, "none")
    ]
    if not ratios:
        return "–"
    (ratio,) = ratios
    share = math.exp(fmean(map(math.log, shares)))
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}], {share:.2f}"


def accelerator_table():
    """As the README has it."""
    columns = [(index, mode) for index in (1, 2) for mode in ("forward", "backward")]
    lines = [
        "| | float32 forward | float32 backward | bfloat16 forward | bfloat16 backward |",
        "|---|---|---|---|---|",
    ]
    for norm in NORMS:
        cells = [accelerator_cell(index, norm, mode) for index, mode in columns]
        if cells != ["–"] * len(cells):
            lines.append(f"| {' | '.join([norm, *cells])} |")
    evaluation = [accelerator_cell(index, "BatchNorm", "evaluation") for index in (1, 2)]
    lines.append(f"| BatchNorm, evaluation | {evaluation[0]} | | {evaluation[1]} | |")
    return lines


def test_the_readme_says_what_an_accelerator_found():
    readme = (REFERENCE.parent.parent / "README.md").read_text()
    assert "\n".join(accelerator_table()) in readme
    readme = " ".join(readme.split())
    wide, narrow = benches()[1:]
    found = wide.as_dict()
    assert found["settings"]["processes"] == 2 and found["settings"]["clock"] == "captured graphs"
    tasks, torch_version = len(wide.records) + len(narrow.records), found["environment"]["packages"]["torch"]
    assert f"{tasks} tasks of an {found['environment']['accelerator']} (torch {torch_version}, two processes)" in readme
    noise = found["summary"]["noise"]
    assert f"torch.nn over itself takes {noise['value']:.3f} × [{noise['low']:.3f}, {noise['high']:.3f}]" in readme


def test_the_table_of_accelerators_is_made_of_the_records():
    files = sorted((REFERENCE / "bench").glob("*.json"))
    made = accelerator_table_tool.table(json.loads(file.read_text()) for file in files)
    assert accelerator_table_tool.as_toml(made) == (Path(results.__file__).parent / "accelerators.toml").read_text()


def test_two_runs_of_the_bench_agree_within_their_intervals_but_where_the_readme_says():
    first, again = bench_summaries()
    apart = []
    for size in ("large", "tiny"):
        of_first, of_again = (over_torch_nn(found, "auto", size) for found in (first, again))
        assert of_first.keys() == of_again.keys() >= set(COLUMNS)
        for column, mean in of_first.items():
            other = of_again[column]
            if mean["low"] > other["high"] or other["low"] > mean["high"]:
                apart.append((size, *column, f"{mean['value']:.2f} and {other['value']:.2f}"))
    readme = " ".join((REFERENCE.parent.parent / "README.md").read_text().split())
    said = ", ".join(f"{size} cases in {mode} with {activation}: {found}" for size, mode, activation, found in apart)
    assert f"The two runs agree within their intervals{' but for ' * bool(apart)}{said}." in readme
    assert not [column for column in apart if column[0] == "large"]
