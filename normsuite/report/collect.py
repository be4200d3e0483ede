"""Collect what a report shows: the newest study and gate, the newest bench of each device, and asv's results.

Asv's are of the newest machine and torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..bench.summary import Bench, benches
from ..errors import ArgumentError, DataError
from ..gate import self_check_rates
from ..history import AsvResult, History, Measurement, read
from ..history.commits import Commits
from ..measure.labels import ASV_TORCH
from ..records import kinds, provenance, results
from ..spec import NO_NORM, NORMS
from ..study.summary import Study
from . import studies
from .usable import usable, written


@dataclass(frozen=True)
class Collected:
    """Everything that the report shows, and what it could not show.

    Attributes:
        study: records of one study, equal in all but norm, seed and the norm's own learning rate, from one processor
            model and one torch.
        batches: records of one study of several batch sizes, equal in the same way but for these.
        history: asv's results from one processor model and one torch, oldest commit first.
        recorded: those, and the same processor model's with any torch.
        self_check: tables of the gate's newest self-check, which share method and processor model.
        series: a pattern of the series whose trend is drawn; None for those that say most.
        notes: what is missing, damaged or left out, one line each.
        commit: whose cost is shown; None where nothing was measured.
        benches: comparisons with the alternatives, each of one machine, equal sources and settings; the newest of each
            device, type of numbers and processor, those of processors first.
        gate: the newest comparison of two versions; None where there is none.
        tuning: the newest runs on held-out digits that chose learning rates.
        numerics: the newest record of errors against float64, one for each input, norms and backends.
        conformance: the newest record of checks, one for each target.
        ahead: the newest record of kernels compiled ahead of time; None where there is none.
    """

    study: list[dict] = field(default_factory=list)
    batches: list[dict] = field(default_factory=list)
    history: list[AsvResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    commit: str | None = None
    benches: list[Bench] = field(default_factory=list)
    gate: dict | None = None
    numerics: list[dict] = field(default_factory=list)
    recorded: list[AsvResult] = field(default_factory=list)
    series: str | None = None
    self_check: list[dict] = field(default_factory=list)
    tuning: list[dict] = field(default_factory=list)
    conformance: list[dict] = field(default_factory=list)
    ahead: dict | None = None

    @property
    def studied(self) -> Study:
        """Return the study's records as one study."""
        return Study(self.study)

    @property
    def bench(self) -> Bench:
        """Return the first comparison with the alternatives, or an empty one."""
        return self.benches[0] if self.benches else Bench([])

    @property
    def cost(self) -> list[Measurement]:
        """Return the measurements of the commit whose cost is shown."""
        return [m for result in self.history if result.commit == self.commit for m in result.measurements]


def collect(
    source: Path, commit: str | None = None, series: str | None = None, commits: Commits | None = None
) -> Collected:
    """Read a folder of records; see `report.write`."""
    notes: list[str] = []
    study, batches = studies.newest(source, notes)
    recorded, measured = _newest_segment(source / kinds.ASV.folder, notes, commits)
    benches = _newest_benches(source, notes)
    gate = _newest_gate(source, notes)
    numerics = sorted(_newest_of_each(source, kinds.NUMERICS, notes, _tried), key=_place_of_errors)
    if not numerics:
        notes.append(f"no numerical errors have been recorded: run `{kinds.NUMERICS.command}`")
    return Collected(
        study=study,
        batches=batches,
        history=measured,
        notes=notes,
        commit=_commit(measured, commit),
        benches=benches,
        gate=gate,
        numerics=numerics,
        recorded=recorded,
        series=series,
        self_check=_newest_self_check(source, notes),
        tuning=studies.newest_tuning(source, notes),
        conformance=sorted(_newest_of_each(source, kinds.CONFORMANCE, notes, _checked), key=_place_of_target),
        ahead=max(usable(source, kinds.AHEAD, notes), key=lambda record: written([record]), default=None),
    )


def _commit(measured: list[AsvResult], wanted: str | None) -> str | None:
    """Return the commit that was measured last, or the one that was asked for by the start of its hash."""
    commits = list(dict.fromkeys(result.commit for result in measured))
    if wanted is None:
        return max(measured, key=lambda result: result.recorded).commit if measured else None
    found = [c for c in commits if wanted and c.startswith(wanted)]
    if len(found) != 1:
        known = ", ".join(c[:8] for c in commits) or "none"
        problem = "stands for several measured commits" if found else "was not measured in the newest setting"
        raise ArgumentError("commit", wanted, f"{problem}; measured are {known}")
    return found[0]


def _newest_benches(source: Path, notes: list[str]) -> list[Bench]:
    """Return the newest record of each task, of those that were made like the newest of all of the same kind."""
    good = sorted(usable(source, kinds.BENCH, notes), key=lambda r: r.get("written", ""))
    if not good:
        notes.append(f"nothing has been compared with the alternatives: run `{kinds.BENCH.command}`")
    found = []
    for records in (bench.records for bench in benches(good)):
        made = _made(records[-1])
        found.append(Bench(list({results.digest(r["case"]): r for r in records if _made(r) == made}.values())))
    left_out = len(good) - sum(len(bench.records) for bench in found)
    if left_out:
        notes.append(f"{left_out} records of benches made otherwise or before are left out")
    return sorted(found, key=_place_of_bench)


