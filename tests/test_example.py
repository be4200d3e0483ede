"""The example package: installed, found by its entry points, checked by the command and by its own tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "mynorms"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment in which the example is installed."""
    folder = tmp_path_factory.mktemp("site")
    how = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    source = tmp_path_factory.mktemp("source") / "mynorms"
    source.mkdir()
    for name in ("pyproject.toml", "src"):
        subprocess.run(["cp", "-r", EXAMPLE / name, source / name], check=True)
    command = [sys.executable, "-m", "pip", "install", *how, "--target", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("pip is not installed")
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def normsuite(environment, folder, *arguments, timeout=240):
    command = [sys.executable, "-m", "normsuite", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


def test_every_target_of_the_project_is_checked(installed):
    only = [part for name in ("output", "input_gradient", "state_*", "mean_100") for part in ("--only", name)]
    done = normsuite(installed, EXAMPLE, "check", *only, "--json", "-")
    assert done.returncode == 0, done.stderr + done.stdout
    reports = json.loads(done.stdout)
    assert [report["target"] for report in reports] == ["rms", "gn-silu", "places"]  # a prepared call is no norm
    for report in reports:
        found = {result["check"]: result["status"] for result in report["results"]}
        assert found["output[float32]"] == "ok" and found["input_gradient[float32]"] == "ok"


def test_an_installed_target_is_found_anywhere(installed, tmp_path):
    (tmp_path / ".git").mkdir()
    done = normsuite(installed, tmp_path, "check", "mynorms-rms", "--only", "output")
    assert done.returncode == 0 and "mynorms-rms, like RMSNorm: 4 ok" in done.stdout, done.stderr + done.stdout


def test_a_norm_of_a_package_is_known(installed, tmp_path):
    done = normsuite(installed, tmp_path, "explain", "ChannelLayerNorm")
    assert done.returncode == 0 and "ChannelLayerNorm" in done.stdout, done.stderr


def test_what_fails_is_exit_code_1_and_one_line_for_what_cannot_be(installed, tmp_path):
    done = normsuite(
        installed, tmp_path, "check", "mynorms:RMSNorm", "--args", "64", "--like", "LayerNorm", "--only", "output"
    )
    assert done.returncode == 1 and "smallest input: 1×1×64 float32" in " ".join(done.stdout.split()), done.stdout
    done = normsuite(installed, tmp_path, "check", "mynorms:RMSNrm", "--args", "64")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "near are RMSNorm" in done.stderr


def test_calls_of_the_example_are_compared(installed, tmp_path):
    setup = "from mynorms.calls import attention; call = attention()"
    done = normsuite(installed, tmp_path, "compare", setup, "call()", "call(); 1", "--seconds", "0.1", "--json", "-")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert list(record["ratios"]) == ["call(); 1"] and record["ratios"]["call(); 1"]["baseline"] == "call()"
    assert all(seconds > 0 for times in record["samples"][0].values() for seconds in times)


@pytest.mark.slow
def test_its_own_tests_pass(installed):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=EXAMPLE, env=installed, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:]
