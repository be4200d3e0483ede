"""Drawings kept in the user's own cache by all that they are drawn from: most do not change with one more record."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from .. import results
from ..errors import OutputError
from ..history import kept
from ..spec import NORMS

LIBRARIES = ("matplotlib", "numpy", "pillow")
"""What decides about every byte of a drawing, beside this package and what is drawn."""


def drawn(draw: Callable[..., str], *data) -> str:
    """SVG as `draw(*data)` makes it, now or in an earlier report; where nothing can be kept, always now.

    Args:
        draw: what it draws depends on its arguments and this package alone.
        data: JSON values.
    """
    path = _path(draw, data)
    with suppress(OSError, UnicodeDecodeError):
        svg = path.read_text(encoding="utf-8")
        if svg.startswith("<svg") and svg.rstrip().endswith("</svg>"):
            with suppress(OSError):
                os.utime(path)
            return svg
    svg = draw(*data)
    with suppress(OSError, OutputError):
        results.write_text(path, svg)
        kept.forget(path.parent)
    return svg


def is_kept(draw: Callable[..., str], *data) -> bool:
    """Whether it has been drawn before."""
    return _path(draw, data).is_file()


def _path(draw: Callable[..., str], data: tuple) -> Path:
    digest = results.digest([_version(), draw.__module__, draw.__qualname__, data])
    return user_cache_path("normsuite") / "report" / f"{digest}.svg"


@cache
def _version() -> str:
    """Of all drawings: other files of the package, libraries or norms, in whose order colours are, draw otherwise."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(repr([*map(results.version, LIBRARIES), *NORMS]).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
