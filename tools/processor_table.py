"""Make a processor's table of `normsuite/tunings/processors`.

    python -m tools.processor_table measure FOLDER     # in three processes, 45 minutes on two quiet cores
    python -m tools.processor_table again FOLDER       # sizes that it lacks, and where processes differ
    python -m tools.processor_table make FOLDER NAME    # from the records, into normsuite/tunings/processors/NAME.toml

FOLDER holds the records crossover.json and streaming.json, or both in one file (tools/compact.py); `make` derives the
table from them and measures nothing. A neighbour of a virtual machine may disturb all sizes of a process at a time, and
the kernels more than torch's calls: with seven processes, what lies far from the median is clipped.
"""

import argparse
import math
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from normsuite import statistics, tunings
from normsuite.backends.numba import outputs
from normsuite.files import writing
from normsuite.machine import processor
from normsuite.measure import listening, process
from normsuite.measure.cases import Case
from normsuite.records import provenance, results
from normsuite.spec import NormSpec
from normsuite.tune import crossover, streaming, tables

PROCESSES, STREAMING_PROCESSES, FURTHER = 3, 5, 4
APART = math.log(1.3)
"""Logarithms of a ratio that differ by more than this between processes ask for `FURTHER` ones."""

LIMIT_S = 7200.0
"""How long a process may take, which tells all its ratios at its end."""

SECONDS = 0.05
SIZES = (*(2**power for power in range(8, 22)), 3 * 2**20, 2**22, 2**23, 9 * 2**20, 2**24)
"""Elements of a tensor. The memory of the largest two, above 32 MiB, is given anew by the system each time: torch's
calls take several times as long from there on, and the kernels, whose results lie in large pages, do not."""

DIGITS = 3
"""Digits of a logarithm in a record: less than a tenth of what two processes differ by."""

PROCESSORS = Path(tunings.__file__).parent / "processors"


def _key(row: dict) -> tuple:
    return tuple(row[name] for name in ("norm", "layout", "length", "mode", "numbers"))


def ratios() -> Iterator[tuple[dict, NormSpec, Case]]:
    """Yield each ratio of a table: its row without a value, and the norm and case that it is measured at."""
    for spec, layout, length, modes in crossover.entries():
        for case in crossover.shapes(spec, layout, length, SIZES):
            for mode in modes:
                row = {"norm": spec.name, "layout": layout, "length": length, "mode": mode}
                yield {**row, "numbers": torch.Size(case.shape).numel()}, spec, case


def crossover_rows(wanted: Collection[tuple] | None = None) -> Iterator[dict]:
    """Yield ratios of the kernels over torch's calls, measured in this process: all, or those of the wanted keys."""
    entry: tuple = ()
    for row, spec, case in ratios():
        if wanted is None or _key(row) in wanted:
            if entry != (entry := _key(row)[:3]):
                print(*entry, file=sys.stderr, flush=True)
            yield {**row, "log": crossover.ratio(spec, case, row["mode"], SECONDS)}


def streaming_rows(_: None = None) -> Iterator[dict]:
    """Yield all ratios of non-temporal stores over ordinary ones, measured in this process."""
    return streaming.rows(streaming.BATCHES, streaming.SECONDS)


KINDS = {"streaming": (streaming_rows, STREAMING_PROCESSES), "crossover": (crossover_rows, PROCESSES)}


def joined(processes: list[list[dict]]) -> list[dict]:
    """Return one row for each ratio, with its logarithms of all processes.

    Args:
        processes: for each process its rows, in the same order, each with the logarithm of a ratio, "log".
    """
    rows = []
    for same in zip(*processes, strict=True):
        named = {name: value for name, value in same[0].items() if name != "log"}
        rows.append({**named, "logs": [round(row["log"], DIGITS) for row in same]})
    return rows


