"""Records of the bench: one task each."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .record import DeviceState, Record
from .values import AnyNonNegative, Count, Few, Seconds, Shape, Share, Size, Time

Mode = Literal["forward", "step", "backward", "evaluation"]


class TaskCase(Struct, kw_only=True):
    """One norm on one case, in one mode, on one device.

    Attributes:
        norm, case: their names.
        shape: (N, C, *S) of the input.
        mode: forward, backward, step or evaluation.
        activation: the one after the norm, or None.
        meaning: where such a shape comes from.
        num_groups: G, for a norm whose groups are given.
        channels_last: the layout of the tensors.
        tiny: so small that the call costs more than the arithmetic.
        dtype: of all tensors.
        device: "cpu" or the accelerator's name.
        backend: by name, for a cell of a gate.
        host_time: whether a gate's cell has the time for which a call keeps the host, on an accelerator.
    """

    norm: str
    case: str
    shape: Shape
    mode: Mode
    activation: str | None
    meaning: str | None = None
    num_groups: Size | None = None
    channels_last: bool = False
    tiny: bool = False
    dtype: str = "float32"
    device: str = "cpu"
    backend: str | None = None
    host_time: bool = False


class BenchTask(TaskCase, kw_only=True):
    """The task of a bench, which always says whether it is tiny."""

    tiny: bool


class Process(Struct):
    """Times from one process.

    Attributes:
        times_s: by implementation, seconds of one call in each round; None in rounds that it was left out of.
        own_pools: implementations with other threads than the baseline's.
        others_share: share that other programs took of the cores that the process may use; None where the system does
            not tell.
        host_s: by implementation, seconds for which a call kept the host in each round, on an accelerator.
        waits_s: by thread pool, seconds to sleep before a call of another pool is timed.
        clock_mhz: of the accelerator, where it tells.
        not_captured: by implementation whose calls were queued one by one, the reason.
        device_state: of the accelerator before and after the task, where it tells.
    """

    times_s: dict[str, Annotated[list[Time | None], Meta(min_length=1)]]
    own_pools: list[str]
    others_share: Share | None
    host_s: dict[str, Annotated[list[Time | None], Meta(min_length=1)]] = {}
    waits_s: dict[str, Seconds] = {}
    clock_mhz: Count | None = None
    not_captured: dict[str, str] = {}
    device_state: list[DeviceState | None] | None = None


class BenchSettings(Struct):
    """Settings of the bench: the number of processes, the seconds for a task in each, and torch's threads."""

    processes: Few
    seconds: Seconds | None = None
    threads: Size | None = None


class BenchSamples(Struct):
    """Raw results of one task.

    Attributes:
        processes: times, for each process; those of one that died are empty.
        counts: by implementation, what was counted by the key of its metric, a user's own too: errors relative to the
            root mean square of the truth, bytes, and so on; None where not counted.
        refused: by implementation that could not do the task, the reason.
    """

    processes: list[Process]
    counts: dict[str, dict[str, Count | AnyNonNegative | None]]
    refused: dict[str, str]


class Bench(Record, kw_only=True):
    """Implementations on one task.

    Attributes:
        method: digest of the code that decided what was timed, and how; older records have none.
    """

    case: BenchTask
    samples: BenchSamples
    settings: BenchSettings
    method: str | None = None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between fields: too many processes, or rounds that are not complete.

        Processes may have timed different implementations: one may fail in one of them alone.
        """
        yield from super().problems()
        processes = self.samples.processes
        if len(processes) > self.settings.processes:
            yield "samples: processes: are more than were asked for"
        for of in processes:
            for times in (of.times_s, of.host_s):
                if len({len(values) for values in times.values()}) > 1:
                    yield "samples: processes: rounds are not complete"
