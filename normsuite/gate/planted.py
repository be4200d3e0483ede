"""Slowdowns of a known size, for the gate to find: a copy of this file goes into the versions that it is tried on.

Extra work is a loop of additions, as long as the wanted share of the call's own time, both measured in turn in the
process that is then measured, long enough that the share is the same in each. A share of nought takes the same path
without any additions, so that two versions which differ in their shares differ in nothing else.
"""

import statistics
import time

import torch

LEAST_ROUNDS, MOST_ROUNDS = 15, 200
ROUNDS_S = 0.06


def slower(normalize, shares):
    """`functional.normalize` that takes longer where it is told to.

    Args:
        normalize: the function.
        shares: of a call's own time, by (norm, backend, shape, whether a gradient is wanted); with the gradient, of a
            forward and a backward pass.
    """
    additions = {}

    def slowed(spec, input, *args, **kwargs):
        y = normalize(spec, input, *args, **kwargs)
        key = (spec.name, kwargs["backend"], tuple(input.shape), y.requires_grad)
        if key not in additions:
            additions[key] = _additions(normalize, shares.get(key, 0.0), spec, input, args, kwargs)
        _add(additions[key])
        return y

    return slowed


def _add(count):
    total = 0
    for number in range(count):
        total += number


def _additions(normalize, share, spec, input, args, kwargs):
    """How many additions take that share of the call's time."""
    if not share:
        return 0
    wanted = [t for t in (input, *args) if torch.is_tensor(t) and t.requires_grad]

    def call():
        y = normalize(spec, input, *args, **kwargs)
        if y.requires_grad:
            torch.autograd.grad(y, wanted, torch.ones_like(y))

    def seconds(work):
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    for _ in range(3):
        call()
    count, ratios, end = 1000, [], time.perf_counter() + ROUNDS_S
    while len(ratios) < LEAST_ROUNDS or (time.perf_counter() < end and len(ratios) < MOST_ROUNDS):
        # Of two each the shorter: what disturbs a machine only ever adds time.
        ratios.append(
            min(seconds(call), seconds(call)) / min(seconds(lambda: _add(count)), seconds(lambda: _add(count)))
        )
    return round(share * count * statistics.median(ratios))
