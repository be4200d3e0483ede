"""Numbers as text, in tables and sentences."""

import math

import pytest

from normsuite.presentation import text
from normsuite.statistics import Interval


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2 s"), (-1.7, "-1.7 s"), (0.00153, "1.53 ms"), (2.5e-5, "25 µs"), (3e-9, "3 ns"), (0.0, "0 ns")],
)
def test_seconds(value, shown):
    assert text.seconds(value) == shown


def test_a_ratio_has_its_digits_however_large_and_its_interval_may_reach_to_anything():
    assert text.interval(Interval(1500.0, 2e-4, 1e7)) == "1.5e+03 [0, ∞]"
    assert text.interval(Interval(2e-4, 1e-4, 3e-2)) == "0.0002 [0, 0.03]"
    assert text.interval(Interval(1500.0, math.nan, math.nan)) == "1.5e+03"
