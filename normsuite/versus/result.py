"""Results of a comparison: ratios with intervals and verdicts, derived from the samples. Imports no torch."""

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ArgumentError, NormsuiteError
from ..frames import frame
from ..presentation import text
from ..presentation.table import Table
from ..statistics import ABOVE, AT_MOST, BELOW, OPEN, Interval, exponential, mean_interval, not_worse

FASTER, SLOWER, SAME, UNDECIDED = "faster", "slower", "the same", "undecided"
ALPHA = 0.01
"""Probability of any false interval in a comparison. A callable compared with itself is called different less often."""
BATCHES = 12
"""Values that the rounds of one process are pooled to: neighbouring rounds see the same disturbance."""
_TRIMMED = 0.25
SCHEMA = 1


@dataclass(frozen=True)
class Comparison:
    """One callable beside the first.

    Attributes:
        name: of the callable.
        baseline: of the first.
        ratio: its time over the baseline's, with the interval; above 1 is slower.
        verdict: "faster", "slower", "the same" or "undecided".
    """

    name: str
    baseline: str
    ratio: Interval
    verdict: str

    def sentence(self) -> str:
        """Return the comparison of two callables in one line."""
        return f"{self.name} / {self.baseline} {written(self.ratio)}: {self._said()}"

    def _said(self) -> str:
        ratio = self.ratio
        if self.verdict != UNDECIDED or math.isnan(ratio.low):
            return self.verdict
        return f"{UNDECIDED}, at most {100 * (ratio.high - 1):.1f} % slower and {100 * (1 - ratio.low):.1f} % faster"


