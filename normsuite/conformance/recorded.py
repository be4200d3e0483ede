"""Records of checks: one a target, which the report shows."""

from pathlib import Path

from ..measure import environment
from ..records import kinds, results
from ..targets.target import Target
from .result import Report


def record(report: Report, target: Target, folder: Path) -> Path:
    """Write a record of a target's checks, and return its file; what was recorded of the same target is replaced.

    Args:
        report: of the target.
        target: with what it was made of.
        folder: that is there.

    Raises:
        OutputError: it cannot be written.
    """
    case = {
        "target": target.title,
        "like": target.like,
        "activation": target.activation,
        "args": [repr(value) for value in target.args],
        "kwargs": {name: repr(value) for name, value in target.kwargs.items()},
        "dtypes": list(target.dtypes),
        "shapes": [list(shape) for shape in target.shapes],
        "num_groups": target.num_groups,
        "oracle": target.oracle if isinstance(target.oracle, str | None) else getattr(target.oracle, "__name__", ""),
    }
    samples = {"results": [result.as_dict() for result in report.results], "notes": list(report.notes)}
    measured = environment.on("cpu")
    made = results.make_record(kinds.CONFORMANCE.what, case, samples, environment=measured, seeds=[])
    return results.write_record(folder, f"{kinds.CONFORMANCE.what}-{results.digest(case)}", made)
