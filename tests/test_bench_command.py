"""The bench: planted costs come out as ratios, nobody disturbs anybody, and what is damaged or wrong is named."""

import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from normsuite import allocator, provenance, results, schema, writing
from normsuite import device as devices
from normsuite.bench import run, summary, worker
from normsuite.bench.sentences import sentences
from normsuite.bench.summary import AGAIN, AUTO, BASELINE, COPY, Bench
from normsuite.errors import ArgumentError, NormsuiteError, UnknownNameError, UnsupportedError
from normsuite.measure import clock as kit_clock
from normsuite.measure import implementations, memory, process, schedule, task
from normsuite.measure.accuracy import Truth
from normsuite.measure.cases import CASES
from normsuite.measure.implementations import Implementation
from normsuite.measure.schedule import Entrant
from normsuite.spec import NORMS
from normsuite.statistics import Interval

COMMAND = Path(sys.executable).parent / "normsuite"
SPECS = [spec for spec in NORMS.values() if spec.torch_call]


class Clock:
    """A clock that moves when somebody works or sleeps; what was slept is kept."""

    def __init__(self):
        self.now, self.slept, self.burning_until = 0.0, [], 0.0
        self.burnt = 0.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.burnt

    def sleep(self, seconds):
        self.burnt += max(0.0, min(self.now + seconds, self.burning_until) - self.now)
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("normsuite.measure.clock.time", clock)
    monkeypatch.setattr(schedule, "time", clock)
    return clock


def entrant(clock, label, cost, pool="openmp", log=None):
    def call():
        clock.now += cost() if callable(cost) else cost
        if log is not None:
            log.append(label)

    return Entrant(label, pool, call)


def measure(entrants, *, seed=0, seconds=1.0, waits_s=None, **further):
    return schedule.interleave(
        entrants, witness=AGAIN, seconds=seconds, draw=random.Random(seed), waits_s=waits_s or {}, **further
    )


def test_planted_ratios_are_found_on_a_machine_that_drifts(clock):
    speed = lambda: 1 + 0.5 * math.sin(clock.now)  # noqa: E731
    found = measure(
        [
            entrant(clock, BASELINE, lambda: 1e-3 * speed()),
            entrant(clock, AGAIN, lambda: 1e-3 * speed()),
            entrant(clock, "slow", lambda: 1.3e-3 * speed()),
            entrant(clock, "fast", lambda: 20e-6 * speed()),
        ]
    )
    ratio = {name: math.exp(summary.paired_log_ratio(found[name], found[BASELINE])) for name in found}
    assert ratio == pytest.approx({BASELINE: 1, AGAIN: 1, "slow": 1.3, "fast": 0.02}, rel=0.02)
    assert 6 <= len(found[BASELINE]) <= schedule.MOST_ROUNDS


@pytest.mark.parametrize("seed", range(5))
def test_rounds_go_there_and_back_and_the_witness_follows_other_pools(seed):
    people = [Entrant(name, "openmp", None) for name in ("a", "b", "c", AGAIN)]
    people += [Entrant("x", "xla", None), Entrant("o", "onnxruntime", None)]
    there, back = ([e.label for e in way] for way in schedule.orders(people, witness=AGAIN, draw=random.Random(seed)))
    assert sorted(there) == sorted(back) == sorted(e.label for e in people)
    for way in (there, back):
        place = way.index(AGAIN)
        assert {way[place - 1], way[place - 2]} == {"x", "o"}
    without = [[name for name in way if name != AGAIN] for way in (there, back)]
    assert without[0] == without[1][::-1]


def test_a_pool_that_spins_is_waited_for_before_another_is_timed(clock):
    log = []
    people = [entrant(clock, n, 1e-3, log=log) for n in (BASELINE, AGAIN)] + [entrant(clock, "x", 1e-3, "xla", log)]
    found = measure(people, waits_s={"openmp": 2e-3, "xla": 1e-3}, always=["x"], least=4, most=4)
    assert None not in found["x"]
    runs = [len(list(calls)) for name, calls in itertools.groupby(log[9:]) if name == "x"]  # behind the calibration
    assert min(runs[1:]) == schedule.WARM_S / 1e-3 + 1  # untimed calls, then the sample
    assert clock.slept.count(1e-3) == 4  # behind each sample of x
    assert clock.slept.count(2e-3) == 4 - (log[9] == "x")  # before each, unless nobody was timed before
    assert len(clock.slept) == clock.slept.count(1e-3) + clock.slept.count(2e-3)