@dataclass(frozen=True)
class Result:
    """The result of a comparison.

    Attributes:
        samples: for each process the times of a call in seconds, by name and round.
        device: "cpu" or the accelerator's name.
        margin: how far from 1 a ratio may lie and still count as the same.
        environment: the machine, as records have it.
        failed: why a callable was not timed, by its name.
        given: the names of all callables, those not timed too, the baseline first; those timed where left out.
        host_time: on an accelerator, whether the times are those for which a call kept the host.
    """

    samples: tuple[Mapping[str, Sequence[float]], ...]
    device: str
    margin: float
    environment: Mapping[str, object]
    failed: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    host_time: bool = False

    @property
    def clock(self) -> str:
        """Return which time of the calls was taken, "time" or "host time"."""
        return "host time" if self.host_time else "time"

    @property
    def names(self) -> list[str]:
        """Return the callables' names, the baseline first."""
        return list(self.samples[0])

    @property
    def comparisons(self) -> list[Comparison]:
        """Return every callable beside the first."""
        baseline, *others = self.names
        confidence = 1 - ALPHA / max(1, len(others))
        return [
            Comparison(name, baseline, ratio, verdict(ratio, self.margin))
            for name in others
            for ratio in [_ratio(self._logs(name, baseline), confidence)]
        ]

    @property
    def ratio(self) -> Interval:
        """Return the second's time over the first's; raises NormsuiteError where the second was not timed."""
        return self._second().ratio

    @property
    def verdict(self) -> str:
        """Return the verdict on the second; raises NormsuiteError where it was not timed."""
        return self._second().verdict

    def _second(self) -> Comparison:
        name = (self.given or self.names)[1]
        if name in self.failed:
            raise NormsuiteError(f"{name}: not measured, {self.failed[name]}")
        return next(comparison for comparison in self.comparisons if comparison.name == name)

    def median_s(self, name: str) -> float:
        """Return a callable's median time in seconds."""
        if name not in self.names:
            raise ArgumentError("name", name, f"must be among {', '.join(self.names)}")
        return plain.median(t for process in self.samples for t in process[name])

    def _logs(self, name: str, baseline: str) -> list[float]:
        """Return log ratios that are independent enough for an interval: one for each process or batch of a process."""
        logs = [np.log(np.divide(process[name], process[baseline])) for process in self.samples]
        if len(logs) > 1:
            return [_trimmed(of) for of in logs]
        return [_trimmed(batch) for batch in np.array_split(logs[0], BATCHES)]

    def as_dict(self) -> dict[str, Any]:
        """Return the record: samples and environment, and what is derived from them."""
        return {
            "what": "compare",
            "schema": SCHEMA,
            "device": self.device,
            "host_time": self.host_time,
            "margin": self.margin,
            "environment": dict(self.environment),
            "failed": dict(self.failed),
            "given": list(self.given or self.names),
            "samples": [{name: list(times) for name, times in process.items()} for process in self.samples],
            "ratios": {
                comparison.name: {
                    "baseline": comparison.baseline,
                    "ratio": [comparison.ratio.value, comparison.ratio.low, comparison.ratio.high],
                    "verdict": comparison.verdict,
                }
                for comparison in self.comparisons
            },
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Result":
        """Return the result of a record; its ratios are derived anew."""
        fixed = (tuple(found["samples"]), found["device"], found["margin"], found["environment"])
        return cls(*fixed, found.get("failed", {}), tuple(found.get("given", ())), found.get("host_time", False))

    def to_json(self) -> str:
        """Return the record as JSON."""
        from ..files.writing import to_json

        return to_json(self.as_dict())

    def to_frame(self) -> Any:
        """Return a pandas frame with one sample a row: process, round, name, seconds.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        return frame(self.rows(), columns=["process", "round", "name", "seconds"])

    def rows(self) -> list[tuple[int, int, str, float]]:
        """Return the samples: process, round, name, seconds."""
        return [
            (process, number, name, seconds)
            for process, of in enumerate(self.samples)
            for name, times in of.items()
            for number, seconds in enumerate(times)
        ]

    def plot(self, axes: Any = None) -> Any:
        """Draw each callable's ratio with its interval, and return matplotlib's axes.

        Args:
            axes: where; new ones where left out.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 0.6 * len(self.comparisons) + 1.2), layout="constrained").add_subplot()
        comparisons = self.comparisons[::-1]
        values = [comparison.ratio.value for comparison in comparisons]
        errors = [
            [d.ratio.value - d.ratio.low for d in comparisons],
            [d.ratio.high - d.ratio.value for d in comparisons],
        ]
        axes.errorbar(values, range(len(comparisons)), xerr=np.nan_to_num(errors), fmt="o", capsize=4)
        axes.axvline(1.0, color="grey", linewidth=1)
        axes.set_yticks(range(len(comparisons)), [comparison.name for comparison in comparisons])
        axes.set_ylim(-0.5, len(comparisons) - 0.5)
        axes.set_xlabel(f"{self.clock} / {self.names[0]}'s, {100 * (1 - ALPHA):g} % intervals")
        return axes

    def sentences(self) -> list[str]:
        """Return one line for each callable beside the first, and for each that was not timed."""
        failed = [f"{name}: not measured, {reason}" for name, reason in self.failed.items()]
        said = [f"{self.clock}, for which a call occupies the host:"] if self.host_time else []
        return [*said, *(comparison.sentence() for comparison in self.comparisons), *failed]

    def __repr__(self) -> str:
        return "\n".join(self.sentences())

    def _repr_html_(self) -> str:
        from ..presentation import html

        rows = [(self.names[0], text.seconds(self.median_s(self.names[0])), "1", "")]
        rows += [(d.name, text.seconds(self.median_s(d.name)), written(d.ratio), d.verdict) for d in self.comparisons]
        rows += [(name, "", "", reason) for name, reason in self.failed.items()]
        return html.plain(Table("", ("", f"median {self.clock}", "ratio", "verdict"), rows))


def verdict(ratio: Interval, margin: float) -> str:
    """Return what an interval of a ratio decides."""
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return SAME
    beside = {ABOVE: SLOWER, BELOW: FASTER, AT_MOST: UNDECIDED, OPEN: UNDECIDED}
    return beside[not_worse(ratio, better_below=1, worse_above=1)]


def written(ratio: Interval) -> str:
    """Return a ratio with its interval for people."""
    return text.interval(ratio, text.ratio_of_times)


def _ratio(logs: Sequence[float], confidence: float) -> Interval:
    return exponential(mean_interval(logs, confidence))


def _trimmed(values: np.ndarray) -> float:
    kept = np.sort(values)
    cut = int(_TRIMMED * len(kept))
    return float(kept[cut : len(kept) - cut].mean())
