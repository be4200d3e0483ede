"""Digits per second of a whole study, against the loop that a tutorial writes.

Three ways to the same runs, as whole commands in turn, each in a fresh process:

    plain       torchvision's DataLoader with ToTensor and Normalize, torch.nn's norms, one run after the other in one
                process with as many threads as are given
    one         the study's own training, one run after the other, likewise
    sweep       the study: as many processes of one thread each
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from .. import modules, results, statistics
from ..errors import NormsuiteError
from ..study import digits
from ..study.plan import plan
from ..study.train import Run, train
from . import process
from .cases import SEED

WHAT = "bench-throughput"
WAYS = PLAIN, ONE, SWEEP = "plain", "one", "sweep"
ROUNDS = 3
TRAIN_SIZE = 60_000
_MEAN, _STD = (0.1307,), (0.3081,)
"""Of the training pixels, as tutorials give them."""


def run(
    norms: Sequence[str] = (),
    *,
    rounds: int = ROUNDS,
    threads: int,
    train_size: int = TRAIN_SIZE,
    on_way: Callable[[str], None] = lambda way: None,
) -> dict:
    """One record: seconds of each way in each round.

    Args:
        norms: names; every norm and none where left out.
        rounds: of all ways, in an order drawn anew.
        threads: of the ways with one process; processes of the sweep.
        train_size: digits of an epoch; every run has one.

    Raises:
        UnknownNameError: no such norm.
        NormsuiteError: a way failed; the message has the last that it said.
    """
    runs = plan(norms=list(norms) or None, seeds=1, epochs=1, train_size=train_size)
    job = json.dumps({"norms": [each.norm for each in runs], "threads": threads, "train_size": train_size})
    digits.load()  # unpacked before anything is timed
    draw, samples = random.Random(SEED), []
    for _ in range(rounds):
        took = {}
        for way in draw.sample(WAYS, len(WAYS)):
            begun = time.perf_counter()
            command = [sys.executable, "-P", "-m", __spec__.name, way, job]
            done = subprocess.run(command, env=process.environment(threads), capture_output=True, text=True)
            took[way] = time.perf_counter() - begun
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                raise NormsuiteError(f"{way}: ended with exit code {done.returncode}: {' '.join(last)}")
            on_way(way)
        samples.append(took)
    case = {"norms": [each.norm for each in runs], "digits": len(runs) * train_size, "epochs": 1, "rounds": rounds}
    measured = results.environment(threads=threads)
    return results.make_record(WHAT, case, samples, environment=measured, seeds=[SEED])


def speedups(record: dict) -> dict[str, statistics.Interval]:
    """How many times the plain loop's digits per second each of the other ways has, with its interval over rounds."""
    return {
        way: statistics.ratio_interval(
            [statistics.paired_log_ratio([took[PLAIN]], [took[way]]) for took in record["samples"]]
        )
        for way in WAYS
        if way != PLAIN
    }


def _of_torch(network: nn.Sequential) -> nn.Sequential:
    """The network with torch.nn's norms; the two that take any rank here have a class for each there."""
    modules.revert(network)
    of_any_rank = {modules.BatchNorm: nn.BatchNorm2d, modules.InstanceNorm: nn.InstanceNorm2d}
    for place, layer in enumerate(network):
        if type(layer) in of_any_rank:
            network[place] = of_any_rank[type(layer)](layer.num_features, affine=layer.affine)
    return network


def _plain(of_run: Run, root: Path) -> None:
    """What one finds in tutorials, for the same network, epochs and batch size."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(_MEAN, _STD)])
    training = Subset(datasets.MNIST(root, train=True, transform=transform), range(of_run.train_size))
    testing = datasets.MNIST(root, train=False, transform=transform)
    network = _of_torch(of_run.network()).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.AdamW(network.parameters(), lr=of_run.learning_rate)
    for _ in range(of_run.epochs):
        network.train()
        total, correct = 0.0, 0
        for images, target in DataLoader(training, of_run.batch_size, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            output = network(images)
            loss = F.cross_entropy(output, target)
            loss.backward()
            optimizer.step()
            total += loss.item()
            correct += (output.argmax(1) == target).sum().item()
        network.eval()
        with torch.no_grad():
            for images, target in DataLoader(testing, 500):
                correct += (network(images).argmax(1) == target).sum().item()


def _work(way: str, norms: list[str], threads: int, train_size: int) -> None:
    runs = plan(norms=norms, seeds=1, epochs=1, train_size=train_size)
    torch.set_num_threads(threads)
    if way == PLAIN:
        root = digits.unpacked()
        for each in runs:
            _plain(each, root)
    elif way == ONE:
        data = digits.load()
        for each in runs:
            train(each, data)
    else:
        from ..study.sweep import sweep

        with tempfile.TemporaryDirectory() as folder:
            sweep(runs, Path(folder), processes=threads)


if __name__ == "__main__":
    _work(sys.argv[1], **json.loads(sys.argv[2]))
