"""Examples in docstrings that print a result."""

import doctest

import pytest

from normsuite import errors
from normsuite.machine import extras


@pytest.mark.parametrize(("module", "examples"), [(errors, 1), (extras, 1)])
def test_examples_print_what_they_say(module, examples):
    found = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert found.attempted >= examples and not found.failed
