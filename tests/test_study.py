"""Planning and training: the same start and the same digits for every norm, and settings that mean what they say."""

import json
import math

import pytest
import torch

from normsuite.errors import ArgumentError, DataError, UnknownNameError
from normsuite.files import writing
from normsuite.machine import device
from normsuite.records import provenance, results, schema
from normsuite.spec import NO_NORM, NORMS
from normsuite.study import network
from normsuite.study.augment import augmented
from normsuite.study.plan import PRESETS, plan, preset
from normsuite.study.settings_file import read
from normsuite.study.train import Run, steps, train
from normsuite.targets import Target

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
    plain = [type(m) for m in network.build(None, seed=0) if type(m) is not torch.nn.ReLU]
    assert [type(m) for m in built if type(m) in plain] == plain


@pytest.mark.parametrize("affine", [None, *network.AFFINES])
@pytest.mark.parametrize("norm", [None, *NORMS.values()], ids=lambda spec: spec.name if spec else NO_NORM)
def test_an_activation_comes_before_every_layer_but_the_first(norm, affine):
    """In the norm's own pass or behind it, exactly once: half of what a ReLU lets through is 0."""
    built, seen = network.build(norm, seed=0, affine=affine), []
    for layer in [m for m in built if isinstance(m, network.LEARNING)][1:-1]:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    built(torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    assert len(seen) == 4
    for inputs in seen:
        assert inputs.min() == 0 and 0.1 < (inputs == 0).double().mean() < 0.9
    fused = [m for m in built.modules() if getattr(m, "activation", None) == "relu"]
    behind = [m for m in built.modules() if isinstance(m, torch.nn.ReLU)]
    assert len(fused) + len(behind) == 5


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
        (lambda: plan("slow"), UnknownNameError, "preset = 'slow'"),
        (lambda: plan(seeds=0), ArgumentError, "seeds = 0"),
        (lambda: plan(epochs=0), ArgumentError, "epochs = 0"),
        (lambda: plan(norms="BatchNorm"), ArgumentError, "norms = 'BatchNorm': must be list"),
        (lambda: plan(epochs="three"), ArgumentError, "epochs = 'three': must be int"),
        (lambda: plan(epochs=True), ArgumentError, "epochs = True: must be int"),
        (lambda: plan(batch_size=[]), ArgumentError, "batch_size = []: has no value"),
        (lambda: plan(speed=3), UnknownNameError, "setting = 'speed'"),
        (lambda: plan(learning_rate={"BatchNom": 0.1}), UnknownNameError, "norm = 'BatchNom'"),
        (lambda: plan(learning_rate=float("nan")), ArgumentError, "learning_rate = nan"),
        (lambda: plan(l1=-1.0), ArgumentError, "l1 = -1.0: must be finite and not negative"),
        (lambda: plan(affine="row"), UnknownNameError, "affine = 'row'"),
        (lambda: steps(Run("none", 0, 1, hold_out=60_000)), ArgumentError, "hold_out = 60000: leaves nothing"),
        (lambda: plan(norms=["BatchNom"]), UnknownNameError, "norm = 'BatchNom'"),
        (lambda: plan(num_groups=3), ArgumentError, "num_groups = 3"),
        (lambda: plan(learning_rate=0.0), ArgumentError, "learning_rate = 0.0"),
        (lambda: plan(batch_size=0), ArgumentError, "batch_size = 0"),
        (lambda: plan(train_size=10), ArgumentError, "train_size = 10"),
        (lambda: plan(l2=math.inf), ArgumentError, "l2 = inf: must be finite and not negative"),
        (lambda: plan(learning_rate=math.inf), ArgumentError, "learning_rate = inf: must be positive and finite"),
        (lambda: plan(backend="fast"), UnknownNameError, "backend = 'fast'"),
        (lambda: device.check("quantum"), ArgumentError, "device = 'quantum'"),
        (lambda: device.check("cuda:99"), ArgumentError, "device = 'cuda:99'"),
        (lambda: steps(Run("none", 0, 1, batch_size=70_000)), ArgumentError, "batch_size = 70000: leaves 0 steps"),
        (lambda: steps(Run("none", 0, 1, batch_size=15_000)), ArgumentError, "batch_size = 15000: leaves 4 steps"),
        (lambda: steps(Run("none", 0, 1, train_size=70_000)), ArgumentError, "is more than the 60,000 digits"),
        (lambda: steps(Run("none", 0, 1, train_size=58_000, hold_out=5_000)), ArgumentError, "more than the 55,000"),
    ],
)
def test_bad_input_is_named(make, error, says):
    with pytest.raises(error) as caught:
        make()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_quick_plan_has_every_norm_with_every_seed():
    runs = plan("quick")
    assert {(r.norm, r.seed) for r in runs} == {(n, s) for n in (NO_NORM, *NORMS) for s in range(3)}


