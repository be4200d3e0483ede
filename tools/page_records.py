"""The parts of the pages that are made of the records in reports/reference: sentences and tables, as Markdown."""

import math
import shlex
from functools import cache
from pathlib import Path
from statistics import fmean

from normsuite import compact, comparisons
from normsuite.ahead import tables as ahead_tables
from normsuite.bench.row import FASTER, NOT_SLOWER, SLOWER, UNDECIDED
from normsuite.bench.summary import ALL, AUTO, copy_of
from normsuite.presentation import markdown, text
from normsuite.presentation.table import Column, Table
from normsuite.report.collect import collect
from normsuite.report.overview import FAR
from normsuite.spec import NO_NORM, NORMS
from normsuite.statistics import Interval, mean_interval
from normsuite.study.summary import by_batch_size, by_setting, leader

from . import start_cost

STARTS = "start-cost"
"""What the names of rounds of `start_cost` begin with, in the file of what was measured of the suite itself."""

REFERENCE = Path(__file__).parent.parent / "reports" / "reference"
COLUMNS = {
    "forward": ("forward", "none"),
    "forward, relu": ("forward", "relu"),
    "step": ("step", "none"),
    "step, relu": ("step", "relu"),
    "evaluation": ("evaluation", "none"),
}
"""Columns of the tables of processors: mode and activation."""


def _kept(name: str) -> dict:
    """Return the one member of a compact file."""
    (member,) = compact.members(REFERENCE / f"{name}{compact.SUFFIX}")
    return member.value


@cache
def collected():
    """Return all records."""
    return collect(REFERENCE)


@cache
def benches():
    """Return the bench of the processor that has every implementation, then the accelerator's in two types."""
    return collected().benches


@cache
def of_processors() -> list[dict]:
    """Return the summaries of the benches of processors.

    First comes the one with every implementation, then those of further processors.
    """
    kept = [_kept(path.name.removesuffix(compact.SUFFIX)) for path in sorted(REFERENCE.glob("bench-summary-of-*"))]
    return [benches()[0].as_dict(), *kept]


@cache
def batch_sizes() -> dict[int, dict[str, tuple[float, float, float]]]:
    """Return by batch size and norm the test accuracy with its interval, the highest first."""
    found: dict[int, dict] = {}
    for norm, of_size in by_batch_size(collected().batches).items():
        for size, accuracy in of_size.items():
            found.setdefault(size, {})[norm] = (accuracy.value, accuracy.low, accuracy.high)
    return {size: dict(sorted(of.items(), key=lambda item: -item[1][0])) for size, of in found.items()}


def percent(interval) -> str:
    """Return an interval of shares as "99.31 % [99.27, 99.35]", cut off at 0 and 100, which no share exceeds."""
    shares = Interval(*(100 * min(max(share, 0.0), 1.0) for share in interval))
    return text.interval(shares, "{:.2f}".format, " %")


def ratio(interval) -> str:
    """Return an interval of ratios as "0.46 [0.45, 0.47]"."""
    return text.interval(interval, "{:.2f}".format)


# ---- which norm, when ----


def sentences() -> list[str]:
    """Return five sentences: what learns best, what small batches do, what is cheap, which backend, how exact."""
    return [f"{n}. {said}" for n, said in enumerate((_learns(), _batches(), _cost(), _backend(), _exact()), 1)]


def _learns() -> str:
    study = collected().study
    last = {
        norm: [samples["epochs"][-1]["test_accuracy"] for samples in seeds.values()]
        for norm, seeds in comparisons.by_norm(study).items()
        if norm != NO_NORM
    }
    best, *others = sorted(last, key=lambda norm: -fmean(last[norm]))
    found = mean_interval(last[best])
    pairs = comparisons.pairs(study, ["test accuracy"])
    verdicts = {pair.right: pair.verdict for pair in pairs if pair.left == best}
    verdicts |= {pair.left: pair.verdict for pair in pairs if pair.right == best}
    close = [norm for norm in others if verdicts[norm] == comparisons.EQUIVALENT]
    apart = [norm for norm in others if norm not in close]
    case = study[0]["case"]
    said = f"**{best} learned best**, {percent((found.value, found.low, found.high))} of MNIST's test digits after "
    said += f"{case['epochs']} epochs ({len(last[best])} seeds, batches of {case['batch_size']})"
    if close:
        said += f", but {text.listed(close)} {'are' if len(close) > 1 else 'is'} equivalent within 0.2 points"
    return said + (f" and only {text.listed(apart)} not." if apart and close else ".")


