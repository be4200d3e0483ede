"""Tables of a study: its last epoch, the document's claims, every pair of norms, epochs needed. Imports no torch."""

import math
from collections.abc import Callable, Iterable, Sequence

from ..lesson import claims
from ..presentation import text
from ..presentation.table import Column, Table
from ..records import kinds
from ..statistics import positive_interval, share_interval
from . import comparisons
from .conditions import OF_A_RUN
from .learning_rates import choices
from .summary import (
    BATCH_COMMAND,
    NormInSetting,
    Study,
    best,
    by_batch_size,
    by_setting,
    by_size,
    cells,
    detectable_sentence,
    leader,
    least_difference,
    tested_on,
)

BRIEF = ("test accuracy", "covariate shift")
"""Metrics whose pairs a terminal shows; --json and the report have all."""


def brief(records: Sequence[dict]) -> list[Table]:
    """Return the tables that a terminal shows.

    For one comparison they are accuracies, pairs, epochs to a target and claims; for several settings the accuracies
    under each, and which norm is ahead there.
    """
    names, of_all = cells(records)
    if names:
        chosen = "learning_rate" in names  # rates are there to choose from: norms are not compared under each
        return [settings(names, of_all, tested_on(records)), *([] if chosen else [leaders(records, names)])]
    judged = claims.judge(records)
    return [last_epoch(Study(records)), *pairs(records, BRIEF), reaching(records), verdicts(judged)]


def settings(names: Sequence[str], of_all: Sequence[NormInSetting], digits: str = "test") -> Table:
    """Return each norm's accuracy under each setting, on those digits, and its best setting."""
    found = list(dict.fromkeys(cell.setting for cell in of_all))
    heads = list(map(_heading, found))
    rows = []
    for norm, winner in best(of_all).items():
        own = {cell.setting: text.interval(cell.accuracy, text.percent) for cell in of_all if cell.norm == norm}
        shown = (own.get(setting, text.ABSENT) for setting in found)
        rows.append((norm, *shown, heads[found.index(winner.setting)]))
    title = f"{digits.capitalize()} accuracy by {', '.join(names)}: mean over the seeds [95 % interval]"
    return Table(title, ("norm", *heads, "best"), rows, kinds.STUDY.command)


def _heading(setting: tuple) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in setting)


def leaders(records: Sequence[dict], names: Sequence[str]) -> Table:
    """Return for each setting the norm of the highest mean accuracy, beside each other norm.

    Args:
        records: of one study.
        names: of the settings that vary.
    """
    rows = []
    for setting, of in by_setting(records, names).items():
        first, found = leader(of)
        rows += [
            (
                _heading(setting),
                first,
                pair.right,
                text.interval(pair.found.difference, text.points),
                text.p_value(pair.p),
                pair.verdict,
            )
            for pair in found
        ]
    margin = text.points(claims.METRICS["test accuracy"].margin).lstrip("+")
    return Table(
        f"The norm with the highest mean {tested_on(records)} accuracy, against each other norm: the difference, "
        f"paired by seed, mean [95 % interval, not corrected]; equivalent within ± {margin}",
        (
            ", ".join(name.replace("_", " ") for name in names),
            "highest mean",
            "other",
            "difference",
            "p",
            Column("highest mean is", tones=comparisons.TONES),
        ),
        rows,
        kinds.STUDY.command,
        note="p is the largest value of the decisive tests, corrected over all pairs of norms under one setting (Holm)",
    )


