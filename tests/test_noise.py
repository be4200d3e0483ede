"""Noise of blocks and of processes, told apart in made-up runs of known deviations."""

import math

import numpy as np
import pytest

from tools.noise import BLOCKS, noise_of, said, share


def runs(of_process, *, cells=400, processes=6, each=4, block=0.03):
    """Logarithms (cells, processes, runs): blocks deviate by 3 %, processes by that much beside them."""
    draw = np.random.default_rng(0)
    own = draw.normal(0, block / math.sqrt(BLOCKS), (cells, processes, each))
    return own + draw.normal(0, of_process, (cells, processes, 1))


@pytest.mark.parametrize("of_process", [0.0, 0.003, 0.01])
def test_deviations_of_blocks_and_processes_are_found(of_process):
    found = [noise_of(logs, BLOCKS, 1e-3) for logs in runs(of_process)]
    value, low, high = share(found, 6, 4)
    assert np.sqrt(np.mean([each.block**2 for each in found])) == pytest.approx(0.03, rel=0.02)
    assert low <= value <= high
    assert low - 0.02 <= of_process**2 / (0.03**2 / BLOCKS) <= high + 0.02


def test_short_and_long_calls_have_a_line_each():
    def lines(logs, call_s):
        named = {"base_s": call_s, "blocks": BLOCKS}
        return [
            {f"{call_s} {cell}": [{"log_ratio": log, **named} for log in logs[cell, at]] for cell in range(len(logs))}
            for at in range(logs.shape[1])
        ]

    short, long = lines(runs(0.01), 1e-5), lines(runs(0.0, block=0.01), 1e-3)
    _, of_short, of_long = said([a | b for a, b in zip(short, long, strict=True)])
    assert of_short.startswith("calls of less than 50 us (400 cells): a block deviates by ")
    assert float(of_short.split("deviates by ")[1].split("%")[0]) == pytest.approx(3.0, abs=0.2)
    blocks = float(of_short.split("mean of ")[1].split(" ")[0])
    assert blocks == pytest.approx((0.03 / 0.01) ** 2, abs=1)
    assert of_long.startswith("calls of 50 us and more (400 cells): a block deviates by ")
    assert float(of_long.split("deviates by ")[1].split("%")[0]) == pytest.approx(1.0, abs=0.1)
