"""The verdict of `asv continuous` on the same two versions, for comparison: its changes, and how long it took."""

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

from ..errors import NormsuiteError
from ..measure.implementations.ours import Function
from ..measure.labels import ASV_LATENCY
from ..measure.workload import Workload
from ..spec import NORMS
from .cells import Cell

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
