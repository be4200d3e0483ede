"""Records of checks: one target each."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from .record import Record
from .values import AnyNumber


class ConformanceCase(Struct):
    """The target, by its import path, the norm that it is like, and the arguments that it was made with."""

    target: str
    like: str | None
    args: list[str]
    kwargs: dict[str, str]


class CheckResult(Struct):
    """The finding of one check.

    Attributes:
        check, sentence: its name, and the statement that it makes.
        status: how it ended.
        text: the reason or the difference, in words.
        figure, beside: the target's figure and torch's own, in `unit`.
        smallest: the smallest input that shows the failure.
        expected: the reason why the check is known not to pass, or None.
    """

    check: str
    sentence: str
    status: Literal["ok", "differs", "unsupported", "fails", "not applicable"]
    text: str
    figure: AnyNumber | None
    beside: AnyNumber | None
    unit: str
    smallest: dict[str, Any] | None
    expected: str | None


class ConformanceSamples(Struct):
    """The findings of all checks on one target, and notes on what went on beside."""

    results: Annotated[list[CheckResult], Meta(min_length=1)]
    notes: list[str]


class Conformance(Record, kw_only=True):
    """Checks of one target."""

    case: ConformanceCase
    samples: ConformanceSamples
