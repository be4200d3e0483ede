"""Series of one benchmark over commits, cut where something else than a commit changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from .adapter import TORCH, Measurement

EXACT_UNITS = ("bytes", "relative error")
"""Of what is counted or computed from seeded inputs: equal commits give equal values on equal machines."""


@dataclass(frozen=True)
class Segment:
    """One benchmark with one choice of parameters, on one machine with one torch and numba; oldest commit first.

    Attributes:
        measurements: that have a value, one for each commit.
        newest: of the segments of its benchmark, parameters and machine it was measured last.
    """

    measurements: tuple[Measurement, ...]
    newest: bool

    @property
    def series(self) -> str:
        """Its benchmark and parameters."""
        return series_name(self.measurements[0])

    @property
    def benchmark(self) -> str:
        return self.measurements[0].benchmark

    @property
    def unit(self) -> str:
        return self.measurements[0].unit

    @property
    def machine(self) -> str:
        return self.measurements[0].machine

    @property
    def versions(self) -> str:
        """Of torch and numba, as far as they are known."""
        return versions(self.measurements[0])

    @cached_property
    def commits(self) -> list[str]:
        return [m.commit for m in self.measurements]

    @cached_property
    def values(self) -> list[float]:
        return [float(m.value) for m in self.measurements]

    @property
    def exact(self) -> bool:
        """Its values have no noise."""
        return self.unit in EXACT_UNITS

    @property
    def lower_is_worse(self) -> bool:
        """So it is with accuracies; asv itself takes every increase to be worse."""
        return "accuracy" in self.unit


def series_name(measured: Measurement) -> str:
    """The benchmark and its parameters, as one line."""
    return " ".join([measured.benchmark, *measured.parameters.values()])


def versions(measured: Measurement) -> str:
    """Of torch and numba, as far as they are known."""
    known = (("torch", measured.torch), ("numba", measured.numba))
    return ", ".join(f"{name} {version}" for name, version in known if version) or "torch of unknown version"


def segments(measurements: Iterable[Measurement]) -> list[Segment]:
    """Every series in its segments, in the order of their first measurements.

    Another processor or number of cores, another torch, or another numba where asv recorded it, is another segment:
    across them nothing is compared.

    Args:
        measurements: oldest commit first, as `read` gives them; what failed or is n/a is passed over.
    """
    found: dict[tuple, dict[tuple, list[Measurement]]] = {}
    of_objects: dict[
        tuple, list[Measurement]
    ] = {}  # a long history has a million measurements, and few objects in them
    for m in measurements:
        if m.measured and m.benchmark != TORCH:
            same = (m.benchmark, id(m.parameters), m.machine, m.torch, m.numba)
            if same not in of_objects:
                series = (m.benchmark, *m.parameters.values(), m.machine)
                of_objects[same] = found.setdefault(series, {}).setdefault((m.torch, m.numba), [])
            of_objects[same].append(m)
    cut = []
    for of_versions in found.values():
        last = max(of_versions.values(), key=lambda of: max(m.recorded for m in of))
        cut += [Segment(tuple(of), of is last) for of in of_versions.values()]
    return cut