@cache
def leaders() -> dict[int, tuple[str, list[comparisons.NormPair]]]:
    """Return by batch size the norm of the highest mean accuracy, and its pairs with the other norms."""
    found = {size: leader(records) for (size,), records in by_setting(collected().batches, ["batch_size"]).items()}
    return {size: (first, [pair for pair in pairs if pair.right != NO_NORM]) for size, (first, pairs) in found.items()}


def _batches() -> str:
    smallest = min(leaders())
    first, pairs = leaders()[smallest]
    said = f"**In batches of {smallest}** {first} has the highest mean, {percent(batch_sizes()[smallest][first])}, "
    said += f"{_ahead(pairs)}; "
    alike: dict[tuple[str, str], list[str]] = {}
    for size, (first, pairs) in list(leaders().items())[1:]:
        alike.setdefault((first, _ahead(pairs)), []).append(f"{size}")
    later = [f"in those of {text.listed(sizes)} {first}, {ahead}" for (first, ahead), sizes in alike.items()]
    return f"{said}{'; '.join(later)} ({pairs[0].seeds} seeds, paired and corrected)."


def _ahead(pairs: list[comparisons.NormPair]) -> str:
    """Return which norms are decided to be lower."""
    lower = [pair.right for pair in pairs if pair.verdict == comparisons.HIGHER]
    if len(lower) == len(pairs):
        return "above all others"
    return f"above {text.listed(lower)}" if lower else "all differences undecided"


def _cost() -> str:
    means = [
        m
        for m in collected().bench.means(copy_of, [AUTO])
        if (m.mode, m.size, m.activation) == ("step", "large", "none") and m.norm != ALL
    ]
    means.sort(key=lambda m: m.ratio.value)
    said = text.listed([f"{m.norm} {ratio(m.ratio)}" for m in means])
    return f"**A training step on the CPU costs** so many times a copy of the same large tensor: {said}."


def _backend() -> str:
    by_present_tables = [
        found for found in filter(_uses_all_cores, of_processors()) if "tuning" in found["environment"]
    ]
    alone, fused = (
        text.listed(
            [ratio(Interval(**over_torch_nn(found, AUTO, "large")[COLUMNS[name]])) for found in by_present_tables]
        )
        for name in ("step", "step, relu")
    )
    named = text.listed([found["environment"]["cpu"] for found in by_present_tables])
    return (
        f'**`backend="auto"` takes** {alone} of torch.nn\'s time for such a step, and {fused} with the ReLU in the '
        f"same pass, on {named}."
    )


def _exact() -> str:
    worst: dict[str, float] = {}
    for record in collected().numerics:
        for row in record["samples"]:
            if float(row["mean"]) == FAR and isinstance(row["output"], float):
                worst[row["backend"]] = max(worst.get(row["backend"], 0.0), row["output"])
    ours = max(found for backend, found in worst.items() if backend != "torch")
    return (
        f"**Inputs far from zero** (a mean of {FAR:,.0f} deviations) come out of torch.nn with a relative error of up "
        f"to {worst['torch']:.1e}, of the `numba` and `reference` backends with {ours:.1e}; RMSNorm subtracts no mean "
        "and loses nothing anywhere."
    )


