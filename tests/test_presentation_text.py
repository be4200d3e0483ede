"""Numbers as text, in tables and sentences."""

import pytest

from normsuite.presentation import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2 s"), (-1.7, "-1.7 s"), (0.00153, "1.53 ms"), (2.5e-5, "25 µs"), (3e-9, "3 ns"), (0.0, "0 ns")],
)
def test_seconds(value, shown):
    assert text.seconds(value) == shown
