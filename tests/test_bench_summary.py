"""What a bench's times say: corrected intervals, what is undecided, and how large a slowdown would have been found."""

import math
import re

import numpy as np
import pytest
from bench_records import record

from normsuite.bench import tables, worker
from normsuite.bench.charts import against
from normsuite.bench.row import NOT_SLOWER, SLOWER, SLOWER_ABOVE, UNDECIDED, corrected, verdict
from normsuite.bench.sentences import sentences
from normsuite.bench.summary import AUTO, BASELINE, Bench, copy_of
from normsuite.measure.cases import CASES
from normsuite.measure.labels import BETTER_COMPILED, COMPILED_FORMS, descriptions
from normsuite.measure.task import Task
from normsuite.spec import NORMS
from normsuite.statistics import moderated_intervals, ratio_interval

TASKS = 24


def bench(logs, implementation=AUTO):
    """A bench of tasks with those log ratios, one for each process; its second implementation is torch.nn."""
    records, made = [], record({})
    for number, of_task in enumerate(logs):
        processes = [
            {
                "times_s": {BASELINE: [1e-3] * 3, implementation: [1e-3 * math.exp(log)] * 3},
                "own_pools": [],
                "others_share": None,
            }
            for log in of_task
        ]
        case = {**made["case"], "case": f"case-{number}", "mode": "forward"}
        records.append({**made, "case": case, "samples": {"processes": processes, "counts": {}, "refused": {}}})
    return Bench(records)


def width(of):
    return math.log(of.high / of.low)


def draws(seed, *, processes=4, deviation=0.02, size=0.0):
    draw = np.random.default_rng(seed)
    deviations = deviation * np.sqrt(6 / draw.chisquare(6, (TASKS, 1)))
    return np.log1p(size) + deviations * draw.standard_normal((TASKS, processes))


def test_corrected_intervals_are_of_clipped_values_from_ten_processes_on():
    logs = np.random.default_rng(0).normal(0, 0.01, (5, 10))
    logs[0, 0] = 1.0
    few, many = (corrected(of.tolist())[0].value for of in (logs[:, :6], logs))
    assert many < 1.05 < few
    assert corrected([*logs.tolist(), []])[0].value == many, "a task that was not done has no processes"


def test_corrected_intervals_are_moderated_over_all_tasks():
    logs = draws(0)
    found = bench(logs).corrected(AUTO)
    expected = moderated_intervals(list(logs), alpha=0.05 / TASKS)
    assert [math.log(of.high) for of in found] == pytest.approx([of.high for of in expected])
    alone = [ratio_interval(of, comparisons=TASKS) for of in logs]
    assert np.median([width(of) for of in found]) < 0.7 * np.median([width(of) for of in alone])


def test_a_slowdown_of_the_size_that_is_called_detectable_is_found_half_of_the_time():
    above = bench(draws(1)).detectable(AUTO)
    assert above > SLOWER_ABOVE
    found = [verdict(of) for seed in range(20) for of in bench(draws(seed, size=above - 1)).corrected(AUTO)]
    assert 0.35 < found.count(SLOWER) / len(found) < 0.65


def test_what_is_undecided_stands_beside_slower_in_none():
    (said,) = (line for line in sentences(bench(draws(2, deviation=0.3))) if " slower than " in line)
    assert f"auto is slower than {BASELINE} in 0 of {TASKS} tasks" in said
    undecided = int(said.split(" undecided")[0].split(", ")[-1])
    assert undecided > TASKS / 2 and "counts as slower if it is measured above" in said
    assert bench(draws(2)).as_dict()["summary"]["slower_is_found_above"] == pytest.approx(
        bench(draws(2)).detectable(AUTO)
    )


def test_the_accelerator_s_kernels_stand_for_auto_where_it_took_no_part():
    said = sentences(bench(draws(3), implementation="triton"))
    assert any(line.startswith(f"triton is slower than {BASELINE} in 0 of {TASKS} tasks") for line in said)


def test_a_record_that_says_which_sizes_auto_had_is_shown_with_them():
    made = bench(draws(3))
    assert not any(line.startswith("sizes of auto") for line in sentences(made)), "older records do not say it"
    environment = {**made.records[0]["environment"], "tuning_origin": "your own, from a tuning"}
    said = sentences(Bench([{**record, "environment": environment} for record in made.records]))
    assert "sizes of auto: your own, from a tuning" in said


def test_norms_are_ranked_on_the_cases_of_all_of_them_alone():
    tasks = [("BatchNorm", "stage-7"), ("LayerNorm", "stage-7"), ("BatchNorm", "stage-14"), ("LayerNorm", "vit")]
    of_both = Bench([record({AUTO: 0.5}, norm=norm, case=case) for norm, case in tasks])
    shared = of_both.on_shared_cases(AUTO)
    assert [(task.case.norm, task.case.case) for task in shared.tasks] == tasks[:2]
    assert Bench(of_both.records[:1]).on_shared_cases(AUTO).records == of_both.records[:1]
    assert Bench(of_both.records[2:]).on_shared_cases(AUTO).means() == []
    forward = record({AUTO: 0.5}, norm="RMSNorm", case="vit", mode="forward")
    assert len(Bench([*of_both.records, forward]).on_shared_cases(AUTO).tasks) == 3, "modes rank by themselves"
    by_others = Bench([*of_both.records, record({"numba": 0.5}, norm="RMSNorm", case="vit")])
    assert [task.case.norm for task in by_others.on_shared_cases(AUTO).tasks] == ["BatchNorm", "LayerNorm"]


