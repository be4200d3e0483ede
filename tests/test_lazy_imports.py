"""Libraries that are loaded when they are first used: in a process of its own, since here they are loaded."""

import subprocess
import sys

import pytest

from normsuite.machine import lazy_imports
from tools.bench_history import Made

INSIDE = "scipy.stats._distn_infrastructure"
"""Modules that are there once scipy.stats is."""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_library_is_loaded_when_something_in_it_is_asked_for():
    done = run(
        "import sys; from normsuite.machine import lazy_imports; lazy_imports.load('scipy.stats', 'scipy.optimize')\n"
        "from normsuite import statistics\n"
        f"assert {INSIDE!r} not in sys.modules\n"
        "assert statistics.mean_interval([1.0, 2.0, 3.0]).value == 2.0\n"
        f"assert {INSIDE!r} in sys.modules\n"
        "import scipy.stats; assert round(float(scipy.stats.norm.ppf(0.975)), 2) == 1.96"
    )
    assert done.returncode == 0, done.stderr


def test_what_is_loaded_stays_as_it_is():
    done = run(
        "from scipy import stats; from normsuite.machine import lazy_imports; kind = type(stats)\n"
        "lazy_imports.load('scipy.stats'); import scipy.stats; assert scipy.stats is stats and type(stats) is kind"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("command", "said"), [("history", "±"), ("report", "index.html")])
def test_a_long_history_needs_none_of_it(command, said, tmp_path, own_cache):
    """Its commands shall start at once; quantiles come from elsewhere."""
    made = Made(tmp_path, commits=12, series=20)
    source = {"history": made.records / "asv" / "results", "report": made.records}[command]
    arguments = [command, "--from", str(source), *(["--out", str(tmp_path / "html")] if command == "report" else [])]
    done = run(
        f"import sys; from normsuite.cli import app; app({arguments!r}, standalone_mode=False)\n"
        f"assert {INSIDE!r} not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_a_report_that_draws_nothing_new_needs_no_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments = ["report", "--from", str(tmp_path), "--out", str(tmp_path / "html")]
    for loaded in (True, False):
        done = run(
            f"import sys; from normsuite.cli import app; app({arguments!r}, standalone_mode=False)\n"
            f"assert ('matplotlib' in sys.modules) is {loaded}"
        )
        assert done.returncode == 0, done.stderr


def test_a_module_that_is_not_there_is_said():
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        lazy_imports.load("scipy.no_such")
