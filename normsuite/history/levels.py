"""Levels of many series, by asv's step detection: in windows, with helpers, and each window only once.

A long series is cut into windows that overlap. Of each window the steps in its middle count, where both sides of a step
are seen. A window in which no mean stands out from the one before it is one level, and asv is not asked (`contrast`).
Windows are counted from the oldest commit: another commit changes only the last one, and the others are
cached by the values in them, so that what is found does not depend on what was cached.

A long last window is examined again at every eighth commit. Values that came since then belong to the last level that
was found, unless they stand out from it. That, too, depends on the places of commits in the series alone.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import caches
from ..machine.helpers import ALONE, Helpers
from ..records import provenance
from . import adapter, contrast

WINDOW, OVERLAP = 256, 64
"""Commits. A shorter series is one window; one that is shorter than `OVERLAP` has exactly what asv finds."""

EVERY = 8
"""Commits: so many are added to a last window before asv is asked about it again, where none of them stands out."""

_MOST_CACHED = 50_000
_WORTH_HELPERS = 32
"""Windows from which on looking at them takes longer than starting a process."""
_BATCH = 4

Values = Sequence[float | None]
Levels = list[tuple[int, int]]
"""Each as (first, one behind the last)."""


def detect(series: Sequence[Values | np.ndarray], helpers: Helpers = ALONE) -> list[Levels]:
    """Return the levels of each series; None is a value that is missing.

    A level begins where one of the windows has a step. Where two windows meet and differ by a commit or two about the
    place of a step, it is one step, where the earlier window has it.
    """
    arrays = [np.array(values, dtype=float) for values in series]  # None becomes NaN
    cut = [windows(len(values)) for values in arrays]
    parts = [_Part(values[first:behind]) for values, of in zip(arrays, cut, strict=True) for first, behind in of]
    with _Cached() as cached:
        found = iter(_levels(parts, cached, helpers))
    return [_joined(values, of, [next(found) for _ in of]) for values, of in zip(arrays, cut, strict=True)]


def windows(length: int) -> list[tuple[int, int]]:
    """Return (first, one behind the last) of each window of a series of that length."""
    starts = range(0, max(1, length - OVERLAP), WINDOW - OVERLAP) if length > WINDOW else (0,)
    return [(start, min(length, start + WINDOW)) for start in starts]


def _joined(values: np.ndarray, cut: list[tuple[int, int]], found: list[Levels]) -> Levels:
    """Merge the levels of a series' windows into those of the series."""
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
    """Return the places where there is a value."""
    return np.flatnonzero(~np.isnan(values))


class _Part:
    """The values of a window, or of its beginning, and the key that they are cached by."""

    def __init__(self, values: np.ndarray):
        self.values = values
        self.key = hashlib.sha256(values.tobytes()).hexdigest()[:32]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def one(self) -> Levels:
        """Return a level from the first value to the last."""
        at = _present(self.values)
        return [(int(at[0]), int(at[-1]) + 1)]

    @property
    def since(self) -> int:
        """Return how many values came since asv was asked about it; none for a short one."""
        return len(self) % EVERY if len(self) >= OVERLAP else 0


def _levels(parts: list[_Part], cached: "_Cached", helpers: Helpers) -> list[Levels]:
    """Return one level where a part is flat, else what asv finds in all of it, or in all but the last few values."""
    missing = cached.missing(parts)
    flat = contrast.flat([part.values[_present(part.values)] for part in missing])
    cached.update({part.key: part.one for part, is_flat in zip(missing, flat, strict=True) if is_flat})
    grown = [part for part in cached.missing(missing) if part.since]
    earlier = _levels([_Part(part.values[: -part.since]) for part in grown], cached, helpers) if grown else []
    for part, known in zip(grown, earlier, strict=True):
        if known and _goes_on(part, known[-1][0]):
            cached.update({part.key: [*known[:-1], (known[-1][0], part.one[0][1])]})
    asked = cached.missing(missing)
    found = _asked([part.values.tolist() for part in asked], helpers)
    cached.update({part.key: levels for part, levels in zip(asked, found, strict=True)})
    return [cached[part] for part in parts]


def _goes_on(part: _Part, begin: int) -> bool:
    """Return whether the last few values may be of the level that begins there."""
    level, since = np.split(part.values[begin:], [-part.since])
    return contrast.goes_on(level[_present(level)], since[_present(since)])


def _asked(parts: list[list[float]], helpers: Helpers) -> list[Levels]:
    """Return the levels that asv finds."""
    if len(parts) < _WORTH_HELPERS:
        return _of_each(parts)
    helpers.start()
    given = [helpers.give(_of_each, of) for of in _batches(parts)]
    # From the last one back, since the helpers begin with the first.
    found = [part.result() for part in reversed(given)][::-1]
    return list(itertools.chain.from_iterable(found))


def _batches(parts: list[list[float]]) -> list[list[list[float]]]:
    """Return the parts in batches, so that a process hands out fewer, larger pieces of work."""
    return [parts[first : first + _BATCH] for first in range(0, len(parts), _BATCH)]


def _of_each(parts: list[list[float]]) -> list[Levels]:
    return [adapter.levels(part) for part in parts]


class _Cached:
    """Levels by the values that they are of, in the user's cache."""

    def __enter__(self) -> "_Cached":
        self._found, self._is_new = _read_cache(), False
        self._used: dict[str, None] = {}
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None and self._is_new:
            others = (key for key in self._found if key not in self._used)
            _write_cache({key: self._found[key] for key in (*self._used, *itertools.islice(others, _MOST_CACHED))})

    def missing(self, parts: list[_Part]) -> list[_Part]:
        """Return the parts without a cached result, each once."""
        return list({part.key: part for part in parts if part.key not in self._found}.values())

    def update(self, found: dict[str, Levels]) -> None:
        self._found |= found
        self._is_new |= bool(found)

    def __getitem__(self, part: _Part) -> Levels:
        self._used[part.key] = None
        return [(first, behind) for first, behind in self._found[part.key]]


def _file() -> Path | None:
    sources = b"".join(Path(file).read_bytes() for file in (contrast.__file__, __file__))
    by = hashlib.sha256(sources).hexdigest()[:8]
    folder = caches.folder("history", "levels")
    return None if folder is None else folder / f"levels-asv-{provenance.version('asv')}-{by}.json"


def _read_cache() -> dict[str, list]:
    file = _file()
    found = None if file is None else caches.recall(file, file.name)
    return {} if found is None else json.loads(found)


def _write_cache(found: dict[str, list]) -> None:
    if (file := _file()) is not None:  # where nothing can be kept it is found again
        caches.store(file, file.name, json.dumps(found, separators=(",", ":")))
        caches.forget(file.parent)
