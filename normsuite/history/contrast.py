"""Find series that could have a step at all: a look at many at once, far cheaper than finding where."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

LEAST_VALUES = 32
"""Values; with fewer, noise is not known well enough, and finding steps takes no time."""

FLAT = 4.5
"""Standard errors. asv takes a step in a long series for one where it is worth 4 ln n / n of the sum of absolute
deviations, which is 6 to 7 standard errors between two long levels. In noise that swings from one value to the next asv
finds smaller ones, and the smallest may be missed here; the tests ask asv about this and four other kinds of noise."""

_SHORT = 4
"""Values: differences of the means of so many at most say how large the noise is."""

NORMAL_MAD = 1.4826  # of a normal distribution: its deviation over its median absolute deviation


def contrasts(values: np.ndarray) -> np.ndarray:
    """Return the largest difference between neighbouring means of each row, in standard errors.

    max over i and k of |d(i, k)| / s, d(i, k) = √(k / 2) (mean(x[i : i + k]) − mean(x[i − k : i])), where s is the
    deviation by the median of |d(·, k)|, which a step here and there does not change (von Neumann et al. 1941 have the
    mean of squares, of neighbours); the least of short k, since noise that swings from one value to the next is smaller
    in means. Infinite where most neighbours are equal and some are not, 0 where all are.

    Args:
        values: (rows, n), finite.
    """
    most, deviation = np.zeros(len(values)), np.full(len(values), np.inf)
    for k, differences in _differences(values, _lengths(values.shape[1] // 2)):
        most = np.maximum(most, differences.max(axis=1))
        if k <= _SHORT:
            deviation = np.minimum(deviation, NORMAL_MAD * np.median(differences, axis=1))
    differ = (values != values[:, :1]).any(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(differ, most / deviation, 0.0)


def goes_on(level: np.ndarray, since: np.ndarray) -> bool:
    """Return whether a few further values may belong to the level; False where it is too short to tell.

    No mean of the last k of them is `FLAT` standard errors from the level's, with the deviation of `contrasts`.

    Args:
        level, since: without missing values.
    """
    if len(level) < LEAST_VALUES:
        return False
    level, since = level - level[0], since - level[0]  # so that equal values have a mean that is equal too
    deviation = min(
        NORMAL_MAD * np.median(differences) for _, differences in _differences(level[None], range(1, _SHORT + 1))
    )
    k = np.arange(1, len(since) + 1)
    means = np.cumsum(since[::-1] - level.mean()) / k
    return bool((np.abs(means) <= FLAT * deviation * np.sqrt(1 / k + 1 / len(level))).all())


def flat(parts: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each series whether nothing in it could be a step; False where it is too short to tell.

    Args:
        parts: without missing values; those of one length are looked at together.
    """
    found = [False] * len(parts)
    places: dict[int, list[int]] = {}
    for place, part in enumerate(parts):
        places.setdefault(len(part), []).append(place)
    for length, of in places.items():
        if length >= LEAST_VALUES:
            alike = contrasts(np.array([parts[place] for place in of], dtype=float))
            for place, contrast in zip(of, alike, strict=True):
                found[place] = bool(contrast < FLAT)
    return found


def _differences(values: np.ndarray, lengths: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield for each length k the absolute d(·, k) of every row."""
    sums = np.cumsum(np.pad(values - values[:, :1], ((0, 0), (1, 0))), axis=1)
    for k in lengths:
        of_k = sums[:, k:] - sums[:, :-k]
        yield k, np.abs(of_k[:, k:] - of_k[:, :-k]) / np.sqrt(2 * k)


def _lengths(most: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12, 16 and so on: a level of any length holds one of at least two thirds of it."""
    return [k for power in range(most.bit_length()) for k in (2**power, 3 * 2**power) if k <= most]