def test_every_preset_is_a_plan():
    for name in PRESETS:
        runs = plan(name)
        assert {run.norm for run in runs} == {NO_NORM, *NORMS}
        assert len(set(runs)) == len(runs)
        for run in runs:
            steps(run)


def test_lists_are_all_combinations_and_rates_the_norms_own():
    runs = plan(norms=["none", "BatchNorm"], seeds=2, batch_size=[8, 32], learning_rate={"batch_norm": 0.5})
    assert [(r.seed, r.batch_size, r.norm) for r in runs[:4]] == [
        (0, 8, "none"), (0, 8, "BatchNorm"), (0, 32, "none"), (0, 32, "BatchNorm"),
    ]  # fmt: skip
    assert len(runs) == 8
    assert {r.norm: r.learning_rate for r in runs} == {"none": Run("none", 0, 1).learning_rate, "BatchNorm": 0.5}


def test_a_rate_may_be_a_target_s_own():
    mine = Target("torch.nn:GroupNorm", args=(4, 64), like="GroupNorm", name="mine")
    runs = plan(norms=["none", "BatchNorm"], targets=[mine], seeds=1, epochs=1, learning_rate={"mine": 0.5})
    default = Run("none", 0, 1).learning_rate
    assert {r.norm: r.learning_rate for r in runs} == {"none": default, "BatchNorm": default, "mine": 0.5}


def test_a_rate_that_two_tables_give_a_norm_is_one_run():
    runs = plan(norms=["none", "BatchNorm"], seeds=1, learning_rate=[{"BatchNorm": 0.04}, {"BatchNorm": 0.08}])
    assert [run.norm for run in runs] == ["none", "BatchNorm", "BatchNorm"]


def test_rates_follow_the_root_of_the_batch_size():
    runs = plan(norms=["none"], seeds=1, batch_size=[2, 128], learning_rate=0.04, scale_learning_rate=True)
    assert [run.learning_rate for run in runs] == [pytest.approx(0.04 / 8), 0.04]


