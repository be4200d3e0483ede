"""Errors on targets, as one process tells them to another."""

from .. import errors
from ..errors import ArgumentError, NormsuiteError
from .build import TargetError
from .loading import ImportPathError

_KINDS = {
    **{
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, NormsuiteError)
    },
    TargetError.__name__: TargetError,
    ImportPathError.__name__: ImportPathError,
}


def error_to_message(error: NormsuiteError) -> dict:
    """Return an error as a line that another process says."""
    kind = next(of.__name__ for of in type(error).__mro__ if of.__name__ in _KINDS)
    if not isinstance(error, ArgumentError):
        return {"error": [str(error)], "kind": kind}
    plain = error.value if isinstance(error.value, str | int | float | None) else str(error.value)
    return {"error": [error.argument, plain, error.reason], "kind": kind}


def error_of_message(message: dict) -> NormsuiteError:
    """Return the error that `error_to_message` describes: of its kind, or the nearest kind that is not private."""
    return _KINDS[message["kind"]](*message["error"])
