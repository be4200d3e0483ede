"""What there is to report on: the newest study, and asv's results of the newest machine and torch."""

from dataclasses import dataclass, field
from pathlib import Path

from .. import results
from ..bench.summary import WHAT as BENCH
from ..bench.summary import Bench, problem
from ..errors import ArgumentError
from ..history import TORCH, Measurement, read
from ..spec import NO_NORM, NORMS

STUDY_COMMAND = "normsuite study"
ASV_COMMAND = "asv run --record-samples"
BENCH_COMMAND = "normsuite bench"


@dataclass(frozen=True)
class Collected:
    """Everything that the report shows, and what it could not show.

    Attributes:
        study: records of one study, equal in all but norm and seed, from one processor model and one torch.
        history: measurements from one processor model and one torch, oldest commit first.
        notes: what is missing, damaged or left out, one line each.
        commit: whose cost is shown; None where nothing was measured.
        bench: comparisons with the alternatives, of one machine, equal sources and settings.
    """

    study: list[dict] = field(default_factory=list)
    history: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    commit: str | None = None
    bench: Bench = field(default_factory=lambda: Bench([]))

    @property
    def norms(self) -> list[str]:
        """The norms of the study, in the order of all tables and charts, "none" first."""
        found = {record["case"]["norm"] for record in self.study}
        return [name for name in (NO_NORM, *NORMS) if name in found]

    @property
    def seeds(self) -> list[int]:
        return sorted({record["case"]["seed"] for record in self.study})

    def runs(self, norm: str) -> list[dict]:
        """The study's records of one norm, by seed."""
        return sorted((r for r in self.study if r["case"]["norm"] == norm), key=lambda r: r["case"]["seed"])

    @property
    def cost(self) -> list[Measurement]:
        """The measurements of the commit whose cost is shown."""
        return [m for m in self.history if m.commit == self.commit]


def collect(source: Path, commit: str | None = None) -> Collected:
    """Read a folder of records; see `report.write`."""
    notes: list[str] = []
    study = _newest_study(source / "study", notes)
    measured = _newest_segment(source / "asv" / "results", notes)
    bench = Bench(_newest_bench(source / "bench", notes))
    return Collected(study, measured, notes, _commit(measured, commit), bench)


def _commit(measured: list[Measurement], wanted: str | None) -> str | None:
    """The commit that was measured last, or the one that was asked for by the start of its hash."""
    commits = list(dict.fromkeys(m.commit for m in measured))
    if wanted is None:
        return max(measured, key=lambda m: m.recorded).commit if measured else None
    found = [c for c in commits if wanted and c.startswith(wanted)]
    if len(found) != 1:
        known = ", ".join(c[:8] for c in commits) or "none"
        problem = "stands for several measured commits" if found else "was not measured"
        raise ArgumentError("commit", wanted, f"{problem}; measured are {known}")
    return found[0]


def _newest_study(folder: Path, notes: list[str]) -> list[dict]:
    records = results.read_records(folder, "study")
    notes.extend(f"record {name} {reason}" for name, reason in records.damaged)
    studies: dict[str, list[dict]] = {}
    for record in records:
        studies.setdefault(_study_key(record), []).append(record)
    if not studies:
        notes.append(f"no study has been recorded: run `{STUDY_COMMAND}`")
        return []
    newest = max(studies.values(), key=lambda of_study: max(r.get("written", "") for r in of_study))
    if len(studies) > 1:
        others = len(records.good) - len(newest)
        notes.append(f"{others} records of other settings, sources, machines or versions are not pooled with these")
    return _paired(newest, notes)


def _paired(records: list[dict], notes: list[str]) -> list[dict]:
    """One record for each norm and seed, of the seeds that every norm has: all means are over the same seeds."""
    by_run = {}
    for record in sorted(records, key=lambda r: r.get("written", "")):
        by_run[record["case"]["norm"], record["case"]["seed"]] = record
    if len(by_run) < len(records):
        notes.append(f"{len(records) - len(by_run)} records of a norm and a seed that are there twice are left out")
    norms = {norm for norm, _ in by_run}
    common = {seed for _, seed in by_run if all((norm, seed) in by_run for norm in norms)}
    if not common:
        notes.append("no seed has been run with every norm: the seeds differ from norm to norm")
        return list(by_run.values())
    kept = [record for (_, seed), record in by_run.items() if seed in common]
    if len(kept) < len(by_run):
        notes.append(f"{len(by_run) - len(kept)} records of seeds that not every norm has yet are left out")
    return kept


def _study_key(record: dict) -> str:
    """Records with equal keys may be averaged."""
    case = {k: v for k, v in record["case"].items() if k not in ("norm", "seed")}
    depends = {k: v for k, v in record.get("depends", {}).items() if k != "norm"}
    return results.digest([case, depends, record["environment"], record.get("source")])


def _newest_bench(folder: Path, notes: list[str]) -> list[dict]:
    """The newest record of each task, of those that were made like the newest of all."""
    records = results.read_records(folder, BENCH)
    notes.extend(f"record {name} {reason}" for name, reason in records.damaged)
    reasons = [problem(record) for record in records]
    good = [record for record, reason in zip(records, reasons, strict=True) if reason is None]
    for reason in filter(None, dict.fromkeys(reasons)):
        notes.append(f"records of a bench are damaged ({reason}): {reasons.count(reason)}")
    if not good:
        notes.append(f"nothing has been compared with the alternatives: run `{BENCH_COMMAND}`")
        return []
    good.sort(key=lambda r: r.get("written", ""))
    key = _bench_key(good[-1])
    kept = {results.digest(r["case"]): r for r in good if _bench_key(r) == key}
    if len(kept) < len(good):
        notes.append(f"{len(good) - len(kept)} records of benches made otherwise or before are left out")
    return list(kept.values())


def _bench_key(record: dict) -> str:
    """Records with equal keys may stand in one table."""
    case = {k: record["case"].get(k) for k in ("dtype", "device")}
    return results.digest([case, record.get("settings"), record["environment"], record.get("source")])


def _newest_segment(folder: Path, notes: list[str]) -> list[Measurement]:
    found = read(folder)
    notes.extend(found.notes)
    measured = [m for m in found.measurements if m.benchmark != TORCH]
    if not measured:
        notes.append(f"asv has no results: run `{ASV_COMMAND}`")
        return []
    newest = max(measured, key=lambda m: m.recorded)
    kept = [m for m in measured if (m.machine, m.torch) == (newest.machine, newest.torch)]
    if len(kept) < len(measured):
        notes.append(f"{len(measured) - len(kept)} results of other machines or versions of torch are left out")
    return kept
