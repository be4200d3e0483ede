"""Files that are written whole or not at all, and JSON that says NaN."""

import json
import math
import os
import secrets
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError


def finite(value):
    """Return a value with NaN and infinities replaced by their names, which JSON lacks.

    So the record of a diverged run is kept.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


def to_json(value: object, indent: int | None = 1) -> str:
    """Return strict JSON, with NaN and the infinities as the strings "nan", "inf" and "-inf"."""
    return json.dumps(finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def output_folder(path: Path, argument: str) -> Path:
    """Return that folder, made if need be.

    Raises:
        OutputError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(f"{argument} = {str(path)!r}: cannot write there ({error.strerror or error})") from None
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all: into a temporary file beside it, which then takes its name.

    That is for new files, and for regular ones of this user's own. A device, a pipe, a link, or a file with several
    names or another owner stays what it is: the text goes into it.

    Raises:
        OutputError: it could not be written; of a new file nothing is left.
    """
    try:
        return write_bytes(path, text.encode())
    except UnicodeEncodeError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.reason})") from None


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file of bytes, as `write_text` does.

    Raises:
        OutputError: it could not be written; of a new file nothing is left.
    """
    try:
        if _is_to_be_replaced(path):
            _write_aside(path, content)
        else:
            _write_into(path, content)
    except ValueError as error:  # a null character in its name
        raise OutputError(f"cannot write {str(path)!r} ({error})") from None
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.strerror or error})") from None
    return path


def replace_text(path: Path, text: str) -> Path:
    """Write a file of this package's own, as `write_text` does, in the place of whatever lies there.

    Raises:
        OutputError: it could not be written.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        _write_aside(path, text.encode())
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.strerror or error})") from None
    return path


def _is_to_be_replaced(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    own = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and own


def _write_aside(path: Path, content: bytes) -> None:
    temporary = None
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else None
    try:
        beside = path.with_name(f".{secrets.token_hex(8)}.part")  # short, whatever the length of the path's own name
        with beside.open("xb") as file:  # readable by whom the user's umask says
            temporary = beside
            if mode is not None:
                temporary.chmod(mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # Ctrl-C too
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise


def _write_into(path: Path, content: bytes) -> None:
    with suppress(OSError, ValueError, AttributeError):  # where the standard output has no file of its own
        if os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno())):
            sys.stdout.write(content.decode())  # behind what was written there before, and before what follows
            sys.stdout.flush()
            return
    path.write_bytes(content)
