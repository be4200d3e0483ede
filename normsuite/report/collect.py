"""Collect what a report shows: the newest study and gate, the newest bench of each device, and asv's results.

Asv's are of the newest machine and torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..bench.summary import Bench, benches
from ..errors import ArgumentError, DataError
from ..files import reading
from ..gate import self_check_rates
from ..history import AsvResult, History, Measurement, read
from ..history.commits import Commits
from ..measure.labels import ASV_TORCH
from ..records import compact, kinds, provenance, results
from ..spec import NO_NORM, NORMS
from ..study.conditions import OF_A_RUN, condition, varied
from ..study.summary import Study


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
    study, batches = _newest_studies(_study_folder(source), notes)
    recorded, measured = _newest_segment(source / kinds.ASV.folder, notes, commits)
    if series is not None and not recorded:
        raise ArgumentError("series", series, "matches no series; asv has no results")
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
        tuning=_newest_tuning(source, notes),
        conformance=sorted(_newest_of_each(source, kinds.CONFORMANCE, notes, _checked), key=_place_of_target),
        ahead=max(_good(source, kinds.AHEAD, notes), key=lambda record: _written([record]), default=None),
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


def _good(source: Path, kind: kinds.RecordKind, notes: list[str]) -> list[dict]:
    """Return the records of that kind under the source, with a note on those that are damaged."""
    return _good_in(source / kind.folder, kind, notes)


def _good_in(folder: Path, kind: kinds.RecordKind, notes: list[str]) -> list[dict]:
    found = results.read_records(folder, kind.what)
    notes.extend(_named(found.damaged))
    return found.good


def _named(damaged: list[tuple[str, str]]) -> list[str]:
    """Return a note for each reason, with the first files that have it."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in damaged:
        by_reason.setdefault(reason, []).append(name)
    notes = []
    for reason, names in by_reason.items():
        if len(names) == 1:
            notes.append(reason if reason.startswith("record ") else f"record {names[0]} {reason}")
        else:
            notes.append(f"{len(names)} records ({reading.first_of(names)}): {reason}")
    return notes


def _study_folder(source: Path) -> Path:
    """Return the folder of the study's records: study in the source, or the source where they lie in it directly."""
    folder = source / kinds.STUDY.folder
    loose = [f"{kinds.STUDY.what}-*.json", f"{kinds.STUDY.what}*{compact.SUFFIX}"]
    return source if not folder.is_dir() and any(any(source.glob(pattern)) for pattern in loose) else folder


def _newest_studies(folder: Path, notes: list[str]) -> tuple[list[dict], list[dict]]:
    """Return the newest comparison of norms, and the newest of batch sizes."""
    good = _good_in(folder, kinds.STUDY, notes)
    tested = [record for record in good if not record["case"].get("hold_out")]
    if len(tested) < len(good):
        notes.append(f"{len(good) - len(tested)} records of runs that chose settings are left out")
    if not tested:
        notes.append(f"no study has been recorded: run `{kinds.STUDY.command}`")
        return [], []
    sizes: dict[tuple[str, bool], dict[int, list[dict]]] = {}
    for record in tested:
        size = record["case"].get("batch_size")  # older records do not have it
        sizes.setdefault((_study_key(record), size is None), {}).setdefault(size, []).append(record)
    alone = [records for of_size in sizes.values() if len(of_size) == 1 for records in of_size.values()]
    together = [of_size for of_size in sizes.values() if len(of_size) > 1]
    study = max(alone or [records for of_size in together for records in of_size.values()], key=_written)
    newest = max(together, key=lambda of_size: max(map(_written, of_size.values())), default={})
    if alone and newest and max(map(_written, newest.values())) > _written(study):
        notes.append(
            f"the newest study has the batch sizes {', '.join(map(str, sorted(newest)))} and is shown by these alone; "
            "all other tables are of the newest one of a single batch size"
        )
    batches = [record for of_size in newest.values() for record in _kept(of_size, notes)]
    shown = {id(record) for record in (*study, *(r for of_size in newest.values() for r in of_size))}
    if len(shown) < len(tested):
        others = len(tested) - len(shown)
        notes.append(f"{others} records of other settings, sources, machines or versions are not pooled with these")
    return _kept(study, notes), batches


def _written(records: list[dict]) -> str:
    return max(record.get("written", "") for record in records)


def _kept(records: list[dict], notes: list[str]) -> list[dict]:
    """Return the records of a comparison that means are taken over."""
    return _paired(_of_newest_rate(_of_newest_version(records, notes), notes), notes)