def test_settings_come_from_a_file_too(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('norms = ["GroupNorm"]\nseeds = 1\nnum_groups = [2, 4]\naugment = true\n')
    runs = plan("quick", **read(file))
    assert [(run.num_groups, run.augment, run.epochs) for run in runs] == [
        (n, True, preset("quick")["epochs"]) for n in (2, 4)
    ]
    for text in ("norms = [", "\xff"):
        file.write_bytes(text.encode("latin-1"))
        with pytest.raises(DataError, match=r"mine\.toml"):
            read(file)
    with pytest.raises(DataError, match=r"none\.toml"):
        read(tmp_path / "none.toml")


def test_held_out_digits_are_tested_on_and_not_trained_on(digits):
    held = 1000
    outcome = train(Run("BatchNorm", 0, epochs=1, train_size=640, batch_size=64, hold_out=held), digits)
    labels = digits.train_labels[-held:]
    assert outcome.tested == torch.bincount(labels, minlength=10).tolist()
    assert all(labels[m.digit] == m.label != m.taken_for for m in outcome.mistakes)
    assert 1 - len(outcome.mistakes) / held == pytest.approx(outcome.epochs[-1].test_accuracy)
    # All but the held out: a batch size that takes every digit once shows how many there are.
    assert steps(Run("none", 0, 1, batch_size=5500, hold_out=5000)) == 10


def test_mistakes_are_all_that_went_wrong(digits):
    outcome = train(Run("BatchNorm", 0, epochs=1, **SMALL), digits)
    assert sum(outcome.tested) == 10_000
    assert 1 - len(outcome.mistakes) / 10_000 == pytest.approx(outcome.epochs[-1].test_accuracy)
    assert all(0.1 <= m.confidence <= 1 for m in outcome.mistakes)


@pytest.mark.parametrize("settings", [{"l1": 1e-2}, {"l2": 0.5}, {"augment": True}, {"affine": "element"}], ids=str)
def test_each_setting_changes_what_is_learnt(digits, settings):
    plain = train(Run("BatchNorm", 0, epochs=1, **SMALL), digits)
    changed = train(Run("BatchNorm", 0, epochs=1, **SMALL, **settings), digits)
    assert plain.epochs[-1].test_loss != changed.epochs[-1].test_loss


def test_penalties_shrink_the_weights(digits):
    """What the optimizer makes of them: with a large penalty the weights of a step lie closer to zero."""
    from normsuite.study.train import stepper

    def size(**settings):
        run = Run("none", 0, epochs=1, **settings)
        built = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "network", lambda self, _f=Run.network: built.append(_f(self)) or built[-1])
            step = stepper(run, digits.train_images[:64], digits.train_labels[:64])
        for _ in range(5):
            step()
        return sum(p.abs().sum().item() for p in built[-1].parameters())

    assert size(l2=5.0) < size(l2=0.0)
    assert size(l1=1.0) < size(l1=0.0)


@pytest.mark.parametrize("norm", NORMS)
def test_an_affine_map_per_channel_or_per_element(norm):
    counts = {}
    for affine in network.AFFINES:
        built = network.build(NORMS[norm], seed=0, affine=affine)
        counts[affine] = network.parameter_counts(built)[1]
        assert built(torch.zeros(4, 1, 28, 28)).shape == (4, 10)
    maps = 2 if NORMS[norm].centred else 1
    assert counts["channel"] == maps * (8 + 4 * 16)
    assert counts["element"] == maps * (8 * 14 * 14 + 4 * 16 * 7 * 7)
    own = network.parameter_counts(network.build(NORMS[norm], seed=0))[1]
    assert own == counts[NORMS[norm].affine]


def test_augmented_digits_are_moved_and_turned_a_little():
    draw = torch.Generator().manual_seed(0)
    images = torch.zeros(200, 1, 28, 28)
    images[:, :, 10:18, 10:18] = 1.0
    found = augmented(images, draw)
    place = torch.arange(28.0)
    column = (found.sum((1, 2)) * place).sum(1) / found.sum((1, 2, 3))
    row = (found.sum((1, 3)) * place).sum(1) / found.sum((1, 2, 3))
    for centre in (row, column):
        assert (centre - 13.5).abs().max() < 2.2 and centre.std() == pytest.approx(2 * 2 / math.sqrt(12), rel=0.2)
    assert not torch.equal(found[0], found[1])
    again = augmented(images, torch.Generator().manual_seed(0))
    assert torch.equal(found, again)


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_run_that_diverges_leaves_a_record_that_can_be_read(digits, rate):
    """Its losses and the confidence in its answers are no numbers."""
    run = Run("none", 0, epochs=1, train_size=640, batch_size=64, learning_rate=rate)
    outcome = train(run, digits)
    assert not math.isfinite(outcome.epochs[-1].test_loss)
    environment = provenance.environment(threads=1)
    record = results.make_record("study", run.as_dict(), outcome.as_dict(), environment=environment, seeds=[0])
    assert schema.problem(json.loads(writing.to_json(record))) is None
