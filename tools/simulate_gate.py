"""Simulate how often the gate's intervals, verdicts and sentence are wrong: `python -m tools.simulate_gate`.

Tables have the cells of the gate's default table. They are decided by the gate's own functions, look by look, with
cells that stop when they are decided, until the time is up, after any number of processes. Half of the cells are truly
slower by up to 10 %. Their noise is of one of these kinds:

- gaussian: a deviation of its own for each cell
- t3: Student's t with three degrees of freedom
- wide: the same, five times as large, so that most cells are open until the end
- contaminated: one process in ten has ten times the deviation
- wild-values: one value in ten has, whatever its process
- correlated: half of the variance is a process's own, shared by all cells
- recorded: the residuals of the kept self-checks, of a whole process at once, so that cells depend on each other
- burner: the same, with a process in two disturbed: its residuals are drawn from self-checks that ran beside a process
  that burnt a core at random (`--noise burner`, of records made by `python -m tools.beside_burner`)
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from normsuite.errors import NormsuiteError
from normsuite.gate import decide, groups, looks
from normsuite.gate.decide import BETTER, UNDECIDED, WORSE, Thresholds
from normsuite.measure import own_workloads
from normsuite.records import results
from normsuite.records.kinds import SELF_CHECK
from normsuite.statistics import moderated_intervals

from . import simulations

WHAT, KEYS = "gate", ("noise",)
CLIPPING, CLIPPING_KEYS = "gate, clipping", ("processes",)
RECORDS = simulations.KEPT.parent / "self-check"
BURNT = simulations.KEPT.parent / "self-check-beside-burner"
TOGETHER, MOST = 2, 40
"""Processes that are started at once, and the most for which a simulated table has time."""

DEVIATION = 0.002
LARGEST = 0.10
NAMES = tuple(workload.name for workload in own_workloads.plan())
CLIPS = (3.0, 5.0, math.inf)

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""Noise of a table: (cells, processes) of log ratios about their true value."""


def _deviations(draw: np.random.Generator) -> np.ndarray:
    return DEVIATION * np.sqrt(10 / draw.chisquare(10, (len(NAMES), 1)))


