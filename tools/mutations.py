"""Damage to files: one place of a JSON value, or the bytes, or what lies there instead of the file."""

import json
import lzma
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

JUNK = (
    None, True, -1, -17.5, 1e300, 10**400, "text", "", "\x1b[31m", "\ud800", "\u202e", [], {}, [[]], {"a": {"b": []}},
    [None], float("nan"), float("inf"), "2026-13-99", "../../x",
)  # fmt: skip

Mutation = Callable[[Path, random.Random], object]
"""Damages a file; what it returns says where."""


def places(value: object, way: tuple = ()) -> Iterator[tuple]:
    """Yield every place in a JSON value, by the keys that lead to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*way, key)
        yield from places(each, (*way, key))


def at(value, way: tuple):
    """Return what lies there."""
    for key in way:
        value = value[key]
    return value


def _of_json(change: Callable[[object, object, random.Random], None]) -> Mutation:
    """Return a mutation of one place of a JSON file, or of a line of a compact one."""

    def mutate(path: Path, draw: random.Random) -> str:
        lines = _text(path).splitlines() if path.suffix == ".xz" else [_text(path)]
        number = draw.randrange(len(lines))
        value = json.loads(lines[number])
        way = draw.choice(list(places(value)))
        change(at(value, way[:-1]), way[-1], draw)
        lines[number] = json.dumps(value)
        text = "\n".join(lines) + "\n"
        path.write_bytes(lzma.compress(text.encode(), preset=0) if path.suffix == ".xz" else text.encode())
        return f"{'/'.join(map(str, way))} in {repr(at(value, way[:-1]))[:80]}"

    return mutate


def _text(path: Path) -> str:
    return lzma.decompress(path.read_bytes()).decode() if path.suffix == ".xz" else path.read_text()


def _junk(owner, key, draw) -> None:
    owner[key] = draw.choice(JUNK)


def _without(owner, key, draw) -> None:
    del owner[key]


def _of_another_kind(owner, key, draw) -> None:
    owner[key] = {"now": owner[key]} if draw.random() < 0.5 else [owner[key]]


def _likely(owner, key, draw) -> None:
    """Set another value that a measurement might have given."""
    old = owner[key]
    if isinstance(old, bool):
        owner[key] = not old
    elif isinstance(old, int | float):
        owner[key] = old + 1 if isinstance(old, int) else old * 1.1
    elif isinstance(old, str):
        owner[key] = f"{old}x"
    elif isinstance(old, list):
        owner[key] = old[:-1]
    elif isinstance(old, dict):
        owner[key] = dict(list(old.items())[:-1])


def _bytes(change: Callable[[bytes, random.Random], bytes]) -> Mutation:
    return lambda path, draw: path.write_bytes(change(path.read_bytes(), draw)) and None


def _replaced(make: Callable[[Path], object]) -> Mutation:
    def mutate(path: Path, draw: random.Random) -> None:
        path.unlink()
        make(path)

    return mutate


def _flipped(old: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(old))
    return old[:place] + bytes([old[place] ^ (1 << draw.randrange(8))]) + old[place + 1 :]


def _punctuation(old: bytes, draw: random.Random) -> bytes:
    places = [place for place in range(len(old)) if not chr(old[place]).isalnum()]
    place = draw.choice(places)
    return old[:place] + bytes([old[place] ^ (1 << draw.randrange(8))]) + old[place + 1 :]


LIKELY, BIT = "another likely value", "a bit is another"
"""Found everywhere only where a digest is kept with what it is of."""

BIT_BETWEEN = {"a bit between values is another": _bytes(_punctuation)}
"""Found without a digest too."""

OF_JSON: dict[str, Mutation] = {
    "a value is junk": _of_json(_junk),
    "a field or value is gone": _of_json(_without),
    "a value is of another kind": _of_json(_of_another_kind),
    LIKELY: _of_json(_likely),
}
OF_BYTES: dict[str, Mutation] = {
    "cut off": _bytes(lambda old, draw: old[: draw.randrange(len(old) - 2)]),
    BIT: _bytes(_flipped),
    "zeros": _bytes(lambda old, draw: bytes(len(old))),
    "another encoding": _bytes(
        lambda old, draw: old.decode(errors="replace").encode(draw.choice(("utf-16", "utf-32")))
    ),
    "deeply nested": _bytes(lambda old, draw: b"[" * draw.choice((2000, 100_000))),
    "thousands of digits": _bytes(lambda old, draw: b'{"a": ' + b"9" * 5000 + b"}"),
    "a folder": _replaced(lambda path: path.mkdir()),
    "a named pipe": _replaced(os.mkfifo),
    "a link that leads nowhere": _replaced(lambda path: path.symlink_to("/nowhere")),
    "an endless device": _replaced(lambda path: path.symlink_to("/dev/zero")),
}


def state(folder: Path) -> dict[str, object]:
    """Return what lies there: names, kinds and contents."""
    found = {}
    for path in folder.rglob("*"):
        kind = path.lstat().st_mode
        regular = path.is_file() and not path.is_symlink()
        found[str(path)] = (kind, path.read_bytes() if regular else None)
    return found


def restore(path: Path, whole: bytes) -> None:
    """Put back what was there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(whole)