@pytest.mark.parametrize("first_s", [0.0, 40e-6, 1e-3, 0.1])
def test_a_slow_first_call_and_what_a_sample_costs_by_itself_favour_nobody(first_s, clock, monkeypatch):
    """What each sample waits for is lost in it: it has as many calls as the clock needs, however slow the first was."""
    costs = iter([first_s])
    sample = kit_clock.HostTimer.sample

    def costly(timer, repeat):
        cost = kit_clock.SHORTEST_SAMPLE_S / 200 + next(costs, 0.0)
        clock.now += cost
        return sample(timer, repeat) + cost / repeat

    monkeypatch.setattr(kit_clock.HostTimer, "sample", costly)
    found = measure([entrant(clock, name, 6e-6) for name in (BASELINE, AGAIN)])
    assert found[BASELINE] == pytest.approx(found[AGAIN])
    assert found[AGAIN] == pytest.approx([6e-6] * len(found[AGAIN]), rel=0.01)


def test_how_long_threads_spin_is_measured(clock):
    def call():
        clock.burning_until = clock.now + 9e-3

    assert schedule.spinning_s(call) == pytest.approx(13.5e-3)
    assert schedule.spinning_s(lambda: setattr(clock, "burning_until", 0.0)) == schedule.LEAST_WAIT_S
    forever = schedule.spinning_s(lambda: setattr(clock, "burning_until", math.inf))
    assert forever == schedule.MOST_WAIT_S


def test_who_costs_much_sits_out_rounds_and_stays_paired(clock):
    people = [entrant(clock, n, 1e-3) for n in (BASELINE, AGAIN, "a")] + [entrant(clock, "slow", 15e-3)]
    found = measure(people, seconds=10)
    taken = [i for i, t in enumerate(found["slow"]) if t is not None]
    assert len(found["slow"]) == len(found[BASELINE]) and taken[:3] == [0, 5, 10]
    assert math.exp(summary.paired_log_ratio(found["slow"], found[BASELINE])) == pytest.approx(15)
    assert None not in measure(people, seconds=10, always=["slow"])["slow"]


def samples(ratios, *, processes=5, rounds=6, noise=0.001, seed=0, foreign=()):
    """Times of implementations by their ratio to torch.nn, with noise between processes."""
    draw = random.Random(seed)
    found = []
    for _ in range(processes):
        times = {}
        for name, ratio in {BASELINE: 1.0, AGAIN: 1.0, COPY: 0.5, **ratios}.items():
            between = math.exp(draw.gauss(0, noise)) if name != BASELINE else 1.0
            times[name] = [1e-3 * ratio * between * math.exp(draw.gauss(0, noise)) for _ in range(rounds)]
        found.append({"times_s": times, "own_pools": list(foreign), "waits_s": {}, "others_share": 0.01})
    return found


def record(ratios, *, norm="BatchNorm", case="stage-7", mode="step", activation=None, **further):
    made = task.Task(NORMS[norm], CASES[case], mode, activation)
    counts = {name: {"peak_bytes": 2**20, "saved_bytes": 2**10, "output_error": 1e-7} for name in (BASELINE, *ratios)}
    return {
        **results.make_record(
            summary.WHAT,
            made.as_dict(),
            {"processes": samples(ratios, **further), "counts": counts, "refused": {"liger": "needs an accelerator"}},
            environment=provenance.environment(threads=2),
            seeds=[0],
            settings={"processes": 5, "seconds": 0.4, "threads": 2, "backends": []},
        ),
        "written": "2026-01-01T00:00:00+00:00",
    }


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
    assert "slower than torch.nn in 1 of 4" in said and "liger: not measured everywhere (needs an accelerator)" in said


def test_a_disturbed_witness_is_seen():
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


def test_the_default_table():
    tasks = task.plan()
    norms = {t.spec.name for t in tasks}
    assert norms == {spec.name for spec in SPECS}
    assert {t.spec.name for t in tasks if t.mode == "evaluation"} == {"BatchNorm"}
    assert {(t.mode, t.activation) for t in tasks if t.spec.name == "LayerNorm"} == {
        (mode, activation) for mode in ("forward", "step") for activation in (None, "relu")
    }
    assert {t.spec.affine for t in tasks if t.case.name == "vit"} == {"element"}
    for planned in tasks:
        assert task.Task.from_dict(json.loads(json.dumps(planned.as_dict()))).as_dict() == planned.as_dict()


