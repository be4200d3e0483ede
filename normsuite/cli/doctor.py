"""`normsuite doctor`: how well this machine measures."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import NormsuiteError
from ..presentation import text
from ..presentation.table import WARNING, Column, Table
from .options import Json
from .output import line, print_tables, write_json

if TYPE_CHECKING:
    from ..doctor import Diagnosis

AVAILABLE, MISSING = "available", "not available"
TONES = {MISSING: WARNING}


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Without measuring the noise, which takes 10 s.")] = False,
    to: Json = None,
) -> None:
    """Show how well this machine can measure, which implementations are available, and what would reduce the noise."""
    from .. import doctor as examining
    from ..measure import process

    try:
        found = examining.diagnose(measure=not quick)
    except process.Died as died:
        raise NormsuiteError(f"the noise could not be measured: {died}") from died
    if to is not None:
        write_json(asdict(found), to)
    if to != "-":
        _show(found)


def _show(found: "Diagnosis") -> None:
    tables = [Table("", ("machine", ""), _facts(found))]
    for title, who in (("backend", found.backends), ("rival in `normsuite bench`", found.rivals)):
        rows = [(name, _usable(reason, found.lacking.get(name))) for name, reason in who.items()]
        tables.append(Table("", (title, Column("on the CPU", tones=TONES)), rows))
    print_tables(*tables)
    line("What would make it quieter:" if found.advice else "Nothing is seen that would make it quieter.")
    for advice in found.advice:
        line(f"- {advice}")


def _usable(reason: str | None, lacking: str | None) -> str:
    if reason is not None:
        return f"{MISSING}: {reason}"
    return AVAILABLE if lacking is None else f"{AVAILABLE}, but not for {lacking}"


def _facts(found: "Diagnosis") -> list[tuple[str, str]]:
    machine, noise = found.machine, found.noise
    switched = {True: "on", False: "off", None: "not readable"}
    allocator = ", ".join(f"{name}={value}" for name, value in machine.allocator.items())
    facts = [
        ("processor", machine.cpu),
        ("cores", f"{machine.usable_cores} of {machine.cores} usable"),
        ("processor time", "no quota seen" if machine.quota is None else f"{machine.quota:g} cores"),
        ("governor", machine.governor or "not readable"),
        ("turbo, SMT", f"{switched[machine.turbo]}, {switched[machine.smt]}"),
        ("load", "not readable" if machine.load is None else f"{machine.load:g}"),
        ("torch threads", str(machine.threads)),
        ("numba kernels", machine.kernels),
        ("sizes of auto", machine.tuning),
        ("allocator", allocator or "as the C library has it"),
        ("accelerator", machine.accelerator),
    ]
    if noise is None:
        return [*facts, ("noise", "not measured (--quick)")]
    facts += [
        ("a call against itself", f"{text.interval(noise.ratio, '{:.4f}'.format)}, {noise.processes} processes"),
        ("spread of a single call", f"{noise.spread:.1%} of {text.seconds(noise.call_s)}, 5th to 95th percentile"),
    ]
    return facts if noise.others is None else [*facts, ("other programs", f"{noise.others:.1%} of the usable cores")]


COMMANDS = (doctor,)
