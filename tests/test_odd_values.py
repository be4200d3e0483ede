"""Records in which any one value is of another kind: refused when they are read, or usable by all that reads them."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
from documents import ROOT

from normsuite.ahead import tables as ahead_tables
from normsuite.bench import sentences as bench_sentences
from normsuite.bench import summary as bench_summary
from normsuite.bench import tables as bench_tables
from normsuite.conformance import tables as conformance_tables
from normsuite.frames import _ROWS as FRAMES
from normsuite.gate import comment, self_check_rates, summary
from normsuite.gate import tables as gate_tables
from normsuite.numerics import tables as numerics_tables
from normsuite.records import compact, schema
from normsuite.study import summary as study_summary

REFERENCE = ROOT / "reports" / "reference"
ODD = ({"odd": [1]}, [["odd"]], 7, "odd", None)


def use_gate(record):
    rows = summary.rows(record)
    summary.as_dict(record, rows)
    gate_tables.verdicts(record, rows), gate_tables.method(record), comment.comment(record, rows)


def use_self_check(record):
    self_check_rates.as_dict([record]), gate_tables.error_rates([record])


def use_bench(record):
    for bench in bench_summary.benches([record]):
        bench_tables.brief(bench), bench_tables.every_case(bench), bench_tables.means(bench)
        bench_tables.rivals(bench), bench_tables.method(bench), bench_sentences.sentences(bench)


def use_study(record):
    study_summary.as_dict([record])


def use_numerics(record):
    numerics_tables.errors(record)


def use_conformance(record):
    conformance_tables.sentence(record), conformance_tables.side_by_side([record])


def use_ahead(record):
    ahead_tables.kernels(record), ahead_tables.traffic(record), ahead_tables.sentences(record)


KEPT = {
    "gate/gate": use_gate,
    "self-check/self-check": use_self_check,
    "self-check-before/self-check": use_self_check,
    "bench/cpu": use_bench,
    "bench/h200-float32": use_bench,
    "study/full": use_study,
    "study/batch-size": use_study,
    "numerics/cpu": use_numerics,
    "conformance/conformance": use_conformance,
    "ahead/ahead": use_ahead,
}


def small(name: str) -> dict:
    """Return the first record of a kept file, of a long table only the beginning."""
    record = next(compact.members(REFERENCE / f"{name}.jsonl.xz")).value
    if name == "ahead/ahead":
        record["samples"] = {key: of[:3] for key, of in record["samples"].items()}
    names = list(record["samples"].get("log_ratios", {}))[:3] if isinstance(record["samples"], dict) else []
    for key, of in record["samples"].items() if names else ():
        if isinstance(of, dict) and key != "error_rates":
            record["samples"][key] = {cell: of[cell] for cell in names if cell in of}
    if name == "gate/gate":
        record["case"]["cells"] = record["case"]["cells"][:3]
        record["case"]["groups"] = {"all": names}
    elif names:
        record["case"]["identity"]["cells"] = names
        record["case"]["planted"] = {names[0]: 0.01}
    return record


def places(value: object, way: tuple = ()) -> Iterator[tuple]:
    """Yield the keys that lead to values: of an object's fields all, of a list and of what has names the first."""
    if way:
        yield way
    inner = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    are_fields = all(isinstance(key, str) and key.isidentifier() for key, _ in inner)
    for key, of in inner if are_fields else inner[:1]:
        yield from places(of, (*way, key))


def with_value(record: dict, way: tuple, value: object) -> dict:
    """Return a copy in which those keys lead to that value."""
    at = copy = deepcopy(record)
    for key in way[:-1]:
        at = at[key]
    at[way[-1]] = value
    return copy


def spoilt(record: dict) -> Iterator[tuple[tuple, object, dict]]:
    """Yield records that differ from that one in a value, and are not refused, with the place and the value."""
    for way in places(record):
        for odd in ODD if way != ("what",) else ():  # of another kind it is not read here
            other = with_value(record, way, odd)
            if schema.problem(other) is None:
                yield way, odd, other


@pytest.mark.parametrize("name", KEPT)
def test_a_value_of_another_kind_is_refused_or_can_be_used(name):
    record = small(name)
    use, tried, failed = KEPT[name], 0, []
    use(record)
    for way, odd, other in spoilt(record):
        tried += 1
        try:
            use(other)
        except Exception as error:
            failed.append((way, odd, repr(error)))
    assert tried and not failed


@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_rows_for_frames_can_be_made_of_what_is_not_refused(kind):
    of_kind = {"study": "study/full", "bench": "bench/cpu", "gate": "gate/gate", "numerics": "numerics/cpu"}
    for _, _, other in spoilt(small(of_kind[kind])):
        list(FRAMES[kind](other))


def test_without_types_such_a_value_fails_only_where_it_is_used(monkeypatch):
    monkeypatch.setattr(schema, "problem", lambda record: None)
    with pytest.raises((TypeError, ValueError, AttributeError, KeyError)):
        for _, _, other in spoilt(small("study/full")):
            use_study(other)
