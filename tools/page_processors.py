"""The parts of docs/processors.md: the shipped tables, and what each processor would have without its own."""

import math
import tomllib
from collections.abc import Iterable, Iterator
from statistics import fmean

from normsuite import tunings
from normsuite.bench.row import SLOWER_ABOVE

from . import processor_table
from .page_benches import REFERENCE


def shipped() -> dict[str, tunings.Tuning]:
    """Return each shipped table by the name of its file."""
    found = {}
    for path in sorted(processor_table.PROCESSORS.glob("*.toml")):
        found[path.stem] = tunings.parse(path.read_text(encoding="utf-8"), path.name)
    return found


def _size(numbers: float) -> str:
    return "never" if numbers == tunings.NEVER else f"{numbers / 2**20:.1f} MiB"


def tables() -> list[str]:
    """Return one line for each shipped table: where it was measured, and from where on non-temporal stores pay."""
    lines = [
        "| processor | threads | torch | non-temporal stores forward from | backward from |",
        "|---|---|---|---|---|",
    ]
    for name, found in shipped().items():
        facts = tomllib.loads((processor_table.PROCESSORS / f"{name}.toml").read_text(encoding="utf-8"))["processor"]
        ways = " | ".join(_size(found.streaming[way]) for way in tunings.WAYS)
        lines.append(f"| {found.processor} | {found.threads} | {facts['torch']} | {ways} |")
    return lines


def given(rows: Iterable[dict], table: tunings.Table) -> Iterator[dict]:
    """Yield the rows of measured ratios at which a table takes the kernels."""
    for row in rows:
        entry = table[row["norm"]][row["layout"]]
        if row["numbers"] >= entry[row["mode"]][tunings.place(entry, row["length"])]:
            yield row


def left_out(name: str) -> list[dict]:
    """Return the ratios of a processor at which the kernels would be taken if it had not been measured."""
    record = processor_table.sizes_in(REFERENCE / "processors" / name)
    others = tunings.agreed([table.clear for other, table in shipped().items() if other != name])
    return list(given(processor_table.with_intervals(record["samples"]), others))


def margin() -> list[str]:
    """Return how the cautious table of all other processors does on each one that was measured."""
    lines = [
        "| processor left out | sizes given to the kernels | slower there | most of torch's time | time over torch's |",
        "|---|---|---|---|---|",
    ]
    for name, found in shipped().items():
        if not (rows := left_out(name)):
            lines.append(f"| {found.processor} | 0 | – | – | – |")
            continue
        slower = sum(row["interval"][0] > SLOWER_ABOVE for row in rows)
        mean = math.exp(fmean(math.log(row["ratio"]) for row in rows))
        most = max(row["ratio"] for row in rows)
        lines.append(f"| {found.processor} | {len(rows):,} | {slower} | {most:.2f} | {mean:.2f} |")
    return lines


PARTS = {"shipped-tables": tables, "margin": margin}
