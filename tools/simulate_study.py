"""Simulate how often a study's verdicts are wrong, and what they find: `python -m tools.simulate_study`.

Studies of equal norms are judged by the claims' own function. A false verdict is any on "higher" or "lower", and
"contradicted" of "similar". Then the network without a norm is made worse, and one run in ten of it collapses: how
often that is found by the rule, and by Student's t alone.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from normsuite.lesson import claims
from normsuite.spec import NO_NORM, NORMS
from normsuite.statistics import CONFIDENCE, holm, p_values

from . import simulations

FALSE, FOUND = "study, false verdicts", "study, convergence"
FALSE_KEYS, FOUND_KEYS = ("runs", "seeds"), ("seeds",)
NOISE, WORSE = 0.004, 0.01
COLLAPSES = 0.1
CHANCE_LOSS, CHANCE = 2.303, 0.114

Noise = Callable[[np.random.Generator, int], np.ndarray]


def normal(draw: np.random.Generator, seeds: int) -> np.ndarray:
    """Return normal noise, a value for each seed."""
    return NOISE * draw.standard_normal(seeds)


def t3(draw: np.random.Generator, seeds: int) -> np.ndarray:
    """Return noise of Student's t with three degrees of freedom, of the same deviation as `normal`."""
    return NOISE * draw.standard_t(3, seeds) / np.sqrt(3)


KINDS: dict[str, tuple[Noise, float]] = {"normal": (normal, 0.0), "t3": (t3, 0.0), "collapsing": (normal, COLLAPSES)}
"""Noise of a run about its seed's level, and how often a run collapses."""


def study(
    draw: np.random.Generator, kind: str, seeds: int, *, worse: float = 0.0, only_none: bool = False
) -> list[dict]:
    """Return the records of one study.

    Args:
        draw: random numbers.
        kind: one of `KINDS`.
        seeds: how many.
        worse: how much higher the loss without a norm is.
        only_none: only runs without a norm collapse.
    """
    noise, collapses = KINDS[kind]
    levels = NOISE * draw.standard_normal(seeds)
    records = []
    for norm in (NO_NORM, *NORMS):
        losses = 0.1 + levels + noise(draw, seeds) + worse * (norm == NO_NORM)
        falls = draw.random(seeds) < (0.0 if only_none and norm != NO_NORM else collapses)
        for seed, (loss, fallen) in enumerate(zip(losses.tolist(), falls.tolist(), strict=True)):
            loss, accuracy = (CHANCE_LOSS, CHANCE) if fallen else (loss, 1 - loss)
            epoch = {"train_loss": loss, "test_loss": loss, "train_accuracy": accuracy, "test_accuracy": accuracy}
            records.append({"case": {"norm": norm, "seed": seed}, "samples": {"epochs": [epoch]}})
    return records


def has_false_verdict(records: list[dict]) -> bool:
    """Return whether a study of equal norms has one."""
    return any(
        finding.verdict == claims.CONTRADICTED
        or (finding.verdict == claims.SUPPORTED and finding.relation.expected != "similar")
        for judged in claims.judge(records)
        for finding in judged.findings
    )


def convergence(records: list[dict]) -> tuple[int, int, int]:
    """Return how many relations of the claim on convergence are supported, by t alone, and how many there are."""
    findings = next(judged.findings for judged in claims.judge(records) if judged.claim.key == "convergence")
    metric = claims.METRICS[findings[0].relation.metric]
    by_norm: dict[str, list[float]] = {}
    for record in records:
        by_norm.setdefault(record["case"]["norm"], []).append(metric.read(record["samples"]))
    by_t = holm([p_values(np.subtract(by_norm[f.relation.left], by_norm[NO_NORM]))["t"] for f in findings])
    return sum(f.verdict == claims.SUPPORTED for f in findings), sum(p < 1 - CONFIDENCE for p in by_t), len(findings)


def false_row(kind: str, seeds: int, studies: int, seed: int) -> dict:
    """Return how many studies of equal norms have a false verdict."""
    draw = np.random.default_rng(seed)
    false = sum(has_false_verdict(study(draw, kind, seeds)) for _ in range(studies))
    return {"what": FALSE, "runs": kind, "seeds": seeds, "studies": studies, "seed": seed, "false": false}


def found_row(seeds: int, studies: int, seed: int) -> dict:
    """Return how many relations on convergence are found where the network without a norm is worse."""
    draw = np.random.default_rng(seed)
    made = [study(draw, "collapsing", seeds, worse=WORSE, only_none=True) for _ in range(studies)]
    rule, by_t, relations = (sum(column) for column in zip(*map(convergence, made), strict=True))
    return {
        "what": FOUND, "seeds": seeds, "studies": studies, "seed": seed, "rule": rule, "t": by_t,
        "relations": relations,
    }  # fmt: skip


def false_table(rows: Sequence[dict]) -> list[str]:
    """Return the false verdicts as Markdown."""
    lines = ["| runs | seeds | studies of equal norms with a false verdict |", "|---|---:|---:|"]
    counts = ((of, simulations.at_most(of["false"], of["studies"])) for of in rows)
    return lines + [f"| {of['runs']} | {of['seeds']} | {count} |" for of, count in counts]


def found_table(rows: Sequence[dict]) -> list[str]:
    """Return what is found of a worse network as Markdown."""
    lines = ["| seeds | worse without a norm, found by the rule | by Student's t alone |", "|---:|---:|---:|"]
    return lines + [
        f"| {of['seeds']} | {of['rule']} of {of['relations']} | {of['t']} of {of['relations']} |" for of in rows
    ]


def main() -> None:
    """Simulate studies, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--false", action="store_true", help="only studies of equal norms")
    only.add_argument("--convergence", action="store_true", help="only studies with a worse network")
    parser.add_argument("--out", type=Path, help="add the outcomes to this file")
    given = parser.parse_args()
    if not given.convergence:
        made = (false_row(kind, seeds, given.studies, given.seed) for kind in KINDS for seeds in (5, 10))
        print("\n".join(false_table([simulations.kept_in(given.out, row) for row in made])))
    if not given.false:
        made = (found_row(seeds, given.studies, given.seed) for seeds in (10, 16))
        print("\n".join(found_table([simulations.kept_in(given.out, row) for row in made])))


if __name__ == "__main__":
    main()
