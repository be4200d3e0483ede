"""The document's claims against a study's records. The rules here were written before the study was run.

Every relation between two norms is one paired comparison over the seeds that both have. All relations of the document
are corrected together, so that the chance of any false verdict among them is 5 % at most. "Higher" and "lower" are
supported where the interval of the difference lies on that side of zero, and contradicted where it lies on the other.
"Similar" is supported where the interval lies within the margin, and contradicted where it lies beyond it. Everything
else is undecided, so that more seeds settle a verdict and never turn a right one. A claim is contradicted if one of its
relations is, supported if all of them are, and undecided otherwise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, median

from . import document
from .statistics import Comparison, compare

VERDICTS = SUPPORTED, CONTRADICTED, UNDECIDED, NOT_MEASURED = "supported", "contradicted", "undecided", "not measured"


@dataclass(frozen=True)
class Metric:
    """A number read off one run, and how far two norms' means may differ and still be called similar.

    Attributes:
        read: from the run's samples; None where the run did not record it.
        margin: in the metric's unit: 0.01 of a nat for losses, 0.2 of a percentage point for accuracies, 0.02 for what
            is relative.
    """

    read: Callable[[dict], float | None]
    margin: float


def _last(name: str) -> Callable[[dict], float]:
    return lambda samples: float(samples["epochs"][-1][name])


def _mean(name: str) -> Callable[[dict], float]:
    return lambda samples: fmean(float(epoch[name]) for epoch in samples["epochs"])


def _watched(name: str) -> Callable[[dict], float | None]:
    """Median over all layers and all times at which they were looked at: the first steps are far from the others, and
    a layer that says nothing any more has no number."""

    def read(samples: dict) -> float | None:
        found = [layer[name] for watched in samples.get("shift", ()) for layer in watched["layers"]]
        finite = [value for value in found if isinstance(value, float | int) and isfinite(value)]
        return float(median(finite)) if finite else None

    return read


METRICS = {
    "training loss": Metric(_last("train_loss"), 0.01),
    "test loss": Metric(_last("test_loss"), 0.01),
    "training accuracy": Metric(_last("train_accuracy"), 0.002),
    "test accuracy": Metric(_last("test_accuracy"), 0.002),
    "training loss over all epochs": Metric(_mean("train_loss"), 0.01),
    "training accuracy over all epochs": Metric(_mean("train_accuracy"), 0.002),
    "covariate shift": Metric(_watched("shift"), 0.02),
    "gradient change": Metric(_watched("gradient_change"), 0.02),
}
"""What the document compares, and one more. The first four are those of the last epoch; two means over the epochs say
how fast it was reached. Covariate shift is the document's "change in the distribution of network activations", from one
half of an epoch to the next; the gradient change is Santurkar et al.'s sense of it (`study/shift.py` has both)."""


@dataclass(frozen=True)
class Finding:
    """One relation of a claim, measured: `comparison` is None where a norm or enough seeds are missing."""

    relation: document.Relation
    seeds: int
    comparison: Comparison | None
    verdict: str


@dataclass(frozen=True)
class Judged:
    """One claim with what was found."""

    claim: document.Claim
    findings: tuple[Finding, ...]
    verdict: str


def _expand(relation: document.Relation) -> list[document.Relation]:
    """Each norm that the document names, for "any norm"."""
    if relation.left != "any norm":
        return [relation]
    named = [example.norm for example in document.EXAMPLES]
    return [document.Relation(relation.metric, name, relation.expected, relation.right) for name in named]


def judge(records: Iterable[dict]) -> list[Judged]:
    """Every claim of the document, judged by the records of one study: equal settings but for norm and seed."""
    runs: dict[str, dict[int, dict]] = {}
    for record in records:
        runs.setdefault(record["case"]["norm"], {})[record["case"]["seed"]] = record["samples"]
    relations = {claim.key: [r for relation in claim.relations for r in _expand(relation)] for claim in document.CLAIMS}
    together = len({r for of_claim in relations.values() for r in of_claim})
    judged = []
    for claim in document.CLAIMS:
        findings = tuple(_find(relation, runs, together) for relation in relations[claim.key])
        judged.append(Judged(claim, findings, _overall([f.verdict for f in findings])))
    return judged


def _find(relation: document.Relation, runs: dict[str, dict[int, dict]], together: int) -> Finding:
    left, right = runs.get(relation.left, {}), runs.get(relation.right, {})
    metric = METRICS[relation.metric]
    seeds = sorted(left.keys() & right.keys())
    lefts, rights = ([metric.read(of_norm[seed]) for seed in seeds] for of_norm in (left, right))
    if len(seeds) < 2 or None in lefts + rights:
        return Finding(relation, len(seeds), None, NOT_MEASURED)
    comparison = compare(
        lefts,
        rights,
        margin=metric.margin,
        comparisons=together,
    )
    return Finding(relation, len(seeds), comparison, _verdict(relation.expected, comparison))


def _verdict(expected: str, found: Comparison) -> str:
    supports, contradicts = {
        "higher": (found.higher, found.lower),
        "lower": (found.lower, found.higher),
        "similar": (found.similar, found.different),
    }[expected]
    return SUPPORTED if supports else CONTRADICTED if contradicts else UNDECIDED


def _overall(verdicts: list[str]) -> str:
    for verdict in (CONTRADICTED, NOT_MEASURED, UNDECIDED):
        if verdict in verdicts:
            return verdict
    return SUPPORTED if verdicts else NOT_MEASURED
