"""Records of the bench: one task each."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .record import Record
from .values import Count, Error, Few, Seconds, Shape, Share, Size, Time

Mode = Literal["forward", "step", "backward", "evaluation"]


class TaskCase(Struct, kw_only=True):
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


class BenchTask(TaskCase, kw_only=True):
    tiny: bool


class Process(Struct):
    times_s: dict[str, Annotated[list[Time | None], Meta(min_length=1)]]
    own_pools: list[str]
    others_share: Share | None
    host_s: dict[str, Annotated[list[Time | None], Meta(min_length=1)]] = {}
    waits_s: dict[str, Seconds] = {}
    clock_mhz: Count | None = None


class Counts(Struct):
    output_error: Error | None = None
    gradient_error: Error | None = None
    peak_bytes: Count | None = None
    saved_bytes: Count | None = None


class BenchSettings(Struct):
    processes: Few
    seconds: Seconds | None = None
    threads: Size | None = None


class BenchSamples(Struct):
    processes: list[Process]
    counts: dict[str, Counts]
    refused: dict[str, str]


class Bench(Record, kw_only=True):
    """Implementations on one task."""

    case: BenchTask
    samples: BenchSamples
    settings: BenchSettings

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        processes = self.samples.processes
        if len(processes) > self.settings.processes:
            yield "samples: processes: are more than were asked for"
        if len({frozenset(of.times_s) for of in processes if of.times_s}) > 1:  # one that died has none
            yield "samples: processes: not all timed the same"
        for of in processes:
            for times in (of.times_s, of.host_s):
                if len({len(values) for values in times.values()}) > 1:
                    yield "samples: processes: rounds are not complete"
