"""The command `normsuite`: a file of this folder that has commands names them in `COMMANDS`, and is found by its place.

Each command loads what it needs when it runs: those that only read start at once.
"""

import errno
import pkgutil
import signal
import sys
import threading
import traceback
from importlib import import_module
from typing import Annotated, Any

import typer

from ..conventions import exit_codes
from ..errors import NormsuiteError
from ..files.reading import printable
from ..machine import extras, streams, threads
from .output import be_quiet

app = typer.Typer(
    name="normsuite",
    help="Normalization layers compared: what they average over, cost and learn, and whether a commit made them worse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # rich's own would take what stands in brackets for a style
)
for _module in pkgutil.iter_modules(__path__):
    for _command in getattr(import_module(f".{_module.name}", __name__), "COMMANDS", ()):
        app.command()(_command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show all of an error, not one line of it.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Leave out progress and notes.")] = False,
) -> None:
    if version:
        from .._version import __version__

        typer.echo(__version__)
        raise typer.Exit


_Typed: Any = next(of for of in typer.BadParameter.__mro__ if of.__name__ == "ClickException")
"""Base of the errors in what was typed: click's, or that of typer's own copy of it from 0.17 on."""


def main() -> None:
    """Run the command, and end with one of `exit_codes`; a failure is one line on standard error."""
    debug = _takes("--debug")
    if _takes("--quiet", "-q"):
        be_quiet()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    code: str | int | None
    try:
        code = _run(debug)
    except SystemExit as left:
        code = left.code
    if _terminations and code == exit_codes.INTERRUPTED:
        code = exit_codes.TERMINATED
    failed = streams.flush()
    if isinstance(failed, BrokenPipeError):
        code = exit_codes.BROKEN_PIPE
    elif failed is not None and code in (exit_codes.OK, None):
        code = _say(f"the standard output cannot be written ({failed.strerror or failed})")
    if isinstance(code, int):
        threads.leave(code)
    sys.exit(code)


def _run(debug: bool) -> int:
    try:
        return app(standalone_mode=False) or exit_codes.OK
    except typer.Exit as left:
        return left.exit_code
    except _Typed as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # no command was typed: the list of them
            return exit_codes.COULD_NOT
        return _say(f"{error.format_message().rstrip('.')}{_help(error)}")
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted", exit_codes.INTERRUPTED)
    except (BrokenPipeError, SystemExit) as left:
        if getattr(left, "code", 1) != 1:
            raise
        streams.discard(sys.stdout)  # the parser itself, too, has ended with 1 where the reader is gone
        return exit_codes.BROKEN_PIPE
    except ModuleNotFoundError as error:
        if debug:
            traceback.print_exc()
        return _say(extras.advice(error.name or str(error)))
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, NormsuiteError):
            return _say(str(error))
        if isinstance(error, OSError):
            streams.discard(sys.stdout)
            if error.filename is None and error.errno in _UNWRITABLE:
                return _say(f"the output cannot be written ({error.strerror})")
        said = " ".join(str(error).split())[:300]
        more = "" if debug else "; --debug shows where"
        return _say(f"{type(error).__name__}{f': {said}' if said else ''}{more}")


def _help(error) -> str:
    """Return a reference to the help of the command in which a usage error occurred, or ""."""
    context = getattr(error, "ctx", None)
    return f"; see {context.command_path} --help" if context is not None else ""


def _say(text: str, code: int = exit_codes.COULD_NOT) -> int:
    try:
        print(f"normsuite: {printable(text)}", file=sys.stderr)
    except OSError:  # standard error is gone
        streams.discard(sys.stderr)
    return code


_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""Why a write failed to a stream, which has no name."""

_terminations: list[int] = []


def _terminated(number: int, _) -> None:
    """Handle SIGTERM like Ctrl-C, so that finished work is kept."""
    _terminations.append(number)
    raise KeyboardInterrupt


def _takes(*names: str) -> bool:
    """Return whether a switch stands anywhere before "--"; it is taken out, so that it can stand behind a command."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = sys.argv[1:end]
    sys.argv[1:end] = [text for text in given if text not in names]
    return len(sys.argv[1:]) < len(given)