def gaussian(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return normal noise, with a deviation of its own for each cell."""
    return _deviations(draw) * draw.standard_normal((len(NAMES), processes))


def wide(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return five times the noise of `gaussian`."""
    return 5 * gaussian(draw, processes)


def t3(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return noise of Student's t with three degrees of freedom, with the deviations of `gaussian`."""
    return _deviations(draw) * draw.standard_t(3, (len(NAMES), processes)) / np.sqrt(3)


def contaminated(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return normal noise, of which one process in ten has ten times the deviation."""
    wild = np.where(draw.random(processes) < 0.1, 10.0, 1.0)
    return gaussian(draw, processes) * wild


def wild_values(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return normal noise, of which one value in ten has ten times the deviation."""
    wild = np.where(draw.random((len(NAMES), processes)) < 0.1, 10.0, 1.0)
    return gaussian(draw, processes) * wild


def correlated(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return normal noise, half of whose variance is a process's own, shared by all cells."""
    shared = draw.standard_normal(processes)
    return _deviations(draw) * (shared + draw.standard_normal((len(NAMES), processes))) / np.sqrt(2)


def residuals(records: Sequence[dict]) -> np.ndarray:
    """Return the residuals of each process that measured all cells: (processes, cells), centred within tables."""
    rows = []
    for record in records:
        of_cells = record["samples"]["log_ratios"]
        logs = [np.asarray(of_cells.get(name, ())) for name in NAMES]
        whole = min(map(len, logs))
        if whole >= decide.FIRST_LOOK:
            # Of a mean over n processes a residual is too small by √(1 − 1/n).
            centred = [(of - of.mean())[:whole] / np.sqrt(1 - 1 / len(of)) for of in logs]
            rows.append(np.array(centred).T)
    if not rows:
        raise NormsuiteError("no record has all cells of the default table")
    return np.concatenate(rows)


def recorded(of: np.ndarray) -> Draw:
    """Return a kind of noise that draws processes of recorded residuals, of shape (processes, cells)."""
    return lambda draw, processes: of[draw.integers(len(of), size=processes)].T


def burner(quiet: np.ndarray, burnt: np.ndarray) -> Draw:
    """Return a kind of noise that draws half of the processes from residuals recorded beside a busy program."""

    def noise(draw: np.random.Generator, processes: int) -> np.ndarray:
        hit = draw.random(processes) < 0.5
        return np.where(hit, recorded(burnt)(draw, processes), recorded(quiet)(draw, processes))

    return noise


def schedule(most: int) -> Iterator[int]:
    """Yield how many processes there are at each look, if there is time for that many and no more (`gate.looks`)."""
    processes = decide.FIRST_LOOK
    while processes < most:
        yield processes
        processes = math.ceil(processes * looks.GROWTH / TOGETHER) * TOGETHER
    yield most


@dataclass(frozen=True)
class Table:
    """Errors and verdicts of one simulated table.

    Attributes:
        missed: an interval of a verdict, of a cell or of a group, does not hold the true ratio.
        false: a cell or group is called worse or better and is not.
        untrue: the sentence on what is excluded is not true.
        undecided: share of its cells.
        bound: what the sentence says.
    """

    missed: bool
    false: bool
    untrue: bool
    undecided: float
    bound: float


def simulate(noise: Draw, draw: np.random.Generator, *, slower: bool = True) -> Table:
    """Return what the gate makes of one table.

    Args:
        noise: of what kind.
        draw: random numbers.
        slower: half of the cells are, by up to `LARGEST`; else none.
    """
    size = np.where(draw.random(len(NAMES)) < 0.5, draw.uniform(0, LARGEST, len(NAMES)), 0.0)
    true = dict(zip(NAMES, np.log1p(size if slower else 0 * size).tolist(), strict=True))
    most = int(draw.integers(decide.FIRST_LOOK, MOST + 1))
    logs = noise(draw, most) + np.array(list(true.values()))[:, None]
    values: dict[str, dict[int, float]] = {name: {} for name in NAMES}
    family, thresholds = groups.of_cells(NAMES), Thresholds()
    of_cells, means, going = {}, {}, set(NAMES)
    for k, processes in enumerate(schedule(most), start=1):
        for place, name in enumerate(NAMES):
            if name in going:
                values[name] |= {p + 1: float(logs[place, p]) for p in range(processes) if p + 1 not in values[name]}
        share = decide.FINAL_SHARE if processes == most else decide.share(k)
        alpha = decide.ALPHA * share / (len(NAMES) + len(family))
        of_cells = decide.look(of_cells, {name: list(of.values()) for name, of in values.items()}, thresholds, alpha)
        of_groups = groups.means(family, values)
        means = decide.look(means, {name: list(of.values()) for name, of in of_groups.items()}, thresholds, alpha)
        going &= decide.still_open(of_cells, means, family)
    true |= {name: float(np.mean([true[cell] for cell in members])) for name, members in family.items()}
    ratios = {name: float(np.exp(log)) for name, log in true.items()}
    decided = {**of_cells, **means}
    others = {name: of for name, of in of_cells.items() if of.verdict != WORSE}
    bound = max((of.ratio.high for of in others.values()), default=np.inf)
    return Table(
        missed=any(not of.ratio.low <= ratios[name] <= of.ratio.high for name, of in decided.items()),
        false=any(
            (of.verdict == WORSE and ratios[name] <= 1) or (of.verdict == BETTER and ratios[name] >= 1)
            for name, of in decided.items()
        ),
        untrue=any(ratios[name] > bound for name in others),
        undecided=float(np.mean([of.verdict == UNDECIDED for of in of_cells.values()])),
        bound=float(bound - 1),
    )


def kinds() -> dict[str, Callable[[], Draw]]:
    """Return what makes each kind of noise."""
    return {
        "gaussian": lambda: gaussian,
        "wide": lambda: wide,
        "t3": lambda: t3,
        "contaminated": lambda: contaminated,
        "wild-values": lambda: wild_values,
        "correlated": lambda: correlated,
        "recorded": lambda: recorded(_residuals_in(RECORDS)),
        "burner": lambda: burner(_residuals_in(RECORDS), _residuals_in(BURNT)),
    }


@cache
def _residuals_in(folder: Path) -> np.ndarray:
    return residuals(results.read_records(folder, SELF_CHECK.what).good)


def row(kind: str, tables: int, seed: int) -> dict:
    """Return the outcome of that many tables with one kind of noise."""
    noise, draw = kinds()[kind](), np.random.default_rng(seed)
    found = [simulate(noise, draw) for _ in range(tables)]
    return {
        "what": WHAT, "noise": kind, "tables": tables, "seed": seed, "cells": len(NAMES),
        "groups": len(groups.of_cells(NAMES)),
        **{error: sum(getattr(of, error) for of in found) for error in ("missed", "false", "untrue")},
        "undecided": round(float(np.mean([of.undecided for of in found])), 4),
        "bound": round(float(np.median([of.bound for of in found])), 5),
    }  # fmt: skip


def table(rows: Sequence[dict]) -> list[str]:
    """Return the outcomes as Markdown."""
    lines = [
        "| noise | tables | an interval misses | a false verdict | the sentence is untrue | cells undecided "
        "| bound, median |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for of in rows:
        wrong = " | ".join(simulations.at_most(of[error], of["tables"]) for error in ("missed", "false", "untrue"))
        lines.append(f"| {of['noise']} | {of['tables']} | {wrong} | {of['undecided']:.1%} | {of['bound']:.2%} |")
    return lines


def clipping(n: int, tables: int, seed: int) -> dict:
    """Return how often 95 % intervals of clipped normal samples of n processes hold their mean."""
    draw, held = np.random.default_rng(seed), dict.fromkeys(CLIPS, 0)
    for _ in range(tables):
        samples = list(draw.standard_normal((len(NAMES), n)))
        for clip in CLIPS:
            held[clip] += sum(of.low <= 0 <= of.high for of in moderated_intervals(samples, alpha=0.05, clip=clip))
    return {
        "what": CLIPPING, "processes": n, "tables": tables, "seed": seed, "intervals": tables * len(NAMES),
        "held": list(held.values()),
    }  # fmt: skip


def clipping_table(rows: Sequence[dict]) -> list[str]:
    """Return the coverage as Markdown."""
    heads = [f"clipped at {clip:g} MAD" if math.isfinite(clip) else "not clipped" for clip in CLIPS]
    lines = [f"| processes | {' | '.join(heads)} |", "|---:" * (1 + len(CLIPS)) + "|"]
    for of in rows:
        shares = (f"{held / of['intervals']:.1%}" for held in of["held"])
        lines.append(f"| {of['processes']} | {' | '.join(shares)} |")
    return lines


def main() -> None:
    """Simulate tables with each kind of noise, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", action="append", choices=kinds(), help="only of this kind; again for more")
    parser.add_argument("--clipping", action="store_true", help="only the coverage of clipped intervals")
    parser.add_argument("--out", type=Path, help="add the outcomes to this file")
    given = parser.parse_args()
    if not given.clipping:
        rows = [simulations.kept_in(given.out, row(kind, given.tables, given.seed)) for kind in given.noise or kinds()]
        print("\n".join(table(rows)))
    if given.clipping or not given.noise:
        rows = [simulations.kept_in(given.out, clipping(n, given.tables, given.seed)) for n in (6, 10, 16, 24)]
        print("\n".join(clipping_table(rows)))


if __name__ == "__main__":
    main()
