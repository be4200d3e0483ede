"""Give `asv continuous` versions as a self-check of the gate has them: with injected slowdowns, and without any.

What it says goes into records beside those of `normsuite self-check`, which counts how often it is right. It needs
asv's environment of this repository (`asv setup`); minutes a pair.

    python -m tools.asv_continuous --pairs 5 --norm GroupNorm --out reports/self-check
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from asv.util import load_json

from normsuite.cli import gated
from normsuite.errors import ArgumentError, NormsuiteError
from normsuite.files import writing
from normsuite.gate import self_check_rates, selfcheck
from normsuite.gate.cells import Cell
from normsuite.gate.setup import Setup
from normsuite.measure.implementations.ours import Function
from normsuite.measure.labels import ASV_LATENCY
from normsuite.measure.workload import Workload
from normsuite.records import kinds, provenance, results
from normsuite.spec import NORMS

from . import injected_commits

FACTOR = 1.03


def able(cell: Cell, repository: Path) -> bool:
    """Return whether asv's benchmarks in that repository have that cell."""
    parameters = repository / "benchmarks" / "parameters.py"
    if not isinstance(cell, Workload) or not parameters.is_file():
        return False
    task, text = cell.task, parameters.read_text(encoding="utf-8")
    cases = re.search(r"^CASES = .*$", text, re.MULTILINE)
    return (
        cases is not None
        and task.case.name in re.findall(r'"([^"]*)"', cases[0])
        and isinstance(cell.implementation, Function)
        and task.spec.name in NORMS
        and (task.mode in ASV_LATENCY, task.activation, task.dtype, task.device) == (True, None, "float32", "cpu")
    )


def compare(repository: Path, clone: Path, base: str, head: str, cells: Sequence[Cell]) -> tuple[dict, float]:
    """Run it on two commits of a clone, with this repository's benchmarks and configuration.

    Its environment is the repository's own, made before the clock starts.

    Args:
        repository: has asv.conf.json, benchmarks, and asv's environments.
        clone: has both commits.
        base, head: commits.
        cells: what to measure; each of them `able`.

    Returns:
        The ratio of each cell that asv reports as changed, and the seconds that asv took.

    Raises:
        NormsuiteError: asv fails.
    """
    names = {_name(cell): cell.name for cell in cells if isinstance(cell, Workload)}
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "asv.conf.json"
        settings = load_json(repository / "asv.conf.json", js_comments=True)
        settings |= {
            "repo": str(clone),
            "branches": ["HEAD"],
            "benchmark_dir": str(repository / settings["benchmark_dir"]),
            "env_dir": str(repository / settings["env_dir"]),
            "results_dir": str(Path(folder) / "results"),
            "html_dir": str(Path(folder) / "html"),
        }
        configuration.write_text(json.dumps(settings), encoding="utf-8")
        home = Path(folder) / "home"
        home.mkdir()
        environment = {**os.environ, "HOME": str(home), "COLUMNS": "300"}
        _asv(["machine", "--yes"], configuration, environment)
        # asv ends with 1 here although all went well; where it did not, the next command says so.
        _asv(["setup"], configuration, environment, codes=(0, 1))
        begun = time.perf_counter()
        wanted = [argument for name in names for argument in ("--bench", f"^{re.escape(name)}$")]
        said = _asv(
            ["continuous", "--factor", str(FACTOR), *wanted, base, head],
            configuration,
            environment,
            codes=(0, 1),  # 1: something got worse
        )
        spent_s = time.perf_counter() - begun
    return {names[name]: ratio for name, ratio in changes(said) if name in names}, spent_s


def _name(cell: Workload) -> str:
    task = cell.task
    parameters = ", ".join(repr(p) for p in (task.spec.name, cell.backend, task.case.name, "cpu"))
    return f"{ASV_LATENCY[task.mode]}({parameters})"


