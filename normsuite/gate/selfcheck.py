"""The gate's own error rates: tables of a version against itself, and tables with slowdowns that were planted.

Every table is a gate as users run it, and leaves a record; records of several runs by the same method on the same
processor model and torch add up. Planted versions are commits in a clone of the repository, exported, imported and
timed as any other.
"""

import ast
import hashlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .. import device as devices
from .. import results
from ..errors import ArgumentError, NormsuiteError
from ..measure import process
from . import asv_continuous, calibrate, measure, trees
from .cells import PLANTED_FUNCTIONS, PLANTED_MODULES, Cell, planted_key
from .rates import ASV, SHARES, WHAT, is_planted
from .summary import TIME, rows
from .trees import PACKAGE, Tree

PLANTED = 1 / 3
"""Of the cells of a planted table, at once, an equal number with each share."""

_METHOD = (
    "budget.py",
    "calibrate.py",
    "cells.py",
    "decide.py",
    "looks.py",
    "measure.py",
    "../measure/pairs.py",
    "planted.py",
    "processes.py",
    "sides.py",
    "turns.py",
    "worker.py",
    "../measure/clock.py",
    "../measure/implementations/ours.py",
    "../measure/workload.py",
    "../statistics.py",
)

_AS = {
    # What is done where a process dies, with each version in processes of its own, with error rates and on an
    # accelerator: no table here has any of these. And an interval that the gate never used is gone.
    "c9a3acccbf32cc94": "d1bccd7d806ba8f2",
    # And how a gate waits for another one, before any process measures.
    "e0cb028241ce5700": "d1bccd7d806ba8f2",
}
"""Methods that measure and judge a self-check's tables as an earlier one did, which they are counted with."""


def run(
    setup: measure.Setup,
    *,
    tables: int,
    planted_tables: int,
    asv_pairs: int = 0,
    repository: Path,
    out: Path,
    on_progress: Callable[[str, float], None] = lambda stage, spent_s: None,
    on_table: Callable[[dict], None] = lambda record: None,
) -> list[dict]:
    """Do what is missing until there are so many tables of either kind.

    Args:
        setup: of the gate; its base is compared with itself.
        tables, planted_tables: how many there shall be in all.
        asv_pairs: how many of the planted versions `asv continuous` shall have compared too, in all; and as many times
            the base with itself.
        repository: of the base.
        out: where the records are.
        on_progress: told what the gate says.
        on_table: told each record that was made now.

    Returns:
        The tables' records, and those of asv.

    Raises:
        ArgumentError: a negative number.
        NormsuiteError: a table measured nothing.
    """
    for name, value in (("tables", tables), ("planted_tables", planted_tables), ("asv_pairs", asv_pairs)):
        if value < 0:
            raise ArgumentError(name, value, "must not be negative")
    identity = _identity(setup)
    found = [record for record in results.read_records(out, WHAT) if _belongs(record, identity)]
    wanted = {False: tables, True: planted_tables}
    with _clone(setup.base, repository) as clone:
        while missing := [kind for kind in (False, True) if sum(is_planted(r) == kind for r in found) < wanted[kind]]:
            # What is least complete comes next, so that an interrupted check has some of both.
            kind = min(missing, key=lambda kind: sum(is_planted(r) == kind for r in found) / wanted[kind])
            number = sum(is_planted(r) == kind for r in found)
            record = _table(setup, clone, kind, number, identity, on_progress)
            results.write_record(out, f"{WHAT}-{'planted' if kind else 'same'}-{results.digest(record)}", record)
            found.append(record)
            on_table(record)
        rivals = [record for record in results.read_records(out, ASV) if _belongs(record, identity)]
        for number in range(len(rivals), 2 * asv_pairs):
            on_progress(f"asv continuous, pair {number + 1} of {2 * asv_pairs}", 0.0)
            record = _by_asv(setup, clone, number, identity, trees.root(repository))
            results.write_record(out, f"{ASV}-{results.digest(record)}", record)
            rivals.append(record)
            on_table(record)
    return found + rivals


def method() -> str:
    """Digest of what measures and judges a table, or of that which did the same before it."""
    here, digest = Path(__file__).parent, hashlib.sha256()
    for name in _METHOD:
        # Its syntax, so that a comment or a line break does not set hours of records aside.
        digest.update(ast.dump(ast.parse((here / name).read_text(encoding="utf-8"))).encode())
    found = digest.hexdigest()[:16]
    return _AS.get(found, found)


def _identity(setup: measure.Setup) -> dict:
    """What records must share to be counted together."""
    accelerator = devices.name(setup.cells[0].task.device)
    return {
        "method": method(),
        "cells": [cell.name for cell in setup.cells],
        "budget_s": setup.budget_s,
        "threads": setup.threads,
        "margin": setup.margins["time"],
        "apart": setup.apart,
        "cpu": results.cpu_model(),
        "cores": results.usable_cores(),
        "torch": results.version("torch"),
        **({} if accelerator is None else {"accelerator": accelerator}),
    }


def _belongs(record: dict, identity: dict) -> bool:
    return record["case"].get("identity") == identity


def _shares(setup: measure.Setup, number: int) -> dict[Cell, float]:
    """The slowdowns of the planted table of that number."""
    draw = random.Random(number)
    count = max(1, round(len(setup.cells) * PLANTED / len(SHARES)))
    chosen = draw.sample(list(setup.cells), min(len(setup.cells), count * len(SHARES)))
    return {cell: SHARES[place % len(SHARES)] for place, cell in enumerate(chosen)}


