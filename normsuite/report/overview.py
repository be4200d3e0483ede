"""Questions that people come with, such as which norm to take, each answered in a sentence from the records."""

import math
from statistics import fmean

from ..bench.row import ALL
from ..bench.summary import AUTO, copy_of
from ..gate import summary as gate
from ..history import cost
from ..lesson import claims, explain
from ..numerics import tables as numerics
from ..presentation import text as written
from ..records import schema
from ..records.schema.numerics import Numerics
from ..spec import NO_NORM, NORMS
from ..statistics import share_interval
from ..study import comparisons
from .collect import Collected
from .page import Sentence

FAR = 1e4
"""The mean, in deviations, at which an input is called far from zero."""


def answers(collected: Collected) -> list[Sentence]:
    """Return one answer for each question that the records can answer."""
    differences = _differences(collected)
    found = (
        _learns_best(collected, differences),
        _worth_it(collected, differences),
        _small_batches(collected),
        _cheapest(collected),
        _faster_than_torch(collected),
        _exact(collected),
        _document(collected),
        _last_change(collected),
    )
    return [sentence for sentence in found if sentence is not None]


def _accuracies(records: list[dict]) -> dict[str, list[float]]:
    """Return for each norm the test accuracies after the last epoch, the highest mean first."""
    found = {
        norm: [float(samples["epochs"][-1]["test_accuracy"]) for samples in seeds.values()]
        for norm, seeds in comparisons.by_norm(records).items()
    }
    return dict(sorted(found.items(), key=lambda item: -fmean(item[1])))


def _shown(norm: str, accuracies: list[float]) -> str:
    return f"{norm} {written.interval(share_interval(accuracies), written.percent)}"


def _differences(collected: Collected) -> dict[frozenset[str], str]:
    """Return for each pair of norms the paired difference in test accuracy, and the verdict."""
    return {
        frozenset((pair.left, pair.right)): f"{pair.left} − {pair.right} = "
        f"{written.interval(pair.found.difference, written.points)}, {pair.verdict}"
        for pair in comparisons.pairs(collected.study, ["test accuracy"])
    }


def _learns_best(collected: Collected, differences: dict[frozenset[str], str]) -> Sentence | None:
    accuracies = {norm: values for norm, values in _accuracies(collected.study).items() if norm != NO_NORM}
    if not accuracies:
        return None
    epochs, first_two = collected.study[0]["case"]["epochs"], frozenset(list(accuracies)[:2])
    text = f"Test accuracy after {epochs} epochs, {len(collected.studied.seeds)} seeds: "
    text += "; ".join(_shown(norm, values) for norm, values in accuracies.items()) + "."
    if first_two in differences:
        text += f" First against second: {differences[first_two]}."
    return Sentence(text, "Which norm learns best?", "learning", "results")


def _worth_it(collected: Collected, differences: dict[frozenset[str], str]) -> Sentence | None:
    accuracies = _accuracies(collected.study)
    without = accuracies.pop(NO_NORM, None)
    if not without or not accuracies:
        return None
    pair = frozenset((NO_NORM, next(iter(accuracies))))
    text = (
        f"Without a norm runs end at {written.percent(min(without))} to {written.percent(max(without))} test accuracy, "
        f"with one at {written.percent(min(min(values) for values in accuracies.values()))} or more"
    )
    text += f"; {differences[pair]}." if pair in differences else "."
    return Sentence(text, "Is a norm worth it?", "learning", "pairs")


def _small_batches(collected: Collected) -> Sentence | None:
    if not collected.batches:
        return None
    sizes = sorted({record["case"]["batch_size"] for record in collected.batches})
    least = _accuracies([r for r in collected.batches if r["case"]["batch_size"] == sizes[0]])
    text = f"With {sizes[0]} digits in a batch: {'; '.join(_shown(norm, values) for norm, values in least.items())}."
    return Sentence(text, "Small batches?", "learning", "small-batches")


