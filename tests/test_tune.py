"""`normsuite tune` and its rules: with times by rule instead of by a clock."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from normsuite import cli, tune, tunings
from normsuite.backends import numba
from normsuite.conventions import exit_codes
from normsuite.files import caches
from normsuite.measure import listening, process
from normsuite.records import provenance, results
from normsuite.spec import NORMS
from normsuite.statistics import Interval
from normsuite.tune import crossover, streaming, worker
from tools import processor_table


def ratios(**by_size):
    return {int(size[1:]): Interval(value, value - 0.05, value + 0.05) for size, value in by_size.items()}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ratios(n1=1.5, n2=1.2, n4=0.8, n8=0.6), 4),
        (ratios(n1=0.9, n2=0.8), 1),
        (ratios(n1=1.5, n2=1.2), tunings.NEVER),
        (ratios(n1=1.01, n2=1.02), tunings.NEVER),
        (ratios(n1=1.5, n2=0.5, n4=1.01, n8=0.7), 2),  # one size in the noise decides nothing
        (ratios(n1=1.5, n2=0.5, n4=0.6, n8=1.01), 2),  # nor does the largest
        (ratios(n1=0.5, n2=1.5, n4=0.6, n8=0.9), 4),  # one that is slower does
        (ratios(n1=0.5, n2=0.6, n4=1.5), tunings.NEVER),
        ({}, tunings.NEVER),
    ],
)
def test_the_size_saves_most_and_none_above_it_is_slower(found, expected):
    assert crossover.least_size(found) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ratios(n1=0.5, n2=0.71, n4=0.7, n8=0.3), 4),
        (ratios(n1=0.5, n2=0.6), 1),
        (ratios(n1=0.5, n2=0.8), tunings.NEVER),
    ],
)
def test_the_clear_size_has_the_margin_from_there_on(found, expected):
    assert crossover.clear_size(found) == expected


def test_a_ratio_without_an_interval_counts_by_its_value():
    nan = math.nan
    found = {size: Interval(value, nan, nan) for size, value in ((256, 1.5), (1024, 0.5), (4096, 0.3))}
    assert crossover.least_size(found) == 1024


def test_ratios_become_a_table(monkeypatch):
    """The kernels are ahead from 65,536 elements on, in every mode."""
    asked = []

    def ratio(spec, case, mode, seconds):
        asked.append((spec.name, mode))
        return math.log(0.5 if math.prod(case.shape) >= 2**16 else 2.0) + 0.01 * random.random()

    monkeypatch.setattr(crossover, "ratio", ratio)
    monkeypatch.setattr(crossover, "NORMS", {name: NORMS[name] for name in ("BatchNorm", "LayerNorm")})
    joined = processor_table.joined([list(processor_table.crossover_rows()) for _ in range(3)])
    rows = processor_table.with_intervals(joined)
    assert {mode for name, mode in asked if name == "BatchNorm"} == set(crossover.MODES)
    assert not any(mode.startswith("evaluation") for name, mode in asked if name == "LayerNorm")
    for rule in (crossover.least_size, crossover.clear_size):
        for layouts in crossover.table(rows, rule).values():
            for entry in layouts.values():
                found = {least for mode in set(entry) - {"lengths"} for least in entry[mode]}
                assert all(2**16 <= least < 2**18 for least in found), "the smallest case at or above"


def test_ratios_of_several_processes_are_joined():
    rows = [[{"norm": "BatchNorm", "bytes": 4, "log": log}] for log in (0.1, 0.2, 0.3)]
    joined = processor_table.joined(rows)
    assert joined == [{"norm": "BatchNorm", "bytes": 4, "logs": [0.1, 0.2, 0.3]}]
    (row,) = processor_table.with_intervals(joined)
    assert row["norm"] == "BatchNorm" and row["ratio"] == pytest.approx(math.exp(0.2)) and "log" not in row
    assert row["interval"][0] < row["ratio"] < row["interval"][1]


def test_ratios_that_differ_between_processes_are_measured_again_and_clipped(tmp_path, monkeypatch):
    row = {"norm": "GroupNorm", "layout": "contiguous", "length": 49, "mode": "step"}
    samples = [
        {**row, "numbers": 1000, "logs": [-0.1, 0.4, -0.12]},
        {**row, "numbers": 2000, "logs": [-0.1, -0.05, -0.12]},
    ]
    made = results.make_record("crossover", {}, samples, environment=provenance.environment(threads=2), seeds=[])
    results.write_record(tmp_path, "crossover", made)
    draws = iter([-0.11, -0.09, -0.13, -0.1])
    monkeypatch.setattr(
        processor_table,
        "_measured",
        lambda job: [{**row, "numbers": numbers, "log": next(draws)} for *_, numbers in job["wanted"]],
    )
    known = [({**row, "numbers": numbers}, None, None) for numbers in (1000, 2000)]
    monkeypatch.setattr(processor_table, "ratios", lambda: iter(known))
    processor_table.again(tmp_path)
    record, _ = processor_table.recorded(tmp_path)
    first, second = processor_table.with_intervals(record["samples"])
    assert len(first["logs"]) == 7 and len(second["logs"]) == 3 and next(draws, None) is None
    assert first["ratio"] < 0.95 < math.exp(sum(first["logs"]) / 7), "one disturbed process decides nothing"
    processor_table.again(tmp_path)  # which has nothing left to measure
    draws = iter([-0.2, -0.21, -0.22])
    known.append(({**row, "numbers": 3000}, None, None))
    processor_table.again(tmp_path)
    record, _ = processor_table.recorded(tmp_path)
    assert [found["logs"] for found in record["samples"][2:]] == [[-0.2, -0.21, -0.22]], "a size that was missing"
    record["samples"][2]["logs"] = [-0.2]
    results.write_record(tmp_path, "crossover", record)
    with pytest.raises(SystemExit, match="1 ratios have fewer than 3 processes: run again"):
        processor_table.made_of(record, None)
    draws = iter([-0.21, -0.22])
    processor_table.again(tmp_path)
    record, _ = processor_table.recorded(tmp_path)
    assert [found["logs"] for found in record["samples"][2:]] == [[-0.2, -0.21, -0.22]], "an interruption's"


def test_a_ratio_is_of_two_calls_in_turn():
    case = next(crossover.shapes(NORMS["LayerNorm"], "contiguous", 768, [768]))
    found = [crossover.ratio(NORMS["LayerNorm"], case, mode, 0.005) for mode in ("forward_into", "step_activated")]
    assert all(map(math.isfinite, found))


# ---- the worker ----


def test_small_sizes_are_not_measured_where_larger_ones_were_slower():
    asked = []

    def ratio(spec, case, mode, seconds):
        asked.append((mode, math.prod(case.shape)))
        return math.log(0.5 if mode == "forward" or math.prod(case.shape) >= 2**18 else 2.0)

    rows = worker.entry(NORMS["BatchNorm"], "contiguous", 49, ["forward", "step"], ratio)
    sizes = sorted(numbers for mode, numbers in asked if mode == "step")
    assert min(sizes) > min(numbers for mode, numbers in asked if mode == "forward")
    assert len(asked) < 2 * len(worker.SIZES)
    assert {row["mode"] for row in rows} == {"forward", "step"}
    (contiguous,) = [layouts["contiguous"] for layouts in crossover.table(rows).values()]
    assert contiguous["forward"][0] < 2**10 and 2**18 <= contiguous["step"][0] < 2**20


def test_an_activation_is_measured_below_the_size_of_the_plain_mode_alone():
    asked = []

    def ratio(spec, case, mode, seconds):
        numbers = math.prod(case.shape)
        asked.append((mode, numbers))
        return math.log(0.9 if numbers >= (2**12 if "activated" in mode else 2**16) else 1.5)

    modes = ["step", "step_activated", "evaluation", "evaluation_activated"]
    rows = worker.entry(NORMS["BatchNorm"], "contiguous", 49, modes, ratio)
    of_step = {mode: [numbers for each, numbers in asked if each == mode] for mode in modes}
    (sizes,) = [layouts["contiguous"] for layouts in crossover.table(rows).values()]
    assert 2**16 <= sizes["step"][0] < 2**18 and 2**12 <= sizes["step_activated"][0] < 2**14
    assert max(of_step["step_activated"]) < sizes["step"][0] < max(of_step["step"])


def test_an_output_that_exists_has_a_size_of_its_own():
    """The kernels may win without it from a size on at which torch still wins with it."""

    def ratio(spec, case, mode, seconds):
        return math.log(0.9 if math.prod(case.shape) >= (2**18 if "into" in mode else 2**12) else 1.5)

    modes = ["forward", "forward_into", "forward_into_activated"]
    rows = worker.entry(NORMS["RMSNorm"], "channels_last", 16, modes, ratio)
    (sizes,) = [layouts["channels_last"] for layouts in crossover.table(rows).values()]
    assert sizes["forward"][0] < 2**14 and 2**18 <= sizes["forward_into"][0] == sizes["forward_into_activated"][0]


def test_an_activation_is_searched_everywhere_where_the_plain_mode_is_torch_s():
    def ratio(spec, case, mode, seconds):
        return math.log(0.9 if mode == "step_activated" and math.prod(case.shape) >= 2**18 else 1.5)

    rows = worker.entry(NORMS["BatchNorm"], "contiguous", 49, ["step", "step_activated"], ratio)
    (sizes,) = [layouts["contiguous"] for layouts in crossover.table(rows).values()]
    assert sizes["step"] == [tunings.NEVER] and 2**18 <= sizes["step_activated"][0] < 2**20


def test_one_disturbed_size_is_measured_again_before_it_ends_the_kernels_sizes():
    calls = []

    def ratio(spec, case, mode, seconds):
        calls.append(seconds)
        disturbed = math.prod(case.shape) > 10**6 and seconds == worker.SECONDS
        return math.log(1.5 if disturbed else 0.5)

    rows = worker.entry(NORMS["BatchNorm"], "contiguous", 49, ["forward"], ratio)
    assert {row["ratio"] for row in rows} == {0.5}
    assert max(calls) == worker.AGAIN * worker.SECONDS


def test_no_entry_is_begun_when_no_time_is_left(monkeypatch):
    row = {"chain": "forward, sum", "bytes": 5, "log": -1.0}
    monkeypatch.setattr(streaming, "rows", lambda batches, seconds: [row])
    monkeypatch.setattr(worker.outputs, "STREAMED", dict(worker.outputs.STREAMED))
    said, before = [], dict(worker.outputs.STREAMED)
    worker.work({"threads": torch.get_num_threads(), "budget_s": 0.0, "earlier": []}, said.append)
    assert said == [{"streaming": None}]
    assert before == worker.outputs.STREAMED


def test_what_is_measured_in_time_counts_for_what_is_measured_behind_it(monkeypatch):
    row = {"chain": "forward, sum", "bytes": 5, "log": -1.0}
    monkeypatch.setattr(streaming, "rows", lambda batches, seconds: [row])
    of_two = [(NORMS["LayerNorm"], "row", 1, []), (NORMS["BatchNorm"], "contiguous", 49, [])]
    monkeypatch.setattr(worker.crossover, "entries", lambda: of_two)
    monkeypatch.setattr(worker, "entry", lambda *of: [dict(worker.outputs.STREAMED)])
    monkeypatch.setattr(worker.outputs, "STREAMED", dict(worker.outputs.STREAMED))
    said = []
    worker.work({"threads": torch.get_num_threads(), "budget_s": 60.0, "earlier": ["LayerNorm row 1"]}, said.append)
    assert said[0] == {"streaming": {"forward": 5, "backward": None}}
    rows = [{"forward": 5, "backward": tunings.NEVER}]
    assert said[1:] == [{"entry": name, "rows": rows} for name in ("BatchNorm contiguous 49", "LayerNorm row 1")], (
        "what is known from an earlier tuning comes last"
    )


# ---- non-temporal stores ----


def chain(way, size, ratio):
    return {"chain": f"{way}, relu", "bytes": size, "log": math.log(ratio)}


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        ({1: 1.3, 2: 0.9, 4: 0.8}, 2),
        ({1: 0.9, 2: 1.0, 4: 0.8}, 4),
        ({1: 0.9, 2: 0.9, 4: 0.99}, tunings.NEVER),
        ({}, tunings.NEVER),
    ],
)
def test_non_temporal_stores_pay_from_where_they_do_at_every_size(forward, expected):
    rows = [chain("forward", size, ratio) for size, ratio in forward.items()] + [chain("backward", 1, 0.5)]
    assert streaming.pays_from(rows) == {"forward": expected, "backward": 1}


def test_the_mean_over_norms_and_chains_counts_and_the_worst():
    def of_two(first, second):
        rows = [chain("forward", 1, first), {**chain("forward", 1, second), "chain": "forward, sum"}]
        return streaming.pays_from(rows)["forward"]

    assert of_two(0.8, 1.04) == 1
    assert of_two(0.98, 1.04) == tunings.NEVER
    assert of_two(0.5, 1.06) == tunings.NEVER, "one of them is slower"


# ---- the command ----


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A user's cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tunings.forget()
    yield tmp_path
    tunings.forget()


def entry_of(name, least):
    """Return a worker's message that the kernels are faster from that size on, in a forward pass of BatchNorm."""
    row = {"norm": "BatchNorm", "layout": "contiguous", "length": 49, "mode": "forward", "numbers": least}
    return {"entry": name, "rows": [{**row, "ratio": 0.5, "interval": (0.5, 0.5)}]}


