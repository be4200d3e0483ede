"""What is kept of a bench of one processor."""

import bench_records
import pytest

from normsuite.bench.summary import AUTO
from normsuite.errors import NormsuiteError
from normsuite.measure.labels import BOUND
from normsuite.records import compact, results
from tools.bench_summary import keep


def bench(folder, ratio):
    for case in ("stage-7", "stage-14"):
        record = bench_records.record({AUTO: ratio, BOUND: 0.25, "numba": 0.3}, case=case)
        results.write_record(folder, f"bench-{case}", record)
    return folder


def test_means_and_verdicts_are_kept_of_each_folder(tmp_path):
    own, cautious = bench(tmp_path / "own", 0.5), bench(tmp_path / "cautious", 2.0)
    path = keep("cpu", [str(own), f"elsewhere={cautious}"], tmp_path)
    found = {member.name: member.value for member in compact.members(path)}
    assert list(found) == ["bench-summary-of-cpu", "bench-summary-of-cpu-elsewhere"]
    for value, ratio, verdict in zip(found.values(), (0.5, 2.0), ("faster", "slower"), strict=True):
        assert value["tasks"] == 2 and {row["implementation"] for row in value["rows"]} == {AUTO}
        assert {row["verdict"] for row in value["rows"]} == {verdict}
        assert value["summary"]["verdicts_of_auto"][verdict] == 2
        means = value["summary"]["geometric_means_to_torch_nn"]
        assert {mean["implementation"] for mean in means} == {AUTO, BOUND}
        (to_bound, *_) = value["summary"]["geometric_means_of_auto_to_bound"]
        assert to_bound["ratio"]["value"] == pytest.approx(ratio / 0.25, rel=1e-2)


def test_a_folder_without_a_bench_is_named(tmp_path):
    own = bench(tmp_path / "own", 0.5)
    with pytest.raises(NormsuiteError, match="empty has 0 benches"):
        keep("cpu", [str(own), f"more={tmp_path / 'empty'}"], tmp_path)
    with pytest.raises(NormsuiteError, match="each further one has a word"):
        keep("cpu", [str(own), str(own)], tmp_path)
    assert not list(tmp_path.glob("*.xz"))
