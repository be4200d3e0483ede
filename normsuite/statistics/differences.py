"""Paired comparisons of two sets of runs with the same seeds, and corrections for many of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from .intervals import CONFIDENCE, Interval, mean_interval

_QUANTILES = 4096
POWER = 0.8
"""How often what is called detectable is found."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted so that the chance of any false rejection among them is at most the level (Holm 1979).

    The k-th smallest of m is multiplied by m − k + 1, and none is smaller than one before it. A NaN decides nothing and
    stays one, but counts.
    """
    m, adjusted, largest = len(p_values), [math.nan] * len(p_values), 0.0
    for rank, place in enumerate(
        sorted((i for i in range(m) if not math.isnan(p_values[i])), key=p_values.__getitem__)
    ):
        largest = max(largest, min(1.0, (m - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


TESTS = T, SIGN_FLIP, WILCOXON = "t", "sign-flip", "Wilcoxon"
"""Student's t, which takes differences to be normal; the exact test of all signs that the differences could have had
(Fisher 1935), which takes them to be symmetric, and so does Wilcoxon's (1945) of their signed ranks."""

_ALL_SIGNS = 16
"""Samples: of more, signs are drawn instead of tried."""

_DRAWN = 99_999


def p_values(differences: Sequence[float] | np.ndarray, *, alternative: str = "two-sided") -> dict[str, float]:
    """Return the p value of each of `TESTS` that the mean difference is 0.

    Args:
        differences: finite, not all equal.
        alternative: "two-sided", "greater" or "less".
    """
    d = np.round(np.asarray(differences, dtype=float), 12)  # equal ones shall be equal ranks
    ranks = np.sign(d) * stats.rankdata(np.abs(d))
    t = float(stats.ttest_1samp(d, 0.0, alternative=alternative).pvalue)
    return {T: t, SIGN_FLIP: _sign_flip(d, alternative), WILCOXON: _sign_flip(ranks, alternative)}


def _sign_flip(values: np.ndarray, alternative: str) -> float:
    """Return the share of all signs, or of many drawn ones, with which the sum is as large, or as small.

    As `scipy.stats.permutation_test` has it for one sample, in a hundredth of its time.
    """
    sums, found = _signs(len(values)) @ np.abs(values), float(values.sum())
    near = 1e-9 * float(np.abs(values).sum())
    drawn = len(values) > _ALL_SIGNS  # the signs that were found count as drawn too
    greater, less = (
        float(np.count_nonzero(as_far) + drawn) / (len(sums) + drawn)
        for as_far in (sums >= found - near, sums <= found + near)
    )
    return {"greater": greater, "less": less, "two-sided": min(1.0, 2 * min(greater, less))}[alternative]


@lru_cache(maxsize=8)
def _signs(n: int) -> np.ndarray:
    if n > _ALL_SIGNS:
        return np.random.default_rng(0).choice([-1.0, 1.0], size=(_DRAWN, n))
    return 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)


def decisive(samples: int, comparisons: int, *, collapsed: bool, alpha: float = 0.05) -> list[str]:
    """Return which of `TESTS` must agree before paired samples decide anything.

    All of them; but the t test not where a run has collapsed, since its differences are not normal; and the exact ones
    not where even differences that all have one sign would not reach the level of the first of Holm's steps.

    Args:
        samples: how many differences.
        comparisons: how many are corrected together.
        collapsed: a run of either side has.
        alpha: of all comparisons together.
    """
    exact = [SIGN_FLIP, WILCOXON] if 2 / 2**samples * comparisons < alpha else []
    return exact if collapsed else [T, *exact]


@dataclass(frozen=True)
class Paired:
    """Estimates and tests of the difference left − right of paired samples.

    Attributes:
        difference: its mean with the interval at `confidence`.
        deviation: of the differences.
        effect: Hedges' g of paired differences: mean over deviation, times 1 − 3/(4n − 5) against the bias of few; NaN
            for two, of which that leaves nothing.
        p: of each of `TESTS` that there is none.
        p_equivalent: of the two one-sided ones (Schuirmann 1987) that it is not within ± margin.
        p_beyond: that it is within ± margin, against either side: twice the smaller of the two one-sided ones.
        margin: in the samples' unit.
        confidence: of the interval; nothing else depends on it.
    """

    difference: Interval
    deviation: float
    effect: float
    p: dict[str, float]
    p_equivalent: dict[str, float]
    p_beyond: dict[str, float]
    margin: float
    confidence: float

    @property
    def reversed(self) -> "Paired":
        """Return the same of the difference right − left."""
        mean = self.difference
        return replace(self, difference=Interval(-mean.value, -mean.high, -mean.low), effect=-self.effect)


def paired(left: Sequence[float], right: Sequence[float], *, margin: float, confidence: float = CONFIDENCE) -> Paired:
    """Compare paired samples: the same seeds in the same order on both sides.

    Differences that are all equal, not finite, or fewer than two decide nothing: their p values are NaN.

    Args:
        left, right: equally many samples.
        margin: positive, in the samples' unit.
        confidence: of the interval of the mean difference: 1 − 0.05 / n where n are to hold together (Bonferroni).
    """
    d = np.subtract(left, right).astype(float)
    difference = mean_interval(d.tolist(), confidence)
    if math.isnan(difference.low):
        nothing = dict.fromkeys(TESTS, math.nan)
        return Paired(difference, math.nan, math.nan, nothing, nothing, nothing, margin, confidence)
    n, deviation = len(d), float(d.std(ddof=1))
    effect = difference.value / deviation * (1 - 3 / (4 * n - 5)) if n > 2 else math.nan
    least, most = d + margin, d - margin
    inside = p_values(least, alternative="greater"), p_values(most, alternative="less")
    outside = p_values(most, alternative="greater"), p_values(least, alternative="less")
    equivalent = {test: max(of[test] for of in inside) for test in TESTS}
    beyond = {test: min(1.0, 2 * min(of[test] for of in outside)) for test in TESTS}
    return Paired(difference, deviation, effect, p_values(d), equivalent, beyond, margin, confidence)


def detectable_effect(samples: int, *, comparisons: int = 1, alpha: float = 0.05, power: float = POWER) -> float:
    """Return the least true difference that so many paired differences find with that power, in their deviations.

    It is that of a two-sided t test at level alpha / comparisons. The power is the mean of the normal test's over the
    distribution of the deviation, which is the noncentral t distribution without its numerical troubles. NaN for fewer
    than two samples.
    """
    if samples < 2:
        return math.nan
    df = samples - 1
    critical = stats.t.ppf(1 - alpha / comparisons / 2, df)
    quantiles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    least = critical * np.sqrt(stats.chi2.ppf(quantiles, df) / df)

    def lacking(effect: float) -> float:
        shift = effect * math.sqrt(samples)
        return float(np.mean(stats.norm.sf(least - shift) + stats.norm.cdf(-least - shift))) - power

    highest = 1.0
    while lacking(highest) < 0:
        highest *= 2
    return float(optimize.brentq(lacking, 0.0, highest))
