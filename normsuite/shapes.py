"""What records of each kind hold, in which ranges: what is outside of them is damage, and no figure."""

from collections.abc import Mapping
from datetime import datetime

from .schema import Check, anything, either, fields, flag, listed, mapped, number, optional, text, whole

_SHARE = number(0, 1)
_ERROR = either(number(0, finite=False), text)  # a reason why there is none, or a number by name
_SECONDS = number(0)
_MANY = 10**6


def _day(value: object) -> str | None:
    if (reason := text(value)) is not None:
        return reason
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return f"{value[:40]!r} is no date"
    return None


_ENVIRONMENT = fields(
    {"cpu": text, "cores": whole(1, _MANY), "packages": mapped(text)},
    {
        "threads": optional(whole(1, _MANY)),
        "governor": optional(text),
        "accelerator": optional(text),
        "driver": optional(text),
        "system": text,
        "python": text,
        "allocator": mapped(text),
    },
)
_COMMON = {
    "schema": whole(1),
    "environment": _ENVIRONMENT,
}
_FURTHER = {
    "written": _day,
    "commit": optional(text),
    "source": optional(text),
    "seeds": listed(whole()),
    "depends": mapped(anything),
    "notes": listed(text),
    "workers": optional(whole(1, _MANY)),
}


def _record(case: Check, samples: Check, needed: Mapping[str, Check] | None = None) -> Check:
    return fields({**_COMMON, "case": case, "samples": samples, **(needed or {})}, _FURTHER)


_EPOCH = fields(
    {
        "epoch": whole(1, _MANY),
        "train_loss": number(0, finite=False),
        "train_accuracy": _SHARE,
        "test_loss": number(0, finite=False),
        "test_accuracy": _SHARE,
        "seconds": _SECONDS,
    }
)
_LAYER = fields(
    {
        "mean": optional(number(finite=False)),
        "std": optional(number(0, finite=False)),
        "shift": optional(number(0, finite=False)),
        "gradient_change": optional(number(0, finite=False)),
        "gradient_cosine": optional(number(-1.001, 1.001, finite=False)),
    },
)
_STUDY = _record(
    fields(
        {"norm": text, "seed": whole(), "epochs": whole(1, _MANY)},
        {"batch_size": whole(1), "learning_rate": number(0), "dataset": text, "hold_out": optional(whole(0))},
    ),
    fields(
        {
            "epochs": listed(_EPOCH, 1),
            "network_parameters": whole(1),
            "norm_parameters": whole(0),
        },
        {
            "mistakes": listed(
                fields(
                    {"digit": whole(0), "label": whole(0, 9), "taken_for": whole(0, 9), "confidence": _SHARE},
                )
            ),
            "tested": listed(whole(0), 10, 10),
            "shift": listed(fields({"step": whole(0), "layers": listed(_LAYER)})),
        },
    ),
)
_TASK = {
    "norm": text,
    "case": text,
    "shape": listed(whole(1), 1, 16),
    "mode": text,
    "activation": optional(text),
}
_TASK_FURTHER = {
    "meaning": optional(text),
    "num_groups": optional(whole(1)),
    "channels_last": flag,
    "tiny": flag,
    "dtype": text,
    "device": text,
    "backend": text,
}
_BENCH = _record(
    fields(_TASK, _TASK_FURTHER),
    fields(
        {
            "processes": listed(
                fields(
                    {
                        "times_s": mapped(listed(optional(number(1e-12, 1e6)), 1)),
                        "own_pools": listed(text),
                        "others_share": optional(number(0, 1)),
                    },
                    {"waits_s": mapped(_SECONDS), "clock_mhz": optional(number(0))},
                )
            ),
            "counts": mapped(
                fields(
                    {},
                    {
                        "output_error": optional(_ERROR),
                        "gradient_error": optional(_ERROR),
                        "peak_bytes": optional(whole(0)),
                        "saved_bytes": optional(whole(0)),
                    },
                )
            ),
            "refused": mapped(text),
        }
    ),
    {"settings": fields({"processes": whole(1, _MANY)}, {"seconds": number(0), "threads": optional(whole(1))})},
)
_SIDE = fields({"name": text, "commit": text}, {"subject": text, "digest": text})
_SIDES = fields({}, {"base": mapped(_ERROR), "head": mapped(_ERROR)})
_ABSENT = fields({}, {"base": text, "head": text})
_GATE = _record(
    fields(
        {
            "base": _SIDE,
            "head": _SIDE,
            "cells": listed(fields({}, {**_TASK, **_TASK_FURTHER}), 1),
            "margins": mapped(number(0)),
            "alpha": number(0, 1),
            "threads": optional(whole(1, _MANY)),
            "error_rate_norms": listed(text),
        }
    ),
    fields(
        {
            "log_ratios": mapped(
                mapped(number(-50, 50), lambda name: None if name.isdigit() else f"{name!r}: no place")
            ),
            "base_s": mapped(_SECONDS),
            "looks": listed(whole(0)),
            "counts": mapped(_SIDES),
            "absent": mapped(_ABSENT),
            "error_rates": mapped(
                fields({}, {"base": listed(_SHARE, 1), "head": listed(_SHARE, 1), "absent": _ABSENT}),
            ),
        },
        {"final": flag},
    ),
    {"spent_s": _SECONDS},
)
_IDENTITY = fields({}, {"cells": listed(text), "cpu": text, "cores": whole(1), "budget_s": _SECONDS})
_PLANTED = mapped(number(0, 100))
_SELF_CHECK = _record(
    fields({"identity": _IDENTITY, "planted": _PLANTED}),
    fields({"cells": mapped(listed(anything, 1))}),
    {"wall_s": _SECONDS},
)
_ASV_CHECK = _record(
    fields({"identity": _IDENTITY, "planted": _PLANTED, "cells": listed(text)}),
    fields({"changes": mapped(number(0)), "factor": number(1)}),
    {"wall_s": _SECONDS},
)
_NUMERICS = _record(
    fields({"shape": listed(whole(1), 1, 16), "dtype": text, "device": text}),
    listed(fields({"norm": text, "mean": number(), "backend": text, "output": _ERROR, "gradient": _ERROR}), 1),
)

