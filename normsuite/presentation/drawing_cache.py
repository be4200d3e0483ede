"""A cache of drawings by all that they are drawn from: most do not change with one more record."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..files import caches
from ..records import provenance, results
from ..spec import NORMS

LIBRARIES = ("matplotlib", "numpy", "pillow")
"""Libraries that a drawing's bytes depend on, beside this package and what is drawn."""


def drawn(draw: Callable[..., str], *data) -> str:
    """Return the SVG that `draw(*data)` makes, from the cache where it is there; without a cache it is drawn each time.

    Args:
        draw: what it draws depends on its arguments and this package alone.
        data: JSON values.
    """
    path = _path(draw, data)
    if path is None:
        return draw(*data)
    svg = caches.recall(path, path.name)
    if svg is not None:
        caches.mark_as_used(path)
        return svg
    svg = draw(*data)
    caches.store(path, path.name, svg)
    caches.forget(path.parent)
    return svg


def is_cached(draw: Callable[..., str], *data) -> bool:
    """Return whether the drawing is in the cache."""
    path = _path(draw, data)
    return path is not None and path.is_file()


def _path(draw: Callable[..., str], data: tuple) -> Path | None:
    digest = results.digest([_version(), draw.__module__, draw.__qualname__, data])
    folder = caches.folder("report")
    return None if folder is None else folder / f"{digest}.svg"


@cache
def _version() -> str:
    """Return a digest of all that every drawing depends on: the package's files, the libraries, and the norms.

    The order of the norms counts, since it decides their colours.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(repr([*map(provenance.version, LIBRARIES), *NORMS]).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
