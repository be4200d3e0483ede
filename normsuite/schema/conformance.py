"""Records of checks: one target each."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from .record import Record
from .values import AnyNumber


class ConformanceCase(Struct):
    target: str
    like: str | None
    args: list[str]
    kwargs: dict[str, str]


class CheckResult(Struct):
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
    results: Annotated[list[CheckResult], Meta(min_length=1)]
    notes: list[str]


class Conformance(Record, kw_only=True):
    """Checks of one target."""

    case: ConformanceCase
    samples: ConformanceSamples
