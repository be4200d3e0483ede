"""Cost and spread of forked beside new processes, from records of rounds."""

import math

import numpy as np
import pytest

from tools.start_cost import FORKED, FRESH, rows


def rounds(shared, *, count=40, cells=30, each=4, forked_s=1.0):
    """Rounds of values with a deviation of 1 %, of which forked ones share a part within a round."""
    draw = np.random.default_rng(0)

    def values(shared):
        own = draw.normal(0, 0.01 * math.sqrt(1 - shared), (cells, each))
        return own + draw.normal(0, 0.01 * math.sqrt(shared), (cells, 1))

    return [
        {
            way: {
                "ready_s": [4.0, seconds, seconds],
                "log_ratios": {f"cell {i}": list(of) for i, of in enumerate(values(shared if way == FORKED else 0.0))},
            }
            for way, seconds in ((FORKED, forked_s * draw.uniform(0.99, 1.01)), (FRESH, 4.0))
        }
        for _ in range(count)
    ]


def figures(rounds):
    return {what.rpartition(": ")[::2]: figure for what, figure in rows(rounds)}


@pytest.mark.parametrize(("shared", "least", "most"), [(0.0, -4, 4), (0.5, 45, 55)])
def test_what_processes_of_one_parent_share_is_seen(shared, least, most):
    found = figures(rounds(shared))
    what = "share of the variance that processes of a round have in common"
    assert least < float(found[what, "forked"].rstrip("%")) < most
    assert -4 < float(found[what, "new"].rstrip("%")) < 4


def test_seconds_are_compared_with_and_without_the_parent_s_start():
    found = {what[:2]: figure for (what, of), figure in figures(rounds(0.0)).items() if of == "forked / new"}
    assert found["th"] == "0.50 [0.50, 0.50]" and found["se"].startswith("0.25")
    assert not any("seconds" in what for what, _ in rows(rounds(0.0)[:1])), "one round has no interval"
