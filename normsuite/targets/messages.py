"""Errors on targets, as one process tells them to another."""

from ..errors import ArgumentError, NormsuiteError
from .build import TargetError
from .loading import ImportPathError


def error_to_message(error: NormsuiteError) -> dict:
    """Return an error as a line that another process says."""
    if not isinstance(error, ArgumentError):
        return {"error": [str(error)]}
    plain = error.value if isinstance(error.value, str | int | float | None) else str(error.value)
    return {"error": [error.argument, plain, error.reason], "is_path": isinstance(error, ImportPathError)}


def error_of_message(message: dict) -> NormsuiteError:
    """Return the error that `error_to_message` describes, of the same kind."""
    if len(message["error"]) == 1:
        return TargetError(*message["error"])
    return (ImportPathError if message["is_path"] else ArgumentError)(*message["error"])
