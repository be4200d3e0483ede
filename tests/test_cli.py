"""The command, as people type it: what it prints, where, and its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from normsuite.cli import output
from normsuite.lesson import claims
from normsuite.measure.accuracy import MEANS
from normsuite.records import results

COMMAND = Path(sys.executable).parent / "normsuite"


def run(*arguments, cwd=None):
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def test_explain_as_json_has_all_26_figures():
    done = run("explain", "--json", "-")
    rows = json.loads(done.stdout)
    assert done.returncode == 0
    assert all({"norm", "index", "statistic", "printed", "computed", "verdict"} <= set(row) for row in rows)
    assert sum(r["printed"] is not None and r["statistic"] in ("mean", "std") for r in rows) == 26


def test_explain_draws_and_judges():
    done = run("explain", "groupnorm")
    assert done.returncode == 0
    assert "image3" in done.stdout and "2.25" in done.stdout and "wrong" in done.stdout
    assert "LayerNorm" not in done.stdout


def test_explain_writes_a_file(tmp_path):
    done = run("explain", "BatchNorm", "--json", tmp_path / "b.json")
    assert done.returncode == 0 and "image3" in done.stdout, "the tables are printed beside a file"
    assert {row["norm"] for row in json.loads((tmp_path / "b.json").read_text())} == {"BatchNorm"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explain", "WeightNorm"], "norm = 'WeightNorm': unknown; known are BatchNorm"),
        (["explain", "--json", "/proc/none/x.json"], "cannot write '/proc/none/x.json'"),
        (["study", "--preset", "slow"], "preset = 'slow'"),
        (["study", "--groups", "3"], "num_groups = 3"),
        (["study", "--seeds", "0"], "seeds = 0: must be at least 1"),
        (["study", "--norm", "BatchNom"], "norm = 'BatchNom': unknown; did you mean BatchNorm? known are BatchNorm"),
        (["study", "--workers", "0", "--dry-run"], "workers = 0: must be at least 1"),
        (["study", "--device", "quantum", "--dry-run"], "device = 'quantum': unknown; known are cpu, cuda"),
        (["bench", "everything"], "target = 'everything': must be an import path"),
        (["study", "--config", "/proc/none.toml"], "config = '/proc/none.toml': cannot be read"),
        pytest.param(
            ["study", "--scheduler", "tcp://127.0.0.1:1"],
            "scheduler = 'tcp://127.0.0.1:1': does not answer within 10 s",
            marks=pytest.mark.slow,  # it is waited for
        ),
        (["study", "--device", "quantum"], "device = 'quantum': unknown; known are cpu, cuda"),
        (["numerics", "--device", "quantum"], "device = 'quantum': unknown; known are cpu, cuda"),
        (["study", "--data-dir", "/proc/none"], "train-images-idx3-ubyte"),
        (["report", "--out", "/proc/none"], "out = '/proc/none': cannot write there"),
        (["report", "--compare", ".", "..", "--commit", "x"], "commit = 'x': is not for --compare"),
        (["report", "--compare", ".", "..", "--from", ".."], "from = '..': is not for --compare"),
        (["check", "torch.nn:Identity", "--json", "-", "--markdown", "-"], "markdown = '-': is where --json goes"),
        (["gate", "HEAD", "--json", "x", "--markdown", "x"], "markdown = 'x': is where --json goes"),
        (["check", "torch.nn:Identity", "--timeout", "inf"], "timeout = inf: must be finite"),
        (["report", "--compare", ".", "..", "--repository", ".."], "repository = '..': is not for --compare"),
    ],
)
def test_an_expected_error_is_one_line_and_exit_code_2(arguments, says, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr and done.stderr.count("\n") == 1 and done.stderr.startswith("normsuite: ")
    assert not list(tmp_path.rglob("*.json"))


def test_a_report_of_nothing_says_what_to_run(tmp_path):
    done = run("report", cwd=tmp_path)
    assert done.returncode == 0 and "no study has been recorded: run `normsuite study`" in done.stdout
    assert (tmp_path / "reports" / "html" / "index.html").is_file()


def test_numerics_as_json_has_every_backend_side_by_side(tmp_path):
    done = run("numerics", "--norm", "LayerNorm", "--json", "-", cwd=tmp_path)
    record = json.loads(done.stdout)
    assert done.returncode == 0 and record["what"] == "numerics" and record["environment"]["packages"]["torch"]
    errors = {(row["backend"], row["mean"]): (row["output"], row["gradient"]) for row in record["samples"]}
    of_reference = [found for (backend, _), found in errors.items() if backend == "reference"]
    assert len(of_reference) == len(MEANS) and all(max(found) < 2e-6 for found in of_reference)
    assert min(errors["torch", 1e6]) > 1e-3
    assert all(isinstance(said, str) for said in errors["triton", 1e6])  # why it does not compute here


def test_numerics_as_a_table_and_as_a_record(tmp_path):
    done = run("numerics", "--norm", "groupnorm", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.count("GroupNorm") == 1
    assert [done.stdout.count(f"│ {kind}") for kind in ("output", "gradient")] == [16, 16], "four means, four backends"
    (record,) = results.read_records(tmp_path / "reports" / "numerics", "numerics")
    assert {row["norm"] for row in record["samples"]} == {"GroupNorm"} and record["case"]["device"] == "cpu"


def test_version():
    from normsuite import __version__

    assert run("--version").stdout.strip() == __version__


def test_a_dry_run_says_how_many_how_long_and_what_it_could_tell_apart(tmp_path):
    done = run("study", "--preset", "full", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("60 runs, about ") and " min on " in done.stdout
    said = "found with 80 % power if it is at least 2.01 standard deviations of the paired differences"
    assert said in done.stdout
    found = json.loads(run("study", "--norm", "none", "--dry-run", "--json", "-", cwd=tmp_path).stdout)
    assert found["runs"] == 3 and found["seconds"] > 1 and found["difference"] is None
    assert not list(tmp_path.rglob("*.json")), "nothing is run"


def test_an_option_wins_over_the_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "full"\nworkers = "two"\n')
    only = ("--norm", "none", "--dry-run")
    done = run("study", "--config", file, "--preset", "quick", "--workers", "2", *only, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("3 runs"), done.stderr
    done = run("study", "--config", file, "--dry-run", cwd=tmp_path)
    assert done.returncode == 2 and "workers = 'two': must be int" in done.stderr


def test_a_name_in_a_note_is_no_markup(tmp_path):
    (tmp_path / "reports" / "study").mkdir(parents=True)
    (tmp_path / "reports" / "study" / "[bold]a[red].json").write_text("{")
    done = run("report", cwd=tmp_path)
    assert done.returncode == 0 and "record [bold]a[red].json is damaged" in done.stdout, done.stderr


def test_lines_are_printed_as_they_are(capsys):
    """What a user names, such as a folder, may have brackets, which rich would take for a style."""
    output.line("3 runs in '[bold]/study'")
    assert capsys.readouterr().out == "3 runs in '[bold]/study'\n"
    folder = Path(output.__file__).parent
    assert [path.name for path in folder.glob("*.py") if ".print(" in path.read_text()] == ["output.py"]


def test_a_study_as_json_ends_with_claims_and_verdicts(tmp_path, digits_cache):
    file = tmp_path / "small.toml"
    file.write_text('norm = ["none", "BatchNorm"]\nepochs = 1\ntrain_size = 1280\nout = "mine"\nworkers = 1\n')
    done = run("study", "--config", file, "--seeds", "2", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found)[-1] == "claims" and found["runs"] == 4 == len(list((tmp_path / "mine").glob("*.json")))
    again = run("study", "--config", file, "--seeds", "2", "--json", "-", cwd=tmp_path)
    assert again.stdout == done.stdout, "of runs that are done it says what it said of them when they were done"
    (tmp_path / "mine" / "damaged.json").write_text(
        '{"schema": 1, "what": "study", "case": 0, "samples": {}, "environment": {}}'
    )
    dry = tmp_path / "dry.toml"
    dry.write_text(file.read_text() + 'dry_run = true\njson = "planned.json"\n')
    assert run("study", "--config", dry, cwd=tmp_path).returncode == 0
    planned = json.loads((tmp_path / "planned.json").read_text())
    assert planned["deviation"] > 0
    others = run("study", "--config", file, "--epochs", "2", "--dry-run", "--json", "-", cwd=tmp_path)
    assert json.loads(others.stdout)["deviation"] is None, "other runs spread in other ways"
    assert {claim["verdict"] for claim in found["claims"]} <= set(claims.VERDICTS)
    assert {r["verdict"] for claim in found["claims"] for r in claim["relations"]} <= set(claims.VERDICTS)
    shown = run("study", "--config", file, "--seeds", "2", cwd=tmp_path).stdout
    for said in ("paired by seed", "Covariate shift: ", "median epoch", "what this study finds"):
        assert said in shown
    grid = run("study", "--config", file, "--seeds", "2", "--batch-size", "64", "--batch-size", "128", cwd=tmp_path)
    assert "Test accuracy by batch_size" in grid.stdout
    sizes = ["--batch-size", "64", "--batch-size", "128"]
    found = json.loads(run("study", "--config", file, "--seeds", "2", *sizes, "--json", "-", cwd=tmp_path).stdout)
    assert [part["batch_size"] for part in found["settings"]] == [64, 128] and len(found["cells"]) == 4
    assert all(part["comparisons"] and part["claims"] for part in found["settings"])
