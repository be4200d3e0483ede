"""Digits per second of a whole study, against the loop that a tutorial writes.

Three ways to the same runs, as whole commands in turn, each in a fresh process:

    plain       torchvision's DataLoader with ToTensor and Normalize, torch.nn's norms, one run after the other in one
                process with as many threads as are given
    one         the study's own training, one run after the other, likewise
    sweep       `normsuite study`, with as many processes of one thread each

The plain loop and the sweep are started as users start them; the sweep sets its workers' allocator itself, and `one` is
started with the same allocator.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from normsuite import conversion, modules
from normsuite.errors import NormsuiteError
from normsuite.functional import DEFAULT_BACKEND
from normsuite.machine import allocator
from normsuite.measure import process
from normsuite.measure.operands import SEED
from normsuite.records import provenance, results
from normsuite.study import digits
from normsuite.study.plan import DEFAULT_PRESET, plan, preset
from normsuite.study.train import Run, train

WHAT = "bench-throughput"
WAYS = PLAIN, ONE, SWEEP = "plain", "one", "sweep"
ROUNDS = 5
TRAIN_SIZE = 60_000
EPOCHS = preset(DEFAULT_PRESET)["epochs"]
_MEAN, _STD = (0.1307,), (0.3081,)
"""Mean and deviation of the training pixels, as tutorials give them."""


def run(
    norms: Sequence[str] = (),
    *,
    rounds: int = ROUNDS,
    threads: int,
    epochs: int = EPOCHS,
    backend: str = DEFAULT_BACKEND,
    train_size: int = TRAIN_SIZE,
    on_way: Callable[[str], None] = lambda way: None,
) -> dict:
    """Return one record: seconds of each way in each round.

    Args:
        norms: names; every norm and none where left out.
        rounds: of all ways, in an order drawn anew.
        threads: of the ways with one process; processes of the sweep.
        epochs: of every run.
        backend: what computes the study's norms.
        train_size: digits of an epoch.

    Raises:
        ArgumentError: a number out of range.
        UnknownNameError: no such norm or backend.
        NormsuiteError: a way failed; the message has the last that it said.
    """
    settings: dict = {"epochs": epochs, "backend": backend, "train_size": train_size}
    runs = plan(norms=list(norms) or None, seeds=1, **settings)
    job = json.dumps({"norms": [each.norm for each in runs], "threads": threads, "settings": settings})
    digits.load()  # unpacked before anything is timed
    draw, samples = random.Random(SEED), []
    for _ in range(rounds):
        took = {}
        for way in draw.sample(WAYS, len(WAYS)):
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                command = _study(runs, threads, folder) if way == SWEEP else ["-m", __spec__.name, way, job]
                _run(command, _environment(way, threads), what=f"{way}:")
            took[way] = time.perf_counter() - begun
            on_way(way)
        samples.append(took)
    case = {
        "norms": [each.norm for each in runs],
        "digits": len(runs) * epochs * train_size,
        "epochs": epochs,
        "backend": backend,
        "rounds": rounds,
    }
    measured = provenance.environment(threads=threads)
    return results.make_record(WHAT, case, samples, environment=measured, seeds=[SEED])


def _run(command: Sequence[str], env: Mapping[str, str], *, what: str) -> None:
    """Run a command of Python's in a fresh process; raises NormsuiteError, with its last words, where it fails."""
    done = subprocess.run([sys.executable, "-P", *command], env=dict(env), capture_output=True, text=True)
    if done.returncode:
        raise NormsuiteError(f"{what} ended with {process.last_words(done.returncode, done.stderr)}")


def _study(runs: Sequence[Run], processes: int, folder: str) -> list[str]:
    """Return the command of that very sweep, each run of which has the same settings but for its norm."""
    first = runs[0]
    options = {
        "--seeds": 1,
        "--epochs": first.epochs,
        "--train-size": first.train_size,
        "--backend": first.backend,
        "--workers": processes,
        "--out": folder,
    }
    given = [part for name, value in options.items() for part in (name, str(value))]
    return ["-m", "normsuite", "study", *given, *(part for run in runs for part in ("--norm", run.norm))]


def _environment(way: str, threads: int) -> dict[str, str]:
    found = process.variables(threads)
    return found if way == ONE else {name: value for name, value in found.items() if name not in allocator.PINNED}


def speedups(record: dict) -> dict:
    """Return each other way's digits per second over the plain loop's, with its interval over rounds."""
    from normsuite import statistics  # half a second, which the processes that are timed need not pay

    return {
        way: statistics.ratio_interval(
            [statistics.paired_log_ratio([took[PLAIN]], [took[way]]) for took in record["samples"]]
        )
        for way in WAYS
        if way != PLAIN
    }


def _of_torch(network: nn.Sequential) -> nn.Sequential:
    """Return the network with torch.nn's norms, and their activations behind them.

    The two norms that take any rank here have a class for each rank there.
    """
    of_any_rank: dict[type[nn.Module], Callable[..., nn.Module]] = {
        modules.BatchNorm: nn.BatchNorm2d,
        modules.InstanceNorm: nn.InstanceNorm2d,
    }
    for place, layer in enumerate(network):
        if isinstance(layer, modules._WithBackend) and layer.activation == "relu":
            layer.activation = None
            theirs = of_any_rank.get(type(layer))
            norm = layer if theirs is None else theirs(layer.num_features, affine=layer.affine)
            network[place] = nn.Sequential(norm, nn.ReLU())
    conversion.revert(network)
    return network


def _plain(of_run: Run, root: Path) -> None:
    """Train as tutorials do, with the same network, epochs and batch size."""
    from torchvision import datasets, transforms  # takes a second, which the other ways need not pay

    assert of_run.train_size is not None  # `run` always says it
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


def _work(way: str, norms: list[str], threads: int, settings: dict) -> None:
    runs = plan(norms=norms, seeds=1, **settings)
    torch.set_num_threads(threads)
    if way == PLAIN:
        root = digits.unpacked()
        for each in runs:
            _plain(each, root)
    else:
        data = digits.load()
        for each in runs:
            train(each, data)


if __name__ == "__main__":
    _work(sys.argv[1], **json.loads(sys.argv[2]))
