"""The part of a Python file that decides what it does, for digests that a changed docstring leaves alone.

Imports no torch. Neither `ast` nor `tokenize` is used: either takes half a second for the package, and what `ast.dump`
writes differs between versions of Python.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

_PIECES = re.compile(
    r"""(?P<string>"{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<comment>\#[^\n]*)|(?P<opened>[(\[{])|(?P<closed>[)\]}])""",
    re.DOTALL,
)
_ENDS_OF_LINES = re.compile(r"[ \t]*\n(?:[ \t]*\n)*")
_RELATIVE_IMPORT = re.compile(r"^[ \t]*from \.[\w.]* import (\([^)]*\)|[^\n(;\\]*)(?:\n|\Z)", re.MULTILINE)


def decisive(file: Path) -> bytes:
    """Return the content of a file; of a Python file its code, without comments and docstrings.

    A module that moves changes the relative imports of others. So of those the imported names count, sorted, and not
    from where they are imported.
    """
    if file.suffix != ".py":
        return file.read_bytes()
    names: set[str] = set()

    def noted(found: re.Match) -> str:
        names.update(name.strip() for name in found[1].strip("()\n ").split(",") if name.strip())
        return ""

    source = _RELATIVE_IMPORT.sub(noted, without_words(file.read_text(encoding="utf-8")))
    return f"{', '.join(sorted(names))}\n{source}".encode()


def digest(files: Iterable[Path]) -> str:
    """Return a digest of what these files do; neither a comment in one of them nor a module that moves changes it."""
    found = hashlib.sha256()
    for file in files:
        found.update(decisive(file) + b"\0")
    return found.hexdigest()[:16]


def without_words(source: str) -> str:
    """Return Python source without comments, docstrings (of attributes too), blank lines and spaces at ends of lines.

    Strings that are part of an expression stay as they are.
    """
    kept, between = [], "\n"
    end = depth = 0
    for piece in _PIECES.finditer(source):
        between += source[end : piece.start()]
        end = piece.end()
        if piece["string"]:
            if depth or not _is_statement(source, *piece.span()):
                kept += [_ENDS_OF_LINES.sub("\n", between), piece[0]]
                between = ""
        elif not piece["comment"]:
            depth += 1 if piece["opened"] else -1
            between += piece[0]
    return "".join([*kept, _ENDS_OF_LINES.sub("\n", between + source[end:])]).strip("\n")


def _is_statement(source: str, start: int, end: int) -> bool:
    """Return whether a string outside brackets stands alone on its lines, but for a comment behind it."""
    line = source.rfind("\n", 0, start) + 1
    behind = source[end : source.find("\n", end) if "\n" in source[end:] else None].strip()
    return not source[line:start].strip() and source[line - 2 : line] != "\\\n" and (not behind or behind[0] == "#")