def saying(monkeypatch, *messages):
    """Let the worker say those messages, and raise those that are exceptions; return the jobs that it got."""
    jobs = []

    def said(command, job, environment, **limits):
        jobs.append(job)
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            yield message

    monkeypatch.setattr(listening, "messages", said)
    return jobs


def test_without_a_measurement_nothing_is_stored(own_cache, monkeypatch):
    saying(monkeypatch, {"streaming": None})
    found = tune.tune()
    assert found.path is None and tunings.own() is None and found.known == found.measured == 0 < found.entries
    done = CliRunner().invoke(cli.app, ["tune"])
    assert f"0 of {found.entries} entries measured; not stored" in done.output
    assert "nothing was measured in time" in str(done.exception)


def test_a_table_that_was_not_finished_is_finished_by_the_next_runs(own_cache, monkeypatch):
    shipped = tunings.without_own()
    saying(monkeypatch, {"streaming": {"forward": 7, "backward": None}}, entry_of("BatchNorm contiguous 49", 64))
    found = tune.tune()
    assert (found.measured, found.known) == (1, 1) and found.path.is_relative_to(own_cache)
    own = tunings.current()
    assert own.origin.endswith(f"1 of {found.entries} entries") and own.streaming["forward"] == 7
    assert own.sizes["BatchNorm"]["contiguous"]["forward"][0] == 64
    assert own.sizes["LayerNorm"] == shipped.sizes["LayerNorm"]

    jobs = saying(monkeypatch, {"streaming": None}, entry_of("LayerNorm row 1", 32))
    found = tune.tune()
    assert jobs[0]["earlier"] == ["BatchNorm contiguous 49"]
    assert (found.measured, found.known) == (1, 2) and tunings.current().streaming["forward"] == 7, "known from before"


