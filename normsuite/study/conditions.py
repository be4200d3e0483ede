"""Group records by their condition: those of one differ in norm, seed and the norm's own learning rate at most.

Imports no torch.
"""

from collections.abc import Sequence

OF_A_RUN = ("norm", "target", "seed", "learning_rate")
"""Settings that may differ between the runs of one condition."""


def condition(record: dict) -> tuple[tuple[str, object], ...]:
    """Return the settings that all norms of one comparison share."""
    return tuple(sorted((k, v) for k, v in record["case"].items() if k not in OF_A_RUN))


def varied(records: Sequence[dict]) -> list[str]:
    """Return the settings that differ between the records, but for norm and seed.

    The learning rate counts only if one norm has several under equal settings.
    """
    names = {name for record in records for name in record["case"] if name not in OF_A_RUN}
    found = sorted(name for name in names if len({record["case"].get(name) for record in records}) > 1)
    rates: dict[tuple, set] = {}
    for record in records:
        rates.setdefault((record["case"]["norm"], condition(record)), set()).add(record["case"].get("learning_rate"))
    return found + ["learning_rate"] * any(len(of_norm) > 1 for of_norm in rates.values())
