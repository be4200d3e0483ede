"""Kinds of records, each with the command that makes them and their folder. Imports nothing of this package."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordKind:
    """A kind of record.

    Attributes:
        what: what a record says that it is of.
        command: what makes such records.
        folder: where they lie, under the folder of all reports.
    """

    what: str
    command: str
    folder: str


STUDY = RecordKind("study", "normsuite study", "study")
TUNING = RecordKind("study", f"{STUDY.command} --preset tune", "tune")
ASV = RecordKind("asv", "asv run --record-samples", "asv/results")
BENCH = RecordKind("bench", "normsuite bench", "bench")
GATE = RecordKind("gate", "normsuite gate", "gate")
SELF_CHECK = RecordKind("gate-self-check", "normsuite self-check", "self-check")
ASV_CHECK = RecordKind("gate-self-check-asv", "python -m tools.asv_continuous", "self-check")
NUMERICS = RecordKind("numerics", "normsuite numerics", "numerics")
CONFORMANCE = RecordKind("conformance", "normsuite check", "conformance")
AHEAD = RecordKind("ahead-of-time", "python -m tools.kernel_proof --out reports/ahead", "ahead")

REPORTED = (TUNING, STUDY, ASV, BENCH, SELF_CHECK, GATE, NUMERICS, CONFORMANCE, AHEAD)
"""Kinds that a report shows, in the order of its page of records."""
