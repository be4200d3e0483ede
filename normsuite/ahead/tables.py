"""Tables of kernels that were compiled ahead of time, and of the bytes that calls move. Imports no torch."""

from collections.abc import Iterable, Sequence

from ..presentation import text
from ..presentation.table import BAD, GOOD, Column, Table
from ..records import kinds, schema
from ..records.schema.ahead import Ahead, Call, Kernel

NONE, FAULT = "none", "fault"
TONES = {NONE: GOOD, FAULT: BAD}
_NUMBERS = (
    "variants",
    "registers",
    "spills",
    "local memory",
    "atomics",
    "wide loads",
    "programs at a time",
    "as expected",
)
WIDE = 128
"""Bits of the widest load and store."""


def kernels(record: dict) -> Table:
    """Return a row for each family of kernels and architecture."""
    found: dict[tuple[str, int], list[Kernel]] = {}
    for kernel in schema.of(record, Ahead).samples.kernels:
        found.setdefault((kernel.compiled.kernel, kernel.compiled.capability), []).append(kernel)
    return Table(
        "Kernels compiled ahead of time, by family and architecture",
        (
            "kernel",
            "architecture",
            *(Column(name, is_number=True) for name in _NUMBERS),
            Column("faults", tones=TONES),
        ),
        [_row(name, capability, alike) for (name, capability), alike in sorted(found.items())],
        kinds.AHEAD.command,
        note="Read from the machine code, without a device: nothing here is a time. Variants differ in norm, layout, "
        "type, shape or activation. Registers: of a thread, from the fewest to the most. Spills: loads and stores of "
        "local memory. Wide loads: the variants with loads of 128 bits, of those whose tensors are aligned and long "
        "enough. Programs at a time: the fewest and the most that one multiprocessor holds. As expected: the variants "
        "of which as many fit as their launches are made for",
    )


def _row(name: str, capability: int, alike: Sequence[Kernel]) -> tuple[str, ...]:
    made = [kernel.compiled for kernel in alike]
    can = [kernel for kernel in alike if kernel.widest >= WIDE]
    wide = [kernel for kernel in can if max(map(int, kernel.compiled.loads), default=0) >= WIDE]
    wrong = sorted({fault for kernel in alike for fault in kernel.faults})
    return (
        name.replace("_", " "),
        f"sm_{capability}",
        str(len(alike)),
        _from_to(of.registers for of in made),
        str(sum(of.local for of in made)),
        text.data_size(max(of.local_bytes + of.stack_bytes for of in made)),
        str(sum(of.atomics for of in made)),
        f"{len(wide)} of {len(can)}" if can else text.ABSENT,
        _from_to(kernel.programs for kernel in alike),
        _as_expected(alike),
        f"{FAULT}: {'; '.join(wrong)}" if wrong else NONE,
    )


def _as_expected(alike: Sequence[Kernel]) -> str:
    if not all(kernel.expected for kernel in alike):
        return text.ABSENT  # a record of before
    return f"{sum(kernel.programs >= kernel.expected for kernel in alike)} of {len(alike)}"


def _from_to(values: Iterable[int]) -> str:
    found = sorted(values)
    return str(found[0]) if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def traffic(record: dict) -> Table:
    """Return the bytes that calls move over the least possible, a row for each norm, mode and architecture."""
    found: dict[tuple[str, str, int], list[Call]] = {}
    for call in schema.of(record, Ahead).samples.calls:
        found.setdefault((call.call.split(" ")[0], _mode(call.call), call.capability), []).append(call)
    rows = []
    for (norm, mode, capability), alike in found.items():
        ratios = sorted(call.ratio for call in alike)
        most = max(alike, key=lambda call: call.ratio)
        least = sum(ratio <= 1.01 for ratio in ratios)
        span = f"{text.ratio(ratios[0])} to {text.ratio(ratios[-1])}"
        rows.append((norm, mode, f"sm_{capability}", str(len(alike)), str(least), span, most.call))
    return Table(
        "Bytes that calls move over the least that they can, by the model of the kernels' reads and writes",
        (
            "norm",
            "mode",
            "architecture",
            Column("calls", is_number=True),
            Column("within 1 % of the least", is_number=True),
            "from least to most",
            "the call that moves most",
        ),
        rows,
        kinds.AHEAD.command,
        note="The least: each tensor read and written once. A statistic that does not fit into registers is "
        "read twice, unless the second-level cache still has it, which this count does not assume. Under Triton's "
        "interpreter, loads and stores of small tensors are counted: they are the model's to the byte",
    )


def _mode(call: str) -> str:
    """Return the mode in a call's name."""
    return next(word for word in call.split(" ") if word in ("forward", "step", "evaluation"))


def sentences(record: dict) -> list[str]:
    """Return how many kernels were compiled for what, and how many of them have a fault."""
    proof = schema.of(record, Ahead)
    made, calls = proof.samples.kernels, proof.samples.calls
    wrong = sum(bool(kernel.faults) for kernel in made)
    targets = text.listed([f"sm_{capability}" for capability in proof.case.capabilities])
    compiler = proof.compiler.get("triton")
    fit = "fewer programs on a multiprocessor than fit"
    if all(kernel.expected for kernel in made):  # records of before do not say what launches expect
        fit = "fewer programs on a multiprocessor than the launch expects"
    only = proof.case.only
    scope = "" if only == "*" else f" (those whose names match “{only}”)"
    return [
        f"{len(made):,} kernels of {len(calls):,} calls{scope} were compiled for {targets}"
        f"{f' by Triton {compiler}' if compiler else ''}: {wrong or 'none'} of them {'has' if wrong == 1 else 'have'} "
        f"a fault (spilled registers, atomic updates of memory, loads that could be wider, or {fit}).",
        "No device has run them for this page.",
    ]
