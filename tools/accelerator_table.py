"""Write `normsuite/tunings/accelerators.toml` of a bench's records: from which size on the triton kernels are faster.

They are compared with torch's calls, for each device that was measured. A call takes as long as the device or the
host, whichever takes longer. The kernels get a size if a call of theirs takes at most MARGIN of torch's there and at
every larger size that was measured for that norm, layout, type and mode. A step is a forward and a backward pass. What
was not measured stays torch's.

    python -m tools.accelerator_table RECORDS... [--out FILE]
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from normsuite.records import kinds, results
from normsuite.spec import find
from normsuite.tunings.accelerators import NEVER, layout_of

MARGIN = 0.98
OURS, THEIRS = "triton", "torch.nn"
ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}

Times = dict[str, tuple[float, float]]
"""Device and host seconds of a call, by implementation."""


def times(record: dict) -> Times | None:
    """Return the medians of both implementations, or None where one of them took no part."""
    found = {}
    for name in (OURS, THEIRS):
        medians = []
        for metric in ("times_s", "host_s"):
            samples = [t for process in record["samples"]["processes"] for t in process[metric].get(name, ())]
            if not samples:
                return None
            medians.append(statistics.median(samples))
        found[name] = tuple(medians)
    return found


def entry_of(case: dict) -> tuple[str, str, str]:
    """Return norm, layout and type, as the table has them."""
    spec = find(case["norm"])
    view = spec.view(
        case["shape"],
        num_groups=case["num_groups"] if spec.groups == "given" else None,
        normalized_shape=case["normalized_shape"] if spec.affine == "element" else None,
    )
    itemsize = ITEMSIZE[case["dtype"]]
    found = layout_of(spec, view, case["shape"], itemsize, contiguous=not case["channels_last"])
    return spec.name, found, case["dtype"]


def with_steps(measured: dict[tuple, Times]) -> dict[tuple, Times]:
    """Return the times by (entry, size, case, mode), with a step for each case of which both passes were measured."""
    found = dict(measured)
    for (entry, size, case, mode), forward in measured.items():
        backward = measured.get((entry, size, case, "backward"))
        if mode == "forward" and backward is not None and (entry, size, case, "step") not in measured:
            found[entry, size, case, "step"] = {
                name: tuple(a + b for a, b in zip(forward[name], backward[name], strict=True)) for name in forward
            }
    return found


def least(sizes: Iterable[tuple[int, Times]]) -> int:
    """Return the smallest size from which on the kernels win in every case, or NEVER."""
    wins: dict[int, bool] = {}
    for size, found in sizes:
        wins[size] = wins.get(size, True) and max(found[OURS]) <= MARGIN * max(found[THEIRS])
    smallest = NEVER
    for size in sorted(wins, reverse=True):
        if not wins[size]:
            break
        smallest = size
    return smallest


def table(records: Iterable[dict]) -> dict[str, dict[tuple[str, str, str], dict[str, int]]]:
    """Return the entries of each device; records of calls with an activation after them are left out."""
    measured: dict[str, dict[tuple, Times]] = defaultdict(dict)
    for record in records:
        case = record["case"]
        found = times(record) if case["device"] != "cpu" and case["activation"] is None else None
        if found is not None and case["dtype"] in ITEMSIZE:
            size = math.prod(case["shape"]) * ITEMSIZE[case["dtype"]]
            device = record["environment"]["accelerator"]
            measured[device][entry_of(case), size, case["case"], case["mode"]] = found
    result: dict[str, dict] = {}
    for device, of_device in measured.items():
        by_mode = defaultdict(list)
        for (entry, size, _, mode), found in with_steps(of_device).items():
            if mode != "backward":
                by_mode[entry, mode].append((size, found))
        entries: dict[tuple, dict[str, int]] = defaultdict(dict)
        for (entry, mode), sizes in sorted(by_mode.items()):
            entries[entry][mode] = least(sizes)
        result[device] = entries
    return result


def as_toml(found: dict) -> str:
    """Return the table as TOML."""
    lines = [
        "# Bytes of the input from which on the triton kernels are faster than torch's calls, by device; -1: never.",
        "# Made by tools/accelerator_table.py of the records in reports/reference/bench.",
    ]
    for device, entries in found.items():
        for (norm, layout, dtype), modes in entries.items():
            lines += [
                "",
                f'["{device}".{norm}.{layout}.{dtype}]',
                *(f"{mode} = {size}" for mode, size in modes.items()),
            ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table of the given folders' records."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("records", nargs="+", type=Path, help="folders of records")
    parser.add_argument("--out", type=Path, default=Path("normsuite/tunings/accelerators.toml"))
    options = parser.parse_args()
    read = [results.read_records(folder, kinds.BENCH.what) for folder in options.records]
    if damaged := [reason for records in read for _, reason in records.damaged]:
        raise SystemExit(f"nothing is written: {'; '.join(damaged)}")
    found = table(record for records in read for record in records)
    if not found:
        folders = ", ".join(map(str, options.records))
        raise SystemExit(f"nothing is written: no bench of triton beside torch.nn on an accelerator in {folders}")
    options.out.write_text(as_toml(found), encoding="utf-8")


if __name__ == "__main__":
    main()
