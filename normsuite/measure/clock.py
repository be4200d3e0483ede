"""How long a call takes: samples in seconds, from the processor's clock or from the device's own events."""

import gc
import time
from collections.abc import Callable

import torch

SHORTEST_SAMPLE_S = 100e-6
"""A sample lasts at least this long, so that reading the clock (some 50 ns) is lost in it."""

SHORTEST_DEVICE_SAMPLE_S = 2e-3
"""On an accelerator, which idles from the first event until the host has launched the first call, for some
microseconds: too many among 100."""


def latency_samples(
    call: Callable[[], object], *, device: str = "cpu", seconds: float = 0.3, least: int = 10, most: int = 500
) -> list[float]:
    """Time a call again and again; samples in seconds per call.

    Short calls are repeated within a sample. A fifth of the time goes to warming up, which is not counted, and garbage
    is collected before the clock starts, not while it runs. On an accelerator the samples are the times between two
    events on its stream: for calls that it finishes sooner than the host can launch the next, they are the host's.

    Args:
        call: without arguments; its result is dropped.
        device: "cpu" or the accelerator's name.
        seconds: how long to go on.
        least, most: bounds on the number of samples, whatever the time.
    """
    sample = sampler(device)
    repeat, warm_until = 1, time.perf_counter() + seconds / 5
    while True:
        elapsed = sample(call, repeat)
        if elapsed * repeat < shortest_sample_s(device):
            repeat *= 2
        elif time.perf_counter() >= warm_until:
            break
    samples: list[float] = []
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while len(samples) < least or (time.perf_counter() < end and len(samples) < most):
            samples.append(sample(call, repeat))
    finally:
        if was_enabled:
            gc.enable()
    return samples


def shortest_sample_s(device: str) -> float:
    """How long a sample on that device must last to be worth its clock."""
    return SHORTEST_DEVICE_SAMPLE_S if device != "cpu" else SHORTEST_SAMPLE_S


def sampler(device: str) -> Callable[[Callable[[], object], int], float]:
    """A function of a call and a number of repetitions: the seconds that one of them took."""
    return _device_sample if device != "cpu" else _host_sample


def _host_sample(call: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat


def _device_sample(call: Callable[[], object], repeat: int) -> float:
    start, end = (torch.Event(torch.accelerator.current_accelerator(), enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeat):
        call()
    end.record()
    torch.accelerator.synchronize()
    return start.elapsed_time(end) / 1e3 / repeat  # events count milliseconds
