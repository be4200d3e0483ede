"""The command `normsuite`, a file for each of its commands.

Each loads what it needs when it runs: those that only read start at once.
"""

import signal
import sys
import threading
import traceback
from typing import Annotated

import typer

from .. import __version__, streams
from ..errors import NormsuiteError
from ..reading import printable
from . import codes
from .bench import bench
from .doctor import doctor
from .explain import explain
from .gate import bisect, gate
from .history import history
from .numerics import numerics
from .report import report
from .study import study

app = typer.Typer(
    name="normsuite",
    help="Normalization layers compared: what they average over, cost and learn, and whether a commit made them worse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (explain, study, bench, numerics, gate, bisect, history, doctor, report):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show all of an error, not one line of it.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command, and end with one of `codes`: whatever fails is one line on standard error, and exit code 2."""
    debug = _takes_debug()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _run(debug)
    except SystemExit as left:
        code = left.code
    if _terminations and code == codes.INTERRUPTED:
        code = codes.TERMINATED
    failed = streams.flush()
    if isinstance(failed, BrokenPipeError):
        code = codes.BROKEN_PIPE
    elif failed is not None and code in (codes.OK, None):
        code = _say(f"the standard output cannot be written ({failed.strerror or failed})")
    sys.exit(code)


def _run(debug: bool) -> int:
    try:
        return app(standalone_mode=False) or codes.OK
    except typer.Exit as left:
        return left.exit_code
    except _Typed as error:
        return _refused(error)
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted", codes.INTERRUPTED)
    except (BrokenPipeError, SystemExit) as left:
        if getattr(left, "code", 1) != 1:
            raise
        streams.discard(sys.stdout)  # the parser itself, too, has ended with 1 where nobody reads on
        return codes.BROKEN_PIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, NormsuiteError):
            return _say(str(error))
        if isinstance(error, OSError):
            streams.discard(sys.stdout)
        said = " ".join(str(error).split())[:300]
        more = "" if debug else "; --debug shows where"
        return _say(f"{type(error).__name__}{f': {said}' if said else ''}{more}")


_Typed = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What the parser refuses; of click, or of the copy of it that typer may have."""


def _refused(error) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # no command was typed: the list of them
        return codes.COULD_NOT
    context = getattr(error, "ctx", None)
    more = f"; {context.command_path} --help lists what there is" if context is not None else ""
    return _say(" ".join(error.format_message().split()).rstrip(".") + more)


def _say(text: str, code: int = codes.COULD_NOT) -> int:
    try:
        print(f"normsuite: {printable(text)}", file=sys.stderr)
    except OSError:  # nobody can be told
        streams.discard(sys.stderr)
    return code


_terminations: list[int] = []


def _terminated(number: int, _) -> None:
    """As Ctrl-C: what was finished is kept."""
    _terminations.append(number)
    raise KeyboardInterrupt


def _takes_debug() -> bool:
    """Whether --debug stands anywhere before "--"; it is taken out, so that it can stand behind a command's name."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = sys.argv[1:end]
    sys.argv[1:end] = [text for text in given if text != "--debug"]
    return "--debug" in given
