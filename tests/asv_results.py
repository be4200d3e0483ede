"""Results of asv of the tests' own, written by asv's own writer."""

import math
from datetime import UTC, datetime
from types import SimpleNamespace

from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.machine import Machine
from asv.results import Results

from normsuite.measure import labels

TORCH = {
    "name": labels.ASV_TORCH,
    "params": [],
    "param_names": [],
    "unit": "v",
    "version": "1",
    "type": "track",
    "code": "",
}
LATENCY = {
    "name": "latency.Latency.track_training_step",
    "params": [["'BatchNorm'", "'LayerNorm'"], ["'torch'"], ["'tiny'"], ["'cpu'", "'cuda'"]],
    "param_names": ["norm", "backend", "case", "device"],
    "unit": "seconds",
    "version": "1",
    "type": "track",
    "code": "",
}
SAMPLES = [1.0, 2.0, 3.0, 2.0, 2.0, 2.5, 1.5, 2.0, 2.0, 2.0]


def write(folder, commits, *, version="1", torch="2.14.1", samples=SAMPLES, cpu="A processor", ran=None):
    """Store one result for each commit, oldest first, as `asv run --record-samples` does.

    `torch` is what asv installed, None in an environment that exists; `ran` what `track_torch` found.
    """
    config = Config()
    config.results_dir = str(folder)
    Benchmarks(config, [LATENCY, TORCH]).save()
    machine = Machine()
    machine.__dict__.update(machine="secret-host", cpu=cpu, num_cpu="2", os="Linux", arch="x86_64", ram="1")
    machine.save(str(folder))
    for number, commit in enumerate(commits):
        result = Results(
            {**machine.__dict__, "python": "3.11", "torch": torch}, {}, commit, number * 86_400_000,
            "3.11", f"venv-{torch}", {},
        )  # fmt: skip
        values = SimpleNamespace(
            result=[samples, math.nan, None, math.nan],
            samples=[samples, None, None, None],
            number=[1, None, None, None],
            errcode=0, stderr="", profile=None,
        )  # fmt: skip
        started = datetime(2026, 1, 1 + number, tzinfo=UTC)
        result.add_result({**LATENCY, "version": version}, values, record_samples=True, started_at=started)
        if ran is not None:
            value = SimpleNamespace(result=[ran], samples=[None], number=[None], errcode=0, stderr="", profile=None)
            result.add_result(TORCH, value, started_at=started)
        result.save(str(folder))
