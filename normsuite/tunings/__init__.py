"""Settings by processor: from which sizes on the kernels are faster than torch's calls, and non-temporal stores pay.

A table holds for the processor and the number of threads that it was measured with. In this order `current` takes the
user's own, which `normsuite tune` measures; the one that is shipped for this model and number, in the folder
`processors`; or, where nobody measured, the kernels only where they won by `MARGIN` on every processor that was, and no
non-temporal stores.
"""

import hashlib
import json
import math
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

import torch

from ..files import caches
from ..machine import processor
from ..records import provenance, source_code

MARGIN = 0.7
"""Largest ratio of the kernels' time to torch's, on every processor that was measured, at which the kernels are taken
on one that was not. With each measured processor left out in turn, the sizes that this gives to the kernels are nowhere
slower there than torch (`tools/page_processors.py`), but for a LayerNorm in channels_last on the one that was measured
last: torch's call made copies there before."""

_FORMAT = 2
"""Format of a table's file; a table in another one is not read."""

NEVER = math.inf
WAYS = ("forward", "backward")

Table = dict[str, dict[str, dict[str, list]]]
"""Sizes by norm and layout (`auto.layout`): "lengths", how many elements lie side by side; and for each mode and each
length the number of elements from which on the kernels are faster. Modes are forward, step and evaluation, the first
and the last also `_into` an output that exists, each also `_activated`."""


@dataclass(frozen=True)
class Tuning:
    """Settings for one processor.

    Attributes:
        processor: the name of the model that was measured.
        threads: with how many it was measured; None of a table that nobody measured.
        origin: in words, which table this is and why.
        sizes: from which number of elements on the kernels are faster.
        streaming: for each of `WAYS`, from how many bytes on a result is written by non-temporal stores.
        clear: the same as sizes, where the kernels take at most `MARGIN` of torch's time from there on.
        entries: of one of the user's own, the names of the entries that were measured; the others have the sizes of
            the table that holds without it.
    """

    processor: str
    threads: int | None
    origin: str
    sizes: Table
    streaming: Mapping[str, float]
    clear: Table
    entries: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """Return a short name for what calls depend on: another one, and `auto` may choose otherwise."""
        return hashlib.sha256(repr((self.sizes, dict(self.streaming))).encode()).hexdigest()[:16]


def current(threads: int | None = None) -> Tuning:
    """Return the tuning for this processor, and torch's present number of threads or another one.

    One of the user's own is for this version of torch and of the kernels, too. A call of a kind that was computed
    before goes on as it was: the tuning is asked for the first of its kind.
    """
    return _for_threads(_number(threads))


def _number(threads: int | None) -> int:
    return torch.get_num_threads() if threads is None else threads


@cache
def _for_threads(threads: int) -> Tuning:
    return own(threads) or without_own(threads)


def without_own(threads: int | None = None) -> Tuning:
    """Return the tuning where the user has measured none."""
    here = processor.this()
    return _shipped_for(here, _number(threads)) or elsewhere(here.name)


def forget() -> None:
    """Find the tuning anew at the next call: a table was stored, or a test pretends to be another machine."""
    _for_threads.cache_clear()


def own(threads: int | None = None) -> Tuning | None:
    """Return what `normsuite tune` measured for this processor and so many threads, or None."""
    path = _path(make=False, threads=threads)
    if path is None or not (text := caches.recall(path, key(threads))):
        return None
    caches.mark_as_used(path)
    found = parse(text, "measured on this machine by `normsuite tune`")
    of = tomllib.loads(text)["processor"].get("of")
    return replace(found, origin=f"{found.origin}, {len(found.entries)} of {of} entries") if of else found


def store(text: str) -> Path | None:
    """Store a tuning's text in the user's cache, and return its path, or None if that fails.

    `current` finds it there from now on.
    """
    path = _path(make=True)
    if path is None:
        return None
    caches.store(path, key(), text)
    caches.forget(path.parent)
    forget()
    return path if caches.recall(path, key()) == text else None


