"""Simulate how often a history finds a step, or one that is not there: `python -m tools.simulate_history`.

Series of 200 commits with noise of one of these kinds are judged by the history's own functions, asv's step detection
included:

- white: normal, of 2 %
- t3: Student's t with three degrees of freedom, of the same deviation
- ar: normal, neighbours correlated by 0.5
- states: a machine that becomes 4 % slower or faster at random, every 40 commits in the mean, for all its series alike

Histories are of one series each, those of the machine of `TOGETHER`, which are no independent ones. A false regression
is one that still holds at the newest commit.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from normsuite.gate.self_check_rates import Rate
from normsuite.history import trends
from normsuite.history.adapter import AsvResult
from normsuite.history.segments import Segment, segments
from normsuite.history.steps import REGRESSION

from . import simulations

WHAT, KEYS = "history", ("noise",)
COMMITS = 200
NOISE, STEP = 0.02, 0.05
TOGETHER = 20
DWELL, STATE = 40, 0.04

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""Logarithms of that many series, over `COMMITS` commits."""


def white(draw: np.random.Generator, series: int) -> np.ndarray:
    """Return normal noise of shape (series, commits)."""
    return NOISE * draw.standard_normal((series, COMMITS))


def t3(draw: np.random.Generator, series: int) -> np.ndarray:
    """Return noise of Student's t with three degrees of freedom, of the same deviation as `white`."""
    return NOISE * draw.standard_t(3, (series, COMMITS)) / np.sqrt(3)


def ar(draw: np.random.Generator, series: int, correlation: float = 0.5) -> np.ndarray:
    """Return normal noise in which neighbouring commits are correlated."""
    found = draw.standard_normal((series, COMMITS))
    for place in range(1, COMMITS):
        found[:, place] = correlation * found[:, place - 1] + np.sqrt(1 - correlation**2) * found[:, place]
    return NOISE * found


def states(draw: np.random.Generator, series: int) -> np.ndarray:
    """Return white noise on a machine that turns slower and faster at random, for all series alike."""
    changes = draw.random(COMMITS) < 1 / DWELL
    slow = np.cumsum(changes) % 2
    return white(draw, series) + STATE * slow


KINDS: dict[str, tuple[Draw, int]] = {"white": (white, 1), "t3": (t3, 1), "ar": (ar, 1), "states": (states, TOGETHER)}
"""Noise, and how many series a history with it has."""


def history(logs: np.ndarray) -> list[Segment]:
    """Return the segments of a history whose series have those logarithms."""
    parameters = [{"series": str(number)} for number in range(len(logs))]
    return segments(
        result(f"{place:040x}", place, parameters, np.exp(logs[:, place]).tolist()) for place in range(logs.shape[1])
    )


def result(commit: str, place: int, parameters: list[dict[str, str]], values: list[float]) -> AsvResult:
    """Return what asv would have recorded of one commit."""
    unknown = (math.nan,) * len(values)
    return AsvResult(
        benchmark="simulated", parameters=parameters, unit="seconds", commit=commit, date=place, recorded=float(place),
        machine="machine", torch="2.9.0", values=tuple(values), samples=((),) * len(values), low=unknown, high=unknown,
        place=place,
    )  # fmt: skip


def regressions(logs: np.ndarray) -> list[int]:
    """Return the places of the regressions that hold at the newest commit, of all series."""
    return [
        step.after.places[0]
        for trend in trends(history(logs))
        for step in trend.steps
        if step.verdict == REGRESSION and step.counts
    ]


def found(kind: str, histories: int, draw: np.random.Generator) -> Rate:
    """Return in how many histories of one series a step in the middle is found, within five commits."""
    noise, _ = KINDS[kind]
    middle = COMMITS // 2
    hits = 0
    for _ in range(histories):
        logs = noise(draw, 1) + np.log1p(STEP) * (np.arange(COMMITS) >= middle)
        hits += any(abs(place - middle) <= 5 for place in regressions(logs))
    return Rate(hits, histories)


def false(kind: str, histories: int, draw: np.random.Generator) -> list[int]:
    """Return the number of false regressions in each of so many histories."""
    noise, series = KINDS[kind]
    return [len(regressions(noise(draw, series))) for _ in range(histories)]


def row(kind: str, series: int, seed: int) -> dict:
    """Return the outcome of as many series of one kind of noise."""
    together, draw = KINDS[kind][1], np.random.default_rng(seed)
    hits = found(kind, series, draw).k if together == 1 else None
    wrong = false(kind, series // together, draw)
    return {
        "what": WHAT, "noise": kind, "series": series, "seed": seed, "found": hits, "false": sum(wrong),
        "thousands": len(wrong) * together * COMMITS / 1000, "histories": len(wrong), "affected": sum(map(bool, wrong)),
    }  # fmt: skip


def table(rows: Sequence[dict]) -> list[str]:
    """Return the outcomes as Markdown."""
    lines = [
        f"| noise | series | a step of {STEP:.0%} found | false regressions per 1,000 commits × series "
        "| histories with one |",
        "|---|---:|---:|---:|---:|",
    ]
    for of in rows:
        hits = "–"
        if of["found"] is not None:
            rate = Rate(of["found"], of["series"])
            hits = f"{rate.k} of {rate.n} (≥ {rate.at_least:.1%})"
        count, thousands = of["false"], of["thousands"]
        most = stats.chi2.ppf(0.95, 2 * count + 2) / 2 / thousands
        rate = f"{count} in {thousands:g} thousand (≤ {most:.2g})"
        whole = simulations.at_most(of["affected"], of["histories"]) if "histories" in of else "–"
        lines.append(f"| {of['noise']} | {of['series']} | {hits} | {rate} | {whole} |")
    return lines


def main() -> None:
    """Simulate each kind of noise, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=300, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", action="append", choices=KINDS, help="only of this kind; again for more")
    parser.add_argument("--out", type=Path, help="add the outcomes to this file")
    given = parser.parse_args()
    made = (row(kind, given.series, given.seed) for kind in given.noise or KINDS)
    rows = [simulations.kept_in(given.out, of) for of in made]
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
