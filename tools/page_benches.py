"""The parts of the pages that are made of benches: means by processor and accelerator, as Markdown."""

import math
import shlex
from functools import cache
from pathlib import Path
from statistics import fmean

from normsuite import tunings
from normsuite.bench.row import FASTER, NOT_SLOWER, SLOWER, UNDECIDED
from normsuite.presentation import text
from normsuite.records import compact
from normsuite.report.collect import collect
from normsuite.spec import NORMS
from normsuite.statistics import Interval

REFERENCE = Path(__file__).parent.parent / "reports" / "reference"
COLUMNS = {
    "forward": ("forward", "none"),
    "forward, relu": ("forward", "relu"),
    "step": ("step", "none"),
    "step, relu": ("step", "relu"),
    "evaluation": ("evaluation", "none"),
}
"""Columns of the tables of processors: mode and activation."""


def _kept(pattern: str) -> list[dict]:
    """Return the members of all compact files of that pattern."""
    return [member.value for path in sorted(REFERENCE.glob(pattern)) for member in compact.members(path)]


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

    First comes the one with every implementation, then those of further processors: a file for each, with a member for
    each number of threads.
    """
    return [benches()[0].as_dict(), *_kept("bench-summary-of-*")]


def ratio(interval) -> str:
    """Return an interval of ratios as "0.46 [0.45, 0.47]"."""
    return text.interval(interval, "{:.2f}".format)


def where() -> list[str]:
    """Return what was measured on which processor or accelerator."""
    lines = ["| device | cores or multiprocessors | torch | types | tasks | processes |", "|---|---|---|---|---|---|"]
    accelerators = [bench.as_dict() for bench in benches()[1:]]
    for found in (*of_processors(), *with_rivals()[1:], *accelerators):
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


def uses_all_cores(found: dict) -> bool:
    """Return whether a bench had as many threads as the machine has cores."""
    return found["environment"]["threads"] == found["environment"]["cores"]


def _named(found: dict) -> str:
    """Return a bench's processor, with the number of threads where those are fewer than its cores."""
    environment = found["environment"]
    threads = "" if uses_all_cores(found) else f", {text.counted(environment['threads'], 'thread')}"
    return f"{environment['cpu']}{threads}"


def _of_processor(found: dict) -> list[str]:
    settings, environment = found["settings"], found["environment"]
    rows = {name: over_torch_nn(found, "auto", "large", name) for name, spec in NORMS.items() if spec.torch_call}
    rows["all"] = over_torch_nn(found, "auto", "large")
    rows["all, tiny cases"] = over_torch_nn(found, "auto", "tiny")
    beside = " ".join(f"--backend {shlex.quote(name)}" for name in settings.get("backends") or ["auto"])
    return [
        f"### {_named(found)}, {environment['cores']} cores, {found['dtype']}",
        "",
        f"`normsuite bench --processes {settings['processes']} --seconds {settings['seconds']} {beside}`, "
        f"{text.counted(settings['threads'], 'thread')}; {_made_by(found)}. {_verdicts(found)}",
        "",
        *_table_of_means(rows),
        "",
        *_of_bound(found),
    ]


def has_present_sizes(found: dict) -> bool:
    """Return whether a bench was made with the table of sizes that is shipped for that processor and so many threads.

    With other threads it is the one for processors that were not measured.
    """
    environment = found["environment"]
    name, threads = environment["cpu"], environment["threads"]
    shipped = [table for _, table in tunings.shipped() if (table.processor, table.threads) == (name, threads)]
    present = shipped[0] if shipped else tunings.elsewhere(name)
    return environment.get("tuning") == present.digest