def _cheapest(collected: Collected) -> Sentence | None:
    means = [
        m
        for m in collected.bench.on_shared_cases(AUTO).means(copy_of, [AUTO])
        if (m.mode, m.size, m.activation) == ("step", "large", "none")
        and m.norm != ALL
        and not math.isnan(m.ratio.value)
    ]
    if means:
        means.sort(key=lambda m: m.ratio.value)
        shapes = written.counted(means[0].tasks, "large shape")
        text = f"A training step on the {shapes} that all norms were measured on{_on(collected)} takes so many times "
        text += "as long as copying the same tensor: "
        text += "; ".join(f"{m.norm} {written.interval(m.ratio)}" for m in means) + "."
        return Sentence(text, "Which is cheapest?", "cost", "against")
    steps = cost.ran(collected.cost, cost.TRAINING_STEP)
    if not steps:
        return None
    first, case = steps[0].parameters, steps[-1].parameters["case"]
    here = {**first, "case": case, "norm": ""}
    alike = [m for m in steps if {**m.parameters, "norm": ""} == here]
    text = f"Median time of a training step in the case {case}, {first['backend']} on {first['device']}: "
    text += "; ".join(f"{m.parameters['norm']} {cost.cell(m, written.seconds)}" for m in alike) + "."
    return Sentence(text, "Which is cheapest?", "cost", "commit")


def _on(collected: Collected) -> str:
    """Return where the first comparison was made."""
    return f" ({collected.bench.where})" if collected.bench.where else ""


def _faster_than_torch(collected: Collected) -> Sentence | None:
    means = [
        m
        for m in collected.bench.means(implementations=[AUTO])
        if (m.mode, m.size, m.norm) == ("step", "large", ALL) and not math.isnan(m.ratio.value)
    ]
    if not means:
        return None
    said = [
        f"{'alone' if m.activation == 'none' else 'with ' + m.activation} {written.interval(m.ratio)} ({m.tasks} tasks)"
        for m in means
    ]
    text = (
        f"Time of a training step with auto over that of torch.nn, large inputs{_on(collected)}: {'; '.join(said)}. "
        "Below 1 is faster."
    )
    return Sentence(text, "Which backend?", "cost", "against")


def _exact(collected: Collected) -> Sentence | None:
    first = next((schema.of(record, Numerics) for record in collected.numerics), None)
    if first is None:
        return None
    rows = [row for row in first.samples if float(row.mean) == FAR]
    worst: dict[str, tuple[float, str]] = {}
    for row in rows:
        found = numerics.error(row.output)
        if not math.isnan(found) and row.norm in NORMS:
            worst[row.backend] = max(worst.get(row.backend, (0.0, "")), (found, row.norm))
    if not worst:
        return None
    said = "; ".join(f"{backend} {written.relative(found)} ({norm})" for backend, (found, norm) in worst.items())
    where = f"{first.case.dtype} on {first.case.device}"
    text = (
        f"At a mean of {FAR:g} deviations the largest relative error of the output in {where} is, by backend: {said}. "
    )
    text += "Computed on fixed inputs: no interval."
    return Sentence(text, "Inputs far from zero?", "numerics", "far")


def _document(collected: Collected) -> Sentence:
    rows = [row for spec in NORMS.values() for row in explain.explain(spec) if row.printed is not None]
    figures = [row for row in rows if row.statistic in ("mean", "std")]
    count = {verdict: sum(r.verdict == verdict for r in figures) for verdict in explain.VERDICTS}
    other = sum(r.verdict == explain.WRONG for r in rows) - count[explain.WRONG]
    text = (
        f"Of the {len(figures)} figures that the document prints in its worked example, {count['exact']} are exact, "
        f"{count['rounded']} rounded, {count['truncated']} truncated and {count['wrong']} wrong; {other} of its labels "
        "and parameter counts are wrong too."
    )
    if collected.study:
        judged = claims.judge(collected.study)
        verdicts = [j.verdict for j in judged]
        counted = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        text += f" Of its {len(judged)} claims on learning the study finds: {counted}."
    page, section = ("learning", "claims") if collected.study else ("norms", "BatchNorm")
    return Sentence(text, "Is the lesson right?", page, section)


def _last_change(collected: Collected) -> Sentence | None:
    if collected.gate is None:
        return None
    lines = [*gate.sentences(collected.gate, gate.rows(collected.gate)), *collected.gate.get("notes", [])]
    said = "; ".join(lines)
    return Sentence(f"{gate.headline(collected.gate)} {said}.", "Did a change make it worse?", "gate", "gate")
