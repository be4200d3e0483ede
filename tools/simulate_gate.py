"""Simulate how often the gate's intervals, verdicts and sentence are wrong: `python -m tools.simulate_gate`.

Tables are decided by the gate's own functions, look by look, with cells that stop when they are decided. Half of the
cells are truly slower by up to 10 %. Their noise is of one of these kinds:

- gaussian: a deviation of its own for each cell
- t3: Student's t with three degrees of freedom
- contaminated: one process in ten has ten times the deviation
- correlated: half of the variance is a process's own, shared by all cells
- recorded: the residuals of recorded self-checks, of a whole process at once, so that cells depend on each other
- burner: the same, with a process in two disturbed by another that burns a core: it is drawn from the records of
  `--burner`, or else its residuals are `BURNT` times as large
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from normsuite import results
from normsuite.gate import decide, groups, rates
from normsuite.gate.decide import BETTER, UNDECIDED, WORSE, Thresholds
from normsuite.statistics import moderated_intervals

from .thresholds import RECORDS

LOOKS = (4, 6, 8, 12, 16, 22, 30)
DEVIATION = 0.002
LARGEST = 0.10
BURNT = 10.0
NAMES = [
    f"{norm}/{backend}/{case}/{mode}"
    for case in ("tiny", "study", "stage-14")
    for norm in ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm")
    for mode in ("forward", "step")
    for backend in ("torch", "numba")
]

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""Noise of a table: (cells, processes) of log ratios about their true value."""


def _deviations(draw: np.random.Generator) -> np.ndarray:
    return DEVIATION * np.sqrt(10 / draw.chisquare(10, (len(NAMES), 1)))


