"""Comparisons of callables: what is derived from samples, what is refused, and that a comparison runs."""

import json
import math
import random
import sys
from dataclasses import replace

import numpy as np
import pytest

import normsuite
from normsuite.errors import ArgumentError, DataError, NormsuiteError, ShapeError, UnsupportedError
from normsuite.measure import clock
from normsuite.statistics import Interval
from normsuite.targets.loading import ImportPathError
from normsuite.targets.messages import error_of_message, error_to_message
from normsuite.versus import Result
from normsuite.versus.compare import measured
from normsuite.versus.result import BATCHES, verdict
from normsuite.versus.rounds import LEAST_ROUNDS, timed


def made_up(ratio, *, rounds=480, noise=0.02, seed=0, processes=1, drift=0.3):
    """A result whose second callable takes that much of the first's time, on a machine that drifts."""
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(processes):
        slow = 1 + drift * np.linspace(0, 1, rounds)
        base = 1e-6 * slow * np.exp(noise * draw.standard_normal(rounds))
        samples.append({"a": list(base), "b": list(1e-6 * ratio * slow * np.exp(noise * draw.standard_normal(rounds)))})
    return Result(tuple(samples), "cpu", 0.01, {"cpu": "made up"})


@pytest.mark.parametrize("processes", [1, 6])
def test_verdicts_of_equal_callables_are_rarely_wrong(processes):
    found = [made_up(1.0, seed=seed, processes=processes, rounds=120).verdict for seed in range(300)]
    wrong = sum(v in ("faster", "slower") for v in found)
    assert wrong <= 9, f"{wrong} of 300"  # expected are 3; more than 9 come with probability 0.001


@pytest.mark.parametrize(("ratio", "expected"), [(1.03, "slower"), (0.97, "faster"), (1.0, "the same")])
def test_a_ratio_is_found(ratio, expected):
    result = made_up(ratio)
    assert result.verdict == expected
    assert result.ratio.low < ratio < result.ratio.high
    assert result.median_s("a") == pytest.approx(1.15e-6, rel=0.05)


def test_verdicts():
    assert verdict(Interval(1.0, 0.97, 1.02), 0.01) == "undecided"
    assert verdict(Interval(1.005, 1.002, 1.008), 0.01) == "the same"
    assert verdict(Interval(1.1, math.nan, math.nan), 0.01) == "undecided"


def test_a_result_is_derived_from_its_record():
    result = made_up(1.1)
    again = Result.from_dict(json.loads(result.to_json()))
    assert again.comparisons == result.comparisons and repr(again) == repr(result)
    assert repr(result).startswith("b / a 1.") and repr(result).endswith(": slower")
    assert "<td>slower</td>" in result._repr_html_()
    assert len(result.rows()) == 960 and result.rows()[0][:3] == (0, 0, "a")


def test_a_result_says_where_its_times_are_those_of_the_host():
    result = replace(made_up(1.1), device="cuda", host_time=True)
    again = Result.from_dict(json.loads(result.to_json()))
    assert again.clock == "host time" and repr(again) == repr(result)
    assert repr(result).splitlines()[0] == "host time, for which a call occupies the host:"
    assert "median host time" in result._repr_html_()
    assert "host time" in result.plot().get_xlabel() and "host" not in made_up(1.1).plot().get_xlabel()
    older = {name: value for name, value in made_up(1.1).as_dict().items() if name != "host_time"}
    assert Result.from_dict(older).clock == "time"


def test_a_second_that_was_not_timed_has_no_verdict():
    """The third one's is not given in its place."""
    found = made_up(1.0)
    samples = tuple({"a": process["a"], "c": process["b"]} for process in found.samples)
    result = Result(samples, "cpu", 0.01, {}, {"b": "fails: ValueError"}, ("a", "b", "c"))
    for again in (result, Result.from_dict(json.loads(result.to_json()))):
        for asked in ("ratio", "verdict"):
            with pytest.raises(NormsuiteError, match="b: not measured, fails: ValueError"):
                getattr(again, asked)
        assert [comparison.name for comparison in again.comparisons] == ["c"]


