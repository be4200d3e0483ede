"""The made-up history: that both programs read it, and that what is said of them was measured."""

import subprocess
import sys

import numpy as np
import psutil
import pytest

from normsuite import history
from normsuite.errors import ArgumentError, NormsuiteError
from tools import bench_history as bench
from tools import browser

pytestmark = pytest.mark.usefixtures("own_cache")


def test_it_is_read_back_as_it_was_made(tmp_path):
    made = bench.Made(tmp_path, commits=3, series=40)
    made.commit()
    found = history.read(made.records / "asv" / "results")
    series = history.segments(found.results)
    assert len(series) == 40 and {len(of.values) for of in series} == {4} and not found.notes
    assert np.array([of.values for of in series]).T.tolist() == made._values[:4].tolist()
    assert len({of.series for of in series}) == 40


def test_both_ways_are_timed_before_and_after_one_more_commit():
    told = []
    record = bench.run(commits=8, series=20, rounds=2, on_way=told.append)
    assert len(record["samples"]) == 2 and len(told) == 2 * (1 + 2 * 2 + (not browser.missing()))
    for found in record["samples"]:
        for way in bench.WAYS:
            for stage in (bench.WHOLE, bench.ONE_MORE):
                assert found[way][stage]["seconds"] > 0.1 and 2**23 < found[way][stage]["peak_bytes"] < 2**30
        later = found[bench.OURS][bench.ONE_MORE]
        assert len(later["each_s"]) == bench.LATER and later["seconds"] == pytest.approx(np.mean(later["each_s"]))
        assert min(found[bench.OURS]["page_bytes"].values()) > 1000
    ratios = bench.ratios(record)
    assert all(0 < r.low < r.value < r.high for r in ratios.values())
    reason = record["not_in_a_browser"]
    assert reason == browser.missing()
    loads = [of[bench.OURS].get("interactive_seconds", {}) for of in record["samples"]]
    assert [sum(map(len, of.values())) for of in loads] == [0 if reason else 2 * browser.LOADS] * 2
    assert all(0.001 < seconds < 60 for of in loads for of_page in of.values() for seconds in of_page)
    said = "\n".join(bench.lines(record))
    assert (reason or f"of {2 * browser.LOADS} loads in Chromium") in said
    assert f"one more commit, mean of {bench.LATER}: " in said
    assert "8 commits × 20 series, 2 rounds" in said and f"{ratios[bench.WHOLE].value:.3f}" in said


def test_memory_is_that_of_a_command_and_all_that_it_started():
    """Two processes of 64 MiB each, beside what Python itself takes."""
    block = "import time; x = bytearray(b'x' * 2**26); print('ready', flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {block!r}]); {block}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
            assert 2**27 < bench._bytes_in_use(process.pid) < 2**27 + 2**26
        finally:
            for child in psutil.Process(process.pid).children():
                child.kill()
            process.kill()
    assert bench._bytes_in_use(process.pid) == 0


def test_a_way_that_fails_is_said(tmp_path):
    made = bench.Made(tmp_path, commits=1, series=20)
    (tmp_path / "asv.conf.json").write_text("{")
    with pytest.raises(NormsuiteError, match="asv publish: ended with exit code"):
        bench._timed(bench.ASV, made)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"commits": 0}, "commits = 0"),
        ({"series": 7}, "series = 7: must be a multiple of 20"),
        ({"rounds": 0}, "rounds = 0"),
    ],
)
def test_numbers_that_make_no_history_are_refused(given, says):
    with pytest.raises(ArgumentError, match=says):
        bench.run(**{"commits": 1, "series": 20, "rounds": 1, **given})