def gaussian(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return normal noise, with a deviation of its own for each cell."""
    return _deviations(draw) * draw.standard_normal((len(NAMES), processes))


def t3(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return noise of Student's t with three degrees of freedom, with the deviations of `gaussian`."""
    return _deviations(draw) * draw.standard_t(3, (len(NAMES), processes)) / np.sqrt(3)


def contaminated(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return normal noise, of which one process in ten has ten times the deviation."""
    wild = np.where(draw.random(processes) < 0.1, 10.0, 1.0)
    return gaussian(draw, processes) * wild


def correlated(draw: np.random.Generator, processes: int) -> np.ndarray:
    """Return normal noise, half of whose variance is a process's own, shared by all cells."""
    shared = draw.standard_normal(processes)
    return _deviations(draw) * (shared + draw.standard_normal((len(NAMES), processes))) / np.sqrt(2)


def residuals(records: Sequence[dict]) -> np.ndarray:
    """Return the residuals of each process that measured all cells: (processes, cells), centred within tables."""
    rows = []
    for record in records:
        logs = [np.asarray(record["samples"]["log_ratios"][name]) for name in NAMES]
        whole = min(map(len, logs))
        if whole >= decide.FIRST_LOOK:
            # Of a mean over n processes a residual is too small by √(1 − 1/n).
            centred = [(of - of.mean())[:whole] / np.sqrt(1 - 1 / len(of)) for of in logs]
            rows.append(np.array(centred).T)
    return np.concatenate(rows)


def recorded(of: np.ndarray) -> Draw:
    """Return a kind of noise that draws processes of recorded residuals, of shape (processes, cells)."""
    return lambda draw, processes: of[draw.integers(len(of), size=processes)].T


def burner(quiet: np.ndarray, burnt: np.ndarray | None) -> Draw:
    """Return a kind of noise that disturbs half of the processes.

    Disturbed ones have the noise `burnt` that was recorded beside a busy program, or `BURNT` times the quiet one.
    """

    def noise(draw: np.random.Generator, processes: int) -> np.ndarray:
        found = recorded(quiet)(draw, processes)
        hit = draw.random(processes) < 0.5
        disturbed = BURNT * found if burnt is None else recorded(burnt)(draw, processes)
        return np.where(hit, disturbed, found)

    return noise


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
    logs = noise(draw, LOOKS[-1]) + np.array(list(true.values()))[:, None]
    values: dict[str, dict[int, float]] = {name: {} for name in NAMES}
    family, thresholds = groups.of_cells(NAMES), Thresholds()
    cells, means, going = {}, {}, set(NAMES)
    for k, processes in enumerate(LOOKS, start=1):
        for place, name in enumerate(NAMES):
            if name in going:
                values[name] |= {p + 1: float(logs[place, p]) for p in range(processes) if p + 1 not in values[name]}
        share = decide.FINAL_SHARE if k == len(LOOKS) else decide.share(k)
        alpha = decide.ALPHA * share / (len(NAMES) + len(family))
        cells = decide.look(cells, {name: list(of.values()) for name, of in values.items()}, thresholds, alpha)
        of_groups = groups.means(family, values)
        means = decide.look(means, {name: list(of.values()) for name, of in of_groups.items()}, thresholds, alpha)
        going &= decide.still_open(cells, means, family)
    true |= {name: float(np.mean([true[cell] for cell in members])) for name, members in family.items()}
    ratios = {name: float(np.exp(log)) for name, log in true.items()}
    decided = {**cells, **means}
    others = {name: of for name, of in cells.items() if of.verdict != WORSE}
    bound = max((of.ratio.high for of in others.values()), default=np.inf)
    return Table(
        missed=any(not of.ratio.low <= ratios[name] <= of.ratio.high for name, of in decided.items()),
        false=any(
            (of.verdict == WORSE and ratios[name] <= 1) or (of.verdict == BETTER and ratios[name] >= 1)
            for name, of in decided.items()
        ),
        untrue=any(ratios[name] > bound for name in others),
        undecided=float(np.mean([of.verdict == UNDECIDED for of in cells.values()])),
        bound=float(bound - 1),
    )


def kinds(records: Sequence[dict], burnt: Sequence[dict] = ()) -> dict[str, Draw]:
    """Return every kind of noise, with what was recorded."""
    quiet = residuals(records)
    return {
        "gaussian": gaussian,
        "t3": t3,
        "contaminated": contaminated,
        "correlated": correlated,
        "recorded": recorded(quiet),
        "burner": burner(quiet, residuals(burnt) if burnt else None),
    }


def clipping(tables: int, draw: np.random.Generator) -> list[str]:
    """Return how often 95 % intervals of clipped normal samples hold their mean, as Markdown."""
    clips = (3.0, 5.0, np.inf)
    lines = ["| processes | " + " | ".join(f"clipped at {clip:g} MAD" for clip in clips) + " |", "|---:" * 4 + "|"]
    for n in (6, 10, 16, 24):
        held = dict.fromkeys(clips, 0)
        for _ in range(tables):
            samples = list(draw.standard_normal((len(NAMES), n)))
            for clip in clips:
                held[clip] += sum(of.low <= 0 <= of.high for of in moderated_intervals(samples, alpha=0.05, clip=clip))
        lines.append(f"| {n} | " + " | ".join(f"{k / (tables * len(NAMES)):.1%}" for k in held.values()) + " |")
    return lines


def main() -> None:
    """Print a row for each kind of noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", action="append", help="only of this kind; again for more")
    parser.add_argument("--records", type=Path, default=RECORDS, help="self-checks whose residuals are drawn")
    parser.add_argument("--burner", type=Path, help="self-checks that ran while another process burnt a core at random")
    arguments = parser.parse_args()
    good = results.read_records(arguments.records, rates.WHAT).good
    burnt = results.read_records(arguments.burner, rates.WHAT).good if arguments.burner else []
    print("| noise | an interval misses | a false verdict | the sentence is untrue | cells undecided | bound, median |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, noise in kinds(good, burnt).items():
        if arguments.noise and name not in arguments.noise:
            continue
        draw = np.random.default_rng(arguments.seed)
        found = [simulate(noise, draw) for _ in range(arguments.tables)]
        wrong = [
            rates.Rate(sum(getattr(of, what) for of in found), len(found)) for what in ("missed", "false", "untrue")
        ]
        cells = [f"{of.k} of {of.n} (≤ {of.at_most:.1%})" for of in wrong]
        undecided, bound = np.mean([of.undecided for of in found]), np.median([of.bound for of in found])
        print(f"| {name} | {' | '.join(cells)} | {undecided:.1%} | {bound:.2%} |", flush=True)
    if not arguments.noise:
        print("", *clipping(max(20, arguments.tables // 10), np.random.default_rng(arguments.seed)), sep="\n")


if __name__ == "__main__":
    main()