def test_the_second_is_the_one_that_was_given_as_such():
    broken = normsuite.compare({"a": lambda: None, "b": lambda: 1 / 0, "c": lambda: None}, seconds=0.2)
    with pytest.raises(NormsuiteError, match="b: not measured, fails: ZeroDivisionError"):
        broken.verdict  # noqa: B018, a property that raises
    last = normsuite.compare({"a": lambda: None, "b": lambda: None, "c": lambda: 1 / 0}, seconds=0.2)
    assert last.verdict == last.comparisons[0].verdict


def test_names_are_escaped_in_a_notebook():
    result = made_up(1.0)
    samples = ({"x < 1": result.samples[0]["a"], "<b>": result.samples[0]["b"]},)
    assert "<b>" not in Result(samples, "cpu", 0.01, {})._repr_html_()


def test_a_plot_has_an_interval_for_each():
    axes = made_up(1.1).plot()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["b"]


def test_frames_want_pandas():
    result = made_up(1.0)
    try:
        import pandas  # noqa: F401
    except ImportError:
        with pytest.raises(NormsuiteError, match="pip install pandas"):
            result.to_frame()
    else:
        assert list(result.to_frame().columns) == ["process", "round", "name", "seconds"]


class Clock:
    """A timer whose calls take a set time each."""

    def __init__(self, seconds, log, name):
        self.seconds, self.log, self.name = seconds, log, name
        self.tries, self.calls, self.shortest_s, self.most = 1, 1, 1e-4, 10**6

    def sample(self, repeat):
        self.log.append(self.name)
        return self.seconds

    def once(self):
        return None


def test_rounds_go_forth_and_back():
    log = []
    timers = {name: Clock(1e-3 * (n + 1), log, name) for n, name in enumerate("abc")}
    times = timed(timers, seconds=1e-9, draw=random.Random(0))
    assert {name: set(of) for name, of in times.items()} == {"a": {1e-3}, "b": {2e-3}, "c": {3e-3}}
    assert all(len(of) == LEAST_ROUNDS >= BATCHES for of in times.values())
    rounds = [log[i : i + 6] for i in range(len(log) - 6 * LEAST_ROUNDS, len(log), 6)]
    assert all(r[:3] == r[:2:-1] for r in rounds) and len({tuple(r) for r in rounds}) > 1


def test_the_clock_of_a_comparison_is_the_one_that_was_asked_for(monkeypatch):
    asked = []
    timers = clock.timers
    monkeypatch.setattr(clock, "timers", lambda calls, **how: asked.append(how) or timers(calls))
    monkeypatch.setattr(clock, "open_device", lambda device: None)
    job = {"seconds": 0.01, "setup": None, "seed": 0, "calls": {"a": list, "b": dict}}
    measured({**job, "device": "cuda", "host_time": True}, {})
    assert asked == [{"device": "cuda", "host_time": True}]


def test_callables_are_compared_here():
    result = normsuite.compare({"a": lambda: sum(range(50)), "b": lambda: sum(range(5000))}, seconds=0.05)
    assert result.names == ["a", "b"] and [found.name for found in result.comparisons] == ["b"]
    assert len(result.samples) == 1 and len(result.samples[0]["a"]) == len(result.samples[0]["b"]) >= LEAST_ROUNDS


def test_statements_are_compared_in_fresh_processes():
    result = normsuite.compare(
        {"short": "sum(x[:50])", "long": "y = sum(x)\nsum(x)"}, setup="x = list(range(5000))", seconds=0.2, processes=2
    )
    assert len(result.samples) == 2 and all(process.keys() == {"short", "long"} for process in result.samples)