def batch_table() -> list[str]:
    """Return test accuracy by norm and batch size."""
    sizes = list(batch_sizes())
    lines = [
        f"| test accuracy | {' | '.join(f'batches of {size}' for size in sizes)} |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    for norm in (*NORMS, NO_NORM):
        lines.append(f"| {norm} | {' | '.join(percent(batch_sizes()[size][norm]) for size in sizes)} |")
    return lines


def leader_table() -> list[str]:
    """Return by batch size the norm of the highest mean, and the others by the verdict on their difference to it."""
    kinds = (comparisons.HIGHER, comparisons.EQUIVALENT, comparisons.UNDECIDED)
    lines = ["| batches of | highest mean | above | equivalent to | undecided against |", "|---" * 5 + "|"]
    for size, (first, pairs) in leaders().items():
        by_verdict = {kind: [pair for pair in pairs if pair.verdict == kind] for kind in kinds}
        found = (", ".join(map(_beside, by_verdict[kind])) or text.ABSENT for kind in kinds)
        lines.append(f"| {size} | {first} | {' | '.join(found)} |")
    return lines


def _beside(pair: comparisons.NormPair) -> str:
    return f"{pair.right} ({text.points(pair.found.difference.value)})"


# ---- by processor and device ----


def where() -> list[str]:
    """Return what was measured on which processor or accelerator."""
    lines = ["| device | cores or multiprocessors | torch | types | tasks | processes |", "|---|---|---|---|---|---|"]
    accelerators = [bench.as_dict() for bench in benches()[1:]]
    for found in (*of_processors(), *accelerators):
        environment = found["environment"]
        device = environment["accelerator"] or _named(found)
        units = environment.get("device", {}).get("multiprocessors", environment["cores"])
        version, processes = environment["packages"]["torch"], found["settings"]["processes"]
        lines.append(f"| {device} | {units} | {version} | {found['dtype']} | {found['tasks']} | {processes} |")
    return lines


def over_torch_nn(found, implementation, size, norm="all"):
    """Return geometric means of ratios to torch.nn, by mode and activation."""
    means = found["summary"]["geometric_means_to_torch_nn"]
    return _by_mode([mean for mean in means if mean["implementation"] == implementation], size, norm)


def over_bound(found, norm="all"):
    """Return geometric means of `auto` over two passes without a norm, large cases, by mode and activation."""
    return _by_mode(found["summary"].get("geometric_means_of_auto_to_bound", ()), "large", norm)


def _by_mode(means, size, norm):
    return {
        (mean["mode"], mean["activation"]): mean["ratio"]
        for mean in means
        if (mean["size"], mean["norm"]) == (size, norm)
    }


def further_processors() -> list[str]:
    """Return a part for each further processor: what was run, what was slower, and the table of means."""
    return [line for found in of_processors()[1:] for line in _of_processor(found)]


def _uses_all_cores(found: dict) -> bool:
    """Return whether a bench had as many threads as the machine has cores."""
    return found["environment"]["threads"] == found["environment"]["cores"]


def _named(found: dict) -> str:
    """Return a bench's processor, with the number of threads where those are fewer than its cores."""
    environment = found["environment"]
    threads = "" if _uses_all_cores(found) else f", {text.counted(environment['threads'], 'thread')}"
    return f"{environment['cpu']}{threads}"


def _of_processor(found: dict) -> list[str]:
    settings, environment, summary = found["settings"], found["environment"], found["summary"]
    verdicts, noise = summary["verdicts_of_auto"], {end: summary["noise"][end] for end in ("value", "low", "high")}
    slower = []
    for row in summary["slower_cases_of_auto"]:
        behind = "" if row["activation"] == "none" else f" with {row['activation']}"
        slower.append(f"{row['norm']} `{row['case']}` {row['mode']}{behind}")
    rows = {name: over_torch_nn(found, "auto", "large", name) for name, spec in NORMS.items() if spec.torch_call}
    rows["all"] = over_torch_nn(found, "auto", "large")
    rows["all, tiny cases"] = over_torch_nn(found, "auto", "tiny")
    beside = " ".join(f"--backend {shlex.quote(name)}" for name in settings.get("backends") or ["auto"])
    return [
        f"### {_named(found)}, {environment['cores']} cores, {found['dtype']}",
        "",
        f"`normsuite bench --processes {settings['processes']} --seconds {settings['seconds']} {beside}`, "
        f"{text.counted(settings['threads'], 'thread')}. "
        f"Of {found['tasks']} cases `auto` is slower in {verdicts[SLOWER]}"
        f"{' (' + text.listed(slower) + ')' if slower else ''}, faster in {verdicts[FASTER]}, not slower in "
        f"{verdicts[NOT_SLOWER]} and undecided in {verdicts[UNDECIDED]}; in the median case a ratio has to be measured "
        f"above {summary['slower_is_found_above']:.2f} to count as slower. torch.nn over itself takes "
        f"{ratio(Interval(**noise))}.",
        "",
        *_table_of_means(rows),
        "",
        *_of_bound(found),
    ]


def _of_bound(found: dict) -> list[str]:
    """Return a table of `auto` over two passes without a norm, or nothing where they were not timed."""
    rows = {name: over_bound(found, name) for name in (*NORMS, "all")}
    rows = {name: of for name, of in rows.items() if of}
    if not rows:
        return []
    lead = "`auto` over torch's own sums and products of the same traffic, large cases:"
    return [lead, "", *_table_of_means(rows), ""]


def _table_of_means(rows) -> list[str]:
    lines = [f"| | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for name, of in rows.items():
        cells = [ratio(Interval(**of[c])) if c in of else text.ABSENT for c in COLUMNS.values()]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return lines


def processor_lines() -> list[str]:
    """Return one row a processor: its means over all large cases, and in how many `auto` was slower or undecided.

    It is that of benches with as many threads as cores. The last column is the ratio above which the median case counts
    as slower.
    """
    heads = ("`auto` / torch.nn, large cases", *COLUMNS, "slower in", "undecided in", "slower is found above")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for found in filter(_uses_all_cores, of_processors()):
        of = over_torch_nn(found, "auto", "large")
        cells = [ratio(Interval(**of[c])) if c in of else text.ABSENT for c in COLUMNS.values()]
        verdicts, above = found["summary"]["verdicts_of_auto"], f"{found['summary']['slower_is_found_above']:.2f}"
        counted = (f"{verdicts[SLOWER]} of {found['tasks']}", f"{verdicts[UNDECIDED]}", above)
        # Records say which tuning they were made with since there is one for each processor.
        earlier = "" if "tuning" in found["environment"] else ", an earlier table of sizes"
        lines.append(f"| {' | '.join([found['environment']['cpu'] + earlier, *cells, *counted])} |")
    return lines


def bench_table() -> list[str]:
    """Return the time of `auto` over that of torch.nn, and of two passes without a norm."""
    first = of_processors()[0]
    rows = {name: over_torch_nn(first, "auto", "large", name) for name, spec in NORMS.items() if spec.torch_call}
    rows["all"] = over_torch_nn(first, "auto", "large")
    rows["two passes without a norm"] = over_torch_nn(first, "sum and product", "large")
    rows["the same over GroupNorm"] = over_torch_nn(first, "sum and product", "large", "GroupNorm")
    rows["all, tiny cases"] = over_torch_nn(first, "auto", "tiny")
    return [*_table_of_means(rows), "", *_of_bound(first)]


@cache
def of_accelerator(index):
    """Return means and rows of the accelerator's kernels in one type of numbers."""
    bench = [bench for bench in benches() if bench.key[0]][index]
    rows = [row for row in bench.as_dict()["rows"] if row["implementation"] == "triton"]
    return bench.means(implementations=["triton"]), rows


def accelerator_cell(index, norm, mode) -> str:
    """Return time of the kernels over torch.nn's, and the share of a copy's speed, as geometric means over cases."""
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
    (found,) = ratios
    return f"{ratio(found)}, {math.exp(fmean(map(math.log, shares))):.2f}"


def accelerator_table() -> list[str]:
    """Return device time of the kernels over torch.nn's, and the share of a copy's speed."""
    columns = [(index, mode) for index in (0, 1) for mode in ("forward", "backward")]
    lines = [
        "| | float32 forward | float32 backward | bfloat16 forward | bfloat16 backward |",
        "|---|---|---|---|---|",
    ]
    for norm in NORMS:
        cells = [accelerator_cell(index, norm, mode) for index, mode in columns]
        if cells != ["–"] * len(cells):
            lines.append(f"| {' | '.join([norm, *cells])} |")
    evaluation = [accelerator_cell(index, "BatchNorm", "evaluation") for index in (0, 1)]
    lines.append(f"| BatchNorm, evaluation | {evaluation[0]} | | {evaluation[1]} | |")
    return lines


def kernels() -> list[str]:
    """Return what was found of the kernels that were compiled ahead of time."""
    return [" ".join(ahead_tables.sentences(collected().ahead))]


def starts() -> list[str]:
    """Return what forked processes of a gate cost beside new ones, and whether they agree more with each other."""
    members = compact.members(REFERENCE / f"suite{compact.SUFFIX}")
    rounds = [member.value for member in members if member.name.startswith(STARTS)]
    environment, of = rounds[0]["environment"], rounds[0][start_cost.FORKED]
    processes = len(next(iter(of["log_ratios"].values())))
    return [
        f"{len(rounds)} rounds of {processes} processes of each kind, {len(of['log_ratios'])} cells, "
        f"{environment['cpu']}, {environment['cores']} cores; intervals of 95 % over rounds:",
        "",
        *markdown.table(Table("", ("what", Column("figure", is_number=True)), start_cost.rows(rounds), "")),
    ]


PARTS = {
    "which-norm": sentences,
    "batch-sizes": batch_table,
    "batch-leaders": leader_table,
    "measured": where,
    "processors": bench_table,
    "further-processors": further_processors,
    "by-processor": processor_lines,
    "accelerators": accelerator_table,
    "kernels": kernels,
    "starts": starts,
}
