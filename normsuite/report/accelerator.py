"""What records say of the accelerator that they were made on, as rows of a table."""

from ..bench.summary import Bench

_SIZES = {"last-level cache": "cache_bytes", "memory": "memory_bytes"}


def rows(bench: Bench) -> list[tuple[str, str]]:
    """What the accelerator has, and what its driver said of power and of being slowed down, where records have it."""
    has = bench.records[0]["environment"].get("device") or {}
    found = [("multiprocessors", str(has["multiprocessors"]))] if has.get("multiprocessors") else []
    found += [(f"accelerator's {name}", f"{has[key] / 2**20:,.0f} MiB") for name, key in _SIZES.items() if has.get(key)]
    states = [s for r in bench.records for p in r["samples"]["processes"] for s in p.get("device_state") or () if s]
    powers = sorted(state["power_w"] for state in states if state["power_w"] is not None)
    if powers:
        limits = sorted({f"{state['power_limit_w']:.0f} W" for state in states if state["power_limit_w"] is not None})
        of = f" of {', '.join(limits)}" if limits else ""
        found.append(("power before and after tasks", f"{powers[0]:.0f} to {powers[-1]:.0f} W{of}"))
    reasons = sorted({reason for state in states for reason in state["throttled"] or () if reason != "idle"})
    if states:
        found.append(("slowed down by", ", ".join(reasons) or "nothing"))
    return found