@pytest.mark.parametrize(
    ("calls", "options", "said"),
    [
        ({"a": len}, {}, "two or more"),
        ({"a": len, "b": 3}, {}, r"calls\['b'\] = 3"),
        ({"a": len, "b": "x + 1"}, {}, "import path"),
        ({"a": "x +", "b": "x"}, {"setup": "x = 1"}, "is no Python"),
        ({"a": "x", "b": "x"}, {"setup": "x = "}, "setup = 'x = '"),
        ({"a": len, "b": len}, {"seconds": 0}, "seconds = 0"),
        ({"a": len, "b": len}, {"processes": 1}, "processes = 1"),
        ({"a": len, "b": len}, {"margin": 2}, "margin = 2"),
        ({"a": len, "b": len}, {"host_time": True}, "host_time = True: needs an accelerator"),
        ({"a": len, "b": len}, {"device": "nonsense"}, "device = 'nonsense'"),
        ({"a": lambda: 1, "b": lambda: 2}, {"processes": 2}, "no import path"),
    ],
)
def test_what_cannot_be_compared_is_refused(calls, options, said):
    with pytest.raises(ArgumentError, match=said):
        normsuite.compare(calls, **options)


def test_an_error_of_a_path_has_its_kind_in_processes_too():
    with pytest.raises(ImportPathError, match="no_such"):
        normsuite.compare({"a": "no_such:f", "b": "time:time"}, processes=2)
    for error in (UnsupportedError("a", 1, "no"), DataError("gone"), ShapeError("b", 2, "no"), NormsuiteError("x")):
        back = error_of_message(error_to_message(error))
        assert (type(back), str(back)) == (type(error), str(error))


def test_a_setup_that_takes_too_long_is_named(monkeypatch):
    monkeypatch.setattr(sys.modules["normsuite.versus.compare"], "SETUP_LIMIT_S", 0.5)
    with pytest.raises(NormsuiteError, match=r"the setup hangs: ended after 0\.5 s"):
        normsuite.compare({"a": "1", "b": "2"}, setup="import time\ntime.sleep(60)", seconds=0.1)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        pytest.param("time.sleep(60)", r"timing the calls hangs: ended after 1 s", id="hangs"),
        pytest.param("os._exit(0)", "timing the calls ends the process", id="leaves"),
        pytest.param("os._exit(3)", r"timing the calls ends the process \(exit code 3\)", id="fails"),
    ],
)
def test_what_happens_while_calls_are_timed_is_not_the_setup_s(monkeypatch, does, said):
    monkeypatch.setattr(sys.modules["normsuite.versus.compare"], "TIMING_LIMIT_S", 1.0)
    setup = f"import os, time\nuses = []\ndef late():\n    uses.append(1)\n    if len(uses) > 3: {does}"
    with pytest.raises(NormsuiteError, match=said):
        normsuite.compare({"a": "1", "b": "late()"}, setup=setup, seconds=0.1)


def test_errors_have_the_callables_name():
    with pytest.raises(NormsuiteError, match="b fails: ZeroDivisionError"):
        normsuite.compare({"a": lambda: 1, "b": lambda: 1 / 0}, seconds=0.1)
    with pytest.raises(NormsuiteError, match="setup fails: KeyError"):
        normsuite.compare({"a": "1", "b": "2"}, setup="{}[1]", seconds=0.1)
    with pytest.raises(NormsuiteError, match="b fails: NameError"):
        normsuite.compare({"a": "1", "b": "y"}, setup="x = 1", seconds=0.1, processes=2)
    with pytest.raises(ImportPathError, match="no_such_module"):
        normsuite.compare({"a": "no_such_module:f", "b": "time:time"}, seconds=0.1)


def test_statements_are_run_as_they_are_typed():
    """A string of several lines is not indented with the function that the statement is put into."""
    callables = sys.modules["normsuite.versus.compare"]._callables  # the package has the function under that name
    made = callables({"text": 'found.append("""a\nb""")', "nothing": "# a comment"}, "found = []")
    assert made["nothing"]() is None and made["text"]() is None
    assert made["text"].__globals__["found"] == ["a\nb"]


def test_callables_leave_the_search_path_as_it_is():
    before = list(sys.path)
    normsuite.compare({"a": lambda: None, "b": lambda: None}, seconds=0.05)
    assert sys.path == before