def test_a_case_of_ones_own():
    (mine,) = task.plan(norms=["groupnorm"], own=[task.shape_case("2,12,5,5")], modes=["step"], activations=["silu"])
    assert (mine.case.name, mine.case.num_groups, mine.activation) == ("2×12×5×5", 4, "silu")
    assert task.shape_case("2,12,5,5", channels_last=True, num_groups=3).num_groups == 3


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: task.shape_case("2,x"), "shape = '2,x'"),
        (lambda: task.shape_case("5"), "shape = '5'"),
        (lambda: task.shape_case("2,4,8", channels_last=True), "four sizes"),
        (lambda: task.shape_case("2,4,8", num_groups=3), "groups = 3"),
        (lambda: task.plan(modes=["train"]), "mode = 'train': unknown; known are forward, step, evaluation"),
        (lambda: task.plan(activations=["gelu"]), "activation = 'gelu'"),
        (lambda: task.plan(dtypes=["int8"]), "dtype = 'int8'"),
        (lambda: task.plan(norms=["LayerNorm"], modes=["evaluation"]), "norm = 'LayerNorm'"),
        (lambda: task.plan(norms=["BatchNorm"], names=["token"]), "norm = 'BatchNorm'"),
        (lambda: implementations.choose(["tensorrt"]), "backend = 'tensorrt': unknown; known are torch.nn"),
        (lambda: run.run([], processes=0), "processes = 0"),
        (lambda: run.run([], budget_s=5.0), "budget = 5.0: is for accelerators"),
        (lambda: run.run([], seconds=math.nan), "seconds = nan"),
        (lambda: run.run([], threads=0), "threads = 0"),
    ],
)
def test_wrong_arguments_are_named(wrong, says):
    with pytest.raises(ArgumentError) as error:
        wrong()
    assert says in str(error.value)


def test_everyone_is_found_by_a_file():
    names = {c.name for c in implementations.everyone()}
    files = {"torch.nn", "copy", "auto", "torch", "reference", "torch.compile", "flax", "onnxruntime", "liger", "apex"}
    assert files <= names
    default = {c.label for c in implementations.choose()}
    assert "auto, preallocated" in default and "reference" not in default
    assert {c.name for c in implementations.choose(["reference"])} == {BASELINE, AGAIN, COPY, "reference"}


def test_a_rival_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(implementations, "find_spec", lambda package: None)
    (flax,) = (c for c in implementations.everyone() if c.name == "flax")
    tiny = task.Task(NORMS["BatchNorm"], CASES["tiny"], "forward")
    assert flax.why_not(tiny) == "jax and flax not installed: pip install normsuite[peers]"


RIVALS = ("torch.nn", "torch.compile", "flax", "onnxruntime")
SMALL = (
    CASES["tiny"],
    CASES["token"],
    task.shape_case("2,8,6,5", channels_last=True, num_groups=4),
)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("name", [name for name in RIVALS if name != "torch.compile"])
def test_rivals_compute_the_norm(name, spec, case):
    """Also that an implementation is compared for what it says it computes: y and dx against the oracle."""
    if not case.suits(spec):
        pytest.skip("no such case")
    implementation = next(c for c in implementations.everyone() if c.label == name)
    for mode, activation in (("forward", None), ("step", "relu"), ("step", "silu"), ("evaluation", None)):
        made = task.Task(spec, case, mode, activation)
        if (mode == "evaluation" and spec.running != "always") or implementation.why_not(made):
            continue
        given = made.operands()
        with torch.set_grad_enabled(made.gradients):
            found = implementation.tensors(implementation.prepare(made, given)())
        output, gradient = Truth(made, given).errors(found)
        assert output < 2e-6 and (gradient is None) == (mode != "step") and (gradient or 0) < 2e-6


def test_torch_compile_computes_the_norm():
    from normsuite.measure.implementations.compile import formula

    for spec in SPECS:
        for mode in ("step", "evaluation") if spec.running == "always" else ("step",):
            made = task.Task(spec, CASES["tiny"], mode, "relu")
            given = made.operands()
            running = made.running()
            y = formula(made)(given.input, given.weight, given.bias, *running)
            found = [y, *(torch.autograd.grad(y, given.input, given.dy) if made.gradients else ())]
            output, gradient = Truth(made, given).errors([t.detach() for t in found])
            assert output < 2e-6 and (gradient or 0) < 2e-6
            if made.training and spec.running == "always":
                expected = made.running()
                torch.nn.functional.batch_norm(given.input.detach(), *expected, training=True)
                torch.testing.assert_close(running, expected)


def test_saved_bytes_are_counted_once_and_without_parameters():
    x, weight = torch.ones(1000, requires_grad=True), torch.ones(1000, requires_grad=True)

    def step():
        torch.autograd.grad((x * weight).exp().sum(), (x, weight))

    assert memory.saved_bytes(step) == 3 * 4000  # x, weight, exp's output
    assert memory.saved_bytes(step, beside=[weight]) == 2 * 4000


