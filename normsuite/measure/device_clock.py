"""Times of calls on an accelerator: device time, and the time for which they keep the host.

An event pair around an eager call times the host where kernels are short. Device time is therefore that of a captured
graph, replayed: no Python runs between its kernels. Every call of the graph has operands of its own, together more than
the caches hold, so that none finds its input there, unless `MOST_OPERANDS` sets are too small for that. The device is
given other work first, so that the whole sample is in its queue before the first event is due. What cannot be captured
is queued call by call behind such work, and recorded as not captured.

Host time is the wall clock of a call without a wait for its end, of so few calls that the queue never fills up.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Protocol
from weakref import WeakKeyDictionary

import torch

from ..machine import device as devices
from ..machine.device_state import DeviceState
from .clock import Call, Timer

SHORTEST_SAMPLE_S = 1e-3
"""A sample of device time lasts at least this long: events count in steps of half a microsecond."""

AHEAD_S = 2e-3
"""Work that the device has before a sample is queued, so that the host is done queueing before the sample begins."""

HOST_CALLS = 100
"""Calls in a sample of host time. A queue holds about a thousand kernels; a norm's step takes ten at most."""

LEAST_HOST_CALLS = 10
HOST_QUEUE_S = 10e-3
"""Seconds of the device's work that a sample of host time queues at most. `LEAST_HOST_CALLS` calls that take longer are
queued all the same; the host then may wait for the device."""

LOADED_S = 20e-3
"""Work that the device has while its driver is asked for its state."""

ROTATION = 3
"""Operands of all calls in a graph, as a multiple of the last-level cache."""

MOST_OPERANDS = 32


