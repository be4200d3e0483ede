"""Metrics: their names and units, whether they have noise, and how values are judged.

Imports no torch. Lower is better in all of them: an error rate and not an accuracy, seconds and not calls a second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from ..conventions.raised import raised_as
from ..errors import DataError

if TYPE_CHECKING:
    from .workload import Subject


@dataclass(frozen=True)
class Metric:
    """One kind of number.

    Attributes:
        name: in tables, such as "peak bytes".
        unit: "s", "bytes", "share" of all, "" for what is relative, or another word, which tables show behind a value.
        kind: what a user calls its margin: metrics of one kind share it.
        margin: how far a ratio may lie from 1, or a difference from 0, and still count as the same.
        exact: the same in every process, so that two values are compared as they are; others are sampled, and judged by
            an interval.
        by_difference: two values are compared by their difference instead of their ratio.
        of_steps: only a training step has it.
        count: for a metric that every workload of ours is asked for: the value, at least 0, or None where it has none.
    """

    name: str
    unit: str
    kind: str
    margin: float
    exact: bool = False
    by_difference: bool = False
    of_steps: bool = False
    count: "Callable[[Subject], float | None] | None" = None

    @property
    def key(self) -> str:
        """Return its name in records of a bench, such as "peak_bytes"."""
        return self.name.replace(" ", "_")


def _peak_bytes(subject: "Subject") -> int:
    from . import memory

    return memory.peak_bytes(subject.call, device=subject.task.device)


def _saved_bytes(subject: "Subject") -> int | None:
    from . import memory

    if subject.step is None:  # a backward pass alone saves nothing: what it needs was saved before
        return None
    return memory.saved_bytes(subject.step, beside=subject.parameters)


TIME = Metric("time", "s", "time", 0.01)
HOST_TIME = Metric("host time", "s", "time", 0.01)
OUTPUT_ERROR = Metric("output error", "", "error", 1.0, exact=True)
GRADIENT_ERROR = Metric("gradient error", "", "error", 1.0, exact=True)
"""Below twice an error lies what another order of the same additions does to it; a lost digit is ten times."""
ERROR_MEANS = (0.0, 1e4)
"""Means of the inputs whose errors a gate looks at: at the second one float32 has few digits left for the deviation."""

ERROR_RATE = Metric("error rate", "share", "error rate", 0.005, by_difference=True)
PEAK_BYTES = Metric("peak bytes", "bytes", "bytes", 0.01, exact=True, count=_peak_bytes)
SAVED_BYTES = Metric("saved bytes", "bytes", "bytes", 0.01, exact=True, of_steps=True, count=_saved_bytes)

ENTRY_POINTS = "normsuite.metrics"


def _announced() -> dict[str, Metric]:
    """Return the metrics that other packages announce; one of a name that is there already does not take its place.

    Raises:
        DataError: an entry point that leads to no metric.
    """
    entries = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    return {metric.name: metric for metric in map(_of, entries)}


def _of(entry: EntryPoint) -> Metric:
    where = f"entry point {entry.name} = {entry.value}"
    with raised_as(lambda said: DataError(f"{where}: {said}")):
        found = entry.load()
    if not isinstance(found, Metric):
        raise DataError(f"{where}: is no Metric")
    return found


METRICS = {
    **_announced(),
    **{metric.name: metric for metric in list(globals().values()) if isinstance(metric, Metric)},
}
"""All of the above, and those of other packages. The bench, the gate and asv ask for those with a `count`."""

COUNTED = tuple(metric for metric in METRICS.values() if metric.count is not None)


def find(name: str) -> Metric:
    """Return the metric of a row's name, which may say more behind it, as "output error at mean 0"."""
    return METRICS[name.partition(" at ")[0]]


def at_mean(metric: Metric, mean: float) -> str:
    """Return the name of a row with an error of inputs about that mean."""
    return f"{metric.name} at mean {mean:g}"


def judged_rows() -> list[str]:
    """Return the names of a gate's rows of times and of what is counted."""
    errors = (OUTPUT_ERROR, GRADIENT_ERROR)
    names = [metric.name for metric in METRICS.values() if metric is TIME or (metric.exact and metric not in errors)]
    return names + [at_mean(metric, mean) for metric in errors for mean in ERROR_MEANS]


def is_known(name: str) -> bool:
    """Return whether a row's name is that of a metric, here or of an installed package."""
    return name.partition(" at ")[0] in METRICS


def margins() -> dict[str, float]:
    """Return the margin of each kind."""
    return {metric.kind: metric.margin for metric in METRICS.values()}
