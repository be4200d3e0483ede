"""Compute the errors of norms and backends, as one record."""

from collections.abc import Iterable, Sequence

from ..errors import UnsupportedError, one_line
from ..measure import accuracy, environment
from ..measure.cases import Case
from ..measure.operands import SEED
from ..measure.workload import named
from ..records import kinds, results
from ..spec import NormSpec


def run(
    specs: Iterable[NormSpec],
    backends: Sequence[str],
    case: Case,
    *,
    device: str,
    dtype: str,
    activation: str | None = None,
) -> dict:
    """Return a record of the largest errors of output and gradient.

    Args:
        specs: the norms.
        backends: or other implementations, by name.
        case: what all of them are tried on.
        device, dtype, activation: of the calls.
    """
    settings = {"device": device, "dtype": dtype, "activation": activation}
    rows = []
    for spec in specs:
        for mean in accuracy.MEANS:
            for backend in backends:
                output, gradient = _errors(spec.name, backend, case, settings, mean)
                made = {"norm": spec.name, "mean": mean, "backend": backend}
                rows.append({**made, "output": output, "gradient": gradient})
    of_case = {"shape": case.shape, "dtype": dtype, "device": device, "activation": activation}
    return results.make_record(kinds.NUMERICS.what, of_case, rows, environment=environment.on(device), seeds=[SEED])


def _errors(norm: str, backend: str, case, settings: dict, mean: float) -> tuple[float | str, float | str]:
    """Return the errors of output and gradient, or twice the reason why there are none."""
    try:
        tried = named(norm, backend, case, **settings)
        reason = tried.why_not()
        return (reason, reason) if reason else accuracy.errors(tried, mean=mean)
    except UnsupportedError as error:
        return error.reason, error.reason
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of what others wrote: the rest is measured all the same
        return (failed := f"fails: {one_line(error)}"), failed