class Fake(Implementation):
    """Computes something else, cannot, or falls over."""

    def prepare(self, task, given):
        if self.name == "unable":
            raise UnsupportedError("backend", self.name, "has no such thing")
        if self.name == "broken":
            raise RuntimeError("out of\nluck")
        wrong = torch.zeros_like(given.input)
        return lambda: (wrong, wrong) if task.gradients else wrong


def test_who_computes_something_else_is_left_out_with_the_reason(monkeypatch):
    people = [*implementations.choose(["torch"]), *map(Fake, ("wrong", "unable", "broken"))]
    monkeypatch.setattr(worker, "choose", lambda names: people)
    tiny = task.Task(NORMS["RMSNorm"], CASES["tiny"], "step")
    found = []
    job = {"count": True, "tasks": [tiny.as_dict()], "backends": [], "threads": 2, "seconds": 0.1, "number": 0}
    worker.work(job, found.append)
    environment, begun, counted = found
    assert environment["environment"]["packages"]["torch"] and begun == {"begin": 0}
    assert counted["refused"]["unable"] == "has no such thing"
    assert counted["refused"]["broken"] == "failed: RuntimeError: out of luck"
    assert counted["different"]["wrong"].startswith("computes something else (")
    assert counted["counts"][BASELINE]["output_error"] < 1e-6 and counted["counts"][COPY]["peak_bytes"] == 4096
    worker.work({**job, "count": False, "seconds": 0.01, "number": 1}, found.append)
    timed = found[-1]
    assert {BASELINE, AGAIN, COPY, "torch", "wrong"} == set(timed["times_s"])
    assert all(len(times) == len(timed["times_s"][COPY]) >= 6 for times in timed["times_s"].values())
    table = run._Table([tiny], {"processes": 2}, None)
    for number, message in ((0, environment), (0, counted), (2, timed)):
        table.take(number, message)
    (made,) = table.records()
    assert schema.problem(made) is None
    first, second = made["samples"]["processes"]
    assert first["times_s"] == {} and "wrong" not in second["times_s"] and "wrong" in made["samples"]["refused"]


def talk(messages, *, then=None):
    """Stands for the processes: says those messages, then fails, if at all, as asked."""

    def processes(job, threads):
        yield {"environment": provenance.environment(threads=threads)}
        yield from messages(job)
        if then and not job["count"] and job["number"] == 2:
            raise then

    return processes


def says(job):
    for index, _ in enumerate(job["tasks"]):
        yield {"begin": index}
        if job["count"]:
            yield {"task": index, "counts": {}, "refused": {}, "different": {}}
        else:
            (process,) = samples({AUTO: 0.5}, processes=1, seed=job["number"])
            yield {"task": index, **process, "clock_mhz": 1000 + job["number"], "refused": {}}


