"""A study's settings in a TOML file, as they are written there. Imports no torch: what is no file is said at once."""

from pathlib import Path

from ..errors import DataError
from ..files.reading import Unreadable, read_toml


def read(path: Path) -> dict:
    """Return the settings in a TOML file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return read_toml(path)
    except Unreadable as error:
        raise DataError(f"config = {str(path)!r}: {error.reason}") from None
