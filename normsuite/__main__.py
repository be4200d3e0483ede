"""`python -m normsuite`."""

from .cli import main

main()
