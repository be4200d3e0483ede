"""Fields that every kind of record has."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from .values import Count, Few, NonNegative, Size


class Device(Struct):
    """Properties of an accelerator; further ones are let be."""

    multiprocessors: Count | None = None
    cache_bytes: Count | None = None
    memory_bytes: Count | None = None


class DeviceState(Struct):
    """State of an accelerator as its driver reports it; None what it does not tell."""

    power_w: NonNegative | None
    power_limit_w: NonNegative | None
    throttled: list[str] | None


class OtherEnvironment(Struct):
    """What differs in a gate's base that has an interpreter of its own; None where it is the same."""

    packages: dict[str, str] | None = None
    python: str | None = None


class Environment(Struct):
    """The machine and the software."""

    cpu: str
    cores: Few
    packages: dict[str, str]
    threads: Few | None = None
    governor: str | None = None
    accelerator: str | None = None
    driver: str | None = None
    system: str | None = None
    python: str | None = None
    allocator: dict[str, str] = {}
    device: Device | None = None
    device_state: DeviceState | str | None = None
    base: OtherEnvironment | None = None
    tuning_origin: str | None = None


class Record(Struct, kw_only=True):
    """Fields of every kind of record."""

    schema: Size
    what: str
    environment: Environment
    case: Any
    samples: Any
    written: str | UnsetType = UNSET
    commit: str | None = None
    source: str | None = None
    seeds: list[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]] = []
    depends: dict[str, Any] = {}
    notes: list[str] = []
    workers: Few | None = None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between fields."""
        if self.written is not UNSET:
            yield from no_date("written", self.written)


def no_date(name: str, text: str, kind: type[date] = datetime) -> Iterator[str]:
    """Yield that a text is no date, where it is none of that kind: a day, or a moment."""
    try:
        kind.fromisoformat(text)
    except ValueError:
        yield f"{name}: {text[:40]!r} is no date"