def with_intervals(rows: list[dict]) -> list[dict]:
    """Return the rows, each with the geometric mean of its ratio over processes and the interval of that."""
    found = [statistics.ratio_interval(statistics.clipped(row["logs"]).tolist()) for row in rows]
    return [
        {**row, "ratio": ratio.value, "interval": (ratio.low, ratio.high)}
        for row, ratio in zip(rows, found, strict=True)
    ]


def measure(folder: Path) -> None:
    """Measure both kinds in fresh processes, and write a record of each, anew after each process."""
    writing.output_folder(folder, "folder")
    pays: dict[str, float | None] = {}  # non-temporal stores of the new table, with which its sizes are measured
    for kind, (_, processes) in KINDS.items():
        threads, found = torch.get_num_threads(), []
        for number in range(1, processes + 1):
            found.append(_measured({"kind": kind, "threads": threads, "wanted": None, "streaming": pays}))
            case = {
                "processes": number,
                "processor": processor.this()._asdict(),
                "kernels": tunings.kernels(),
                "streaming": pays,
            }
            environment = provenance.environment(threads=threads)
            record = results.make_record(kind, case, joined(found), environment=environment, seeds=[])
            results.write_record(folder, kind, record)
        if kind == "streaming":
            pays = _for_json(pays_of(record))


def _for_json(pays: dict[str, float]) -> dict[str, float | None]:
    """Return the sizes as JSON has them: None for never."""
    return {way: None if size == tunings.NEVER else size for way, size in pays.items()}


def pays_of(streamed: dict) -> dict[str, float]:
    """Return from how many bytes on non-temporal stores pay by a record of them."""
    return streaming.pays_from({**row, "log": sum(row["logs"]) / len(row["logs"])} for row in streamed["samples"])


def again(folder: Path) -> None:
    """Measure the ratios that the record in that folder lacks, and those so far differ in further processes."""
    record = sizes_in(folder)
    case = record["case"]
    recorded_with = {
        "processor": case.get("processor"),
        "kernels": case.get("kernels"),
        "torch": record["environment"]["packages"]["torch"].partition("+")[0],
    }
    here = {
        "processor": processor.this()._asdict(),
        "kernels": tunings.kernels(),
        "torch": torch.__version__.partition("+")[0],
    }
    different = [name for name, of in recorded_with.items() if of not in (None, here[name])]
    if different:  # None: an older record does not say it
        name = different[0]
        raise SystemExit(f"{folder} was measured with {name} {recorded_with[name]}: here it is {here[name]}")
    rows = {_key(row): {**row, "logs": []} for row, _, _ in ratios()}
    rows |= {_key(row): row for row in record["samples"]}

    def added(wanted: list[tuple], processes: int) -> None:
        job = {
            "kind": "crossover",
            "threads": record["environment"]["threads"],
            "wanted": wanted,
            "streaming": case.get("streaming") or {},  # an older record does not say it
        }
        for _ in range(processes if wanted else 0):
            for row in _measured(job):
                rows[_key(row)]["logs"].append(round(row["log"], DIGITS))
            record["samples"] = [row for row in rows.values() if row["logs"]]
            record["case"]["processes"] = min(len(row["logs"]) for row in record["samples"])
            results.write_record(folder, "crossover", record)  # each time: what was measured is kept

    for number in range(PROCESSES):  # those that have fewer, as after an interruption, have as many as the others then
        added([key for key, row in rows.items() if len(row["logs"]) == number], 1)
    differ = [key for key, row in rows.items() if max(row["logs"]) - min(row["logs"]) > APART]
    for number in range(PROCESSES, PROCESSES + FURTHER):
        added([key for key in differ if len(rows[key]["logs"]) == number], 1)


def _measured(job: dict) -> list[dict]:
    """Return the rows of one job, measured in a process of its own."""
    command, environment = ["-m", "tools.processor_table"], process.variables(job["threads"])
    messages = listening.messages(command, job, environment, first_s=LIMIT_S, limit_s=LIMIT_S)
    return [row for message in messages for row in message["rows"]]


