"""The errors that normsuite raises: one line each, naming the argument and its value."""

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 200


def one_line(error: BaseException) -> str:
    """Return an error's type and message in one line, cut off after 200 characters; of our own the message alone."""
    text = " ".join(str(error).split())[:_SHOWN]
    if isinstance(error, NormsuiteError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def message_of(error: BaseException) -> str:
    """Return an error's message in one line, or its type's name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _shown(value: object) -> str:
    """Return a value in one line, cut off where it is long, as a tensor's is."""
    text = repr(value)
    if "\n" in text:
        text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class NormsuiteError(Exception):
    """Base of every error that normsuite raises on purpose."""


class ArgumentError(NormsuiteError, ValueError):
    """An argument has a value that cannot be used.

    >>> raise ArgumentError("num_groups", 3, "must divide the 8 channels")
    Traceback (most recent call last):
    normsuite.errors.ArgumentError: num_groups = 3: must divide the 8 channels
    """

    def __init__(self, argument: str, value: object, reason: str):
        self.argument, self.value, self.reason = argument, value, reason
        super().__init__(f"{argument} = {_shown(value)}: {reason}")

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:  # a worker process sends it back
        return type(self), (self.argument, self.value, self.reason)


class ShapeError(ArgumentError, RuntimeError):
    """A tensor has a shape that does not fit.

    Torch raises ValueError for some of these and RuntimeError for others; this is both, so that code written
    against torch keeps catching it.
    """


class UnknownNameError(ArgumentError):
    """A norm, backend, case, preset or dataset of that name does not exist."""

    @classmethod
    def among(cls, argument: str, value: object, known: Iterable[object]) -> "UnknownNameError":
        """Return the error for a value that is not among the known names, with the one that it resembles most."""
        names = [str(name) for name in known]
        near = get_close_matches(str(value).lower(), [name.lower() for name in names], n=1)
        meant = next((f"did you mean {name}? " for name in names if [name.lower()] == near), "")
        return cls(argument, value, f"unknown; {meant}known are {', '.join(names)}")


class UnsupportedError(ArgumentError, RuntimeError):
    """A backend cannot compute this call, for the reason given; torch raises RuntimeError for such calls."""


class StorageError(ArgumentError, RuntimeError):
    """The memory behind a tensor is not what the tensor says, or no longer what it was in the forward pass."""


class DataError(NormsuiteError):
    """Data that are missing, damaged or incomplete; the message names the file, the expected and the found."""


class OutputError(NormsuiteError):
    """A result could not be written; the message names the place and the cause."""
