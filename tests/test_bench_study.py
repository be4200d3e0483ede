"""The training time of the study: steps with each backend in fresh processes, and the command that shows them."""

import functools

import pytest

from normsuite.errors import ArgumentError, OutputError, UnknownNameError
from normsuite.records import results
from tools import bench_study, study_steps, study_throughput


def test_a_step_s_time_is_over_that_with_torch_s_calls():
    one, two = ({"torch": [2.0, 4.0, 2.0], "numba": [1.0, 2.0, 1.0], "auto": [k, 2 * k, k]} for k in (0.5, 1.0))
    case, samples = {"backends": list(study_steps.BACKENDS)}, {"A": [one, one], "B": [two, two]}
    found = study_steps.ratios({"case": case, "samples": samples})
    assert [found[norm]["numba"].value for norm in ("A", "B", "all")] == pytest.approx([0.5] * 3)
    assert [found[norm]["auto"].value for norm in ("A", "B", "all")] == pytest.approx([0.25, 0.5, 0.125**0.5])
    table = bench_study.steps(found)
    assert table.names == ("norm", "numba", "auto") and [row[0] for row in table.rows] == ["A", "B", "all"]


def test_an_unknown_norm_is_refused_before_anything_runs():
    with pytest.raises(UnknownNameError, match="WeightNorm"):
        study_steps.run(["WeightNorm"], processes=1, threads=1)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_timed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(study_steps, "run", lambda *args, **kwargs: pytest.fail("is timed"))
    with pytest.raises(OutputError):
        bench_study.main(["--out", str(tmp_path / "file" / "bench")])


@pytest.mark.parametrize("wrong", [["--backend", "numbra"], ["--epochs", "0"], ["--norm", "BatchNrm"]])
def test_wrong_settings_are_refused_before_anything_is_timed(wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(study_steps, "run", lambda *args, **kwargs: pytest.fail("is timed"))
    with pytest.raises(ArgumentError):
        bench_study.main([*wrong, "--out", str(tmp_path)])


def test_ctrl_c_keeps_what_was_measured(tmp_path, monkeypatch):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    made = results.make_record(study_steps.WHAT, {}, {}, environment={}, seeds=[])
    monkeypatch.setattr(study_steps, "run", lambda *args, **kwargs: made)
    monkeypatch.setattr(study_throughput, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench_study.main(["--out", str(tmp_path)])
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_the_tool_times_steps_and_whole_studies(digits_cache, tmp_path, monkeypatch, capsys):
    small = functools.partial(study_throughput.run, rounds=2, train_size=1280)
    monkeypatch.setattr(study_throughput, "run", small)
    monkeypatch.setattr(study_steps, "SECONDS", 0.05)
    given = ["--norm", "BatchNorm", "--processes", "2", "--threads", "1", "--epochs", "1"]
    bench_study.main([*given, "--out", str(tmp_path)])
    (steps,), (whole,) = (results.read_records(tmp_path, tool.WHAT).good for tool in (study_steps, study_throughput))
    found = study_steps.ratios(steps)
    assert set(found) == {"BatchNorm", "all"} and set(found["all"]) == {"numba", "auto"}
    assert all(ratio.low < ratio.value < ratio.high for ratio in found["all"].values())
    assert len(steps["samples"]["BatchNorm"]) == 2 and whole["case"]["digits"] == 1280
    shown = " ".join(capsys.readouterr().out.split())
    for said in ("time over that with torch's calls", "BatchNorm", "as the sweep runs it", "one process, 1 thread"):
        assert said in shown