def last_epoch(study: Study) -> Table:
    """Return each norm after the last epoch: means over the seeds with their 95 % intervals."""
    shows: dict[str, tuple[Callable, Callable]] = {
        "loss": (positive_interval, text.loss),
        "accuracy": (share_interval, text.percent),
    }
    rows, is_timed, digits = [], study.is_timed_alike, tested_on(study.records)
    for norm in study.norms:
        runs = study.runs(norm)
        row = [norm, str(runs[0]["samples"]["norm_parameters"])]
        for metric in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            mean, show = shows[metric.partition("_")[2]]
            row.append(text.interval(mean([float(run["samples"]["epochs"][-1][metric]) for run in runs]), show))
        spent = [sum(epoch["seconds"] for epoch in run["samples"]["epochs"]) / study.epochs for run in runs]
        time = text.interval(positive_interval(spent), text.seconds) if is_timed else text.ABSENT
        rows.append((*row, time, str(len(runs))))
    return Table(
        f"After {study.epochs} epochs: mean over {len(study.seeds)} seeds [95 % interval]",
        (
            "norm",
            Column("its parameters", is_number=True, only_pages=True),
            Column("training loss", only_pages=True),
            f"{digits} loss",
            Column("training accuracy", only_pages=True),
            f"{digits} accuracy",
            "training time per epoch",
            Column("runs", is_number=True),
        ),
        rows,
        kinds.STUDY.command,
        note=f"The network has {study.records[0]['samples']['network_parameters']:,} parameters beside the norm's own"
        + ("" if is_timed else ". No times: runs had different numbers of others beside them, or different cores"),
    )


def verdicts(judged: Sequence[claims.Judged]) -> Table:
    """Return the document's claims in its own words, and the verdict on each."""
    return Table(
        "The document's claims on learning, and what this study finds",
        (Column("claim", only_pages=True), "the document's words", Column("verdict", tones=claims.TONES)),
        [(j.claim.key, f"“{j.claim.text}”", j.verdict) for j in judged],
        kinds.STUDY.command,
    )


def _writer(metric: str) -> Callable[[float], str]:
    """Return what writes a difference in that metric."""
    return text.points if "accuracy" in metric else text.change


def differences(judged: Sequence[claims.Judged]) -> Table:
    """Return the paired difference behind each relation of each claim."""
    rows = []
    for j in judged:
        for f in j.findings:
            r = f.relation
            measured = text.interval(f.found.difference, _writer(r.metric)) if f.found else text.ABSENT
            said = f"{r.left} {r.expected} {'to' if r.expected == 'similar' else 'than'} {r.right}"
            tests = ", ".join(f.tests) or text.ABSENT
            rows.append((j.claim.key, r.metric, said, measured, text.p_value(f.p), tests, f.verdict))
    margins = [f"{metric.margin:g} for {name}" for name, metric in claims.METRICS.items()]
    comparison = next((f.found for j in judged for f in j.findings if f.found), None)
    level = text.percent(comparison.confidence) if comparison else "corrected"
    return Table(
        "What each claim says of two norms, and the paired difference left − right over the seeds with its "
        f"{level} interval by Student's t",
        ("claim", "metric", "the document says", "difference, measured", "p", "tests",
         Column("verdict", tones=claims.TONES)),
        rows,
        kinds.STUDY.command,
        note="A verdict needs all the named tests; p is the largest of theirs, corrected so that all verdicts together "
        "err with probability 5 % at most (Holm, over distinct comparisons). Similar means an interval within "
        f"{', '.join(margins)}",
    )  # fmt: skip


def pairs(records: Sequence[dict], metrics: Iterable[str] = tuple(claims.METRICS)) -> list[Table]:
    """Return a table for each metric: every pair of norms, with difference, effect and verdict."""
    by_metric: dict[str, list[comparisons.NormPair]] = {}
    for pair in comparisons.pairs(records, metrics):
        by_metric.setdefault(pair.metric, []).append(pair)
    digits = tested_on(records)
    return [_pairs(metric, found, metric.replace("test ", f"{digits} ")) for metric, found in by_metric.items()]


def _pairs(metric: str, found: Sequence[comparisons.NormPair], name: str) -> Table:
    show = _writer(metric)
    margin = show(claims.METRICS[metric].margin).lstrip("+")
    return Table(
        f"{name.capitalize()}: left − right, paired by seed, mean [95 % interval, not corrected]; equivalent within "
        f"± {margin}",
        (
            "left",
            "right",
            "difference",
            "effect",
            "p",
            "p, equivalence",
            Column("tests", only_pages=True),
            Column("left is", tones=comparisons.TONES),
        ),
        [
            (
                pair.left,
                pair.right,
                text.interval(pair.found.difference, show),
                text.ABSENT if math.isnan(pair.found.effect) else f"{pair.found.effect:+.2f}",
                text.p_value(pair.p),
                text.p_value(pair.p_equivalent),
                ", ".join(pair.tests) or text.ABSENT,
                pair.verdict,
            )
            for pair in found
        ],
        kinds.STUDY.command,
        note="The effect is Hedges' g; p is the largest value of the named tests, corrected over the pairs of this "
        "table (Holm), and for equivalence that of two one-sided tests",
    )


