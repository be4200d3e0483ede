"""A processor's table as TOML."""

import json
from collections.abc import Collection, Mapping

from ..machine.processor import Processor
from ..tunings import MARGIN, Table, place


def as_toml(
    measured_on: Processor,
    *,
    threads: int,
    torch: str,
    sizes: Table,
    streaming: Mapping[str, float],
    clear: Table | None = None,
    entries: Collection[str] = (),
    of: int = 0,
    made_by: str = "normsuite tune",
) -> str:
    """Return the text that `tunings.parse` reads.

    Args:
        measured_on: the processor. With an empty key the table is chosen for no machine; it counts only in
            `tunings.elsewhere`.
        threads, torch: what it was measured with.
        sizes, clear: from how many elements on the kernels are faster, and faster by the margin.
        streaming: from how many bytes on non-temporal stores pay, forward and backward.
        entries, of: names of the entries that were measured (`crossover.title`), where these may be fewer than all, and
            how many there are.
        made_by: the command that made it.
    """
    lines = [
        f"# Made by `{made_by}`.",
        "# sizes: the number of elements from which on the kernels are faster than torch's calls (inf: never), for",
        "# tensors with at least so many elements side by side (lengths).",
        f"# clear: the same, where they take at most {MARGIN:g} of torch's time.",
        "# streaming: bytes from which on non-temporal stores pay.",
        "",
        "[processor]",
        f"name = {json.dumps(measured_on.name, ensure_ascii=False)}",
        *([f"key = {json.dumps(measured_on.key, ensure_ascii=False)}"] if measured_on.key else []),
        f"threads = {threads}",
        f"torch = {json.dumps(torch)}",
        *([f"entries = {json.dumps(sorted(entries), ensure_ascii=False)}", f"of = {of}"] if of else []),
        "",
        "[streaming]",
        *(f"{way} = {size}" for way, size in streaming.items()),
    ]
    for name, tables in (("sizes", sizes), ("clear", clear or {})):
        for norm, layouts in tables.items():
            for layout, entry in layouts.items():
                values = (f"{mode} = [{', '.join(map(str, found))}]" for mode, found in entry.items())
                lines += ["", f"[{name}.{norm}.{layout}]", *values]
    return "\n".join(lines) + "\n"


def completed(measured: Table, otherwise: Table, tried: Mapping[tuple, Collection[int]]) -> Table:
    """Return a table with the entries of one that was measured, and another's where nothing was.

    A norm or layout that the other lacks, as one of a user's, has the lengths and modes that were measured.

    Args:
        measured, otherwise: the two tables.
        tried: the sizes that were measured, by norm, layout, mode and length (`crossover.tried`). A size of the other
            table is kept where none of them contradicts it.
    """
    return {
        norm: {
            layout: _entry(
                measured.get(norm, {}).get(layout, {}),
                otherwise.get(norm, {}).get(layout, {}),
                {key[2:]: sizes for key, sizes in tried.items() if key[:2] == (norm, layout)},
            )
            for layout in {**otherwise.get(norm, {}), **measured.get(norm, {})}
        }
        for norm in {**otherwise, **measured}
    }


def _entry(
    measured: Mapping[str, list], otherwise: Mapping[str, list], tried: Mapping[tuple, Collection[int]]
) -> dict[str, list]:
    """Return one layout's sizes: those of each length that was measured, else the other's."""
    if not otherwise:
        return dict(measured)
    places = {length: number for number, length in enumerate(measured.get("lengths", ()))}
    found: dict[str, list] = {"lengths": sorted({*places, *otherwise["lengths"]})}
    for mode in otherwise:
        if mode != "lengths":
            found[mode] = []
            for length in found["lengths"]:
                size = otherwise[mode][place(otherwise, length)]
                is_measured = length in places and mode in measured
                least = measured[mode][places[length]] if is_measured else size
                # The kernels win from a size on that lies between the one found and the largest below it.
                below = max((other for other in tried.get((mode, length), ()) if other < least), default=0)
                found[mode].append(size if below < size <= least else least)
    return found
