"""Results of checks, as data. Imports no torch."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import NormsuiteError

OK, DIFFERS, UNSUPPORTED, FAILS = STATUSES = ("ok", "differs", "unsupported", "fails")
"""ok: as it should be. differs: off, but at most twice as far as torch's own call, or as two passes in the type are, or
by cost alone, or in a type that nobody declared. unsupported: the target refuses it with an error. fails: wrong."""
NOT_APPLICABLE = "not applicable"
SCHEMA = 1


class ConformanceError(NormsuiteError, AssertionError):
    """A target fails checks; the message has one line for each."""


@dataclass(frozen=True)
class Finding:
    """The result of one check, without its name.

    Attributes:
        status: one of `STATUSES`, or `NOT_APPLICABLE`.
        text: what is off, or why it does not apply.
        figure, beside: the target's figure and torch's own, in `unit`; None where there is none.
        unit: of both.
        smallest: the smallest input that shows the failure: its shape, type, and values where they are few.
    """

    status: str
    text: str = ""
    figure: float | None = None
    beside: float | None = None
    unit: str = ""
    smallest: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Result:
    """A check's finding on a target.

    Attributes:
        check: its name.
        sentence: what it looks at.
        finding: what it found.
        expected: the reason why it is known not to pass, or None.
    """

    check: str
    sentence: str
    finding: Finding
    expected: str | None = None

    @property
    def status(self) -> str:
        """Return how the check ended, one of `STATUSES`, or `NOT_APPLICABLE`."""
        return self.finding.status

    @property
    def is_failure(self) -> bool:
        """It fails, and nobody expected that."""
        return self.status == FAILS and self.expected is None

    @property
    def passes_unexpectedly(self) -> bool:
        """Return whether the check passes although it is expected not to."""
        return self.expected is not None and self.status == OK

    def line(self) -> str:
        """Return the finding in one line."""
        parts = [self.finding.text] if self.finding.text else []
        if self.finding.smallest:
            parts.append(f"smallest input: {described(self.finding.smallest)}")
        if self.expected:
            parts.append(f"{'no longer ' if self.passes_unexpectedly else ''}expected: {self.expected}")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dictionary for JSON."""
        return {"check": self.check, "sentence": self.sentence, **asdict(self.finding), "expected": self.expected}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Result":
        """Return the result that `as_dict` has written, also when it was stored as JSON."""
        names = ("status", "text", "figure", "beside", "unit", "smallest")
        finding = {name: found[name] for name in names}
        for name in ("figure", "beside"):  # JSON has infinities by name
            finding[name] = None if finding[name] is None else float(finding[name])
        return cls(found["check"], found["sentence"], Finding(**finding), found["expected"])


@dataclass(frozen=True)
class Report:
    """All results of one target.

    Attributes:
        target: its title.
        like: the norm that it is like, or None.
        results: in the order of the checks.
        notes: lines on what went on beside, such as what the target printed.
    """

    target: str
    like: str | None
    results: tuple[Result, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def shown(self) -> list[Result]:
        """Return the results of checks that apply."""
        return [result for result in self.results if result.status != NOT_APPLICABLE]

    @property
    def failures(self) -> list[Result]:
        """Return the results that count as failures."""
        return [result for result in self.results if result.is_failure]

    @property
    def ok(self) -> bool:
        """No check fails that is not expected to."""
        return not self.failures

    def assert_ok(self) -> "Report":
        """Return the report itself.

        Raises:
            ConformanceError: it is not ok; the message has a line for each failure.
        """
        if not self.ok:
            lines = [f"  {result.check}: {result.line()}" for result in self.failures]
            raise ConformanceError("\n".join([self.sentence(), *lines]))
        return self

    def sentence(self) -> str:
        """Return a sentence that says how many checks had which outcome."""
        counts = {status: sum(result.status == status for result in self.results) for status in STATUSES}
        said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        expected = sum(result.expected is not None and result.status != OK for result in self.results)
        like = f", like {self.like}" if self.like else ""
        return f"{self.target}{like}: {said or 'no check applies'}{f' ({expected} expected)' if expected else ''}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary for JSON."""
        return {
            "what": "check",
            "schema": SCHEMA,
            "target": self.target,
            "like": self.like,
            "ok": self.ok,
            "results": [result.as_dict() for result in self.results],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Report":
        """Return the report that `as_dict` has written, also when it was stored as JSON."""
        results = tuple(Result.from_dict(result) for result in found["results"])
        return cls(found["target"], found["like"], results, tuple(found["notes"]))

    def markdown(self) -> str:
        """Return a table of the checks that apply."""
        from ..presentation import markdown
        from .tables import results

        lines = [f"### {markdown.escaped(self.sentence())}", "", *markdown.table(results(self))]
        lines += ["", *(f"- {markdown.escaped(note)}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        bad = [f"  {r.status:11} {r.check}: {r.line()}" for r in self.shown if r.status != OK]
        return "\n".join([self.sentence(), *bad])

    def _repr_markdown_(self) -> str:
        return self.markdown()


def figures(finding: Finding) -> tuple[str, str]:
    """Return the figure and torch's beside it as texts."""
    unit = f" {finding.unit}" if finding.unit else ""
    figure, beside = ("" if value is None else f"{value:.3g}{unit}" for value in (finding.figure, finding.beside))
    return figure, beside


def described(smallest: Mapping[str, Any]) -> str:
    """Return an input in words."""
    shape = "×".join(map(str, smallest["shape"])) or "one number"
    further = "".join(f", {name} {smallest[name]:g}" for name in ("mean", "scale") if name in smallest)
    values = smallest.get("values")
    return f"{shape} {smallest['dtype']}{further}{f', values {values}' if values is not None else ''}"


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the first of the worst findings."""
    order = (NOT_APPLICABLE, *STATUSES)
    return max(findings, key=lambda finding: order.index(finding.status))
