"""Records of kernels that were compiled without a device."""

from typing import Annotated

from msgspec import Meta, Struct, field

from .record import Record
from .values import Count, NonNegative, Size


class AheadCase(Struct):
    """Compute capabilities that were compiled for, such as 90, and the pattern that calls' names matched."""

    capabilities: Annotated[list[Size], Meta(min_length=1)]
    only: str


class Compiled(Struct):
    """One kernel as the compiler made it.

    Attributes:
        kernel: its name.
        capability: of the device that it was compiled for.
        registers: of a thread.
        stack_bytes, local_bytes: a thread's stack and local memory.
        loads: how many loads of global memory there are, by width in bits.
        local: how many loads and stores of local memory, which are spills.
        atomics: how many instructions update memory in whatever order threads come.
    """

    kernel: str
    capability: Size
    registers: Count
    stack_bytes: Count
    local_bytes: Count
    loads: dict[Annotated[str, Meta(pattern=r"^[0-9]+$")], Count]
    local: Count
    atomics: Count


class Kernel(Struct):
    """One compiled kernel, judged.

    Attributes:
        compiled: what the compiler made of it.
        programs: that a multiprocessor holds at a time.
        expected: programs that a launch expects it to hold; 0 in records that do not say.
        widest: bits that one load or store could have.
        faults: what would make it slow or change results from run to run, a line each.
    """

    compiled: Compiled
    programs: Count
    widest: Count
    faults: list[str]
    expected: Count = 0


class Call(Struct):
    """One call of a norm for a device, and the bytes that its kernels move over the least that they could.

    The name has the norm first, and the mode among its other words.
    """

    call: Annotated[str, Meta(pattern=" (forward|step|evaluation)( |$)")]
    capability: Size
    ratio: NonNegative


class AheadSamples(Struct):
    """All compiled kernels, and the calls that queue them."""

    kernels: Annotated[list[Kernel], Meta(min_length=1)]
    calls: Annotated[list[Call], Meta(min_length=1)]


class Ahead(Record, kw_only=True):
    """Kernels compiled without a device."""

    case: AheadCase
    samples: AheadSamples
    compiler: dict[str, str | None] = field(default_factory=dict)
