"""The parts of the pages that are made of kept simulations (`simulations`), with the commands that make them anew."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from . import simulate_bench, simulate_gate, simulate_history, simulate_study, simulations

Table = Callable[[Sequence[dict]], list[str]]


def _part(what: str, keys: Iterable[str], table: Table, command: Callable[[dict], str]) -> list[str]:
    """Return a table of kept outcomes, and the commands that they came from."""
    rows = simulations.kept(what, keys)
    commands = dict.fromkeys(f"`python -m tools.{command(row)} --seed {row['seed']}`" for row in rows)
    return [*table(rows), "", f"Made by {', '.join(commands)}."]


PARTS = {
    "simulated-gate": partial(
        _part, simulate_gate.WHAT, simulate_gate.KEYS, simulate_gate.table,
        lambda row: f"simulate_gate --noise {row['noise']} --tables {row['tables']}",
    ),
    "simulated-clipping": partial(
        _part, simulate_gate.CLIPPING, simulate_gate.CLIPPING_KEYS, simulate_gate.clipping_table,
        lambda row: f"simulate_gate --clipping --tables {row['tables']}",
    ),
    "simulated-bench": partial(
        _part, simulate_bench.WHAT, simulate_bench.KEYS, simulate_bench.table,
        lambda row: f"simulate_bench --benches {row['benches']}",
    ),
    "simulated-history": partial(
        _part, simulate_history.WHAT, simulate_history.KEYS, simulate_history.table,
        lambda row: f"simulate_history --noise {row['noise']} --series {row['series']}",
    ),
    "simulated-study": partial(
        _part, simulate_study.FALSE, simulate_study.FALSE_KEYS, simulate_study.false_table,
        lambda row: f"simulate_study --false --studies {row['studies']}",
    ),
    "simulated-convergence": partial(
        _part, simulate_study.FOUND, simulate_study.FOUND_KEYS, simulate_study.found_table,
        lambda row: f"simulate_study --convergence --studies {row['studies']}",
    ),
}  # fmt: skip
