"""Records of a bench with the ratios of the tests' own."""

import math
import random

from normsuite.bench.summary import AGAIN, BASELINE, COPY
from normsuite.measure import task
from normsuite.measure.cases import CASES
from normsuite.records import kinds, provenance, results
from normsuite.spec import NORMS

SPECS = [spec for spec in NORMS.values() if spec.torch_call]


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
            kinds.BENCH.what,
            made.as_dict(),
            {"processes": samples(ratios, **further), "counts": counts, "refused": {"liger": "needs an accelerator"}},
            environment=provenance.environment(threads=2),
            seeds=[0],
            settings={"processes": 5, "seconds": 0.4, "threads": 2, "backends": []},
        ),
        "written": "2026-01-01T00:00:00+00:00",
    }
