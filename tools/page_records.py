"""The parts of the pages that are made of the records in reports/reference: sentences and tables, as Markdown."""

import math
from functools import cache
from statistics import fmean

from normsuite.ahead import tables as ahead_tables
from normsuite.bench.summary import ALL, AUTO, copy_of
from normsuite.numerics.tables import error
from normsuite.presentation import markdown, text
from normsuite.presentation.table import Column, Table
from normsuite.records import compact
from normsuite.report.overview import FAR
from normsuite.spec import NO_NORM, NORMS
from normsuite.statistics import Interval, mean_interval
from normsuite.study import comparisons
from normsuite.study.summary import by_batch_size, by_setting, leader

from . import start_cost
from .page_benches import (
    COLUMNS,
    REFERENCE,
    collected,
    has_present_sizes,
    of_processors,
    over_torch_nn,
    ratio,
    uses_all_cores,
)

STARTS = "start-cost"
"""What the names of rounds of `start_cost` begin with, in the file of what was measured of the suite itself."""


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
        said += f", but {text.listed(close)} {'are' if len(close) > 1 else 'is'} equivalent to it within 0.2 points"
    return said + (f", and {text.listed(apart)} {_is(apart)} not shown to be." if apart and close else ".")


def _is(norms: list[str]) -> str:
    return "are" if len(norms) > 1 else "is"


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
        for m in collected().bench.on_shared_cases(AUTO).means(copy_of, [AUTO])
        if (m.mode, m.size, m.activation) == ("step", "large", "none") and m.norm != ALL
    ]
    means.sort(key=lambda m: m.ratio.value)
    said = text.listed([f"{m.norm} {ratio(m.ratio)}" for m in means])
    return (
        f'**A training step with `backend="auto"` takes**, as a multiple of copying the same tensor, on the '
        f"{means[0].tasks} large shapes that all norms were measured on ({collected().bench.processor}): {said}."
    )


def _backend() -> str:
    tuned = [found for found in filter(uses_all_cores, of_processors()) if has_present_sizes(found)]
    by_present_tables = {found["environment"]["cpu"]: found for found in tuned}.values()  # `auto` alone, where it was
    alone, fused = (
        text.listed(
            [ratio(Interval(**over_torch_nn(found, AUTO, "large")[COLUMNS[name]])) for found in by_present_tables]
        )
        for name in ("step", "step, relu")
    )
    named = text.listed([found["environment"]["cpu"] for found in by_present_tables])
    return (
        f'**`backend="auto"` takes** {alone} of torch.nn\'s time for a training step, and {fused} with the ReLU in the '
        f"same pass, on {named}."
    )


def _exact() -> str:
    worst: dict[str, float] = {}
    for row in collected().numerics[0]["samples"]:
        if float(row["mean"]) == FAR and not math.isnan(found := error(row["output"])):
            worst[row["backend"]] = max(worst.get(row["backend"], 0.0), found)
    ours = max(worst["numba"], worst["reference"])
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
    "kernels": kernels,
    "starts": starts,
}
