"""A slowdown put into any public function or module is met by the workloads of that name, of the gate and of asv.

Each is wrapped in a copy of the package, as a commit would change it: the copy is loaded as the gate loads a version.
"""

import shutil
import sys
from pathlib import Path

import pytest
import torch

import normsuite
from normsuite.gate import cells, sides
from normsuite.measure import implementations
from normsuite.measure.implementations import ours

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
WRAPPED_MODULE = WRAPPED_FUNCTION.replace("{name} = _counted({name})", "{name}.forward = _counted({name}.forward)")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A version of the package whose public functions, and forward passes of public modules, count their calls."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "normsuite", folder / "normsuite", ignore=shutil.ignore_patterns("__pycache__", "data"))
    for file, text, names in (
        ("functional.py", WRAPPED_FUNCTION, ours.FUNCTIONS),
        ("modules.py", WRAPPED_MODULE, ours.MODULES),
    ):
        with (folder / "normsuite" / file).open("a") as target:
            target.writelines(text.format(name=name) for name in names)
    yield sides.load(folder, "guarded", "functional", "backends", "modules")
    for name in [name for name in sys.modules if name.partition(".")[0] == "normsuite_guarded"]:
        del sys.modules[name]


def counter(copy, name):
    """What counts the calls of a function or of a module's forward pass."""
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
    computes -= {"convert", "revert", "NormSpec"}
    assert computes == {*ours.FUNCTIONS, *ours.MODULES}
    assert {*ours.MODULES} == {*parameters.MODULES} and {*normsuite.NORMS} == {*parameters.NORMS}


@pytest.mark.parametrize("name", ours.FUNCTIONS)
def test_the_gate_s_cells_call_the_function(copy, name):
    norm, found = of_function(name), set()
    for cell in cells.plan():
        if cell.task.spec.name == norm and isinstance(cell.implementation, ours.Function):
            if cell.task.case.name != "tiny":
                continue  # the same call on another shape
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
