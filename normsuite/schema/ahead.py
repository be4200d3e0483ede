"""Records of kernels that were compiled without a device."""

from typing import Annotated

from msgspec import Meta, Struct, field

from .record import Record
from .values import Count, Positive, Size


class AheadCase(Struct):
    capabilities: Annotated[list[Size], Meta(min_length=1)]
    only: str


class Compiled(Struct):
    kernel: str
    capability: Size
    registers: Count
    stack_bytes: Count
    local_bytes: Count
    loads: dict[Annotated[str, Meta(pattern=r"^[0-9]+$")], Count]
    local: Count
    atomics: Count


class Kernel(Struct):
    compiled: Compiled
    programs: Count
    widest: Count
    faults: list[str]


class Call(Struct):
    call: str
    capability: Size
    ratio: Positive


class AheadSamples(Struct):
    kernels: Annotated[list[Kernel], Meta(min_length=1)]
    calls: Annotated[list[Call], Meta(min_length=1)]


class Ahead(Record, kw_only=True):
    """Kernels compiled without a device."""

    case: AheadCase
    samples: AheadSamples
    compiler: dict[str, str | None] = field(default_factory=dict)
