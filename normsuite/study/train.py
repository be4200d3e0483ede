"""One run: one norm, one seed, some epochs, and what was seen after each."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn import functional as F

from .. import device
from ..errors import ArgumentError
from ..functional import DEFAULT_BACKEND
from ..spec import NO_NORM, find
from .digits import Digits
from .network import build, parameter_counts

_EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Run:
    """Everything that one run's numbers depend on, the machine and the sources apart.

    Attributes:
        norm: a norm's name, or "none".
        seed: of the initial weights and of the order of the digits, the same for every norm.
        epochs, batch_size, learning_rate: AdamW with a one-cycle schedule that peaks at that rate.
        num_groups: for norms whose groups are given.
        dataset, device, backend: what it trains on, where, and what computes the norms.
        train_size: how many of the training digits, from the first; None for all.
    """

    norm: str
    seed: int
    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.02
    num_groups: int = 4
    dataset: str = "mnist"
    device: str = "cpu"
    backend: str = DEFAULT_BACKEND
    train_size: int | None = None

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, getattr(self, name), "must be at least 1")
        if not self.learning_rate > 0:
            raise ArgumentError("learning_rate", self.learning_rate, "must be positive")
        if self.train_size is not None and self.train_size < self.batch_size:
            raise ArgumentError("train_size", self.train_size, f"must be at least the batch size, {self.batch_size}")
        if self.norm != NO_NORM:
            object.__setattr__(self, "norm", find(self.norm).name)
        self.network()  # fails here, before anything is trained, where the groups do not divide the channels

    def network(self) -> nn.Sequential:
        """The run's network with its initial weights."""
        norm = None if self.norm == NO_NORM else find(self.norm)
        return build(norm, seed=self.seed, num_groups=self.num_groups, backend=self.backend)

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Epoch:
    """What was seen in one epoch.

    Attributes:
        epoch: counted from 1.
        train_loss, train_accuracy: mean over the batches as they were trained on.
        test_loss, test_accuracy: over all test digits, in evaluation mode, after the epoch.
        seconds: of training, the evaluation not counted.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A finished run: its epochs, and the parameters of its network with and without the norms'."""

    epochs: list[Epoch]
    network_parameters: int
    norm_parameters: int

    def as_dict(self) -> dict:
        return asdict(self)


LEAST_STEPS = 8
"""Fewer leave the schedule no way up and down."""


def steps(run: Run, digits_count: int = 60_000) -> int:
    """Batches of one run.

    Raises:
        ArgumentError: there are too few to train on.
    """
    found = run.epochs * (min(run.train_size or digits_count, digits_count) // run.batch_size)
    if found < LEAST_STEPS:
        raise ArgumentError("batch_size", run.batch_size, f"leaves {found} steps, fewer than {LEAST_STEPS}")
    return found


def train(run: Run, digits: Digits, on_batches: Callable[[int], None] = lambda batches: None) -> Outcome:
    """Train and test one network.

    Args:
        run: what to train.
        digits: on the run's device.
        on_batches: called now and then with the number of batches done since it was last called.
    """
    network = run.network()
    counts = parameter_counts(network)
    network.to(run.device)
    images, labels = digits.train_images[: run.train_size], digits.train_labels[: run.train_size]
    batches = len(images) // run.batch_size
    optimizer, schedule = _optimizer(run, network, run.epochs * batches)
    order = torch.Generator().manual_seed(run.seed)
    epochs = []
    for epoch in range(1, run.epochs + 1):
        # An incomplete last batch is left out, so that every step weighs the same and BatchNorm never sees one digit.
        chosen = torch.randperm(len(images), generator=order)[: batches * run.batch_size].to(run.device)
        total_loss = torch.zeros((), device=run.device, dtype=torch.float64)
        correct = torch.zeros((), device=run.device, dtype=torch.int64)
        device.synchronize(run.device)
        start = time.perf_counter()
        network.train()
        for done, index in enumerate(chosen.split(run.batch_size), start=1):
            target = labels[index]
            output, loss = _step(network, optimizer, images[index], target)
            schedule.step()
            total_loss += loss.detach()
            correct += (output.detach().argmax(1) == target).sum()
            if done % 50 == 0:
                on_batches(50)
        device.synchronize(run.device)
        seconds = time.perf_counter() - start
        on_batches(batches % 50)
        seen = batches * run.batch_size
        test_loss, test_accuracy = evaluate(network, digits.test_images, digits.test_labels)
        epochs.append(
            Epoch(epoch, total_loss.item() / batches, correct.item() / seen, test_loss, test_accuracy, seconds)
        )
    return Outcome(epochs, *counts)


def _optimizer(run: Run, network: nn.Module, total: int):
    """The optimizer, and its schedule over so many steps."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=run.learning_rate, fused=True)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=run.learning_rate, total_steps=total, pct_start=0.25
    )


def _step(network: nn.Module, optimizer, images: torch.Tensor, target: torch.Tensor):
    """Train on one batch; the output and the loss before it."""
    output = network(images)
    loss = F.cross_entropy(output, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return output, loss


def stepper(run: Run, images: torch.Tensor, target: torch.Tensor) -> Callable[[], object]:
    """A function that trains the run's network on one batch, again and again: what an epoch repeats."""
    network = run.network().to(run.device).train()
    optimizer, _ = _optimizer(run, network, LEAST_STEPS)
    return lambda: _step(network, optimizer, images, target)


@torch.inference_mode()
def evaluate(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in evaluation mode."""
    network.eval()
    loss, correct = 0.0, 0
    for x, target in zip(images.split(_EVALUATION_BATCH), labels.split(_EVALUATION_BATCH), strict=True):
        output = network(x)
        loss += F.cross_entropy(output, target, reduction="sum").item()
        correct += (output.argmax(1) == target).sum().item()
    return loss / len(images), correct / len(images)
