"""The gate's own error rates, from records of self-checks."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gate_records import checked

from normsuite.files import writing
from normsuite.gate import self_check_rates
from normsuite.gate import tables as gate_tables
from normsuite.gate.decide import BETTER, SAME, UNDECIDED, WORSE, Thresholds
from normsuite.records import kinds, provenance
from tools import asv_continuous


def test_rates_have_the_bounds_of_clopper_and_pearson():
    assert self_check_rates.Rate(0, 60).at_most == pytest.approx(1 - 0.05 ** (1 / 60))
    assert self_check_rates.Rate(59, 59).at_least == pytest.approx(0.05 ** (1 / 59))
    assert (self_check_rates.Rate(0, 5).at_least, self_check_rates.Rate(5, 5).at_most) == (0.0, 1.0)


def test_error_rates_of_tables_are_counted():
    same = [checked([SAME, UNDECIDED, SAME])] * 9 + [checked([SAME, WORSE, BETTER])]
    injected = [checked([WORSE, UNDECIDED, SAME], {"cell 0": 0.05, "cell 1": 0.01})] * 3
    found = self_check_rates.found(same + injected)
    assert (found.false_alarms.k, found.false_alarms.n) == (1, 10)
    assert (found.missed.k, found.missed.n) == (1, 10)
    assert (found.false_improvements.k, found.false_cells.k, found.false_cells.n) == (1, 1, 33)
    assert (found.injected[0.05].k, found.injected[0.05].n, found.injected[0.01].k) == (3, 3, 0)
    assert (found.same.k, found.same.n) == (19, 30)
    assert found.smallest is None, "three of three support no more than 37 %"
    assert self_check_rates.found(same + injected * 10).smallest is None, "cells of one table are not independent"
    assert self_check_rates.found(same + injected * 30).smallest == 0.05
    text = "\n".join(self_check_rates.lines(same + injected))
    assert "1 of 10 tables with a false alarm" in text and "injected 5 %: found in 3 of 3 cells" in text
    assert self_check_rates.line(injected[0]).startswith("1 of 2 injected slowdowns found; 1 worse")


def test_recorded_intervals_are_judged_by_the_thresholds_of_today():
    """A slowdown of the margin itself, which one threshold for both could never call."""
    record = checked([SAME], {"cell 0": 0.01})
    record["samples"]["cells"]["cell 0"] = [UNDECIDED, 1.01, 1.004, 1.016, 16]
    assert self_check_rates.found([record]).injected[0.01].k == 1
    assert self_check_rates.found([record], Thresholds(worse=0.01)).injected[0.01].k == 0


def test_a_false_alarm_of_a_group_is_one_of_its_table():
    """The mean of 12 cells that are slower by 0.4 % each is worse, though each is the same by its own interval."""
    noise = np.random.default_rng(0).normal(0.004, 0.002, (12, 8))
    names = [f"{norm}/numba/study/{mode}" for norm in "ABCDEF" for mode in ("forward", "step")]
    record = checked([SAME] * 12)
    record["samples"] |= {
        "cells": dict(zip(names, record["samples"]["cells"].values(), strict=True)),
        "log_ratios": dict(zip(names, noise.tolist(), strict=True)),
        "looks": [4, 6, 8],
        "final": True,
    }
    assert self_check_rates.found([record]).false_alarms.k == 0
    assert self_check_rates.decided_means(*self_check_rates.typed([record])) == [], "made before there were groups"
    record["case"]["identity"] = {"cells": names, "worse": 0.0025}
    assert WORSE in {of.verdict for of in self_check_rates.decided_means(*self_check_rates.typed([record]))}
    found = self_check_rates.found([record])
    assert (found.false_alarms.k, found.missed.k, found.same.k) == (1, 1, 12)
    assert self_check_rates.found([record], Thresholds(worse=0.01)).false_alarms.k == 0


def test_a_cell_without_an_interval_is_undecided_and_one_that_failed_is_missing():
    """One value has no interval, which JSON keeps as a text."""
    record = json.loads(writing.to_json(checked([SAME, SAME])))
    record["samples"]["cells"]["cell 0"] = [UNDECIDED, 1.0, "nan", "nan", 1]
    assert self_check_rates.verdicts(*self_check_rates.typed([record])) == {"cell 0": UNDECIDED, "cell 1": SAME}
    assert (self_check_rates.found([record]).undecided.k, self_check_rates.found([record]).undecided.n) == (1, 2)


def test_rates_are_counted_by_measured_size_and_by_length():
    record = checked([WORSE, SAME, WORSE], {"a/b/tiny/f": 0.01, "a/b/study/f": 0.01, "a/b/study/s": 0.02})
    names = list(record["case"]["planted"])
    samples = record["samples"]
    samples["cells"] = dict(zip(names, samples["cells"].values(), strict=True))
    samples["log_ratios"] = {
        name: [math.log1p(size)] * 4 for name, size in zip(names, (0.0095, 0.0095, 0.03), strict=True)
    }
    assert {name: (of.k, of.n) for name, of in self_check_rates.by_size([record]).items()} == {
        "0.90% to 1.10%": (1, 2),
        "2.00% to 5.00%": (1, 1),
    }
    below = {**record, "samples": {**samples, "log_ratios": {name: [0.001] for name in names}}}
    assert {name: of.n for name, of in self_check_rates.by_size([below]).items()} == {"less than 0.25%": 3}
    assert {name: (of.k, of.n) for name, of in self_check_rates.by_length([record], 0.01).items()} == {
        "tiny": (1, 1),
        "study": (0, 1),
    }
    samples["base_s"] = dict(zip(names, (1e-4, 7e-6, 1e-3), strict=True))
    assert list(self_check_rates.by_length([record], 0.01)) == ["below 20 µs", "20 to 200 µs"]
    assert self_check_rates.as_dict([record])["by_length"]["0.02"]["200 µs and more"]["k"] == 1
    record["environment"] = provenance.environment()
    shown = {row[0]: row[2:4] for row in gate_tables.error_rates([record]).rows}
    assert shown["slower by 1%, below 20 µs"] == ("0", "1") and shown["slower by 1%, 20 to 200 µs"] == ("1", "1")


def test_sizes_and_the_offset_are_measured_before_anything_is_found():
    """Later processes measure what was not found by the first look."""
    record = checked([WORSE, SAME, SAME], {"a": 0.01, "b": 0.01})
    logs = {"a": [math.log1p(0.011)] * 2, "b": [math.log1p(0.009)] * 2, "c": [0.001, 0.002]}
    record["samples"] |= {"log_ratios": {name: [*of, 1.0] for name, of in logs.items()}, "looks": [2, 3]}
    record["samples"]["cells"] = dict(zip(logs, record["samples"]["cells"].values(), strict=True))
    (mean,) = self_check_rates.measured_means([record]).values()
    assert mean.value == pytest.approx(0.01) and mean.low < 0.009
    assert "injected slowdowns up to the first look, in the mean: 1 % was measured as 1 %" in self_check_rates.lines(
        [record]
    )
    assert self_check_rates.offset([record]) is None
    record["case"]["planted"] = {}
    other = {**record, "samples": {**record["samples"], "looks": [1, 3]}}
    expected = (math.log1p(0.011) + math.log1p(0.009) + (0.001 + 0.0015) / 2) / 3
    assert self_check_rates.offset([record, other]).value == pytest.approx(expected)
    record["environment"] = provenance.environment()
    assert "Equal versions differ there by +" in gate_tables.error_rates([record]).note


def test_what_asv_said_is_counted_in_the_same_way():
    said = {
        **checked([]),
        "what": kinds.ASV_CHECK.what,
        "case": {"identity": {}, "planted": {"a": 0.05, "b": 0.05}, "cells": ["a", "b", "c"]},
        "samples": {"changes": {"a": 1.13, "c": 0.52}, "factor": 1.03},
        "wall_s": 205.0,
    }
    found = self_check_rates.found([said])
    assert (found.injected[0.05].k, found.injected[0.05].n, found.false_cells.k, found.false_cells.n) == (1, 2, 0, 1)
    assert json.loads(writing.to_json(self_check_rates.as_dict([said])))["asv"]["planted"]["0.05"]["n"] == 2
    table = """
    | Change   | Before [a] <x>   | After [b] <y>   |   Ratio | Benchmark (Parameter)                           |
    |----------|------------------|-----------------|---------|-------------------------------------------------|
    | +        | 1.00±0.1ms       | 1.13±0ms        |    1.13 | latency.Latency.track_forward('a', 'b')         |
    | -        | 2.00±0.1ms       | 1.04±0ms        |    0.52 | latency.Latency.track_training_step('c')        |
    """
    assert [ratio for _, ratio in asv_continuous.changes(table)] == [1.13, 0.52]


def test_what_asv_compares_is_set_up_as_a_self_check_is(tmp_path):
    """With no pairs to compare, which would take minutes."""
    command = [sys.executable, "-m", "tools.asv_continuous", "--pairs", "0", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and done.stdout.startswith("bounds: "), done.stderr
