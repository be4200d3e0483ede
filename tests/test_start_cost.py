"""Cost and spread of forked beside new processes, from records of rounds."""

import math

import numpy as np
import pytest

from tools.start_cost import FORKED, FRESH, said


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


@pytest.mark.parametrize(("shared", "least", "most"), [(0.0, -4, 4), (0.5, 45, 55)])
def test_what_processes_of_one_parent_share_is_seen(shared, least, most):
    forked, fresh = (line for line in said(rounds(shared)) if "share" in line)
    assert least < float(forked.split("share ")[1].split("%")[0]) < most
    assert -4 < float(fresh.split("share ")[1].split("%")[0]) < 4


def test_seconds_are_compared_with_and_without_the_parent_s_start():
    lines = said(rounds(0.0))
    assert "with it: forked / fresh 0.50 [0.50, 0.50]" in lines[1] and "later ones: forked / fresh 0.25" in lines[2]
    assert "0.5" not in said(rounds(0.0)[:1])[1], "one round has no interval"
