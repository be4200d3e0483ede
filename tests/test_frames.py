"""Records as rows and frames."""

from pathlib import Path

import pytest

import normsuite
from normsuite.errors import ArgumentError, NormsuiteError

REFERENCE = Path(__file__).parent.parent / "reports" / "reference"


@pytest.fixture(scope="module")
def recorded():
    return normsuite.read_records(REFERENCE)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("bench", {"norm", "case", "mode", "implementation", "process", "round", "seconds", "clock"}),
        ("study", {"norm", "seed", "epoch", "test_accuracy", "learning_rate"}),
        ("gate", {"cell", "metric", "ratio", "low", "high", "verdict"}),
        ("numerics", {"norm", "mean", "backend", "output", "gradient", "shape", "activation"}),
    ],
)
def test_each_kind_of_record_has_rows(recorded, kind, columns):
    found = getattr(recorded, kind)
    rows = found.rows()
    assert len(found) and rows and all(columns <= row.keys() for row in rows)
    assert repr(found).startswith(f"{len(found)} records of {kind}") and getattr(recorded, kind) is found
    assert next(iter(found))["what"] == kind


def test_rows_have_every_sample(recorded):
    samples = sum(
        len(times)
        for record in recorded.bench
        for process in record["samples"]["processes"]
        for clock in ("times_s", "host_s")
        for times in process.get(clock, {}).values()
    )
    assert len(recorded.bench.rows()) == samples


def test_frames_want_pandas(recorded):
    try:
        import pandas  # noqa: F401
    except ImportError:
        with pytest.raises(NormsuiteError, match="pip install pandas"):
            recorded.numerics.to_frame()
    else:
        assert len(recorded.numerics.to_frame()) == len(recorded.numerics.rows())


def test_what_is_not_there_is_told(recorded, tmp_path):
    with pytest.raises(AttributeError, match="no records of 'benches'"):
        recorded.benches  # noqa: B018
    with pytest.raises(ArgumentError, match="is no folder"):
        normsuite.read_records(tmp_path / "none")
    assert not normsuite.read_records(tmp_path).bench.rows()
    (tmp_path / "a.json").write_text("{")
    assert normsuite.read_records(tmp_path).bench.damaged[0][0] == "a.json"


def test_json_that_is_no_record_is_passed_over_and_a_damaged_record_is_not(recorded, tmp_path):
    assert all(getattr(recorded, kind).damaged == () for kind in ("bench", "study", "gate", "numerics"))
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1"}')
    (tmp_path / "bench.json").write_text('{"schema": 1, "what": "bench", "case": {}}')
    ((name, reason),) = normsuite.read_records(tmp_path).bench.damaged
    assert name == "bench.json" and "lacks samples" in reason


@pytest.mark.parametrize("folder", [None, "", 3])
def test_what_is_no_folder_s_path_is_an_argument_error(folder):
    with pytest.raises(ArgumentError, match="folder = "):
        normsuite.read_records(folder)