class Device(Protocol):
    """An accelerator's runtime, as far as the clock needs it."""

    def capture(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return what replays those calls as one graph; raise RuntimeError where they cannot be captured."""

    def event(self) -> "Event":
        """Return an event that takes the time."""

    def occupy(self, seconds: float) -> None:
        """Queue work that takes about that many seconds."""

    def synchronize(self) -> None:
        """Wait until everything that was queued is done."""

    def release(self) -> None:
        """Free captured graphs and their memory."""


class Event(Protocol):
    """A mark in a device's queue, which tells when the device came to it."""

    def record(self) -> None:
        """Record the event in the queue."""

    def elapsed_time(self, end: "Event") -> float:
        """Return the milliseconds from this to the end, both of which have happened."""


class Accelerator:
    """torch's accelerator as a `Device`."""

    def __init__(self, device: str):
        self._device = torch.device(device)
        self._module = torch.get_device_module(self._device)
        # Autograd runs a backward pass on the stream of its forward pass, and a graph is captured on one that is not
        # the default one: so everything runs on this.
        self._stream = self._module.Stream(self._device)
        self.synchronize()  # what is on its way to operands on another stream
        self._module.set_stream(self._stream)
        self._kept: list[object] = []
        self._pool = None
        self._matrix = torch.randn((2048, 2048), device=self._device)
        self._product_s: float | None = None

    def capture(self, calls):
        """Capture the calls as one graph, and return the function that replays it."""
        graph_type = getattr(self._module, "CUDAGraph", None) or getattr(self._module, "XPUGraph", None)
        if graph_type is None:
            raise RuntimeError(f"torch captures no graphs on {self._device.type}")
        graph, results = graph_type(), []
        if self._pool is None:
            self._pool = self._module.graph_pool_handle()
        with self._module.graph(graph, pool=self._pool, stream=self._stream):
            # Outputs stay until the end: the next call would find their memory in the caches. After it the next graph
            # may have that memory, since graphs are replayed one after the other and what they wrote is not read.
            results.extend(call() for call in calls)
        self._kept.append((graph, calls))
        return graph.replay

    def event(self):
        """Return an event that tells the time."""
        return torch.Event(self._device, enable_timing=True)

    def occupy(self, seconds):
        """Queue products of matrices that take about that many seconds."""
        if self._product_s is None:
            self._product_s = 1.0
            for _ in range(2):  # the first one loads the library
                self.synchronize()
                begun = time.perf_counter()
                torch.mm(self._matrix, self._matrix)
                self.synchronize()
                self._product_s = time.perf_counter() - begun
        for _ in range(max(1, round(seconds / self._product_s))):
            torch.mm(self._matrix, self._matrix)

    def synchronize(self):
        """Wait until the device has done all that was queued."""
        torch.accelerator.synchronize(self._device)

    def release(self):
        """Free captured graphs and their memory."""
        self.synchronize()
        self._kept.clear()
        self._pool = None
        torch.accelerator.memory.empty_cache()


class DeviceTimer(Timer):
    """Calls that are queued together, by the accelerator's own clock.

    Args:
        queue: queues all of them once.
        calls: how many those are.
        device: where they run.
        reason: why they are queued one by one, or None where they are one captured graph.
        host_s: for how long one call keeps the host, where they are queued one by one.
    """

    shortest_s = SHORTEST_SAMPLE_S

    def __init__(
        self,
        queue: Callable[[], None],
        calls: int,
        device: Device,
        *,
        reason: str | None = None,
        host_s: float = 0.0,
    ):
        self._queue, self._device, self._host_s = queue, device, host_s
        self.calls, self.reason = calls, reason
        if reason is not None:  # the driver's queue holds about a thousand
            self.most = max(1, HOST_CALLS // calls)

    def sample(self, repeat):
        """Return the device's seconds of one call, from `repeat` repetitions behind other work."""
        start, end = self._device.event(), self._device.event()
        self._device.occupy(AHEAD_S + 2 * self._host_s * repeat * self.calls)
        start.record()
        for _ in range(repeat):
            self._queue()
        end.record()
        self._device.synchronize()
        return start.elapsed_time(end) / 1e3 / (repeat * self.calls)

    def once(self):
        """Make all calls once, untimed, and wait for their end: a warm-up by the host's clock would queue hundreds."""
        self._queue()
        self._device.synchronize()


class LaunchTimer(Timer):
    """Calls that are queued and not waited for, by the host's clock.

    Args:
        calls: one for each set of operands, which have been warmed up.
        device: where they run.
    """

    tries = 3

    def __init__(self, calls: Sequence[Call], device: Device):
        self._calls, self._device, self.calls = calls, device, len(calls)
        device.synchronize()
        begun = time.perf_counter()
        self.once()
        # The device takes no longer than this for a call, so that its queue is not filled up.
        call_s = (time.perf_counter() - begun) / self.calls
        self.most = max(1, host_calls(call_s) // self.calls)

    def sample(self, repeat):
        """Return the seconds for which one call keeps the host, of `repeat` rounds of them."""
        return host_sample(self._calls, self._device, repeat * self.calls)

    def once(self):
        """Make all calls once, untimed, and wait for their end."""
        for call in self._calls:
            call()
        self._device.synchronize()


@cache
def accelerator(device: str) -> Accelerator:
    """Return the runtime of that device: one for the whole process, since everything runs on its stream.

    It must exist before the first call is prepared.
    """
    return Accelerator(device)


def state_under_load(device: Device, state: DeviceState) -> dict | None:
    """Return what the driver says of a device while it works: clocks and power of an idle one are those of no call."""
    device.occupy(LOADED_S)
    found = state.read()
    device.synchronize()
    return found


def environment(device: str) -> dict:
    """Return an accelerator's properties and its state under load, for a record; nothing of the processor.

    The device is made ready for the clock by that (`clock.open_device`).
    """
    if device == "cpu":
        return {}
    state = DeviceState(device)
    return {
        "device": devices.properties(device),
        "device_state": state.reason or state_under_load(accelerator(device), state),
    }


def operand_sets(operand_bytes: int, cache_bytes: int) -> int:
    """Return how many sets of operands of that size are more than the caches hold.

    There are two at least, and not so many that small ones take longer to make than to measure.
    """
    return max(2, min(MOST_OPERANDS, -(-ROTATION * cache_bytes // max(1, operand_bytes))))


class CaptureFailed(RuntimeError):
    """Calls could not be captured.

    torch may be unable to capture or draw random numbers in this process from now on ("Offset increment outside graph
    capture"): what follows belongs into a fresh one.
    """


def warm_up(calls: Sequence[Call], device: Device) -> None:
    """Make every call twice, so that modules are loaded and memory is cached before anything is captured or timed."""
    for _ in range(2):
        for call in calls:
            call()
    device.synchronize()


def captured(calls: Sequence[Call], device: Device) -> DeviceTimer:
    """Capture the calls, which have been warmed up, as one graph.

    Raises:
        CaptureFailed: they cannot be captured; the message says why.
        OutOfMemoryError: the graph's memory does not fit.
    """
    try:
        return DeviceTimer(device.capture(calls), len(calls), device)
    except torch.OutOfMemoryError:  # a RuntimeError too, which says nothing of the calls
        raise
    except RuntimeError as error:
        raise CaptureFailed(" ".join(str(error).split())[:200]) from error


def queued(calls: Sequence[Call], reason: str, device: Device) -> DeviceTimer:
    """Return a timer that queues the calls one by one, since for that reason they cannot be captured."""

    def queue_each() -> None:
        for call in calls:
            call()

    return DeviceTimer(queue_each, len(calls), device, reason=reason, host_s=host_sample(calls, device))


def timers(calls: Mapping[str, Sequence[Call]], device: Device) -> dict[str, DeviceTimer]:
    """Return a timer for the calls of each name, warmed up and captured as a graph.

    Where any cannot be captured, those of all names are queued one by one, so that they are still timed alike, and so
    is everything that this process times from then on.
    """
    for of_name in calls.values():
        warm_up(of_name, device)
    if device not in _failed:
        try:
            return {name: captured(of_name, device) for name, of_name in calls.items()}
        except CaptureFailed as failed:
            _failed[device] = str(failed)
    return {name: queued(of_name, _failed[device], device) for name, of_name in calls.items()}


def host_timers(calls: Mapping[str, Sequence[Call]], device: Device) -> dict[str, LaunchTimer]:
    """Return a timer of host time for the calls of each name, warmed up."""
    for of_name in calls.values():
        warm_up(of_name, device)
    return {name: LaunchTimer(of_name, device) for name, of_name in calls.items()}


_failed: "WeakKeyDictionary[Device, str]" = WeakKeyDictionary()
"""Why a device of this process captures no more graphs."""


def host_calls(call_s: float) -> int:
    """Return how many calls of that device time make a sample of host time."""
    return max(LEAST_HOST_CALLS, min(HOST_CALLS, int(HOST_QUEUE_S / max(call_s, 1e-9))))


def host_sample(calls: Sequence[Call], device: Device, number: int = HOST_CALLS) -> float:
    """Return the seconds for which one of the calls keeps the host, of about so many calls."""
    device.synchronize()
    rounds = max(1, number // len(calls))
    begun = time.perf_counter()
    for _ in range(rounds):
        for call in calls:
            call()
    took = time.perf_counter() - begun
    device.synchronize()
    return took / (rounds * len(calls))
