"""What a record of a bench must have to be read as one. Imports no torch."""

from .summary import TRAFFIC

_CASE = {"norm": str, "case": str, "mode": str, "tiny": bool}


def problem(record: dict) -> str | None:
    """Why a record cannot be read as one of a bench, or None."""
    case, samples = record["case"], record["samples"]
    for name, kind in _CASE.items():
        if not isinstance(case, dict) or not isinstance(case.get(name), kind):
            return f"its case lacks {name}"
    if case["mode"] not in TRAFFIC or "activation" not in case:
        return f"mode = {case['mode']!r}"
    if not isinstance(record.get("settings"), dict) or "processes" not in record["settings"]:
        return "it lacks settings"
    for name, found in (
        ("device", case.get("device", "cpu")),
        ("dtype", case.get("dtype", "float32")),
        ("accelerator", record["environment"].get("accelerator") or ""),
    ):
        if not isinstance(found, str):
            return f"{name} = {found!r}"
    for name, kind in (("processes", list), ("counts", dict), ("refused", dict)):
        if not isinstance(samples, dict) or not isinstance(samples.get(name), kind):
            return f"it lacks {name}"
    for process in samples["processes"]:
        if not isinstance(process, dict) or not {"times_s", "own_pools", "others_share"} <= process.keys():
            return "a process lacks times"
        if not isinstance(process.get("clock_mhz"), int | None):
            return f"clock_mhz = {process['clock_mhz']!r}"
        for metric in ("times_s", "host_s"):
            if not isinstance(process.get(metric, {}), dict):
                return f"{metric} = {process[metric]!r}"
            if len({len(times) for times in process.get(metric, {}).values()}) > 1:
                return "its rounds are not complete"
    return None