def _verdicts(found: dict) -> str:
    """Return in which tasks `auto` is slower, in how many it is not, and the noise."""
    summary = found["summary"]
    verdicts, noise = summary["verdicts_of_auto"], {end: summary["noise"][end] for end in ("value", "low", "high")}
    slower = []
    for row in summary["slower_cases_of_auto"]:
        behind = "" if row["activation"] == "none" else f" with {row['activation']}"
        slower.append(f"{row['norm']} `{row['case']}` {row['mode']}{behind}")
    return (
        f"Of {found['tasks']} tasks `auto` is faster in {verdicts[FASTER]}, slower in {verdicts[SLOWER]}"
        f"{' (' + text.listed(slower) + ')' if slower else ''}, shown not to be slower in {verdicts[NOT_SLOWER]} and "
        f"undecided in {verdicts[UNDECIDED]}; in the median task a ratio has to be measured "
        f"above {summary['slower_is_found_above']:.2f} to count as slower. torch.nn over itself takes "
        f"{ratio(Interval(**noise))}."
    )


def beside_rivals() -> list[str]:
    """Return the verdicts of each bench with every rival, and a table of `auto` over each of them."""
    lines = []
    for found in with_rivals():
        means = found["summary"]["geometric_means_of_auto_to_rivals"]
        names = dict.fromkeys(mean["against"] for mean in means)
        rows = {name: _by_mode([mean for mean in means if mean["against"] == name], "large", "all") for name in names}
        lead = "Time of `auto` over that of each rival, geometric means over the large cases that both can do:"
        lines += [
            f"**{_named(found)}**, {_made_by(found)}. {_verdicts(found)}",
            "",
            lead,
            "",
            *_table_of_means(rows),
            "",
        ]
    return lines[:-1]


def with_rivals() -> list[dict]:
    """Return the benches of processors with every rival: of the first their summary, of others the means alone."""
    return [of_processors()[0], *_kept("bench-rivals-of-*")]


def _made_by(found: dict) -> str:
    """Return how many processes took times, by which version, and whether `auto` had other sizes than today."""
    return f"{found['settings']['processes']} processes, {_version(found)}"


def _version(found: dict) -> str:
    version = found["environment"]["packages"]["normsuite"].partition("+")[0]
    if "by `normsuite tune`" in found["environment"].get("tuning_origin", ""):
        return f"normsuite {version}, after `normsuite tune`"
    if _is_of_others(found):
        return f"normsuite {version}, with the sizes for processors that nobody measured"
    return f"normsuite {version}{'' if has_present_sizes(found) else ', earlier sizes of `auto`'}"


def _is_of_others(found: dict) -> bool:
    """Return whether a bench had the sizes for processors that nobody measured, whichever these were."""
    environment = found["environment"]
    origins = (environment.get("tuning_origin", ""), tunings.elsewhere(environment["cpu"]).origin)
    return len({origin.partition(" (")[0] for origin in origins}) == 1


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
    """Return one row a processor: its means over all large cases, and in how many tasks `auto` was slower or undecided.

    It is that of its last bench with as many threads as cores and sizes of its own. The last column is the ratio above
    which the median task counts as slower.
    """
    counts = ("tasks slower", "tasks undecided", "slower is noticed above (median task)")
    heads = ("`auto` / torch.nn, large cases", *COLUMNS, *counts)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    own = [found for found in of_processors() if uses_all_cores(found) and not _is_of_others(found)]
    newest = {found["environment"]["cpu"]: found for found in own}
    for found in newest.values():
        of = over_torch_nn(found, "auto", "large")
        cells = [ratio(Interval(**of[c])) if c in of else text.ABSENT for c in COLUMNS.values()]
        verdicts, above = found["summary"]["verdicts_of_auto"], f"{found['summary']['slower_is_found_above']:.2f}"
        counted = (f"{verdicts[SLOWER]} of {found['tasks']}", f"{verdicts[UNDECIDED]}", above)
        named = f"{found['environment']['cpu']}; {_version(found)}"
        lines.append(f"| {' | '.join([named, *cells, *counted])} |")
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
    """Return time of the kernels over torch.nn's, and the share of a copy's speed, as geometric means over tasks."""
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


PARTS = {
    "measured": where,
    "processors": bench_table,
    "rivals": beside_rivals,
    "further-processors": further_processors,
    "by-processor": processor_lines,
    "accelerators": accelerator_table,
}
