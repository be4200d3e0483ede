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
from contextlib import contextmanager, nullcontext
from pathlib import Path

from .. import device as devices
from .. import provenance, results
from ..errors import ArgumentError, NormsuiteError
from ..measure import process
from . import asv_continuous, calibrate, decide, measure, trees
from .cells import PLANTED_FUNCTIONS, PLANTED_MODULES, Cell, planted_key
from .rates import ASV, SHARES, WHAT, is_planted
from .summary import TIME, rows
from .trees import OWN, PACKAGE, Tree

PLANTED = 1 / 3
"""Of the cells of a planted table, at once, an equal number with each share."""

_METHOD = (
    "budget.py",
    "calibrate.py",
    "cells.py",
    "decide.py",
    "groups.py",
    "looks.py",
    "measure.py",
    "../measure/pairs.py",
    "../measure/preloaded.py",
    "planted.py",
    "preloads.py",
    "processes.py",
    "sides.py",
    "starts.py",
    "turns.py",
    "worker.py",
    "../measure/clock.py",
    "../measure/implementations/ours.py",
    "../measure/workload.py",
    "../statistics/intervals.py",
    "../statistics/moderated.py",
)


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
    own = setup.base.packages == OWN.names
    if asv_pairs and not own:
        raise ArgumentError("asv_pairs", asv_pairs, f"is for {PACKAGE}'s own repository, whose benchmarks asv has")
    with _clone(setup.base, repository) if own else nullcontext() as clone:
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
    """Return the digest of what measures a table and decides when a cell is measured no more."""
    here, digest = Path(__file__).parent, hashlib.sha256()
    for name in _METHOD:
        # Its syntax, so that a comment or a line break does not set hours of records aside.
        digest.update(ast.dump(ast.parse((here / name).read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:16]


def _identity(setup: measure.Setup) -> dict:
    """Return what records must share to be counted together."""
    accelerator = devices.name(setup.cells[0].task.device)
    return {
        "method": method(),
        "cells": [cell.name for cell in setup.cells],
        "budget_s": setup.budget_s,
        "threads": setup.threads,
        "margin": setup.margins["time"],
        "worse": decide.Thresholds.of(setup.margins).worse,
        "apart": setup.apart,
        "cpu": provenance.cpu_model(),
        "cores": provenance.usable_cores(),
        "torch": provenance.version("torch"),
        **({} if accelerator is None else {"accelerator": accelerator}),
    }


def _belongs(record: dict, identity: dict) -> bool:
    return record["case"].get("identity") == identity


def _shares(setup: measure.Setup, number: int) -> dict[Cell, float]:
    """Return the slowdowns of the planted table of that number."""
    draw = random.Random(number)
    count = max(1, round(len(setup.cells) * PLANTED / len(SHARES)))
    chosen = draw.sample(list(setup.cells), min(len(setup.cells), count * len(SHARES)))
    return {cell: SHARES[place % len(SHARES)] for place, cell in enumerate(chosen)}


def _table(setup, clone: Path | None, planted: bool, number: int, identity: dict, on_progress) -> dict:
    """Measure one table.

    Args:
        clone: that planted versions are committed into; None for anybody's package, whose calls get more to do in head
            instead, so that nothing need be known of its files.
    """
    shares = _shares(setup, number) if planted else {}
    base = head = setup.base
    added: dict[str, int] = {}
    if planted and clone is not None:
        base, head = _planted(clone, shares, setup.threads)
    elif planted:
        added = {cell.name: count for cell, count in _additions(base, shares, setup.threads).items()}
    begun = time.perf_counter()
    of_table = measure.Setup(**{**_fields(setup), "base": base, "head": head, "added": added})
    outcome = measure.run(of_table, on_progress)
    if planted and clone is not None:
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
            "base_s": found["samples"]["base_s"],
            "blocks": found["samples"]["blocks"],
        },
        environment=found["environment"],
        seeds=[number],
        spent_s=found["spent_s"],
        wall_s=round(time.perf_counter() - begun, 1),
        notes=found["notes"],
    )


def _planted(clone: Path, shares: Mapping[Cell, float], threads: int, said: str = "") -> tuple[Tree, Tree]:
    """Return a version, and the same with those slowdowns."""
    base = commit(clone, {})
    return base, commit(clone, _additions(base, shares, threads), said)


def _additions(base: Tree, shares: Mapping[Cell, float], threads: int) -> dict[Cell, int]:
    try:
        return calibrate.additions(base, shares, threads)
    except process.Died as died:
        raise NormsuiteError(f"how much extra work a slowdown takes could not be measured: {died}") from None


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
        environment=provenance.environment(),
        seeds=[number],
        wall_s=round(spent_s, 1),
    )


@contextmanager
def _clone(base: Tree, repository: Path) -> Iterator[Path]:
    """Yield a clone at that version, to commit into, which is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        _git("clone", "--quiet", "--shared", "--no-checkout", str(trees.root(repository)), str(clone))
        _git("-C", str(clone), "checkout", "--quiet", "--detach", base.commit)
        yield clone


def commit(clone: Path, additions: Mapping[Cell, int], said: str = "") -> Tree:
    """Commit those slowdowns on top of the clone's version; the same ones give the same package.

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
