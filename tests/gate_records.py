"""Records of a gate made of numbers, for tests of what is made of them."""

import json
from datetime import date

import numpy as np

from normsuite.files import writing
from normsuite.gate import accepted, summary
from normsuite.gate.decide import BETTER, SAME, UNDECIDED, WORSE
from normsuite.records import kinds, provenance, results

CELLS = 48
NOTHING = {"cell 0": {}}
"""The values of a gate of one cell that no process has timed."""

TODAY = date(2030, 1, 1)


def table(seed, *, processes=6, deviation=0.002, slowdowns=()):
    """Log ratios of a table, with other deviations for each cell, and those slowdowns in its first cells."""
    draw = np.random.default_rng(seed)
    deviations = deviation * np.sqrt(10 / draw.chisquare(10, CELLS))
    true = np.zeros(CELLS)
    true[: len(slowdowns)] = np.log1p(slowdowns)
    logs = true[:, None] + deviations[:, None] * draw.standard_normal((CELLS, processes))
    return {f"cell {i}": {k + 1: float(v) for k, v in enumerate(row)} for i, row in enumerate(logs)}


def tree(name="base"):
    return {"name": name, "commit": "a" * 40, "subject": "what it does", "digest": "b" * 40}


def record(values=None, *, counts=None, absent=None, error_rates=None, looks=(4,), groups=None, **margins):
    values = table(5) if values is None else values
    case = {
        "base": tree(),
        "head": tree("head"),
        "cells": [{"name": name} for name in {**values, **(absent or {})}],
        "groups": groups or {},
        "margins": {"time": 0.01, "worse": 0.0025, "bytes": 0.01, "error": 1.0, "error rate": 0.005, **margins},
        "alpha": 0.05,
        "budget_s": 120.0,
        "threads": 2,
        "apart": False,
        "error_rate_norms": list(error_rates or ()),
    }
    samples = {
        "log_ratios": {
            **{name: {str(k): v for k, v in of.items()} for name, of in values.items()},
            **{name: {} for name in absent or ()},
        },
        "base_s": dict.fromkeys(values, 1e-3),
        "looks": list(looks),
        "blocks": [100] * len(looks),
        "counts": counts or {},
        "absent": absent or {},
        "error_rates": error_rates or {},
    }
    made = results.make_record("gate", case, samples, environment=provenance.environment(), seeds=[0], spent_s=60.0)
    return json.loads(writing.to_json(made))  # as it comes back from a file


def code(made):
    return summary.exit_code(made, summary.rows(made))


def of(found, metric):
    (row,) = (row for row in found if row.metric == metric)
    return row


def write(folder, text):
    file = folder / accepted.FILE
    file.write_text(text)
    return file


ENTRY = '[[accepted]]\ncell = "cell *"\nmetric = "time"\nreason = "more checks"\nuntil = 2030-01-31\n'


def kept_as(made, known, today, undecided=None):
    """Return the record with known regressions, written to a file and read again."""
    return json.loads(writing.to_json(summary.with_rules(made, known, today, undecided)))


ENDS = {SAME: (0.995, 1.005), UNDECIDED: (0.98, 1.02), WORSE: (1.003, 1.1), BETTER: (0.9, 0.997)}


def checked(verdicts, injected=None):
    cells = {f"cell {i}": [v, 1.0, *ENDS[v], 4] for i, v in enumerate(verdicts)}
    return {
        "schema": 1,
        "what": kinds.SELF_CHECK.what,
        "environment": {"cpu": "a processor", "cores": 2, "packages": {}},
        "case": {"identity": {}, "planted": injected or {}},
        "samples": {"cells": cells},
        "wall_s": 60.0,
    }