def changes(said: str) -> list[tuple[str, float]]:
    """Return the rows of asv's table that begin with a sign: | + | before | after | ratio | benchmark |."""
    found = []
    for line in said.splitlines():
        columns = [column.strip() for column in line.strip().strip("|").split("|")]
        if len(columns) == 5 and columns[0] in ("+", "-"):
            found.append((columns[4], float(columns[3])))
    return found


def _asv(arguments: Sequence[str], configuration: Path, environment: dict, codes: Sequence[int] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "asv", arguments[0], "--config", str(configuration), *arguments[1:]],
        capture_output=True,
        text=True,
        env=environment,
        cwd=configuration.parent,
        check=False,
    )
    if done.returncode not in codes:
        raise NormsuiteError(f"asv {arguments[0]}: {' '.join((done.stderr or done.stdout).split())[-300:]}")
    return done.stdout


def run(setup: Setup, pairs: int, repository: Path, out: Path) -> list[dict]:
    """Have it compare the versions that are missing, and return all records.

    Args:
        setup: of the gate; its base is compared with itself and with versions that have slowdowns.
        pairs: how many of either there shall be in all.
        repository: of the base, with asv's configuration and benchmarks.
        out: where the records are.

    Raises:
        ArgumentError: none of the cells is among asv's benchmarks.
        NormsuiteError: asv fails.
    """
    cells = [cell for cell in setup.cells if able(cell, repository)]
    if not cells:
        raise ArgumentError("pairs", pairs, "none of the cells is among asv's benchmarks here")
    identity = selfcheck.identity(setup)
    found = selfcheck.recorded(out, kinds.ASV_CHECK, identity)
    done = {record["case"]["number"] for record in found}
    with injected_commits.clone(setup.base, repository) as clone:
        for number in (number for number in range(2 * pairs) if number not in done):
            record = _pair(setup, cells, clone, number, identity, repository)
            results.write_record(out, f"{kinds.ASV_CHECK.what}-{results.digest(record)}", record)
            found.append(record)
            print(self_check_rates.line(record), flush=True)
    return found


def _pair(setup: Setup, cells: Sequence[Cell], clone: Path, number: int, identity: dict, repository: Path) -> dict:
    """Return the record of a version beside one with slowdowns, or, for an odd number, beside itself."""
    shares = {} if number % 2 else {c: s for c, s in selfcheck.slowdowns(setup, number // 2).items() if c in cells}
    base = injected_commits.commit(clone, {})
    additions = selfcheck.additions(base, shares, setup.threads, way="tools.injected_commits:within")
    head = injected_commits.commit(clone, additions, said=f"pair {number}")
    found, spent_s = compare(repository, clone, base.commit, head.commit, cells)
    return results.make_record(
        kinds.ASV_CHECK.what,
        {
            "identity": identity,
            "injection": selfcheck.injection(),
            "planted": selfcheck.named(shares),
            "number": number,
            "cells": [cell.name for cell in cells],
        },
        {"changes": found, "factor": FACTOR},
        environment=provenance.environment(),
        seeds=[number],
        wall_s=round(spent_s, 1),
    )


def main() -> None:
    """Compare, and print how often it was right."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5, help="versions with slowdowns, and as many without")
    parser.add_argument("--base", default="HEAD", help="the commit that they are made of")
    parser.add_argument("--norm", action="append", help="cells of this norm only; again for more")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of the self-check's tables")
    parser.add_argument("--out", type=Path, default=Path("reports") / kinds.ASV_CHECK.folder)
    given = parser.parse_args()
    if given.pairs < 0:
        parser.error("--pairs must not be negative")
    try:
        out = writing.output_folder(given.out, "out")
        setup, project = gated.setup_of(given.base, None, {"norms": given.norm}, budget_s=given.budget, threads=None)
        found = run(setup, given.pairs, project.folder, out)
    except NormsuiteError as error:
        raise SystemExit(str(error)) from None
    print("\n".join(self_check_rates.lines(found)))


if __name__ == "__main__":
    main()