def _table(setup, clone: Path, planted: bool, number: int, identity: dict, on_progress) -> dict:
    shares = _shares(setup, number) if planted else {}
    base = head = setup.base
    if planted:
        base, head = _planted(clone, shares, setup.threads)
    begun = time.perf_counter()
    outcome = measure.run(measure.Setup(**{**_fields(setup), "base": base, "head": head}), on_progress)
    if planted:
        shutil.rmtree(head.folder, ignore_errors=True)  # each is used once, and as large as the package
    if outcome.interrupted:
        raise KeyboardInterrupt
    found = outcome.record
    cells = {
        row.cell: [row.verdict, row.ratio.value, row.ratio.low, row.ratio.high, row.values]
        for row in rows(found)
        if row.metric == TIME and row.ratio is not None
    }
    if not cells:  # it would count as a table without a false alarm
        raise NormsuiteError(f"nothing was measured: {'; '.join(found['notes'])}")
    logs = {name: [round(v, 6) for v in of.values()] for name, of in found["samples"]["log_ratios"].items()}
    return results.make_record(
        WHAT,
        {"identity": identity, "planted": _named(shares), "number": number},
        {
            "cells": cells,
            "log_ratios": logs,
            "looks": found["samples"]["looks"],
            "final": found["samples"]["final"],
            "blocks": found["samples"]["blocks"],
        },
        environment=found["environment"],
        seeds=[number],
        spent_s=found["spent_s"],
        wall_s=round(time.perf_counter() - begun, 1),
        notes=found["notes"],
    )


def _planted(clone: Path, shares: Mapping[Cell, float], threads: int, said: str = "") -> tuple[Tree, Tree]:
    """A version, and the same with those slowdowns."""
    base = commit(clone, {})
    try:
        additions = calibrate.additions(base, shares, threads)
    except process.Died as died:
        raise NormsuiteError(f"how much extra work a slowdown takes could not be measured: {died}") from None
    return base, commit(clone, additions, said)


def _fields(setup: measure.Setup) -> dict:
    return {name: getattr(setup, name) for name in setup.__dataclass_fields__}


def _named(shares: Mapping[Cell, float]) -> dict[str, float]:
    return {cell.name: share for cell, share in shares.items()}


def _by_asv(setup: measure.Setup, clone: Path, number: int, identity: dict, repository: Path) -> dict:
    """Planted versions and a version against itself in turn, of those cells that asv's benchmarks have."""
    cells = [cell for cell in setup.cells if asv_continuous.able(cell, repository)]
    shares = {} if number % 2 else {c: s for c, s in _shares(setup, number // 2).items() if c in cells}
    base, head = _planted(clone, shares, setup.threads, said=f"pair {number}")
    changes, spent_s = asv_continuous.compare(repository, clone, base.commit, head.commit, cells)
    return results.make_record(
        ASV,
        {"identity": identity, "planted": _named(shares), "number": number, "cells": [cell.name for cell in cells]},
        {"changes": changes, "factor": asv_continuous.FACTOR},
        environment=results.environment(),
        seeds=[number],
        wall_s=round(spent_s, 1),
    )


@contextmanager
def _clone(base: Tree, repository: Path) -> Iterator[Path]:
    """A clone at that version, to commit into, which is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        _git("clone", "--quiet", "--shared", "--no-checkout", str(trees.root(repository)), str(clone))
        _git("-C", str(clone), "checkout", "--quiet", "--detach", base.commit)
        yield clone


def commit(clone: Path, additions: Mapping[Cell, int], said: str = "") -> Tree:
    """A commit with those slowdowns, on top of the clone's version; the same ones give the same package.

    Args:
        clone: where.
        additions: of each cell that is to be slower.
        said: goes into the message, so that two commits of one package are two.
    """
    package = clone / PACKAGE
    _git("-C", str(clone), "checkout", "--quiet", "--", ".")
    keys = {planted_key(c): count for c, count in sorted(additions.items(), key=lambda item: item[0].name)}
    for file, functions, modules in (("functional", PLANTED_FUNCTIONS, ()), ("modules", (), PLANTED_MODULES)):
        path = package / f"{file}.py"
        text = path.read_text(encoding="utf-8")
        planting = f"plant(globals(), {functions!r}, {modules!r}, {keys!r})"
        path.write_text(f"{text}\n\nfrom .planted import plant  # noqa: E402\n\n{planting}\n", encoding="utf-8")
    shutil.copy(Path(__file__).parent / "planted.py", package / "planted.py")
    _git("-C", str(clone), "add", "--all", "--", PACKAGE)
    said = " ".join([f"{len(additions)} slowdowns", said]).strip()
    who = ("-c", "user.name=normsuite", "-c", "user.email=normsuite@localhost", "-c", "commit.gpgsign=false")
    before = _git("-C", str(clone), "rev-parse", "HEAD").strip()
    _git("-C", str(clone), *who, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", said)
    made = _git("-C", str(clone), "rev-parse", "HEAD").strip()
    _git("-C", str(clone), "tag", "--force", f"planted-{made[:12]}", made)  # clones take what has a name
    _git("-C", str(clone), "reset", "--quiet", "--hard", before)
    return trees.of_commit(made, argument="head", repository=clone)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise NormsuiteError(f"git {arguments[0]}: {' '.join(done.stderr.split())[:200]}")
    return done.stdout
