"""The studies that a report shows: which records its means are over. Imports no torch."""

from pathlib import Path

from ..records import compact, kinds, provenance, results
from ..study.conditions import OF_A_RUN, condition, varied
from .usable import usable, usable_in, written


def _study_folder(source: Path) -> Path:
    """Return the folder of the study's records: study in the source, or the source where they lie in it directly."""
    folder = source / kinds.STUDY.folder
    loose = [f"{kinds.STUDY.what}-*.json", f"{kinds.STUDY.what}*{compact.SUFFIX}"]
    return source if not folder.is_dir() and any(any(source.glob(pattern)) for pattern in loose) else folder


def newest(source: Path, notes: list[str]) -> tuple[list[dict], list[dict]]:
    """Return the newest comparison of norms, and the newest of batch sizes, with notes on what is left out."""
    good = usable_in(_study_folder(source), kinds.STUDY, notes)
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
    study = max(alone or [records for of_size in together for records in of_size.values()], key=written)
    by_size = max(together, key=lambda of_size: max(map(written, of_size.values())), default={})
    if alone and by_size and max(map(written, by_size.values())) > written(study):
        notes.append(
            f"the newest study has the batch sizes {', '.join(map(str, sorted(by_size)))} and is shown by these alone; "
            "all other tables are of the newest one of a single batch size"
        )
    batches = [record for of_size in by_size.values() for record in _kept(of_size, notes)]
    shown = {id(record) for record in (*study, *(r for of_size in by_size.values() for r in of_size))}
    if len(shown) < len(tested):
        others = len(tested) - len(shown)
        notes.append(f"{others} records of other settings, sources, machines or versions are not pooled with these")
    return _kept(study, notes), batches


def _kept(records: list[dict], notes: list[str]) -> list[dict]:
    """Return the records of a comparison that means are taken over."""
    return _paired(_of_newest_rate(_of_newest_version(records, notes), notes), notes)


def _of_newest_version(records: list[dict], notes: list[str]) -> list[dict]:
    """Return for each norm the records of what was trained last under its name; notes say what that is.

    A user's norm may have had other sources or arguments, and a norm of a file other axes.
    """

    def version(record: dict) -> tuple[object, object]:
        return record["case"].get("target"), record.get("depends", {}).get("norm")

    newest = {r["case"]["norm"]: version(r) for r in sorted(records, key=lambda r: written([r]))}
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

    Where all of these are rates that every norm was trained with, as in a sweep, it is the last of them for all: which
    run of a sweep ends last is chance.
    """
    rates: dict[str, dict[float | None, str]] = {}  # of each norm, and when the last run with each was written
    for r in records:
        of_norm, rate = rates.setdefault(r["case"]["norm"], {}), r["case"].get("learning_rate")
        of_norm[rate] = max(of_norm.get(rate, ""), written([r]))
    chosen = {norm: max(of_norm, key=lambda rate: of_norm[rate]) for norm, of_norm in rates.items()}
    common = set.intersection(*map(set, rates.values()))
    if common.issuperset(chosen.values()):
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


def newest_tuning(source: Path, notes: list[str]) -> list[dict]:
    """Return runs on held-out digits that differ in norm, seed and learning rate alone, the newest such.

    They may lie among those of the study, whose damage is noted there.
    """
    good = usable(source, kinds.TUNING, notes) + usable_in(_study_folder(source), kinds.STUDY, [])
    conditions: dict[tuple, list[dict]] = {}
    for record in good:
        if record["case"].get("hold_out") and "learning_rate" in record["case"]:
            made = results.digest([provenance.decisive(record["environment"]), record.get("source")])
            conditions.setdefault((condition(record), made), []).append(record)
    several = [of for of in (_of_newest_version(made, []) for made in conditions.values()) if varied(of)]
    return max(several, key=written, default=[])
