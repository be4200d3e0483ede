"""`python -m normsuite`, and the command `normsuite`.

Helpers import the program's main module again (`machine.helpers`): this one is at hand at once.
"""

import sys
from typing import NoReturn

from .conventions import exit_codes
from .errors import NormsuiteError


def main() -> None:
    """Run the command."""
    from .machine import streams

    streams.prepare()
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        from .machine import extras

        _refuse(extras.advice(error.name or str(error)))
    except NormsuiteError as error:  # a norm's file, since options name the norms that there are
        _refuse(str(error))
    except KeyboardInterrupt:  # loading takes a second or more, and on a busy machine many
        _refuse("interrupted", exit_codes.INTERRUPTED)
    run()


def _refuse(text: str, code: int = exit_codes.COULD_NOT) -> NoReturn:
    print(f"normsuite: {text}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
