"""`python -m normsuite`, and the command `normsuite`.

Helpers import the program's main module again (`helpers`): this one is at hand at once.
"""

import sys


def main() -> None:
    """Run the command."""
    from . import streams

    streams.prepare()
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        from . import extras

        print(f"normsuite: {extras.advice(error.name or str(error))}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
