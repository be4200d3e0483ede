"""A bench in sentences. Imports no torch."""

import math
from collections import Counter

from ..measure.labels import AUTO, BASELINE
from ..presentation import text
from .row import ALL, SLOWER, VERDICTS, mode_text
from .summary import BUSY_ABOVE, NOISE_ABOVE, Bench


def _of_ours(bench: Bench) -> list[str]:
    """Return sentences on `auto`, or on the accelerator's kernels where it took no part."""
    ours = bench.ours
    if ours is None or BASELINE not in bench.implementations:
        return []
    said = []
    for m in bench.means(implementations=[ours]):
        if m.norm == ALL:
            tasks = text.counted(m.tasks, f"{m.size} task")
            said.append(f"{ours} / {BASELINE}, {mode_text(m)}, {tasks}: {text.interval(m.ratio)}")
    rows = bench.compared(ours)
    slow = [row for row in rows if row.verdict == SLOWER]
    counted = Counter(row.verdict for row in rows)
    others = ", ".join(f"{counted[verdict]} {verdict}" for verdict in VERDICTS[1:])
    line = f"{ours} is slower than {BASELINE} in {len(slow)} of {len(rows)} tasks by corrected intervals ({others})"
    if slow:
        named = (f"{row.norm} {row.case} {mode_text(row)} {text.interval(row.corrected)}" for row in slow)
        line += f": {'; '.join(named)}"
    above = bench.detectable(ours)
    if not math.isnan(above):
        line += f"; in the median task a ratio counts as slower if it is measured above {text.ratio(above)}"
    origin = bench.tasks[0].environment.tuning_origin
    return [*said, line, *([f"sizes of {AUTO}: {origin}"] if ours == AUTO and origin else [])]


def _of_noise(bench: Bench) -> list[str]:
    """Return the sentence on torch.nn over itself, where it was measured."""
    (of, noise), (tasks, behind) = bench.noise, bench.noise_behind_other_pools
    if not of:
        return []
    said = f"noise: {BASELINE} / itself {text.interval(noise)}"
    if noise.low > NOISE_ABOVE or noise.high < 1 / NOISE_ABOVE:
        said += ", which is not 1: something favours one of the two, and ratios of this run may be off by as much"
    return [f"{said}; right after other thread pools {text.interval(behind)}" if tasks else said]


def sentences(bench: Bench) -> list[str]:
    """Return how `auto` compares and what is undecided, the noise, and why an implementation was not measured."""
    said = _of_ours(bench)
    for m in bench.means(implementations=[name for name in bench.implementations if ":" in name]):
        if m.norm == ALL:
            tasks = text.counted(m.tasks, f"{m.size} task")
            said.append(
                f"{m.implementation} takes {text.interval(m.ratio)} × {BASELINE}'s time, {mode_text(m)}, {tasks}"
            )
    said += _of_noise(bench)
    queued = Counter(row.implementation for row in bench.rows if row.not_captured)
    for name, number in queued.items():
        why = dict.fromkeys(row.not_captured for row in bench.rows if row.implementation == name and row.not_captured)
        said.append(f"{name}: not captured in {number} of the tasks, timed by events ({'; '.join(why)})")
    share = bench.others_share
    if share is not None and share > BUSY_ABOVE:
        said.append(
            f"other programs took {share:.0%} of the usable cores: threaded calls suffer from it far more than serial "
            "ones, so that ratios between them do not hold"
        )
    reasons: dict[str, set[str]] = {}
    for task in bench.tasks:
        for name, reason in task.samples.refused.items():
            reasons.setdefault(name, set()).add(reason)
    timed = {row.implementation for row in bench.rows}
    for name, of in reasons.items():
        where = " everywhere" if name in timed else ""
        said.append(f"{name}: not measured{where} ({'; '.join(sorted(of))})")
    return said
