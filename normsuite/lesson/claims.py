"""The document's claims against a study's records. docs/method-study.md has the rules and says when they were written.

Every relation between two norms is one paired comparison over the seeds that both have; relations that one comparison
decides count once. All comparisons of the document are corrected together for each test (Holm), so that the chance of
any false verdict among them is 5 % at most, and all tests that are decisive must agree (`statistics.decisive`).
"Higher" and "lower" are supported where the difference lies on that side of zero, and contradicted where it lies on the
other. "Similar" is supported where it lies within the margin, and contradicted where it lies beyond it. Everything else
is undecided. A claim is contradicted if one of its relations is, supported if all of them are, and undecided otherwise.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, median

from ..presentation.table import BAD, GOOD
from ..statistics import CONFIDENCE, TESTS, Paired, decisive, holm, paired
from . import document

VERDICTS = SUPPORTED, CONTRADICTED, UNDECIDED, NOT_MEASURED = "supported", "contradicted", "undecided", "not measured"
TONES = {SUPPORTED: GOOD, CONTRADICTED: BAD}


@dataclass(frozen=True)
class StudyMetric:
    """A number read off one run, and how far two norms' means may differ and still be called similar.

    Attributes:
        read: from the run's samples; None where the run did not record it.
        margin: in the metric's unit: 0.01 of a nat for losses, 0.2 of a percentage point for accuracies, 0.02 for what
            is relative.
    """

    read: Callable[[dict], float | None]
    margin: float

    def of_all(self, runs: Iterable[dict]) -> list[float] | None:
        """Return the number of each of those runs, told by their samples; None where one did not record it."""
        found = [self.read(samples) for samples in runs]
        known = [value for value in found if value is not None]
        return known if len(known) == len(found) else None


def _last(name: str) -> Callable[[dict], float]:
    return lambda samples: float(samples["epochs"][-1][name])


def _mean(name: str) -> Callable[[dict], float]:
    return lambda samples: fmean(float(epoch[name]) for epoch in samples["epochs"])


def _watched(name: str) -> Callable[[dict], float | None]:
    """Return a function that reads a metric's median over all layers and all watched steps.

    A median, since the first steps are far from the others; layers without a finite number are left out.
    """
    return lambda samples: over_layers((of for watched in samples.get("shift", ()) for of in watched["layers"]), name)


def over_layers(layers: Iterable[dict], name: str) -> float | None:
    """Return the median of a figure over those layers that have a finite one; None where none has."""
    finite = [layer[name] for layer in layers if isinstance(layer[name], float | int) and isfinite(layer[name])]
    return float(median(finite)) if finite else None


METRICS = {
    "training loss": StudyMetric(_last("train_loss"), 0.01),
    "test loss": StudyMetric(_last("test_loss"), 0.01),
    "training accuracy": StudyMetric(_last("train_accuracy"), 0.002),
    "test accuracy": StudyMetric(_last("test_accuracy"), 0.002),
    "training loss over all epochs": StudyMetric(_mean("train_loss"), 0.01),
    "training accuracy over all epochs": StudyMetric(_mean("train_accuracy"), 0.002),
    "covariate shift": StudyMetric(_watched("shift"), 0.02),
    "gradient change": StudyMetric(_watched("gradient_change"), 0.02),
}
"""Metrics that the document compares, and one more. The first four are those of the last epoch; two means over the
epochs say how fast it was reached. Covariate shift is the document's "change in the distribution of network
activations", from one half of an epoch to the next; the gradient change is Santurkar et al.'s sense of it
(`study/shift.py` has both)."""


@dataclass(frozen=True)
class Finding:
    """One relation of a claim, measured.

    Attributes:
        found: the paired difference, its interval corrected; None where a norm or enough seeds are missing.
        tests: those that had to agree.
        p: the largest of theirs, corrected over all comparisons (Holm); NaN without any.
    """

    relation: document.Relation
    seeds: int
    found: Paired | None
    verdict: str
    tests: tuple[str, ...] = ()
    p: float = math.nan


@dataclass(frozen=True)
class Judged:
    """One claim with what was found."""

    claim: document.Claim
    findings: tuple[Finding, ...]
    verdict: str


def _expand(relation: document.Relation) -> list[document.Relation]:
    """Return one relation for each norm that the document names, if the relation is of "any norm", and else itself."""
    if relation.left != "any norm":
        return [relation]
    named = [example.norm for example in document.EXAMPLES]
    return [document.Relation(relation.metric, name, relation.expected, relation.right) for name in named]


COLLAPSED = 0.2
"""Test accuracy after the last epoch: twice chance. Below it a run has fallen back to chance."""


def any_collapsed(runs: Iterable[dict]) -> bool:
    """Return whether one of the runs has collapsed.

    Args:
        runs: samples of each.
    """
    return any(float(run["epochs"][-1]["test_accuracy"]) < COLLAPSED for run in runs)


def runs_of(records: Iterable[dict]) -> dict[str, dict[int, dict]]:
    """Return the samples of runs by norm and seed, norms in the order of the records."""
    found: dict[str, dict[int, dict]] = {}
    for record in records:
        found.setdefault(record["case"]["norm"], {})[record["case"]["seed"]] = record["samples"]
    return found


def over_seeds(
    metric: StudyMetric, left: Mapping[int, dict], right: Mapping[int, dict], confidence: float = CONFIDENCE
) -> tuple[int, Paired] | None:
    """Return how many seeds two norms have in common, and their difference over these; None where it has no interval.

    Args:
        metric: of which.
        left, right: samples of the runs by seed.
        confidence: of the difference's interval.
    """
    seeds = sorted(left.keys() & right.keys())
    lefts, rights = (metric.of_all(of_norm[seed] for seed in seeds) for of_norm in (left, right))
    if len(seeds) < 2 or lefts is None or rights is None:
        return None
    return len(seeds), paired(lefts, rights, margin=metric.margin, confidence=confidence)


def judge(records: Iterable[dict]) -> list[Judged]:
    """Judge every claim of the document by the records of one study: equal settings but for norm and seed."""
    runs = runs_of(records)
    relations = {claim.key: [r for relation in claim.relations for r in _expand(relation)] for claim in document.CLAIMS}
    found = _findings(list(dict.fromkeys(r for of_claim in relations.values() for r in of_claim)), runs)
    judged = []
    for claim in document.CLAIMS:
        findings = tuple(found[relation] for relation in relations[claim.key])
        judged.append(Judged(claim, findings, _overall([f.verdict for f in findings])))
    return judged


def _same(relation: document.Relation) -> tuple:
    """Return a key that is equal for relations that one comparison decides, such as "A above B" and "B below A"."""
    return relation.metric, frozenset((relation.left, relation.right)), relation.expected == "similar"


def _findings(relations: Sequence[document.Relation], runs: dict[str, dict[int, dict]]) -> dict:
    """Return the finding on each relation; those that are one comparison count once in the correction."""
    together = len({_same(relation) for relation in relations})
    confidence = 1 - (1 - CONFIDENCE) / max(1, together)
    of_all = {
        r: over_seeds(METRICS[r.metric], runs.get(r.left, {}), runs.get(r.right, {}), confidence) for r in relations
    }
    measured = {relation: found for relation, found in of_all.items() if found is not None}
    distinct = {_same(relation): relation for relation in measured}
    p = {test: _corrected(test, distinct, measured, together) for test in TESTS}
    # One set of tests for all relations: with a set for each, a false verdict could come from either.
    fewest = min((seeds for seeds, _ in measured.values()), default=0)
    findings = {}
    for relation in relations:
        if relation not in measured:
            seeds = runs.get(relation.left, {}).keys() & runs.get(relation.right, {}).keys()
            findings[relation] = Finding(relation, len(seeds), None, NOT_MEASURED)
            continue
        count, difference = measured[relation]
        of_runs = [*runs[relation.left].values(), *runs[relation.right].values()]
        tests = decisive(fewest, together, collapsed=any_collapsed(of_runs))
        adjusted = max((p[test][_same(relation)] for test in tests), default=math.nan)
        verdict = _verdict(relation.expected, difference, tests) if adjusted < 1 - CONFIDENCE else UNDECIDED
        findings[relation] = Finding(relation, count, difference, verdict, tuple(tests), adjusted)
    return findings


def _corrected(test: str, distinct: dict, measured: dict, together: int) -> dict:
    """Return Holm's p value of each comparison by that test; those that were not measured count as well.

    For "similar" it is the smaller p of two tests, of being within the margin and of being beyond it: one of their null
    hypotheses is always true.
    """
    p = []
    for relation in distinct.values():
        _, found = measured[relation]
        two = (found.p_equivalent[test], found.p_beyond[test]) if relation.expected == "similar" else (found.p[test],)
        p.append(min(two))
    adjusted = holm([*p, *[math.nan] * (together - len(p))])
    return dict(zip(distinct, adjusted, strict=False))


def _verdict(expected: str, found: Paired, tests: Sequence[str]) -> str:
    """Return the verdict of a comparison that all decisive tests have decided."""
    if expected == "similar":
        within = {found.p_equivalent[test] < found.p_beyond[test] for test in tests}
        return UNDECIDED if len(within) > 1 else SUPPORTED if within == {True} else CONTRADICTED
    return SUPPORTED if (found.difference.value > 0) == (expected == "higher") else CONTRADICTED


def _overall(verdicts: list[str]) -> str:
    for verdict in (CONTRADICTED, NOT_MEASURED, UNDECIDED):
        if verdict in verdicts:
            return verdict
    return SUPPORTED if verdicts else NOT_MEASURED