@pytest.mark.parametrize("end", [process.Died("SIGSEGV"), KeyboardInterrupt()])
def test_what_was_finished_is_kept(end, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_messages", talk(says, then=end))
    outcome = run.run(task.plan(names=["tiny"], modes=["step"]), processes=3, out=tmp_path)
    assert len(outcome.records) == len(list(tmp_path.glob("bench-*.json"))) == 2 * len(SPECS)
    done = {len([p for p in r["samples"]["processes"] if p["times_s"]]) for r in outcome.records}
    if isinstance(end, KeyboardInterrupt):
        assert outcome.interrupted and done == {2} and outcome.notes == []
    else:
        assert not outcome.interrupted and done == {3}
        assert outcome.notes == [
            "times, process 2 of 3: the process ended at RMSNorm tiny step with relu (SIGSEGV); what it had finished "
            "is kept"
        ]
    clocks = [p["clock_mhz"] for p in outcome.records[0]["samples"]["processes"]]
    assert clocks == [1000 + n if n <= max(done) else None for n in range(1, 4)]
    assert results.read_records(tmp_path, summary.WHAT).damaged == []


def test_nothing_measured_is_an_error(monkeypatch):
    def nothing(job):
        raise process.Died("exit code 1: no room")
        yield

    monkeypatch.setattr(run, "_messages", talk(nothing))
    with pytest.raises(NormsuiteError, match=r"nothing was measured: bytes and errors: .* no room"):
        run.run(task.plan(names=["tiny"]), processes=1)


def test_a_dead_child_is_named_by_its_signal():
    code = "import os, sys; print('last words', file=sys.stderr); os.kill(os.getpid(), 11)"
    with pytest.raises(process.Died, match="SIGSEGV: last words"):
        list(process.messages(["-c", code], {"tasks": []}, os.environ))


def command(*arguments, cwd):
    return subprocess.run([COMMAND, "bench", *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


SHORT = ("--norm", "rmsnorm", "--backend", "torch", "--mode", "forward", "--processes", 2, "--seconds", 0.01)


def test_the_command(tmp_path):
    done = command(*SHORT, "--case", "tiny", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tasks"] == 2 and found["environment"]["allocator"] == allocator.PINNED
    assert {r["implementation"] for r in found["rows"]} == {BASELINE, AGAIN, COPY, COPY + ", preallocated", "torch"} | {
        r["implementation"] for r in found["rows"] if r["implementation"] == "torch, preallocated"
    }
    assert found["not_measured"] and found["summary"]["noise"]["tasks"] == 2
    records = results.read_records(tmp_path / "reports" / "bench", summary.WHAT)
    assert len(records.good) == 2 and not records.damaged
    shown = command(*SHORT, "--shape", "2,6,3,3", "--activation", "none", "--processes", 1, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "RMSNorm, 2×6×3×3, forward" in shown.stdout and "noise: torch.nn / itself" in shown.stdout
    assert "not measured" in shown.stdout


def test_ctrl_c_keeps_what_is_finished_and_leaves_130(tmp_path):
    process = subprocess.Popen(
        [COMMAND, "bench", *map(str, SHORT), "--processes", "100", "--case", "tiny"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while process.poll() is None and not list(tmp_path.rglob("bench-*.json")):  # the first process has ended
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted; what was finished is kept" in said
    assert len(results.read_records(tmp_path, summary.WHAT).good) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--norm", "WeightNorm"], "norm = 'WeightNorm': unknown"),
        (["--case", "huge"], "case = 'huge': unknown"),
        (["--backend", "tensorrt"], "backend = 'tensorrt': unknown"),
        (["--shape", "2,0"], "shape = '2,0': must be positive sizes"),
        (["--groups", "2"], "shape = None: --channels-last and --groups describe a --shape"),
        (["--dtype", "int8"], "dtype = 'int8': unknown"),
        (["--device", "quantum"], "device = 'quantum': unknown; known are cpu, cuda"),
        (["--processes", "0"], "processes = 0: must be at least 1"),
        (["--out", "/proc/none"], "out = '/proc/none': cannot write there"),
    ],
)
def test_an_expected_error_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("normsuite: ")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda r: r["case"].pop("tiny"), "field `tiny` - at `$.case`"),
        (lambda r: r["case"].update(mode="fast"), "Invalid enum value 'fast' - at `$.case.mode`"),
        (lambda r: r["case"].update(dtype=["float32"]), "got `array` - at `$.case.dtype`"),
        (lambda r: r["case"].update(device=1), "got `int` - at `$.case.device`"),
        (lambda r: r["environment"].update(accelerator=[1]), "got `array` - at `$.environment.accelerator`"),
        (lambda r: r.update(settings=["processes"]), "got `array` - at `$.settings`"),
        (
            lambda r: r["samples"]["processes"][0].update(clock_mhz="fast"),
            "`$.samples.processes[0].clock_mhz`",
        ),
        (lambda r: r["samples"].pop("counts"), "field `counts` - at `$.samples`"),
        (lambda r: r["samples"]["processes"][0].pop("times_s"), "field `times_s` - at `$.samples.processes[0]`"),
        (lambda r: r["samples"]["processes"][0]["times_s"][AGAIN].pop(), "rounds are not complete"),
    ],
)
def test_damaged_records_are_told_from_good_ones(damage, says):
    made = record({AUTO: 0.5})
    assert schema.problem(made) is None
    damage(made)
    assert says in schema.problem(made)


def test_a_clock_that_cannot_be_read_is_none(monkeypatch):
    class Module:
        @staticmethod
        def clock_rate(device):
            raise LookupError("not for this device")

    monkeypatch.setattr(torch, "get_device_module", lambda device: Module)
    assert devices.clock_mhz("cuda") is None
    monkeypatch.setattr(Module, "clock_rate", staticmethod(lambda device: 1980))
    assert devices.clock_mhz("cuda") == 1980 and devices.clock_mhz("cpu") is None


def test_unknown_implementations_are_named_before_anything_runs():
    with pytest.raises(UnknownNameError):
        run.run(task.plan(names=["tiny"]), backends=["tensorrt"])
