"""Random sequences of calls against float64 and torch.nn, for half a minute; as a command for as long as one likes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from normsuite import backends
from tools import fuzz

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_sequence_of_random_calls_differs_nowhere():
    said = []
    ends, differences = fuzz.run(300, fuzz.SEED, seconds=600, report=said.append)
    assert not differences, "\n".join(said)
    assert sum(ends.values()) == 300 and ends["computed"] > 100


@pytest.mark.parametrize(
    "wrong",
    [
        lambda y: y * 1.01,
        lambda y: y.clone(memory_format=torch.contiguous_format).requires_grad_() * 1.01,
        lambda y: y.double(),
        lambda y: y[..., :1],
    ],
    ids=["a little off", "another gradient", "another type", "another shape"],
)
def test_what_is_wrong_is_noticed(wrong, monkeypatch):
    right = backends.get("reference").apply
    monkeypatch.setattr(backends.get("reference"), "apply", lambda call: wrong(right(call)))
    assert fuzz.run(300, fuzz.SEED, report=lambda line: None)[1] > 3


def test_the_command_says_seed_and_figures():
    command = [sys.executable, "-m", "tools.fuzz", "--calls", "30", "--seed", "5"]
    done = subprocess.run(command, cwd=Path(fuzz.__file__).parent.parent, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and done.stdout.startswith("seed 5: 30 calls"), done.stdout + done.stderr