def recorded(folder: Path) -> list[dict | None]:
    """Return the records of sizes and of non-temporal stores in that folder, None for one that is not there.

    Raises:
        SystemExit: any file in it is damaged.
    """
    found = [results.read_records(folder, kind) for kind in ("crossover", "streaming")]
    if found[0].damaged:
        raise SystemExit(f"{folder}: {'; '.join(reason for _, reason in found[0].damaged)}")
    return [max(records, key=lambda record: record.get("written", ""), default=None) for records in found]


def work(job: dict, emit) -> None:
    """Measure one kind, in a process of its own."""
    torch.set_num_threads(job["threads"])
    outputs.STREAMED.update({way: tunings.NEVER if size is None else size for way, size in job["streaming"].items()})
    wanted = None if job["wanted"] is None else {tuple(key) for key in job["wanted"]}
    emit({"rows": list(KINDS[job["kind"]][0](wanted))})


def sizes_in(folder: Path) -> dict:
    """Return the record of sizes in that folder; raise SystemExit where there is none."""
    record, _ = recorded(folder)
    if record is None:
        raise SystemExit(f"{folder} has no record crossover.json")
    return record


def _from_one_on(table: tunings.Table) -> tunings.Table:
    """Return the table with the first length of each layout counting from 1 on: older records lack shorter ones."""
    return {
        norm: {layout: {**entry, "lengths": [1, *entry["lengths"][1:]]} for layout, entry in layouts.items()}
        for norm, layouts in table.items()
    }


def made_of(crossed: dict, streamed: dict | None, *, name: str = "", key: str = "") -> str:
    """Return the table that follows from those records.

    Args:
        crossed, streamed: the records; without the second no non-temporal stores are used.
        name, key: the processor, for records older than its model's place in them.

    Raises:
        SystemExit: a ratio was measured in fewer processes than `measure` takes, or the sizes with other non-temporal
            stores than those that the second record gives.
    """
    for record, least, command in ((crossed, PROCESSES, "again"), (streamed, STREAMING_PROCESSES, "measure")):
        few = [row for row in (record or {"samples": ()})["samples"] if len(row["logs"]) < least]
        if few:
            raise SystemExit(f"{len(few)} ratios have fewer than {least} processes: run {command}")
    case, environment = crossed["case"], crossed["environment"]
    named = case.get("processor") or {"name": f"{environment['cpu']}, {case['vector instructions']}", "key": ""}
    if key:
        named = {"name": name, "key": key}
    pays = dict.fromkeys(tunings.WAYS, tunings.NEVER)
    if streamed is not None:
        pays = pays_of(streamed)
    measured_with = case.get("streaming")
    if measured_with is not None and _for_json(pays) != measured_with:  # None: an older record does not say it
        raise SystemExit(f"the sizes were measured with non-temporal stores from {measured_with}: run measure")
    crossings = with_intervals(crossed["samples"])
    return tables.as_toml(
        processor.Processor(**named),
        threads=environment["threads"],
        torch=environment["packages"]["torch"],
        sizes=_from_one_on(crossover.table(crossings, crossover.least_size)),
        clear=_from_one_on(crossover.table(crossings, crossover.clear_size)),
        streaming=pays,
        made_by="python -m tools.processor_table",
    )


def main(arguments: list[str] | None = None) -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["measure", "again", "make"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--processor", nargs=2, default=("", ""), metavar=("NAME", "KEY"), help="of older records")
    given = parser.parse_args(arguments)
    if given.command == "measure":
        measure(given.folder)
        return
    if given.command == "again":
        again(given.folder)
        return
    if not given.name:
        parser.error("make needs a NAME")
    found = made_of(sizes_in(given.folder), recorded(given.folder)[1], name=given.processor[0], key=given.processor[1])
    writing.write_text(PROCESSORS / f"{given.name}.toml", found)


if __name__ == "__main__":
    main() if sys.argv[1:] else process.speak(work)