def _place_of_bench(bench: Bench) -> tuple:
    """Return a key to sort benches by: processors first, then float32 first.

    Of several processors, the one with most rows in its table is first.
    """
    model, dtype = bench.key
    return model, dtype != "float32", dtype, -len(bench.rows), bench.processor


def _made(record: dict) -> str:
    """Return a digest that is equal for records of one kind that may stand in one table."""
    by = [record.get(name) for name in ("settings", "source", "method")]
    return results.digest([*by, provenance.comparable(record["environment"])])


def _newest_gate(source: Path, notes: list[str]) -> dict | None:
    """Return the gate record that was written last, or None."""
    found = usable(source, kinds.GATE, notes)
    good = [record for record in found if not record.get("bisection")]
    if len(good) < len(found):
        notes.append(f"{len(found) - len(good)} records of bisections are left out: their margins follow the step")
    if not good:
        notes.append(f"no two versions have been compared: run `{kinds.GATE.command} BASE`")
    elif len(good) > 1:
        notes.append(f"{len(good) - 1} records of earlier gates are left out")
    return max(good, key=lambda record: written([record]), default=None)


def _newest_self_check(source: Path, notes: list[str]) -> list[dict]:
    """Return the records that add up with the one written last."""
    good = results.different(usable(source, kinds.SELF_CHECK, notes))
    if not good:
        return []
    in_order = sorted(good, key=lambda record: written([record]))
    identity = in_order[-1]["case"]["identity"]
    of_method = [record for record in in_order if record["case"]["identity"] == identity]
    injections = [record["case"].get("injection") for record in of_method if self_check_rates.is_injected(record)]
    kept = [
        record for record in good if self_check_rates.belongs(record, identity, injections[-1] if injections else None)
    ]
    if len(kept) < len(good):
        notes.append(f"{len(good) - len(kept)} records of self-checks by other methods or elsewhere are left out")
    return kept


def _newest_of_each(
    source: Path, kind: kinds.RecordKind, notes: list[str], about: Callable[[dict], object]
) -> list[dict]:
    """Return the newest of the records that are about the same, with a note on how many were replaced by it."""
    good = sorted(usable(source, kind, notes), key=lambda record: written([record]))
    newest = {results.digest(about(record)): record for record in good}
    if len(newest) < len(good):
        notes.append(f"earlier records of {kind.what} are left out: {len(good) - len(newest)}")
    return list(newest.values())


def _checked(record: dict) -> object:
    """Return what a record of checks is about: the target."""
    return record["case"]


def _tried(record: dict) -> object:
    """Return what a record of errors is about: its input, norms and backends."""
    case, rows = record["case"], record["samples"]
    input = [case["shape"], case["dtype"], case["device"], case.get("activation")]
    return [input, *(sorted({row[name] for row in rows}) for name in ("norm", "backend"))]


def _place_of_errors(record: dict) -> tuple:
    """Return what records of errors are sorted by: the processor's and those in float32 first, then most norms."""
    case = record["case"]
    return case["device"] != "cpu", case["dtype"] != "float32", bool(case.get("activation")), -len(record["samples"])


def _place_of_target(record: dict) -> tuple:
    """Return what targets are sorted by: the norm that they are like in the order of all tables, then their names."""
    case, norms = record["case"], list(NORMS)
    place = norms.index(case["like"]) if case["like"] in norms else len(norms)
    return place, case["target"], case["args"], sorted(case["kwargs"].items())


def _newest_segment(folder: Path, notes: list[str], commits: Commits | None) -> tuple[list[AsvResult], list[AsvResult]]:
    """Return what was recorded on the newest machine, and the part of it with the newest torch."""
    try:
        found = read(folder, commits)
    except DataError as error:  # the other records are shown all the same
        notes.append(f"asv's results are left out: {error}")
        found = History()
    notes.extend(found.notes)
    measured = [result for result in found.results if result.benchmark != ASV_TORCH]
    if not measured:
        notes.append(f"asv has no results: run `{kinds.ASV.command}`")
        return [], []
    newest = max(measured, key=lambda result: (not result.former, result.recorded))
    recorded = [result for result in measured if result.machine == newest.machine]
    kept = [
        result
        for result in recorded
        if not result.former
        and (result.torch, result.numba, result.setting) == (newest.torch, newest.numba, newest.setting)
    ]
    of_machines, of_machine, of_setting = (
        sum(len(result.values) for result in of) for of in (measured, recorded, kept)
    )
    if of_machine < of_machines:
        notes.append(
            f"{of_machines - of_machine} results of other machines are left out: `normsuite history` shows them"
        )
    if of_setting < of_machine:
        notes.append(f"{of_machine - of_setting} results of other versions or settings are left out of the cost")
    choices = {id(result.parameters): result.parameters for result in kept}
    strange = {of["norm"] for parameters in choices.values() for of in parameters if "norm" in of} - {NO_NORM, *NORMS}
    if strange:
        notes.append(f"no such norm here: results of {', '.join(sorted(strange))} are in the history only")
    return recorded, kept
