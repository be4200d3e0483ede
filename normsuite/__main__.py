"""`python -m normsuite`, and the command `normsuite`.

Helpers import the program's main module again (`helpers`): this one is at hand at once.
"""

import sys
from typing import NoReturn

from .errors import NormsuiteError


def main() -> None:
    """Run the command."""
    from . import streams

    streams.prepare()
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        from . import extras

        _refuse(extras.advice(error.name or str(error)))
    except NormsuiteError as error:  # a norm's file, since options name the norms that there are
        _refuse(str(error))
    run()


def _refuse(text: str) -> NoReturn:
    print(f"normsuite: {text}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
