"""What is one series: machine, Python, variables, requirements, version of the benchmark, and parameters by name."""

import json

import pytest
from asv_folder import DAY, NAME, START, Folder, commit_of

from normsuite import history
from normsuite.history.steps import REGRESSION

pytestmark = pytest.mark.usefixtures("own_cache")

SECOND = {
    "python": {"python": "3.12"},
    "variable": {"env_vars": {"OMP_NUM_THREADS": "2"}},
    "variable among what was installed": {"installed": {"env-OMP_NUM_THREADS": "2"}},
    "numpy": {"installed": {"numpy": "2.4.6"}},
    "requirement": {"requirements": {"pip+numpy": "2.4.6"}},
    "torch": {"installed": {"torch": "2.15.0"}},
}


def trends(path):
    found = history.read(path)
    return history.trends(history.segments(found.results)), found.notes


@pytest.mark.parametrize("second", SECOND.values(), ids=SECOND)
def test_two_environments_of_one_commit_are_two_series(tmp_path, second):
    """The second is 20 % faster; both become 15 % slower at the 13th commit, and both regressions count."""
    folder = Folder(tmp_path).list({NAME: {}})
    for n in range(24):
        for place, more in enumerate(({}, second)):
            value = folder.noisy((1.0, 0.8)[place] * (1.15 if n >= 12 else 1.0))
            folder.add(
                commit_of(n), START + DAY * n, {NAME: [value]}, env=f"e{place}", started=START + DAY * n + place, **more
            )
    found, notes = trends(tmp_path)
    assert len(found) == 2 and all(t.segment.newest and t.floor < 1.02 and not t.repeats for t in found)
    for (step,) in (t.steps for t in found):
        assert step.counts and step.commit == commit_of(12) and 1.14 < step.ratio.low < 1.15 < step.ratio.high < 1.16
    assert len({t.segment.versions for t in found}) == 2
    said = [note for note in notes if "several settings" in note]
    assert len(said) == (second != SECOND["torch"])


def test_an_environment_that_is_no_longer_measured_is_an_older_segment(tmp_path):
    folder = Folder(tmp_path).list({NAME: {}})
    for n in range(40):
        for place in (0, 1)[: 1 + (n < 20)]:
            value = folder.noisy(1.3 if n >= 10 and place else 1.0)
            python = f"3.1{1 + place}"
            folder.add(commit_of(n), START + DAY * n, {NAME: [value]}, env=python, python=python)
    newest = {t.segment.versions: t.segment.newest for t in trends(tmp_path)[0]}
    assert newest == {"torch 2.14.1, python 3.11": True, "torch 2.14.1, python 3.12": False}


OLD = [["'GroupNorm'", "'LayerNorm'"]]
CHANGES = {
    # what is listed, its names, the order of its values, names of series with 30 commits, former ones, newest ones
    "renamed": ([["'Other'", "'LayerNorm'"]], ["norm"], None, {"LayerNorm"}, {"GroupNorm"}, {"Other"}),
    "axis added": ([OLD[0], ["1", "2"]], ["norm", "threads"], None, set(), {"GroupNorm", "LayerNorm"},
                   {"GroupNorm 1", "GroupNorm 2", "LayerNorm 1", "LayerNorm 2"}),
    "axis before": ([["1", "2"], OLD[0]], ["threads", "norm"], None, set(), {"GroupNorm", "LayerNorm"},
                    {"1 GroupNorm", "2 GroupNorm", "1 LayerNorm", "2 LayerNorm"}),
    "reordered": ([OLD[0][::-1]], ["norm"], [1, 0], {"GroupNorm", "LayerNorm"}, set(), set()),
    "value added": ([[*OLD[0], "'RMSNorm'"]], ["norm"], None, {"GroupNorm", "LayerNorm"}, set(), {"RMSNorm"}),
    "value removed": ([["'LayerNorm'"]], ["norm"], [1], {"LayerNorm"}, {"GroupNorm"}, set()),
    "renamed axis": (OLD, ["layer"], None, {"GroupNorm", "LayerNorm"}, set(), set()),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_parameters_that_change_keep_what_they_are_about(tmp_path, change):
    """A benchmark has other parameters from the 16th of 30 commits on, and is 50 % slower."""
    now, names, values_of, through, former, new = change
    folder = Folder(tmp_path).list({NAME: {"params": now, "param_names": names}})
    count = len(now[0]) * (len(now[1]) if len(now) > 1 else 1)
    for n in range(30):
        params = OLD if n < 15 else now
        values = [float(1 + k) for k in range(2)] if n < 15 else [1.5 * (1 + k) for k in values_of or range(count)]
        folder.add(commit_of(n), START + DAY * n, {NAME: [folder.noisy(v) for v in values]}, params={NAME: params})
    found, notes = trends(tmp_path)
    of = {" ".join(t.segment.parameters.values()): t for t in found}
    assert of.keys() == through | former | new
    for name, trend in of.items():
        assert len(trend.segment.values) == (30 if name in through else 15), name
        assert trend.segment.newest == (name not in former)
        assert [step.verdict for step in trend.steps] == ([REGRESSION] if name in through else [])
    said = [note for note in notes if "parameters that a benchmark no longer has" in note]
    assert len(said) == bool(former) and (not said or said[0].startswith("15 results"))


def test_an_address_in_a_name_is_no_part_of_it(tmp_path):
    folder = Folder(tmp_path).list(
        {NAME: {"params": [["<function f at 0x7fff>", "<function f at 0x8fff>"]], "param_names": ["f"]}}
    )
    for n in range(10):
        params = {NAME: [[f"<function f at 0x{n:04x}>", f"<function f at 0x{n + 99:04x}>"]]}
        folder.add(commit_of(n), START + DAY * n, {NAME: [1.0, 2.0]}, params=params)
    found, _ = trends(tmp_path)
    assert [t.segment.values for t in found] == [[1.0] * 10, [2.0] * 10], "two of one name stay two"


def test_another_version_of_a_benchmark_is_another_segment(tmp_path):
    folder = Folder(tmp_path).list({NAME: {"version": "2"}})
    for n in range(30):
        version = "1" if n < 15 else "2"
        value = folder.noisy(1.0 if n < 15 else 1.5)
        folder.add(commit_of(n), START + DAY * n, {NAME: [value]}, row_version=version)
    found, notes = trends(tmp_path)
    assert [(len(t.segment.values), t.segment.newest, t.steps) for t in found] == [(15, False, ()), (15, True, ())]
    assert [t.segment.versions for t in found] == [
        "torch 2.14.1, benchmark version 1", "torch 2.14.1, benchmark version as listed",
    ]  # fmt: skip
    assert sum("15 results of another version of a benchmark" in note for note in notes) == 1


def test_results_of_a_benchmark_that_is_gone_are_counted(tmp_path):
    folder = Folder(tmp_path).list({"other": {}})
    for n in range(5):
        folder.add(commit_of(n), START + n, {NAME: [1.0], "other": [1.0]})
    _, notes = trends(tmp_path)
    assert any(f"5 results of benchmarks that benchmarks.json does not list ({NAME})" in note for note in notes)


def test_machines_whose_processor_is_not_known_are_not_pooled(tmp_path):
    folder = Folder(tmp_path).list({NAME: {}})
    for n, arch in enumerate(("x86_64", "aarch64")):
        path = folder.add(commit_of(n), START + n, {NAME: [1.0]})
        data = json.loads(path.read_text())
        data["params"] |= {"cpu": "", "arch": arch}
        path.write_text(json.dumps(data))
    assert len(trends(tmp_path)[0]) == 2
