"""Rows on an accelerator for tables of where something was measured: its size, and its state under load."""

from collections.abc import Mapping, Sequence

_SIZES = {"last-level cache": "cache_bytes", "memory": "memory_bytes"}


def rows(properties: Mapping, states: Sequence[Mapping]) -> list[tuple[str, str]]:
    """Return the accelerator's size, and what its driver reported of clocks, power and throttling, where it did.

    Args:
        properties: as `device.properties` returns them; empty where a record has none.
        states: as `DeviceState.read` returns them.
    """
    found = []
    if properties.get("multiprocessors"):
        found.append(("multiprocessors", str(properties["multiprocessors"])))
    for name, key in _SIZES.items():
        if properties.get(key):
            found.append((f"accelerator's {name}", f"{properties[key] / 2**20:,.0f} MiB"))
    powers = sorted(state["power_w"] for state in states if state["power_w"] is not None)
    if powers:
        limits = sorted({f"{state['power_limit_w']:.0f} W" for state in states if state["power_limit_w"] is not None})
        of = f" of {', '.join(limits)}" if limits else ""
        least, most = f"{powers[0]:.0f}", f"{powers[-1]:.0f}"
        found.append(("power", f"{least if least == most else f'{least} to {most}'} W{of}"))
    if states:
        reasons = sorted({reason for state in states for reason in state["throttled"] or () if reason != "idle"})
        found.append(("slowed down by", ", ".join(reasons) or "nothing"))
    return found
