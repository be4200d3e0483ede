"""What others' code raises, as errors of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import one_line


@contextmanager
def raised_as(make: Callable[[str], Exception], *passed: type[BaseException]) -> Iterator[None]:
    """Raise what others' code raises in the block, SystemExit too, as an error that is made of it in one line.

    Args:
        make: returns the error.
        passed: exceptions that go on as they are, as KeyboardInterrupt does.
    """
    going_on: tuple[type[BaseException], ...] = (KeyboardInterrupt, *passed)
    try:
        yield
    except going_on:
        raise
    except BaseException as error:
        raise make(one_line(error)) from error
