"""The parts of the pages that are made of kept simulations (`simulations`), with the commands that make them anew."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from . import simulate_bench, simulate_gate, simulate_history, simulate_study, simulations

Table = Callable[[Sequence[dict]], list[str]]


def _part(what: str, keys: Iterable[str], table: Table, command: str, size: str, *, kinds: str = "") -> list[str]:
    """Return a table of kept outcomes, and the commands that they came from.

    Args:
        what, keys, table: of the simulation.
        command: the tool and its options but for those that follow.
        size: the option that says how many were simulated, and the row's key.
        kinds: the option that names kinds, and the row's key; nothing where one command makes all rows.
    """
    rows = simulations.kept(what, keys)
    found: dict[str, list[str]] = {}
    for row in rows:
        of = found.setdefault(f"python -m tools.{command} --{size} {row[size]} --seed {row['seed']}", [])
        if kinds:
            of.append(f" --{kinds} {row[kinds]}")
    commands = (f"`{''.join([run, *of])}`" for run, of in found.items())
    return [*table(rows), "", f"Made by {', '.join(commands)}."]


PARTS = {
    "simulated-gate": partial(
        _part, simulate_gate.WHAT, simulate_gate.KEYS, simulate_gate.table, "simulate_gate", "tables", kinds="noise"
    ),
    "simulated-clipping": partial(
        _part, simulate_gate.CLIPPING, simulate_gate.CLIPPING_KEYS, simulate_gate.clipping_table,
        "simulate_gate --clipping", "tables",
    ),
    "simulated-bench": partial(
        _part, simulate_bench.WHAT, simulate_bench.KEYS, simulate_bench.table, "simulate_bench", "benches"
    ),
    "simulated-history": partial(
        _part, simulate_history.WHAT, simulate_history.KEYS, simulate_history.table, "simulate_history", "series",
        kinds="noise",
    ),
    "simulated-study": partial(
        _part, simulate_study.FALSE, simulate_study.FALSE_KEYS, simulate_study.false_table, "simulate_study --false",
        "studies",
    ),
    "simulated-convergence": partial(
        _part, simulate_study.FOUND, simulate_study.FOUND_KEYS, simulate_study.found_table,
        "simulate_study --convergence", "studies",
    ),
}  # fmt: skip