_SHAPES = {
    "study": _STUDY,
    "bench": _BENCH,
    "gate": _GATE,
    "gate-self-check": _SELF_CHECK,
    "gate-self-check-asv": _ASV_CHECK,
    "numerics": _NUMERICS,
}


def problem(record: dict) -> str | None:
    """Return why a record of one of the kinds that are known holds what no measurement gives, or is not whole."""
    what = record.get("what")
    shape = _SHAPES.get(what) if isinstance(what, str) else None
    if shape is None:
        return None
    return shape(record) or _WHOLE.get(what, lambda of: None)(record)


def _whole_study(record: dict) -> str | None:
    epochs = [epoch["epoch"] for epoch in record["samples"]["epochs"]]
    return None if epochs == [*range(1, len(epochs) + 1)] else "samples: epochs: are not one after the other"


def _whole_bench(record: dict) -> str | None:
    processes = record["samples"]["processes"]
    if len(processes) > record["settings"]["processes"]:
        return "samples: processes: are more than were asked for"
    if len({frozenset(of["times_s"]) for of in processes}) > 1:
        return "samples: processes: not all timed the same"
    return None


def _whole_gate(record: dict) -> str | None:
    samples = record["samples"]
    if len(samples["log_ratios"]) != len(record["case"]["cells"]):
        return f"samples: log_ratios: has {len(samples['log_ratios'])} cells of {len(record['case']['cells'])}"
    for name in ("base_s", "counts", "absent"):
        if strange := samples[name].keys() - samples["log_ratios"].keys():
            return f"samples: {name}: {min(strange)!r} is no cell"
    for name, sides in samples["counts"].items():
        if name not in samples["absent"] and sides.get("base", {}).keys() ^ sides.get("head", {}).keys():
            return f"samples: counts: {name}: the two versions have not the same"
    for name, of in samples["error_rates"].items():
        if ("base" in of) != ("head" in of) or ("base" not in of and "absent" not in of):
            return f"samples: error_rates: {name}: one of the two versions is missing"
        if len(of.get("base", ())) != len(of.get("head", ())):
            return f"samples: error_rates: {name}: the two versions have not as many seeds"
    for name in ("time", "bytes", "error"):
        if name not in record["case"]["margins"]:
            return f"case: margins: lacks {name}"
    return None


def _whole_self_check(record: dict) -> str | None:
    cells = record["samples"]["cells"]
    expected = record["case"]["identity"].get("cells")
    if expected is not None and set(expected) != cells.keys():
        return f"samples: cells: has {len(cells)} cells of {len(expected)}"
    return _planted(record, cells)


def _planted(record: dict, cells) -> str | None:
    strange = record["case"]["planted"].keys() - set(cells)
    return f"case: planted: {min(strange)!r} is no cell" if strange else None


def _whole_asv_check(record: dict) -> str | None:
    cells = record["case"]["cells"]
    if strange := record["samples"]["changes"].keys() - set(cells):
        return f"samples: changes: {min(strange)!r} is no cell"
    return None


def _whole_numerics(record: dict) -> str | None:
    rows = [(row["norm"], row["mean"], row["backend"]) for row in record["samples"]]
    if len(set(rows)) < len(rows):
        return "samples: a norm, mean and backend are there twice"
    count = 1
    for part in zip(*rows, strict=True):
        count *= len(set(part))
    return None if count == len(rows) else f"samples: has {len(rows)} of {count} rows"


_WHOLE = {
    "study": _whole_study,
    "bench": _whole_bench,
    "gate": _whole_gate,
    "gate-self-check": _whole_self_check,
    "gate-self-check-asv": _whole_asv_check,
    "numerics": _whole_numerics,
}
