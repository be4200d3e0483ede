"""Every pair of norms in every metric of a study, whatever the document says of it. Imports no torch.

Differences are paired by seed. For each metric and each test the p values of all pairs are corrected together (Holm),
those of "different" and those of "equivalent within the margin" apart. All tests that are decisive must agree
(`statistics.decisive`; the rule and its reasons are in docs/method-study.md). A pair that is neither is undecided.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist

from ..lesson.claims import METRICS, any_collapsed, over_seeds, runs_of
from ..presentation.table import GOOD
from ..spec import NO_NORM, NORMS
from ..statistics import CONFIDENCE, POWER, TESTS, Paired, decisive, detectable_effect, holm, survival
from ..statistics.differences import SIGN_FLIP

VERDICTS = HIGHER, LOWER, EQUIVALENT, UNDECIDED = "higher", "lower", "equivalent", "undecided"
TONES = {EQUIVALENT: GOOD}
LEVEL = 1 - CONFIDENCE


@dataclass(frozen=True)
class NormPair:
    """Two norms in one metric.

    Attributes:
        found: the paired difference left − right.
        seeds: how many both have.
        collapsed: a run of either norm has.
        tests: which of them are decisive.
        p, p_equivalent: the largest of the decisive tests, corrected for all pairs of the metric; NaN without any.
        verdict: what left is to right.
    """

    metric: str
    left: str
    right: str
    seeds: int
    found: Paired
    collapsed: bool
    tests: tuple[str, ...]
    p: float
    p_equivalent: float

    @property
    def verdict(self) -> str:
        """A difference that is both there and within the margin is called equivalent: it does not matter."""
        if self.p_equivalent < LEVEL:
            return EQUIVALENT
        if self.p < LEVEL:
            return HIGHER if self.found.difference.value > 0 else LOWER
        return UNDECIDED


@dataclass(frozen=True)
class Reaching:
    """Epochs until a norm reaches an accuracy, and the log-rank test against `none`, by seed, corrected for all norms.

    Attributes:
        p: NaN where there is nothing to compare with.
    """

    norm: str
    target: float
    reached: survival.Reached
    p: float


def by_norm(records: Iterable[dict]) -> dict[str, dict[int, dict]]:
    """Return the samples of the runs by norm and seed, "none" first."""
    records = list(records)
    found = runs_of(records)
    return {name: found[name] for name in norms_of(records)}


def norms_of(records: Iterable[dict]) -> list[str]:
    """Return the norms of a study's records in the order of all tables: "none", those known here, then all others."""
    named = dict.fromkeys(record["case"]["norm"] for record in records)
    return [name for name in dict.fromkeys((NO_NORM, *NORMS, *named)) if name in named]


def pairs(records: Sequence[dict], metrics: Iterable[str] = tuple(METRICS)) -> list[NormPair]:
    """Return all pairs of norms in each metric that their runs recorded, in the order of all tables."""
    runs, table = by_norm(records), []
    for name, metric in ((name, METRICS[name]) for name in metrics):
        measured = []
        for left, right in combinations(runs, 2):
            if (both_have := over_seeds(metric, runs[left], runs[right])) is not None:
                fell = any_collapsed([*runs[left].values(), *runs[right].values()])
                measured.append((left, right, *both_have, fell))
        p, p_equivalent = (corrected([getattr(row[3], of) for row in measured]) for of in ("p", "p_equivalent"))
        # One set of tests for all pairs: with a set for each, a false verdict could come from either.
        fewest = min((row[2] for row in measured), default=0)
        for place, (left, right, count, found, fell) in enumerate(measured):
            tests = tuple(decisive(fewest, len(measured), collapsed=fell))
            both = (max((of[place][test] for test in tests), default=math.nan) for of in (p, p_equivalent))
            table.append(NormPair(name, left, right, count, found, fell, tests, *both))
    return table


def beside(found: Iterable[NormPair], norm: str) -> list[NormPair]:
    """Return the pairs that a norm is in, turned so that it is the left one."""
    ordered = [pair for pair in found if norm in (pair.left, pair.right)]
    return [
        pair if pair.left == norm else replace(pair, left=norm, right=pair.left, found=pair.found.reversed)
        for pair in ordered
    ]


def corrected(of_all: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return p values, one dictionary a comparison, corrected over the comparisons for each test by itself."""
    by_test = {test: holm([of[test] for of in of_all]) for test in TESTS}
    return [{test: by_test[test][place] for test in TESTS} for place in range(len(of_all))]


def reaching(records: Sequence[dict]) -> list[Reaching]:
    """Return how soon each norm reaches each of the targets."""
    runs, table = by_norm(records), []
    for target in survival.TARGETS:
        found = {
            norm: survival.reached(
                [[epoch["test_accuracy"] for epoch in samples["epochs"]] for _, samples in sorted(seeds.items())],
                target,
            )
            for norm, seeds in runs.items()
        }
        others = [norm for norm in found if norm != NO_NORM and NO_NORM in found]
        p = dict(zip(others, holm([_logrank(runs, norm, target) for norm in others]), strict=True))
        table += [Reaching(norm, target, of_norm, p.get(norm, float("nan"))) for norm, of_norm in found.items()]
    return table


def _logrank(runs: dict[str, dict[int, dict]], norm: str, target: float) -> float:
    """Return the p value of the log-rank test of that norm against none, stratified by the seeds that both have."""
    seeds = sorted(runs[norm].keys() & runs[NO_NORM].keys())
    sides = ([[e["test_accuracy"] for e in runs[of][seed]["epochs"]] for seed in seeds] for of in (norm, NO_NORM))
    return survival.logrank(*(survival.reached(side, target) for side in sides))


def detectable(seeds: int, norms: int) -> float:
    """Return the least true difference between two norms that this many seeds find in one metric with 80 % power.

    The unit is the deviation of the paired differences over the seeds. The level is that of the first step of Holm's
    correction for all pairs of so many norms. The t test says which difference it finds at that level. Where the exact
    tests, which must agree, reach the level only if all differences have one sign, as with ten seeds and six norms, the
    result is the larger difference at which they have one sign with 80 % probability. With more seeds the exact tests
    find a little less than the t test, which is not counted.
    """
    together = max(1, norms * (norms - 1) // 2)
    by_t = detectable_effect(seeds, comparisons=together, alpha=LEVEL, power=POWER)
    exact = SIGN_FLIP in decisive(seeds, together, collapsed=False)
    if exact and 4 / 2**seeds * together >= LEVEL:  # the next p value of either exact test
        return max(by_t, NormalDist().inv_cdf(POWER ** (1 / seeds)))
    return by_t
