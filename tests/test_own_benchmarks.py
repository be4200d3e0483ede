"""The report of somebody's own benchmarks: with other parameters, none, or the suite's own names."""

import re

import pytest
from asv_folder import DAY, NAME, START, Folder, commit_of

from normsuite import report

pytestmark = pytest.mark.usefixtures("own_cache")

CASES = {
    "no parameters": (NAME, [], []),
    "device alone": (NAME, [["'cpu'", "'cuda'"]], ["device"]),
    "norm alone": ("latency.Latency.track_forward", [["'BatchNorm'", "'LayerNorm'"]], ["norm"]),
    "others": ("suite.time_sort", [["1", "2"], ["'a'"]], ["n", "kind"]),
    "the suite's training step without parameters": ("latency.Latency.track_training_step", [], []),
    "the suite's error rate of something": ("mnist.ErrorRate.track_mnist", [["'x'", "'y'"]], ["what"]),
    "the suite's memory by norm": ("memory.Memory.track_training_step", [["'none'", "'RMSNorm'"]], ["norm"]),
}


@pytest.mark.parametrize("format", ["html", "markdown"])
@pytest.mark.parametrize(("name", "params", "names"), CASES.values(), ids=CASES)
def test_a_users_benchmark_is_reported(tmp_path, name, params, names, format):
    folder = Folder(tmp_path / "asv" / "results").list({name: {"params": params, "param_names": names, "type": "time"}})
    count = max(1, *(len(of) for of in params)) if params else 1
    for n in range(12):
        values = [folder.noisy(0.25 + k) for k in range(count)]
        folder.add(commit_of(n), START + DAY * n, {name: values}, params={name: params})
    page, _ = report.write(tmp_path, tmp_path / "out", format=format)
    text = "".join(path.read_text() for path in page.parent.iterdir())
    assert (
        name in text.replace("\\_", "_")
        and "Other benchmarks at this commit" in text
        and re.search(r"\b2(49|5[01])", text)
    )
    compared, _ = report.write_comparison(tmp_path, tmp_path, tmp_path / "both", format=format)
    assert compared.exists()
    report.write(tmp_path, tmp_path / "series", series=name.split(".")[-1])


@pytest.mark.parametrize("value", [0.0, -3.0, float("inf"), 1e300, 1e-300])
def test_any_value_is_reported(tmp_path, value):
    folder = Folder(tmp_path / "asv" / "results").list({NAME: {"unit": "things"}})
    for n in range(12):
        folder.add(commit_of(n), START + DAY * n, {NAME: [value if n % 2 else 1.0]})
    report.write(tmp_path, tmp_path / "out", series="track")
