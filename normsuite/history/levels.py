"""Levels of many series, by asv's step detection: in windows, on all cores, and each window only once.

A long series is cut into windows that overlap. Of each window the steps in its middle count, where both sides of a step
are seen. A window in which no mean stands out from the one before it is one level, and asv is not asked (`contrast`).
Windows lie where they lie from the oldest commit on: another commit changes only the last one, and the others are
remembered by the values in them, so that what is found does not depend on what was remembered.
"""

import hashlib
import itertools
import json
import math
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from .. import results
from ..errors import OutputError
from . import adapter, contrast

WINDOW, OVERLAP = 256, 64
"""Commits. A shorter series is one window, and has exactly what asv finds."""

_REMEMBERED = 50_000
_WORTH_A_POOL = 256
"""So many windows take longer than starting processes for them."""

Values = Sequence[float | None]


def detect(series: Sequence[Values]) -> list[list[tuple[int, int]]]:
    """For each series its levels, each as (first, one behind the last); None is a value that is missing.

    A level begins where one of the windows has a step. Where two windows meet and differ by a commit or two about the
    place of a step, it is one step, where the earlier window has it.
    """
    cut = [windows(len(values)) for values in series]
    parts = [tuple(values[first:behind]) for values, of in zip(series, cut, strict=True) for first, behind in of]
    found = iter(_detected(parts))
    return [_joined(values, of, [next(found) for _ in of]) for values, of in zip(series, cut, strict=True)]


def windows(length: int) -> list[tuple[int, int]]:
    """(first, one behind the last) of each window of a series of that length."""
    starts = range(0, max(1, length - OVERLAP), WINDOW - OVERLAP) if length > WINDOW else (0,)
    return [(start, min(length, start + WINDOW)) for start in starts]


def _joined(values: Values, cut: list[tuple[int, int]], found: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
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
    present = [i for i, value in enumerate(values) if value is not None and not math.isnan(value)]
    if not present:
        return []
    # As asv has them, a level ends with the last value in it.
    ends = sorted({present[0], *(step for step in steps if step > present[0]), present[-1] + 1})
    return [
        (first, present[_at(present, behind) - 1] + 1)
        for first, behind in itertools.pairwise(ends)
        if _at(present, first) < _at(present, behind)
    ]


def _at(present: list[int], place: int) -> int:
    return int(np.searchsorted(present, place))


def _detected(parts: list[Values]) -> list[list[tuple[int, int]]]:
    """Levels of each window: one where it is flat, else asv's, which are remembered or found now."""
    windows = [np.array(part, dtype=float) for part in parts]  # None becomes NaN
    present = [np.flatnonzero(~np.isnan(window)) for window in windows]
    flat = contrast.flat([window[at] for window, at in zip(windows, present, strict=True)])
    keys = {place: _key(window) for place, window in enumerate(windows) if not flat[place]}
    known = _known({key: parts[place] for place, key in keys.items()})
    return [
        known[keys[place]] if place in keys else [(int(at[0]), int(at[-1]) + 1)] for place, at in enumerate(present)
    ]


def _known(parts: dict[str, Values]) -> dict[str, list[tuple[int, int]]]:
    """asv's levels of windows by their keys."""
    remembered = _recall()
    if missing := {key: part for key, part in parts.items() if key not in remembered}:
        remembered |= zip(missing, _on_all_cores(list(missing.values())), strict=True)
        others = (item for item in remembered.items() if item[0] not in parts)
        _remember({key: remembered[key] for key in parts} | dict(itertools.islice(others, _REMEMBERED)))
    return {key: [(first, behind) for first, behind in remembered[key]] for key in parts}


def _key(window: np.ndarray) -> str:
    return hashlib.sha256(window.tobytes()).hexdigest()[:32]


def _on_all_cores(parts: list[Values]) -> list[list[tuple[int, int]]]:
    cores = results.usable_cores()
    if len(parts) < _WORTH_A_POOL or cores == 1:
        return [adapter.levels(part) for part in parts]
    # Ctrl-C is the parent's, which then drops what has not begun.
    ignore = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn"), **ignore) as pool:
        try:
            found = pool.map(adapter.step_detection(), map(list, parts), chunksize=math.ceil(len(parts) / cores / 8))
            return [adapter.runs(of) for of in found]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _file() -> Path:
    return user_cache_path("normsuite") / "history" / f"levels-asv-{results.version('asv')}.json"


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
