"""`python -m normsuite`, and the command `normsuite`.

Helpers import the program's main module again (`helpers`): this one is at hand at once.
"""


def main() -> None:
    """Run the command."""
    from . import streams

    streams.prepare()
    from .cli import main as run

    run()


if __name__ == "__main__":
    main()
