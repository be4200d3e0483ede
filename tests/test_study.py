"""Training and the sweep: the same start for every norm, records that are whole, runs that are not done twice."""

import json
import platform
from concurrent.futures import Future
from dataclasses import replace

import pytest
import torch

from normsuite import device
from normsuite.errors import ArgumentError, DataError, NormsuiteError, OutputError, UnknownNameError
from normsuite.spec import NO_NORM, NORMS
from normsuite.study import network, sweep
from normsuite.study.train import Run, steps, train

SMALL = {"train_size": 640, "batch_size": 64}


def plain_weights(norm, seed=0):
    run = Run(norm, seed, epochs=1)
    return [m.state_dict() for m in run.network() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_starts_from_the_same_weights(norm):
    torch.testing.assert_close(plain_weights(norm), plain_weights(NO_NORM), rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(plain_weights(norm, seed=1), plain_weights(NO_NORM), rtol=0, atol=0)


@pytest.mark.parametrize("norm", [None, *NORMS.values()], ids=lambda spec: spec.name if spec else NO_NORM)
def test_the_network_is_small_and_the_same_but_for_the_norm(norm):
    built = network.build(norm, seed=0)
    own, of_norms = network.parameter_counts(built)
    assert own == 8506
    assert (of_norms > 0) == (norm is not None)
    plain = [type(m) for m in network.build(None, seed=0)]
    assert [type(m) for m in built if type(m) in plain] == plain


def test_every_norm_sees_the_same_batches(digits, monkeypatch):
    seen = {}
    for norm in (NO_NORM, *NORMS):
        order = []
        monkeypatch.setattr(
            torch, "randperm", lambda n, *a, _o=order, _r=torch.randperm, **k: _o.append(_r(n, **k)) or _o[-1]
        )
        train(Run(norm, 3, epochs=1, **SMALL), digits)
        monkeypatch.undo()
        seen[norm] = order[0]
    for order in seen.values():
        assert torch.equal(order, seen[NO_NORM])


def test_a_run_learns_and_repeats_itself(digits):
    run = Run("BatchNorm", 0, epochs=2, train_size=6400)
    progress = []
    first, second = train(run, digits, progress.append), train(run, digits)
    strip = lambda outcome: [{**e.__dict__, "seconds": 0} for e in outcome.epochs]  # noqa: E731
    assert strip(first) == strip(second)
    assert sum(progress) == steps(run) == 100
    last = first.epochs[-1]
    assert last.test_accuracy > 0.9 and last.train_loss < first.epochs[0].train_loss
    assert all(e.seconds > 0 for e in first.epochs)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: sweep.plan("slow"), UnknownNameError, "preset = 'slow'"),
        (lambda: sweep.plan(seeds=0), ArgumentError, "seeds = 0"),
        (lambda: sweep.plan(epochs=0), ArgumentError, "epochs = 0"),
        (lambda: sweep.plan(norms=["BatchNom"]), UnknownNameError, "norm = 'BatchNom'"),
        (lambda: sweep.plan(num_groups=3), ArgumentError, "num_groups = 3"),
        (lambda: sweep.plan(learning_rate=0.0), ArgumentError, "learning_rate = 0.0"),
        (lambda: sweep.plan(batch_size=0), ArgumentError, "batch_size = 0"),
        (lambda: sweep.plan(train_size=10), ArgumentError, "train_size = 10"),
        (lambda: sweep.plan(backend="fast"), UnknownNameError, "backend = 'fast'"),
        (lambda: device.check("quantum"), ArgumentError, "device = 'quantum'"),
        (lambda: device.check("cuda:99"), ArgumentError, "device = 'cuda:99'"),
        (lambda: steps(Run("none", 0, 1, batch_size=70_000)), ArgumentError, "batch_size = 70000: leaves 0 steps"),
        (lambda: steps(Run("none", 0, 1, batch_size=15_000)), ArgumentError, "batch_size = 15000: leaves 4 steps"),
    ],
)
def test_bad_input_is_named(make, error, says):
    with pytest.raises(error) as caught:
        make()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_quick_plan_has_every_norm_with_every_seed():
    runs = sweep.plan("quick")
    assert {(r.norm, r.seed) for r in runs} == {(n, s) for n in (NO_NORM, *NORMS) for s in range(3)}


def test_a_changed_norm_or_changed_digits_make_another_run(monkeypatch):
    run = Run("RMSNorm", 0, 1)
    name = sweep._record_name(run, "digits")
    assert name == sweep._record_name(run, "digits") != sweep._record_name(run, "other digits")
    changed = replace(NORMS["RMSNorm"], axes=frozenset({"spatial"}))
    monkeypatch.setitem(NORMS, "RMSNorm", changed)
    assert sweep._record_name(run, "digits") != name


def test_a_run_that_fails_is_named(tmp_path, digits_cache, monkeypatch):
    def fail(*arguments):
        raise MemoryError("too\nmuch")

    monkeypatch.setattr(sweep, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(sweep, "_work", fail)
    runs = sweep.plan(norms=["LayerNorm"], seeds=1, epochs=1, **SMALL)
    with pytest.raises(NormsuiteError, match=r"LayerNorm, seed 0: failed with MemoryError \(too much\)"):
        sweep.sweep(runs, tmp_path)


class Inline:
    """An executor that works in this process."""

    def __init__(self, *arguments):
        pass

    def submit(self, work, *arguments):
        future = Future()
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **options):
        pass


def test_a_sweep_records_every_run_once(tmp_path, digits_cache):
    runs = sweep.plan(norms=["none", "layer_norm"], seeds=1, epochs=1, **SMALL)
    made = []
    records = sweep.sweep(runs, tmp_path, workers=2, on_record=made.append)
    assert [r["case"]["norm"] for r in records] == ["none", "LayerNorm"] and len(made) == 2
    for record in records:
        assert record["environment"]["threads"] == 1 and record["seeds"] == [0]
        assert set(record["samples"]["epochs"][0]) == {
            "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds",
        }  # fmt: skip
        text = json.dumps(record)
        assert platform.node() not in text and str(tmp_path) not in text

    done = []
    again = sweep.sweep(
        runs, tmp_path, on_start=lambda total, done_: done.append((total, done_)), on_record=made.append
    )
    assert again == records and len(made) == 2 and done == [(20, 20)]

    damaged = next(tmp_path.glob("*LayerNorm*.json"))
    damaged.write_text(damaged.read_text()[:100])
    more = sweep.sweep(runs, tmp_path, workers=1, on_record=made.append)
    assert len(made) == 3 and more[0] == records[0]
    same = [[{**e, "seconds": 0} for e in r["samples"]["epochs"]] for r in (more[1], records[1])]
    assert same[0] == same[1]  # whatever the number of workers
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".json"]


def test_a_sweep_fails_before_it_trains(tmp_path, digits_cache):
    runs = sweep.plan(norms=["none"], seeds=1, epochs=1, **SMALL)
    with pytest.raises(DataError, match="train-images"):
        sweep.sweep(runs, tmp_path / "out", data_dir=tmp_path / "empty")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write there"):
        sweep.sweep(runs, tmp_path / "file")
    with pytest.raises(ArgumentError, match="workers = 0"):
        sweep.sweep(runs, tmp_path / "out", workers=0)