def reaching(records: Sequence[dict]) -> Table:
    """Return how many epochs each norm needs to an accuracy, over all runs."""
    rows = [
        (
            row.norm,
            f"{row.target:.0%}",
            f"{row.reached.count} of {len(row.reached.epochs)}",
            "not reached" if row.reached.median is None else f"{row.reached.median:g}",
            text.p_value(row.p),
        )
        for row in comparisons.reaching(records)
    ]
    return Table(
        f"Epochs until the {tested_on(records)} accuracy is first reached",
        ("norm", f"{tested_on(records)} accuracy", "runs", "median epoch", "p against none"),
        rows,
        kinds.STUDY.command,
        note="How many runs got there, the median over all runs (Kaplan and Meier; runs that did not get there count "
        "as longer), and the log-rank test against none, stratified by seed and corrected over the norms (Holm)",
    )


def tuning(records: Sequence[dict]) -> Table | None:
    """Return how certain the choice of each norm's learning rate is; None without runs on held-out digits."""
    rows = [
        (
            choice.norm,
            f"{choice.rate:g}",
            text.interval(choice.accuracy, text.percent),
            f"{choice.next_rate:g}",
            text.interval(choice.difference, text.points),
            str(choice.seeds),
            "certain" if choice.is_certain else "undecided",
        )
        for choice in choices(records)
    ]
    if not rows:
        return None
    return Table(
        "How certain the choice of learning rates is, on digits held out of the training digits",
        ("norm", "rate chosen", "held-out accuracy", "next rate", "chosen − next", "seeds", "the choice is"),
        rows,
        kinds.TUNING.command,
        note="The rate of the highest mean accuracy [95 % interval], and by how much it is better than the next, "
        "paired by seed, with intervals that hold together. Where the choice is undecided, another rate might have "
        "served the norm as well",
    )


def small_batches(records: Sequence[dict]) -> Table:
    """Return test accuracy by batch size, a row for each norm."""
    means = by_batch_size(records)
    sizes = sorted({size for of_norm in means.values() for size in of_norm})
    rows = [
        (norm, *(text.interval(of[size], text.percent) if size in of else text.ABSENT for size in sizes))
        for norm, of in means.items()
    ]
    return Table(by_size(records), ("norm", *(f"{size} digits" for size in sizes)), rows, BATCH_COMMAND)


def method(study: Study) -> Table:
    """Return machine, versions, seeds and settings of a study."""
    record = study.records[0]
    environment, case = record["environment"], record["case"]
    rows = [
        ("processor", environment["cpu"]),
        ("cores", str(environment["cores"])),
        ("threads of one run", str(environment.get("threads", "unknown"))),
        ("runs side by side", ", ".join(map(str, study.workers))),
        ("accelerator", environment.get("accelerator") or "none"),
        ("system", environment.get("system", "unknown")),
        ("Python", environment.get("python", "unknown")),
        *environment["packages"].items(),
        ("commit", record.get("commit") or "unknown"),
        ("seeds", ", ".join(map(str, study.seeds))),
        ("learning rate", _rates(study)),
        *((name.replace("_", " "), str(v)) for name, v in case.items() if name not in OF_A_RUN and v is not None),
    ]
    return Table("The study", ("what", "value"), rows, kinds.STUDY.command)


def _rates(study: Study) -> str:
    """Return the learning rate, or each norm's own."""
    rates = {norm: study.runs(norm)[0]["case"].get("learning_rate") for norm in study.norms}
    if len(set(rates.values())) == 1:
        return str(next(iter(rates.values())))
    return ", ".join(f"{norm} {rate:g}" for norm, rate in rates.items())


def detectable(study: Study) -> str:
    """Return the sentence on the least difference that these seeds could have found."""
    seeds, effect = least_difference(study.records)
    return f"{text.counted(seeds, 'seed')}, {text.counted(len(study.norms), 'norm')}: {detectable_sentence(effect)}."