def _of_newest_version(records: list[dict], notes: list[str]) -> list[dict]:
    """Return for each norm the records of what was trained last under its name; notes say what that is.

    A user's norm may have had other sources or arguments, and a norm of a file other axes.
    """

    def version(record: dict) -> tuple[object, object]:
        return record["case"].get("target"), record.get("depends", {}).get("norm")

    newest = {r["case"]["norm"]: version(r) for r in sorted(records, key=lambda r: _written([r]))}
    kept = [r for r in records if version(r) == newest[r["case"]["norm"]]]
    for norm, (_, made) in newest.items():
        others = sum(r["case"]["norm"] == norm for r in records) - sum(r["case"]["norm"] == norm for r in kept)
        digest = made.get("source") if isinstance(made, dict) else None  # only targets have one
        said = [f"trained as of {digest}"] * (digest is not None)
        said += [f"{others} records of other versions are left out"] * (others > 0)
        if said:
            notes.append(f"{norm}: {'; '.join(said)}")
    return kept


def _of_newest_rate(records: list[dict], notes: list[str]) -> list[dict]:
    """Return for each norm the records of one learning rate: that of its last run.

    Where several norms were trained with several rates, it is the last one that all of them were trained with: which
    run of a sweep ends last is chance.
    """
    rates: dict[str, dict[float | None, str]] = {}  # of each norm, and when the last run with each was written
    for r in records:
        of_norm, rate = rates.setdefault(r["case"]["norm"], {}), r["case"].get("learning_rate")
        of_norm[rate] = max(of_norm.get(rate, ""), _written([r]))
    chosen = {norm: max(of_norm, key=lambda rate: of_norm[rate]) for norm, of_norm in rates.items()}
    common = set.intersection(*map(set, rates.values()))
    if common and sum(len(of_norm) > 1 for of_norm in rates.values()) > 1:
        last = max(common, key=lambda rate: (max(of_norm[rate] for of_norm in rates.values()), rate or 0.0))
        chosen = dict.fromkeys(rates, last)
    kept = [r for r in records if r["case"].get("learning_rate") == chosen[r["case"]["norm"]]]
    if len(kept) < len(records):
        notes.append(f"{len(records) - len(kept)} records of other learning rates are left out")
    return kept


def _paired(records: list[dict], notes: list[str]) -> list[dict]:
    """Return one record for each norm and seed, of the seeds that every norm has: all means are over the same seeds."""
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
    """Return a key that is equal for records of one study.

    Its norms may have learning rates of their own, and it may have several batch sizes.
    """
    case = {k: v for k, v in record["case"].items() if k not in (*OF_A_RUN, "batch_size")}
    depends = {k: v for k, v in record.get("depends", {}).items() if k != "norm"}
    return results.digest([case, depends, provenance.decisive(record["environment"]), record.get("source")])


def _newest_tuning(source: Path, notes: list[str]) -> list[dict]:
    """Return runs on held-out digits that differ in norm, seed and learning rate alone, the newest such.

    They may lie among those of the study, whose damage is noted there.
    """
    good = _good(source, kinds.TUNING, notes) + _good_in(_study_folder(source), kinds.STUDY, [])
    conditions: dict[tuple, list[dict]] = {}
    for record in good:
        if record["case"].get("hold_out") and "learning_rate" in record["case"]:
            made = results.digest([provenance.decisive(record["environment"]), record.get("source")])
            conditions.setdefault((condition(record), made), []).append(record)
    several = [of for of in (_of_newest_version(made, []) for made in conditions.values()) if varied(of)]
    return max(several, key=_written, default=[])


def _newest_benches(source: Path, notes: list[str]) -> list[Bench]:
    """Return the newest record of each task, of those that were made like the newest of all of the same kind."""
    good = sorted(_good(source, kinds.BENCH, notes), key=lambda r: r.get("written", ""))
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
    found = _good(source, kinds.GATE, notes)
    good = [record for record in found if not record.get("bisection")]
    if len(good) < len(found):
        notes.append(f"{len(found) - len(good)} records of bisections are left out: their margins follow the step")
    if not good:
        notes.append(f"no two versions have been compared: run `{kinds.GATE.command} BASE`")
    elif len(good) > 1:
        notes.append(f"{len(good) - 1} records of earlier gates are left out")
    return max(good, key=lambda record: _written([record]), default=None)


def _newest_self_check(source: Path, notes: list[str]) -> list[dict]:
    """Return the records that add up with the one written last."""
    good = results.different(_good(source, kinds.SELF_CHECK, notes))
    if not good:
        return []
    in_order = sorted(good, key=lambda record: _written([record]))
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
    good = sorted(_good(source, kind, notes), key=lambda record: _written([record]))
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