@pytest.mark.parametrize("reason", [process.Died("killed"), KeyboardInterrupt()])
def test_what_was_measured_before_an_early_end_is_stored(own_cache, monkeypatch, reason):
    saying(monkeypatch, {"streaming": None}, entry_of("BatchNorm contiguous 49", 64), reason)
    done = CliRunner().invoke(cli.app, ["tune"])
    assert tunings.own().entries == {"BatchNorm contiguous 49"} and "1 of" in done.output
    assert done.exit_code != 0
    if isinstance(reason, KeyboardInterrupt):
        assert done.exit_code == exit_codes.INTERRUPTED
    else:
        assert "killed" in str(done.exception)


def test_a_size_above_all_that_are_measured_stays(own_cache, monkeypatch):
    """A search up to 19 MB says nothing of non-temporal stores that pay from 26 MB on."""
    large, small = 2 * worker.LARGEST_STREAMED, worker.LARGEST_STREAMED // 2
    known = replace(tunings.without_own(), streaming={"forward": large, "backward": small})
    monkeypatch.setattr(tunings, "without_own", lambda: known)
    saying(monkeypatch, {"streaming": {"forward": None, "backward": None}})
    assert tune.tune().streaming == {"forward": large, "backward": tunings.NEVER}


def test_the_command_says_what_stands_against_it_before_it_measures(own_cache, monkeypatch):
    jobs = saying(monkeypatch)
    monkeypatch.setattr(numba, "why_slow", lambda: "no pool")
    assert "no pool" in str(CliRunner().invoke(cli.app, ["tune"]).exception)
    monkeypatch.setattr(numba, "why_slow", lambda: None)
    monkeypatch.setattr(caches, "folder", lambda *names: None)
    assert "cannot be written to" in str(CliRunner().invoke(cli.app, ["tune"]).exception)
    assert not jobs


def test_the_command_takes_threads_and_writes_json(own_cache, monkeypatch):
    counts = []
    saying(monkeypatch, {"streaming": None}, entry_of("BatchNorm contiguous 49", 64))
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    done = CliRunner().invoke(cli.app, ["tune", "--threads", "1", "--json", "-"])
    assert done.exit_code == 0 and json.loads(done.stdout)["measured"] == 1 and counts == [1]


@pytest.mark.slow
def test_the_worker_is_a_process_that_later_ones_profit_from(own_cache):
    found = tune.tune(budget_s=0.0)
    assert found.measured == 0 and found.ended is None and not found.streaming_measured