def test_one_slow_process_of_eight_moves_no_mean_far():
    """Whatever disturbs a process only ever slows it: eight times its time in all tasks."""
    logs = draws(4, processes=8)
    quiet = bench(logs)
    logs[:, 3] += math.log(8)
    slow = bench(logs)
    before, after = (of.mean(AUTO, BASELINE, range(TASKS))[1] for of in (quiet, slow))
    assert after.low < 1 < after.high and after.value / before.value < 1.02
    assert [verdict(of) for of in slow.corrected(AUTO)].count(SLOWER) == 0
    assert {verdict(of) for of in quiet.corrected(AUTO)} <= {NOT_SLOWER, UNDECIDED}


def test_sentences_are_about_auto_and_a_user_s_targets_and_about_no_rival():
    assert [line for line in sentences(bench(draws(5), implementation="flax")) if "flax" in line] == []
    alone = sentences(bench(draws(5)))
    assert [line for line in alone if " takes " in line] == []
    said = sentences(bench(draws(5), implementation="mynorms:RMSNorm"))
    assert [line.split(" takes ")[0] for line in said if " takes " in line] == ["mynorms:RMSNorm"]
    assert bench(draws(5)).means(implementations=[]) == []


def test_the_faster_compiled_form_of_each_task_counts():
    formula, call, apart = COMPILED_FORMS
    either = Bench(
        [
            record({AUTO: 0.5, formula: 1.0, call: 0.8}, noise=1e-6),
            record({AUTO: 0.5, formula: 0.6, call: 0.9}, noise=1e-6, norm="GroupNorm"),
            record({AUTO: 0.5, formula: 0.7}, noise=1e-6, norm="LayerNorm"),
        ]
    )
    assert either.rivals == [formula, call, BETTER_COMPILED]
    (over_all,) = [mean for mean in either.means(BETTER_COMPILED, [AUTO]) if mean.norm == "all"]
    assert over_all.tasks == 3
    assert math.isclose(over_all.ratio.value, (0.5 / 0.8 * 0.5 / 0.6 * 0.5 / 0.7) ** (1 / 3), rel_tol=1e-3)
    alone = Bench([record({AUTO: 0.5, f"{AUTO}, preallocated": 0.5, formula: 1.0})])
    assert alone.rivals == [formula], "one form alone is not the faster one, and an output that exists makes no rival"
    (only,) = Bench([record({AUTO: 0.5, call: 1.0, apart: 0.6}, noise=1e-6)]).means(BETTER_COMPILED, [AUTO])[:1]
    assert math.isclose(only.ratio.value, 0.5 / 0.6, rel_tol=1e-3)


def test_what_each_rival_was_given_is_what_its_file_says():
    found = tables.rivals(Bench([record({AUTO: 0.5, "flax": 1.0, "onnxruntime": 1.2, "mine:Norm(8)": 1.0})]))
    assert [(name, tasks) for name, tasks, _ in found.rows] == [("flax", "1"), ("onnxruntime", "1")]
    assert "jitted" in found.rows[0][2] and all(descriptions().values())
    assert tables.rivals(Bench([record({AUTO: 0.5})])) is None


def test_the_forms_of_one_library_are_described_one_by_one():
    assert len({descriptions()[form] for form in COMPILED_FORMS}) == len(COMPILED_FORMS)
    rows = tables.rivals(Bench([record({AUTO: 0.5, form: 1.0}) for form in COMPILED_FORMS])).rows
    assert [tasks for _, tasks, _ in rows] == ["1", "1", "1", "3"], "the faster form was timed where any was"


def test_a_task_without_torch_nn_is_not_counted_as_compared():
    alone = record({AUTO: 0.5}, case="stage-14")
    for process in alone["samples"]["processes"]:
        del process["times_s"][BASELINE]
    found = Bench([record({AUTO: 0.5}), alone])
    assert [row.case for row in found.compared(AUTO)] == ["stage-7"]
    assert any("slower than torch.nn in 0 of 1 tasks" in line for line in sentences(found))
    assert sum(found.as_dict()["summary"]["verdicts_of_auto"].values()) == 1


def test_users_norms_that_begin_like_a_copy_or_auto_are_neither():
    mine = ("copynet:Norm(8)", "autogluon:Norm")
    found = Bench([record(dict.fromkeys(mine, 0.5))])
    (cases,) = (table for table in [tables.every_case(found)] if table)
    assert {row[3] for row in cases.rows} == {*mine, "torch.nn", "torch.nn again", "copy"}
    verdicts = {row[3]: row[cases.names.index("verdict")] for row in cases.rows}
    assert verdicts["copynet:Norm(8)"] == "faster" and verdicts["copy"] == ""
    assert "copynet:Norm(8)" in {mean.implementation for mean in found.means(copy_of)}


def test_a_bench_of_one_process_claims_no_intervals_anywhere():
    whole, cut = Bench([record({AUTO: 0.5})]), record({AUTO: 0.5})
    for process in cut["samples"]["processes"][1:]:  # as an interruption leaves it
        process["times_s"] = {}
    for found, is_said in ((whole, True), (Bench([cut]), False)):
        titles = [table.title for table in [*tables.brief(found), tables.every_case(found)]]
        titles += [chart.caption for chart in against.charts(found)]
        assert all((re.search("95 %", title) is not None) is is_said for title in titles), titles


def test_without_a_norm_of_torch_nn_a_wrong_result_is_still_noticed():
    counts = {"auto": {"output_error": 0.4}, "numba": {"output_error": 1e-7}}
    assert list(worker.different(counts, Task(NORMS["BatchNorm"], CASES["tiny"], "forward"))) == ["auto"]


def test_noise_is_not_told_where_torch_nn_was_not_timed():
    alone = record({AUTO: 0.5})
    for process in alone["samples"]["processes"]:
        del process["times_s"][BASELINE]
    assert not any(line.startswith("noise") for line in sentences(Bench([alone])))
