"""Time a training step of the study with each backend, and a whole study against a tutorial's plain loop.

    python -m tools.bench_study --epochs 6 --out reports/bench

A record of either is kept as soon as it is measured.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from normsuite.cli.output import print_tables
from normsuite.conventions.defaults import BENCH_PROCESSES
from normsuite.files import writing
from normsuite.functional import DEFAULT_BACKEND
from normsuite.presentation import text
from normsuite.presentation.table import Table
from normsuite.records import results
from normsuite.statistics import Interval
from normsuite.study.plan import plan
from tools import study_steps, study_throughput

COMMAND = "python -m tools.bench_study"


def _written(ratio: Interval) -> str:
    return text.interval(ratio, text.ratio_of_times)


def steps(found: Mapping[str, Mapping[str, Interval]]) -> Table:
    """Return a training step's time over that with torch's calls.

    Args:
        found: ratios by norm ("all" for all of them) and implementation.
    """
    names = list(found["all"])
    rows = [(norm, *(_written(of[name]) for name in names)) for norm, of in found.items()]
    title = "A training step of the study: time over that with torch's calls [95 % interval]"
    return Table(title, ("norm", *names), rows, COMMAND)


def throughput(speedups: Mapping[str, Interval], case: Mapping, threads: int) -> Table:
    """Return the digits per second of a whole study over those of a tutorial's plain loop.

    Args:
        speedups: by the way in which the study is run.
        case: of the record.
        threads: of one process, or processes of one thread.
    """
    ways = {
        "one": f"one process, {text.counted(threads, 'thread')}",
        "sweep": f"as the sweep runs it, a process of one thread for each of {text.counted(threads, 'core')}",
    }
    rows = [(said, _written(speedups[way])) for way, said in ways.items()]
    title = f"Digits per second of a whole study, {case['epochs']} epochs a run, norms by {case['backend']}"
    return Table(title, ("by", "times the plain loop's [95 % interval]"), rows, COMMAND)


def main(arguments: list[str] | None = None) -> None:
    """Measure both, keep a record of each as soon as it is measured, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--norm", action="append", default=[], help="again for more; all where left out")
    parser.add_argument("--backend", default=DEFAULT_BACKEND, help="computes the norms of the whole study")
    parser.add_argument("--processes", type=int, default=BENCH_PROCESSES, help="that time steps")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, default=study_throughput.EPOCHS, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), help="folder for the records")
    given = parser.parse_args(arguments)
    out = writing.output_folder(given.out, "out")
    plan(norms=given.norm or None, epochs=given.epochs, backend=given.backend)  # refuses now what is wrong
    measured = study_steps.run(given.norm, processes=given.processes, threads=given.threads)
    results.write_record(out, study_steps.WHAT, measured)
    print("the times of steps are kept; whole studies come next", file=sys.stderr)
    whole = study_throughput.run(given.norm, threads=given.threads, epochs=given.epochs, backend=given.backend)
    results.write_record(out, study_throughput.WHAT, whole)
    speedups = study_throughput.speedups(whole)
    print_tables(steps(study_steps.ratios(measured)), throughput(speedups, whole["case"], given.threads))


if __name__ == "__main__":
    main()
