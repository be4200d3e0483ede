"""Rows on an accelerator for tables of where something was measured: its size, and its state under load."""

from collections.abc import Sequence

from ..records.schema.record import Device, DeviceState


def rows(device: Device | None, states: Sequence[DeviceState]) -> list[tuple[str, str]]:
    """Return the accelerator's size, and what its driver reported of clocks, power and throttling, where it did."""
    found, device = [], device or Device()
    if device.multiprocessors:
        found.append(("multiprocessors", str(device.multiprocessors)))
    for name, size in (("last-level cache", device.cache_bytes), ("memory", device.memory_bytes)):
        if size:
            found.append((f"accelerator's {name}", f"{size / 2**20:,.0f} MiB"))
    powers = sorted(state.power_w for state in states if state.power_w is not None)
    if powers:
        limits = sorted({f"{state.power_limit_w:.0f} W" for state in states if state.power_limit_w is not None})
        of = f" of {', '.join(limits)}" if limits else ""
        least, most = f"{powers[0]:.0f}", f"{powers[-1]:.0f}"
        found.append(("power", f"{least if least == most else f'{least} to {most}'} W{of}"))
    known = [state.throttled for state in states if state.throttled is not None]
    if known:
        reasons = sorted({reason for throttled in known for reason in throttled if reason != "idle"})
        found.append(("slowed down by", ", ".join(reasons) or "nothing"))
    return found
