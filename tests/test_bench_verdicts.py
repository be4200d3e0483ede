"""Verdicts and means of a bench, from records without any measurement."""

import json
import math

import pytest
from bench_records import SPECS, record

from normsuite.bench import summary, tables
from normsuite.bench.sentences import sentences
from normsuite.bench.summary import AGAIN, AUTO, BASELINE, Bench
from normsuite.files import writing
from normsuite.statistics import Interval


def test_ratios_verdicts_and_means():
    bench = Bench(
        [
            record({AUTO: 0.5, "flax": 2.0}, foreign=["flax"]),
            record({AUTO: 0.25, "flax": 2.0}, norm="LayerNorm", seed=1),
            record({AUTO: 1.2}, norm="GroupNorm", case="tiny", seed=2),
            record({AUTO: 1.01}, norm="RMSNorm", case="tiny", seed=3),
        ]
    )
    rows = {(r.norm, r.implementation): r for r in bench.rows}
    auto = rows["BatchNorm", AUTO]
    assert auto.ratio.value == pytest.approx(0.5, rel=0.01) and auto.ratio.low < 0.5 < auto.ratio.high
    assert auto.copy_ratio.value == pytest.approx(1.0, rel=0.01)
    assert auto.traffic_share == pytest.approx(2.5, rel=0.01)  # a step's five tensors in the time of a copy's two
    assert auto.time_s.value == pytest.approx(0.5e-3, rel=0.01)
    verdicts = {norm: row.verdict for (norm, name), row in rows.items() if name == AUTO}
    assert verdicts == {"BatchNorm": "faster", "LayerNorm": "faster", "GroupNorm": "slower", "RMSNorm": "not slower"}
    means = {(m.implementation, m.size, m.norm): m for m in bench.means()}
    large = means[AUTO, "large", "all"]
    assert large.tasks == 2 and large.ratio.value == pytest.approx(math.sqrt(0.5 * 0.25), rel=0.01)
    assert means[AUTO, "tiny", "GroupNorm"].ratio.value == pytest.approx(1.2, rel=0.01)
    (against_flax,) = [m for m in bench.means("flax", [AUTO]) if m.norm == "all"]
    assert against_flax.ratio.value == pytest.approx(math.sqrt(0.5 * 0.25) / 2, rel=0.01)
    _, noise = bench.noise
    assert noise.low <= 1 <= noise.high
    found = json.loads(writing.to_json(bench.as_dict()))
    assert [r["norm"] for r in found["summary"]["slower_cases_of_auto"]] == ["GroupNorm"]
    said = " ".join(sentences(bench))
    assert "slower than torch.nn in 1 of 4" in said and "liger: not measured (needs an accelerator)" in said


def test_a_disturbed_control_is_seen():
    made = record({"flax": 1.0}, foreign=["flax"], rounds=8)
    for one in made["samples"]["processes"]:
        for i in range(8):
            if i % 4:
                one["times_s"]["flax"][i] = None
            else:
                one["times_s"][AGAIN][i] *= 1.5
    bench = Bench([made])
    assert bench.noise_behind_other_pools[1].low > 1.4
    assert bench.noise[1].value == pytest.approx(1, rel=0.01)


def test_noise_that_is_not_noise_is_said():
    fair, unfair = (
        Bench([record({AUTO: 0.5, AGAIN: again}, norm=spec.name, seed=i) for i, spec in enumerate(SPECS)])
        for again in (1.0, 0.95)
    )
    (line,) = [said for said in sentences(unfair) if said.startswith("noise")]
    assert "0.95 [" in line and "which is not 1" in line
    assert "which is not 1" not in "".join(sentences(fair))


def test_one_process_decides_nothing():
    bench = Bench([record({AUTO: 2.0}, processes=1)])
    assert {r.verdict for r in bench.rows} == {"undecided"} and all(math.isnan(r.corrected.low) for r in bench.rows)


def test_a_terminal_says_why_there_are_no_intervals():
    (one, *_), (several, *_) = (tables.brief(Bench([record({AUTO: 2.0}, processes=n)])) for n in (1, 2))
    assert "one process, therefore no intervals and no verdicts" in one.title
    assert "95 % intervals; verdicts corrected for 1 task" in several.title


def test_a_row_without_a_baseline_has_no_verdict():
    found = record({AUTO: 0.5})
    for process in found["samples"]["processes"]:
        del process["times_s"][BASELINE]
    table = tables.brief(Bench([found]))[0]
    by, said = table.names.index("by"), table.names.index("verdict")
    assert {row[said] for row in table.rows if row[by] == AUTO} == {"–"}


def test_a_process_that_died_leaves_the_others():
    first, second = record({AUTO: 0.5}), record({AUTO: 0.5}, norm="RMSNorm")
    second["samples"]["processes"][2]["times_s"] = {}
    tasks, mean = Bench([first, second]).mean(AUTO, BASELINE, [0, 1])
    assert tasks == 2 and mean.value == pytest.approx(0.5, rel=0.01) and not math.isnan(mean.low)


def test_two_runs_agree():
    one, two = (Bench([record({AUTO: 0.8}, seed=seed, noise=0.01)]).ratio(0, AUTO, BASELINE) for seed in (1, 2))
    assert max(one.low, two.low) < min(one.high, two.high)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(1.03, 1.1, "slower"), (1.01, 1.1, "undecided"), (0.9, 0.99, "faster"), (0.9, 1.02, "not slower")],
)
def test_verdicts(low, high, said):
    assert summary.verdict(Interval(1.0, low, high)) == said
