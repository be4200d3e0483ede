"""Standard output and error of a command: closed, full, in an encoding without these characters, or read no longer."""

import os
import sys


def prepare() -> None:
    """Set standard output and error to escape characters that they cannot encode.

    Closed ones are replaced by the null device.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before this process began
            setattr(sys, name, Closed(name))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class Closed:
    """Stands for a stream that was closed, and discards what is written; recognised by its type."""

    encoding, errors, closed, newlines = "utf-8", "strict", False, None

    def __init__(self, name: str):
        self.name = name

    def write(self, text: str) -> int:
        """Ignore the text, and return its length."""
        return len(text)

    def flush(self) -> None:
        """Return at once: nothing is buffered."""
        pass

    def isatty(self) -> bool:
        """Return False."""
        return False

    def fileno(self) -> int:
        """Raise OSError, as a closed stream does."""
        raise OSError("closed")


def flush() -> OSError | None:
    """Write what is left; return why it could not be, and let the interpreter not try again at its end."""
    failed = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            failed = failed or error
            discard(stream)
    return failed


def discard(stream) -> None:
    """Redirect a stream that cannot be written to to the null device."""
    try:
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)
    except (OSError, ValueError):
        pass