@cache
def shipped() -> tuple[tuple[str | None, Tuning], ...]:
    """Return the key of each processor with a shipped table (None where its model was not recorded), and the table."""
    found = []
    folder = resources.files(__package__) / "processors"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            text = file.read_text(encoding="utf-8")
            facts = tomllib.loads(text)["processor"]
            count = facts["threads"]
            measured = f"{count} thread{'' if count == 1 else 's'}, torch {facts['torch']}"
            found.append((facts.get("key"), parse(text, f"shipped, measured on this model with {measured}")))
    return tuple(found)


def _shipped_for(here: processor.Processor, threads: int) -> Tuning | None:
    return next((tuning for key, tuning in shipped() if key == here.key and tuning.threads == threads), None)


def elsewhere(name: str) -> Tuning:
    """Return the tuning for a processor of that name that was not measured, or not with this number of threads."""
    tables = [tuning.clear for _, tuning in shipped()]
    measured = " and ".join(tuning.processor for _, tuning in shipped())
    origin = (
        f"none for this processor and number of threads: the kernels only where they took at most {MARGIN:g} of "
        f"torch's time on every one that was measured ({measured}); `normsuite tune` measures this one"
    )
    common = agreed(tables) if tables else {}
    return Tuning(name, None, origin, common, dict.fromkeys(WAYS, NEVER), common)


def parse(text: str, origin: str) -> Tuning:
    """Return the tuning that a TOML file has."""
    found = tomllib.loads(text)
    of = found["processor"]
    clear, entries = found.get("clear", {}), frozenset(of.get("entries", ()))
    return Tuning(of["name"], of["threads"], origin, found["sizes"], found["streaming"], clear, entries)


def agreed(tables: Sequence[Mapping]) -> dict:
    """Return the table whose sizes are the largest of all tables' sizes, over what all of them have."""
    if "lengths" in tables[0]:  # the sizes of one layout, for all lengths that any table tells apart
        lengths = sorted({length for entry in tables for length in entry["lengths"]})
        largest = {
            mode: [max(entry[mode][place(entry, length)] for entry in tables) for length in lengths]
            for mode in _common(tables)
            if mode != "lengths"
        }
        return {"lengths": lengths, **largest}
    return {key: agreed([table[key] for table in tables]) for key in _common(tables)}


def _common(tables: Sequence[Mapping]) -> list[str]:
    return [key for key in tables[0] if all(key in table for table in tables)]


def place(entry: Mapping[str, list], length: int) -> int:
    """Return the place of the sizes, in each mode of an entry, that count for so many elements side by side."""
    return max(bisect_right(entry["lengths"], length) - 1, 0)


def key(threads: int | None = None) -> str:
    """Return everything that a measured tuning depends on, as text."""
    return json.dumps(
        {
            "processor": processor.this().key,
            "threads": _number(threads),
            "torch": torch.__version__,
            "numba": provenance.version("numba"),
            "format": _FORMAT,
            "kernels": kernels(),
        }
    )


def _path(*, make: bool, threads: int | None = None) -> Path | None:
    folder = caches.folder("tuned") if make else caches.place("tuned")
    if folder is None or not (make or _has_any(folder)):
        return None
    return folder / f"{hashlib.sha256(key(threads).encode()).hexdigest()[:16]}.toml"


def _has_any(folder: Path) -> bool:
    """Return whether a folder has a file; one that cannot be listed has none for us."""
    try:
        return any(folder.iterdir())
    except OSError:
        return False


@cache
def kernels() -> str:
    """Return a digest of the kernels' sources."""
    backends = Path(__file__).parent.parent / "backends"
    folders = (backends / "_kernels", backends / "numba")
    return source_code.digest(file for folder in folders for file in sorted(folder.rglob("*.py")))
