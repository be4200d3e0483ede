"""The training time of the study: steps with each backend in fresh processes, and the command that shows them."""

import functools
import json

import pytest
import typer

from normsuite import results
from normsuite.bench import epoch, study_tables, throughput
from normsuite.cli.bench import bench_study
from normsuite.errors import OutputError, UnknownNameError


def test_a_step_s_time_is_over_that_with_torch_s_calls():
    one, two = ({"torch": [2.0, 4.0, 2.0], "numba": [1.0, 2.0, 1.0], "auto": [k, 2 * k, k]} for k in (0.5, 1.0))
    found = epoch.ratios({"case": {"backends": list(epoch.BACKENDS)}, "samples": {"A": [one, one], "B": [two, two]}})
    assert [found[norm]["numba"].value for norm in ("A", "B", "all")] == pytest.approx([0.5] * 3)
    assert [found[norm]["auto"].value for norm in ("A", "B", "all")] == pytest.approx([0.25, 0.5, 0.125**0.5])
    table = study_tables.steps(found)
    assert table.names == ("norm", "numba", "auto") and [row[0] for row in table.rows] == ["A", "B", "all"]


def test_an_unknown_norm_is_refused_before_anything_runs():
    with pytest.raises(UnknownNameError, match="WeightNorm"):
        epoch.run(["WeightNorm"], processes=1, threads=1)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_timed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(epoch, "run", lambda *args, **kwargs: pytest.fail("is timed"))
    with pytest.raises(OutputError):
        bench_study(out=tmp_path / "file" / "bench")


@pytest.mark.parametrize("last", [True, False])
def test_ctrl_c_says_what_is_kept(tmp_path, monkeypatch, capsys, last):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    made = results.make_record(epoch.WHAT, {}, {}, environment={}, seeds=[])
    monkeypatch.setattr(epoch, "run", (lambda *args, **kwargs: made) if last else stopped)
    monkeypatch.setattr(throughput, "run", stopped)
    with pytest.raises(typer.Exit):
        bench_study(out=tmp_path)
    said = capsys.readouterr().err
    assert ("the times of steps are kept" if last else "interrupted; nothing is kept") in said
    assert len(list(tmp_path.glob("*.json"))) == last


def test_the_command_times_steps_and_whole_studies(digits_cache, tmp_path, monkeypatch, capsys):
    small = functools.partial(throughput.run, rounds=2, train_size=1280)
    monkeypatch.setattr(throughput, "run", small)
    wanted = {"norm": ["BatchNorm"], "processes": 2, "threads": 1, "epochs": 1, "out": tmp_path}
    bench_study(**wanted, to=str(tmp_path / "found.json"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["ratios"]) == {"BatchNorm", "all"} and set(found["ratios"]["all"]) == {"numba", "auto"}
    assert all(low < value < high for value, low, high in found["ratios"]["all"].values())
    (steps,), (whole,) = (results.read_records(tmp_path, what).good for what in (epoch.WHAT, throughput.WHAT))
    assert steps["samples"] == found["record"]["samples"] and len(steps["samples"]["BatchNorm"]) == 2
    assert whole["case"]["digits"] == 1280 and set(found["speedups"]) == {throughput.ONE, throughput.SWEEP}
    monkeypatch.setattr(epoch, "run", lambda *args, **kwargs: steps)
    monkeypatch.setattr(throughput, "run", lambda *args, **kwargs: whole)
    bench_study(**wanted)
    shown = " ".join(capsys.readouterr().out.split())
    for said in ("time over that with torch's calls", "BatchNorm", "as the sweep runs it", "one process, 1 thread"):
        assert said in shown
