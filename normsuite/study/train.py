"""One run: one norm, one seed, some epochs, and what was seen after each."""

import math
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import ArgumentError
from ..functional import DEFAULT_BACKEND
from ..machine import device
from ..spec import NO_NORM, find
from ..targets.target import Target
from .augment import augmented
from .digits import Digits
from .network import LEARNING, build, parameter_counts
from .shift import PROBE, Watch, Watched

_EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Run:
    """Everything that one run's numbers depend on, the machine and the sources apart.

    Attributes:
        norm: a norm's name, "none", or the target's title.
        seed: of the initial weights and of the order of the digits, the same for every norm.
        epochs, batch_size, learning_rate: AdamW with a one-cycle schedule that peaks at that rate.
        num_groups: for norms whose groups are given.
        affine: "channel" or "element", instead of the affine map that each norm has by itself; None for that.
        l1: weight of Σ|w| over the weights of convolutions and of the linear layer, added to the loss.
        l2: AdamW's weight decay, of all parameters: w ← w − rate · l2 · w in each step.
        augment: move each digit by up to 2 pixels and turn it by up to 10 degrees, anew in each epoch.
        dataset, device, backend: what it trains on, where, and what computes the norms.
        train_size: how many of the training digits, from the first; None for all.
        hold_out: so many of the last training digits are not trained on, and are tested on instead of the test digits.
        target: a user's norm that takes its place in the network; None for a norm of this package.
    """

    norm: str
    seed: int
    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.02
    num_groups: int = 4
    affine: str | None = None
    l1: float = 0.0
    l2: float = 0.01
    augment: bool = False
    dataset: str = "mnist"
    device: str = "cpu"
    backend: str = DEFAULT_BACKEND
    train_size: int | None = None
    hold_out: int = 0
    target: Target | None = field(default=None, hash=False)

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, getattr(self, name), "must be at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ArgumentError("learning_rate", self.learning_rate, "must be positive and finite")
        for name in ("l1", "l2", "hold_out"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ArgumentError(name, getattr(self, name), "must be finite and not negative")
        if self.train_size is not None and self.train_size < self.batch_size:
            raise ArgumentError("train_size", self.train_size, f"must be at least the batch size, {self.batch_size}")
        if self.target is None and self.norm != NO_NORM:
            object.__setattr__(self, "norm", find(self.norm).name)
        self.network()  # fails here, before anything is trained, where the groups do not divide the channels

    def network(self) -> nn.Sequential:
        """Return the run's network with its initial weights."""
        norm = self.target or (None if self.norm == NO_NORM else find(self.norm))
        return build(norm, seed=self.seed, num_groups=self.num_groups, affine=self.affine, backend=self.backend)

    def as_dict(self) -> dict:
        """Return the settings for a record; with the target where there is one."""
        found = {of.name: getattr(self, of.name) for of in fields(self) if of.name != "target"}
        return found if self.target is None else {**found, "target": self.target.as_dict()}


@dataclass(frozen=True)
class Epoch:
    """Loss and accuracy of one epoch.

    Attributes:
        epoch: counted from 1.
        train_loss, train_accuracy: mean over the batches as they were trained on.
        test_loss, test_accuracy: over all test digits, in evaluation mode, after the epoch.
        seconds: of training alone, without the evaluation and without measuring the shift.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Mistake:
    """A digit that the trained network took for another.

    Attributes:
        digit: its place in the test digits.
        label, taken_for: what it is, and what the network said.
        confidence: the probability that the network gave to what it said.
    """

    digit: int
    label: int
    taken_for: int
    confidence: float


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        epochs: what was seen in each.
        network_parameters, norm_parameters: how many the network has without its norms, and how many these have.
        mistakes: of the trained network, on the test digits.
        tested: how many test digits of each label there are.
        shift: internal covariate shift, twice an epoch.
    """

    epochs: list[Epoch]
    network_parameters: int
    norm_parameters: int
    mistakes: list[Mistake]
    tested: list[int]
    shift: list[Watched]

    def as_dict(self) -> dict:
        """Return the run as a dictionary for a record."""
        return asdict(self)


LEAST_STEPS = 8
"""Least number of training steps: with fewer the one-cycle schedule has no room to rise and fall."""


def steps(run: Run, digits_count: int = 60_000) -> int:
    """Return the number of training steps of a run.

    Raises:
        ArgumentError: there are too few steps, or fewer digits than are wanted.
    """
    size = _train_size(run, digits_count)
    if run.train_size is not None and run.train_size > size:
        raise ArgumentError("train_size", run.train_size, f"is more than the {size:,} digits that there are")
    found = run.epochs * (size // run.batch_size)
    if found < LEAST_STEPS:
        raise ArgumentError("batch_size", run.batch_size, f"leaves {found} steps, fewer than {LEAST_STEPS}")
    return found


def _train_size(run: Run, digits_count: int) -> int:
    if run.hold_out >= digits_count:
        raise ArgumentError("hold_out", run.hold_out, f"leaves nothing of {digits_count} digits to train on")
    return min(run.train_size or digits_count, digits_count - run.hold_out)


def train(run: Run, digits: Digits, on_batches: Callable[[int], None] = lambda batches: None) -> TrainedRun:
    """Train and test one network.

    Args:
        run: what to train.
        digits: on the run's device.
        on_batches: called now and then with the number of batches done since it was last called.
    """
    network = run.network()
    counts = parameter_counts(network)
    network.to(run.device)
    size = _train_size(run, len(digits.train_images))
    images, labels = digits.train_images[:size], digits.train_labels[:size]
    test_images, test_labels = digits.test_images, digits.test_labels
    if run.hold_out:
        test_images, test_labels = digits.train_images[-run.hold_out :], digits.train_labels[-run.hold_out :]
    batches = size // run.batch_size
    optimizer, schedule = _optimizer(run, network, run.epochs * batches)
    order, moving = (torch.Generator().manual_seed(seed) for seed in (run.seed, ~run.seed))
    watch = Watch(network, images[:PROBE])
    epochs = []
    for epoch in range(1, run.epochs + 1):
        # An incomplete last batch is left out, so that every step weighs the same and BatchNorm never sees one digit.
        chosen = torch.randperm(size, generator=order)[: batches * run.batch_size].to(run.device)
        total_loss = torch.zeros((), device=run.device, dtype=torch.float64)
        correct = torch.zeros((), device=run.device, dtype=torch.int64)
        network.train()
        with _Clock(run.device) as clock:
            for number, index in enumerate(chosen.split(run.batch_size)):
                batch, target = images.index_select(0, index), labels.index_select(0, index)
                if run.augment:
                    batch = augmented(batch, moving)
                watched = number in (0, batches // 2)
                if watched:
                    with clock.stopped():
                        watch.before(batch, target)
                output, loss = _step(network, optimizer, batch, target, run.l1)
                schedule.step()
                if watched:
                    with clock.stopped():
                        watch.after((epoch - 1) * batches + number)
                total_loss += loss.detach()
                correct += (output.detach().argmax(1) == target).sum()
                if (number + 1) % 50 == 0:
                    on_batches(50)
        on_batches(batches % 50)
        logits = predict(network, test_images)
        epochs.append(
            Epoch(
                epoch,
                train_loss=total_loss.item() / batches,
                train_accuracy=correct.item() / (batches * run.batch_size),
                test_loss=F.cross_entropy(logits.double(), test_labels).item(),
                test_accuracy=(logits.argmax(1) == test_labels).double().mean().item(),
                seconds=clock.seconds,
            )
        )
    tested = torch.bincount(test_labels, minlength=logits.shape[1]).tolist()
    return TrainedRun(epochs, *counts, _mistakes(logits, test_labels), tested, watch.seen)


class _Clock:
    """A stopwatch for a block, which does not count the time while it is stopped."""

    def __init__(self, device_name: str):
        self._device = device_name
        self.seconds = 0.0

    def __enter__(self):
        device.synchronize(self._device)
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *error):
        device.synchronize(self._device)
        self.seconds += time.perf_counter() - self._begun

    @contextmanager
    def stopped(self):
        self.__exit__()
        yield
        self.__enter__()


def _optimizer(run: Run, network: nn.Module, total: int):
    """Return the optimizer, and its schedule over so many steps."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=run.learning_rate, weight_decay=run.l2, fused=True)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=run.learning_rate, total_steps=total, pct_start=0.25
    )


def _step(network: nn.Module, optimizer, images: torch.Tensor, target: torch.Tensor, l1: float = 0.0):
    """Train on one batch, and return the output and the loss before the step, without the L1 penalty."""
    output = network(images)
    loss = F.cross_entropy(output, target)
    optimizer.zero_grad()
    if l1:
        weights = [module.weight for module in network.children() if isinstance(module, LEARNING)]
        (loss + l1 * sum(weight.abs().sum() for weight in weights)).backward()
    else:
        loss.backward()
    optimizer.step()
    return output, loss


def stepper(run: Run, images: torch.Tensor, target: torch.Tensor) -> Callable[[], object]:
    """Return a function that trains the run's network on one batch, again and again, as an epoch does on many."""
    network = run.network().to(run.device).train()
    optimizer, _ = _optimizer(run, network, LEAST_STEPS)
    moving = torch.Generator().manual_seed(~run.seed)
    return lambda: _step(network, optimizer, augmented(images, moving) if run.augment else images, target, run.l1)


@torch.inference_mode()
def predict(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the network's outputs for images in evaluation mode, before the softmax: (N, classes)."""
    network.eval()
    return torch.cat([network(x) for x in images.split(_EVALUATION_BATCH)])


def _mistakes(logits: torch.Tensor, labels: torch.Tensor) -> list[Mistake]:
    confidence, said = logits.double().softmax(1).max(1)
    wrong = (said != labels).nonzero().ravel()
    columns = (wrong.tolist(), labels[wrong].tolist(), said[wrong].tolist(), confidence[wrong].tolist())
    rows = zip(*columns, strict=True)
    return [Mistake(digit, label, taken_for, round(share, 4)) for digit, label, taken_for, share in rows]
