"""A slowdown put into any public function or module is met by the workloads of that name, of the gate and of asv.

Each is wrapped in a copy of the package, as a commit would change it: the copy is loaded as the gate loads a version.
"""

import math
import random
import shutil
import sys
from pathlib import Path

import pytest
import torch

import normsuite
from normsuite import modules
from normsuite.gate import sides
from normsuite.measure import implementations, pairs
from normsuite.measure import own_workloads as cells
from normsuite.measure.clock import HostTimer
from normsuite.measure.implementations import ours
from normsuite.spec import find
from normsuite.study.network import build

ROOT = Path(normsuite.__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # asv's benchmarks lie beside the package, not in it

from benchmarks import kit, latency, parameters  # noqa: E402

WRAPPED_FUNCTION = """

import functools as _functools


def _counted(whole):
    @_functools.wraps(whole)
    def counted(*args, **kwargs):
        counted.calls += 1
        return whole(*args, **kwargs)

    counted.calls = 0
    return counted


{name} = _counted({name})
"""
MANYFOLD = """

import functools as _functools


def _manyfold(whole):
    @_functools.wraps(whole)
    def slowed(*args, **kwargs):
        return [whole(*args, **kwargs) for _ in range(20)][0]

    return slowed


{name} = _manyfold({name})
"""
WRAPPED_MODULE = WRAPPED_FUNCTION.replace("{name} = _counted({name})", "{name}.forward = _counted({name}.forward)")


def version(folder, side, changes):
    """The package, copied there, with further text behind its files."""
    shutil.copytree(ROOT / "normsuite", folder / "normsuite", ignore=shutil.ignore_patterns("__pycache__", "mnist"))
    for file, text in changes.items():
        with (folder / "normsuite" / file).open("a") as target:
            target.write(text)
    modules = [f"normsuite.{name}" for name in ("functional", "backends", "modules")]
    return sides.load(folder, side, ["normsuite"], modules, alone=False)["normsuite"]


def forget(side):
    for name in [name for name in sys.modules if name.partition(".")[0] == f"normsuite_{side}"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A version of the package whose public functions, and forward passes of public modules, count their calls."""
    functions = "".join(WRAPPED_FUNCTION.format(name=name) for name in ours.FUNCTIONS)
    classes = "".join(WRAPPED_MODULE.format(name=name) for name in ours.MODULES)
    changes = {"functional.py": functions, "modules.py": classes}
    yield version(tmp_path_factory.mktemp("copy"), "guarded", changes)
    forget("guarded")


def counter(copy, name):
    """Return what counts the calls of a function or of a module's forward pass."""
    return getattr(copy.functional, name) if name in ours.FUNCTIONS else vars(getattr(copy.modules, name))["forward"]


def of_function(name):
    """The norm of a public function."""
    (norm,) = (norm for norm, function in normsuite.functional.NAMED.items() if function.__name__ == name)
    return norm


def met(copy, name, call, task):
    before = counter(copy, name).calls
    with torch.set_grad_enabled(task.gradients):
        call()
    return counter(copy, name).calls - before


def test_everything_public_is_guarded():
    """No public name is missing from the lists that the tests below go through."""
    computes = {name for name in normsuite.__all__ if callable(getattr(normsuite, name)) and name[0] != "_"}
    computes -= {"convert", "revert", "NormSpec", "Target", "check", "compare", "read_records"}
    assert computes == {*ours.FUNCTIONS, *ours.MODULES}
    assert {*ours.MODULES} == {*parameters.MODULES} and {*normsuite.NORMS} == {*parameters.NORMS}


@pytest.mark.parametrize("name", ours.FUNCTIONS)
def test_the_gate_s_cells_call_the_function(copy, name):
    norm, found = of_function(name), set()
    for cell in cells.plan(cases=["tiny"]):  # other cases are the same call on another shape
        if cell.task.spec.name == norm:
            (call,) = sides.ready(copy, cell, [cell.task.operands()])
            assert met(copy, name, call, cell.task) == 1, cell.name
            found.add((cell.backend, cell.task.mode))
    assert found == {(backend, mode) for backend in cells.BACKENDS for mode in cells.MODES}


@pytest.mark.parametrize("name", ours.MODULES)
def test_the_gate_s_cells_call_the_module(copy, name):
    found = [cell for cell in cells.plan() if cell.implementation == implementations.find(f"auto {name}")]
    assert {cell.task.mode for cell in found} == set(cells.MODES)
    for cell in found:
        (call,) = sides.ready(copy, cell, [cell.task.operands()])
        assert met(copy, name, call, cell.task) == 1, cell.name


@pytest.fixture
def asv(copy, monkeypatch):
    """asv's benchmarks, with the copy as the installed commit."""
    monkeypatch.setattr(kit, "installed", lambda: copy)
    monkeypatch.setattr(latency, "SECONDS", 1e-3)
    return copy


@pytest.mark.parametrize("name", ours.FUNCTIONS)
@pytest.mark.parametrize("backend", ["torch", "reference", "auto"])
def test_asv_s_benchmarks_call_the_function(asv, name, backend):
    benchmark = latency.Latency()
    benchmark.setup(of_function(name), backend, "tiny", "cpu")
    for mode in ("forward", "step"):
        workload, (call,), _ = benchmark.prepared(mode)
        assert met(asv, name, call, workload.task) == 1


@pytest.mark.parametrize("name", ours.MODULES)
def test_asv_s_benchmarks_call_the_module(asv, name):
    benchmark = latency.Module()
    benchmark.setup(name, "auto", "cpu")
    for mode in ("forward", "step"):
        workload, (call,), _ = benchmark.prepared(mode)
        assert met(asv, name, call, workload.task) == 1


@pytest.mark.parametrize("norm", normsuite.NORMS)
def test_the_study_trains_the_class_that_people_get(norm):
    network = build(find(norm), seed=0)
    found = {type(layer) for layer in network if isinstance(layer, modules._WithBackend)}
    assert found == {getattr(normsuite, norm)}


# ---- by measurement ----


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A version in which one function and one module do their work twenty times: that stands out under coverage too."""
    module = MANYFOLD.replace("{name} = _manyfold({name})", "{name}.forward = _manyfold({name}.forward)")
    changes = {
        "functional.py": MANYFOLD.format(name="group_norm"),
        "modules.py": module.format(name="BatchNorm2d"),
    }
    yield version(tmp_path_factory.mktemp("slow"), "slow", changes)
    forget("slow")


SLOWED = {
    "the function": ("GroupNorm/torch/tiny/forward", latency.Latency, ("GroupNorm", "torch", "tiny", "cpu")),
    "the module": ("BatchNorm/auto BatchNorm2d/tiny/forward", latency.Module, ("BatchNorm2d", "auto", "cpu")),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", SLOWED)
def test_a_slowdown_is_measured_by_the_gate(slow, which):
    """Its ratio, between this version and the slow one."""
    (cell,) = cells.plan(only=[SLOWED[which][0]])
    given = [cell.task.operands()]
    base, head = (HostTimer(sides.ready(package, cell, given)[0]) for package in (normsuite, slow))
    with torch.no_grad():
        found = pairs.compare(base, head, blocks=50, longest_s=2.0, draw=random.Random(0))
    assert math.exp(found.log_ratio) > 2


@pytest.mark.slow
@pytest.mark.parametrize("which", SLOWED)
def test_a_slowdown_is_measured_by_asv(slow, which, monkeypatch):
    """In the samples of one version, and then of the other."""
    _, kind, cell = SLOWED[which]
    least = []
    for package in (normsuite, slow):
        monkeypatch.setattr(kit, "installed", lambda package=package: package)
        benchmark = kind()
        benchmark.setup(*cell)
        least.append(min(benchmark.track_forward(*cell)["samples"]))
    assert least[1] > 2 * least[0]
