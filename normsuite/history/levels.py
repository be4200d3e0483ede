"""Levels of many series, by asv's step detection: in windows, with helpers, and each window only once.

A long series is cut into windows that overlap. Of each window the steps in its middle count, where both sides of a step
are seen. A window in which no mean stands out from the one before it is one level, and asv is not asked (`contrast`).
Windows lie where they lie from the oldest commit on: another commit changes only the last one, and the others are
remembered by the values in them, so that what is found does not depend on what was remembered.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from .. import results
from ..errors import OutputError
from ..helpers import ALONE, Helpers
from . import adapter, contrast, kept

WINDOW, OVERLAP = 256, 64
"""Commits. A shorter series is one window, and has exactly what asv finds."""

_REMEMBERED = 50_000
_WORTH_HELPERS = 32
"""So many windows take longer than starting a process."""
_BATCH = 4

Values = Sequence[float | None]
Levels = list[tuple[int, int]]
"""Each as (first, one behind the last)."""


def detect(series: Sequence[Values], helpers: Helpers = ALONE) -> list[Levels]:
    """For each series its levels; None is a value that is missing.

    A level begins where one of the windows has a step. Where two windows meet and differ by a commit or two about the
    place of a step, it is one step, where the earlier window has it.
    """
    arrays = [np.array(values, dtype=float) for values in series]  # None becomes NaN
    cut = [windows(len(values)) for values in arrays]
    parts = [values[first:behind] for values, of in zip(arrays, cut, strict=True) for first, behind in of]
    found = iter(_detected(parts, helpers))
    return [_joined(values, of, [next(found) for _ in of]) for values, of in zip(arrays, cut, strict=True)]


def windows(length: int) -> list[tuple[int, int]]:
    """(first, one behind the last) of each window of a series of that length."""
    starts = range(0, max(1, length - OVERLAP), WINDOW - OVERLAP) if length > WINDOW else (0,)
    return [(start, min(length, start + WINDOW)) for start in starts]


def _joined(values: np.ndarray, cut: list[tuple[int, int]], found: list[Levels]) -> Levels:
    """The levels of a whole series, of those of its windows."""
    if len(cut) == 1:
        return found[0]
    steps: list[int] = []
    for place, ((start, _), of) in enumerate(zip(cut, found, strict=True)):
        low = start + OVERLAP // 2 if place else 0
        high = start + WINDOW - OVERLAP // 2 if place < len(cut) - 1 else len(values)
        for step in (start + first for first, _ in of[1:]):
            # Two windows may disagree by a commit or two on either side of the place where they meet.
            if low - 2 <= step < high + 2 and (not steps or step > steps[-1] + 2 or step >= low + 2):
                steps.append(step)
    present = _present(values)
    if not len(present):
        return []
    # As asv has them, a level ends with the last value in it.
    first, last = int(present[0]), int(present[-1])
    ends = sorted({first, *(step for step in steps if step > first), last + 1})
    at = np.searchsorted(present, ends)
    return [
        (begin, int(present[behind - 1]) + 1)
        for begin, (here, behind) in zip(ends, itertools.pairwise(at), strict=False)
        if here < behind
    ]


def _present(values: np.ndarray) -> np.ndarray:
    """Where there is a value."""
    return np.flatnonzero(~np.isnan(values))


def _detected(parts: list[np.ndarray], helpers: Helpers) -> list[Levels]:
    """Levels of each window, remembered or found now."""
    keys = [hashlib.sha256(part.tobytes()).hexdigest()[:32] for part in parts]
    remembered = _recall()
    if missing := {key: part for key, part in zip(keys, parts, strict=True) if key not in remembered}:
        remembered |= zip(missing, _found(list(missing.values()), helpers), strict=True)
        here = dict.fromkeys(keys)
        others = (key for key in remembered if key not in here)
        _remember({key: remembered[key] for key in (*here, *itertools.islice(others, _REMEMBERED))})
    return [[(first, behind) for first, behind in remembered[key]] for key in keys]


def _found(parts: list[np.ndarray], helpers: Helpers) -> list[Levels]:
    """Levels of each window: one where it is flat, else those that asv finds."""
    present = [_present(part) for part in parts]
    flat = contrast.flat([part[at] for part, at in zip(parts, present, strict=True)])
    asked = iter(_asked([part for part, is_flat in zip(parts, flat, strict=True) if not is_flat], helpers))
    return [
        [(int(at[0]), int(at[-1]) + 1)] if is_flat else next(asked) for at, is_flat in zip(present, flat, strict=True)
    ]


def _asked(parts: list[np.ndarray], helpers: Helpers) -> list[Levels]:
    """Levels that asv finds."""
    if len(parts) >= _WORTH_HELPERS:
        helpers.start()
    given = [helpers.give(_of_each, [part.tolist() for part in of]) for of in _batches(parts)]
    # From the last one back, since the helpers begin with the first.
    found = [part.result() for part in reversed(given)][::-1]
    return list(itertools.chain.from_iterable(found))


def _batches(parts: list[np.ndarray]) -> list[list[np.ndarray]]:
    """So that a helper need not be given the next one all the time by a process that has work of its own."""
    return [parts[first : first + _BATCH] for first in range(0, len(parts), _BATCH)]


def _of_each(parts: list[list[float]]) -> list[Levels]:
    return [adapter.levels(part) for part in parts]


def _file() -> Path:
    by = hashlib.sha256(Path(contrast.__file__).read_bytes()).hexdigest()[:8]
    return user_cache_path("normsuite") / "history" / "levels" / f"levels-asv-{results.version('asv')}-{by}.json"


def _recall() -> dict[str, list]:
    with suppress(OSError, ValueError):
        found = json.loads(_file().read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _remember(found: dict[str, list]) -> None:
    with suppress(OSError, OutputError):  # where nothing can be kept it is found again
        _file().parent.mkdir(parents=True, exist_ok=True)
        results.write_text(_file(), json.dumps(found, separators=(",", ":")))
        kept.forget(_file().parent)
