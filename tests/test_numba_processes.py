"""The compiled kernels in other processes: forked ones, two copies of the package, and where kernels are kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import normsuite

numba = pytest.importorskip("numba", reason="needs numba")


def python(script, *arguments, folder=None, **variables):
    """Run a script in a process of its own, where a warning is an error, and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment["PYTHONPATH"] = os.pathsep.join([*([str(folder)] if folder else []), str(PACKAGE.parent)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        env=environment | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PACKAGE = Path(normsuite.__file__).parent

MANY_THREADS = """
import sys, torch
from normsuite import functional

def results(threads):
    torch.set_num_threads(threads)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.linspace(-3, 5, 32 * 8 * 31 * 33).sin().reshape(32, 8, 31, 33).contiguous(memory_format=layout)
        x.requires_grad_()
        for norm in (
            lambda: functional.batch_norm(x, None, None, training=True, backend="numba"),
            lambda: functional.group_norm(x, 4, backend="numba"),
            lambda: functional.layer_norm(x, (33,), torch.ones(33), torch.zeros(33), backend="numba"),
        ):
            y = norm()
            found += [y.detach().numpy().tobytes(), torch.autograd.grad(y, x, x.detach().flip(0))[0].numpy().tobytes()]
    return found

assert results(1) == results(int(sys.argv[1]))
"""


@pytest.mark.parametrize(("asked", "given"), [(80, {}), (8, {"OMP_THREAD_LIMIT": 3})], ids=["80", "3 of 8"])
def test_more_threads_than_shares_and_fewer_than_asked_for(asked, given):
    python(MANY_THREADS, asked, **given)


FAKED_FIRST = """
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from normsuite import functional, modules

with FakeTensorMode():
    modules.GroupNorm(4, 8, backend="numba")(torch.empty(4, 8, 16, 16))
x = torch.randn(4, 8, 16, 16)
y = functional.group_norm(x, 4, backend="numba")
assert type(y) is torch.Tensor and torch.allclose(y, torch.nn.functional.group_norm(x, 4), atol=1e-5)
"""


def test_kernels_that_are_imported_under_a_mode_that_fakes_tensors():
    python(FAKED_FIRST)


FORK = """
import os, warnings, torch
from normsuite import functional
from normsuite.backends.numba import threads

torch.set_num_threads(2)
x = torch.linspace(-3, 5, 32 * 8 * 32 * 32).reshape(32, 8, 32, 32).sin().requires_grad_()
dy = x.detach().flip(0).contiguous()

def step():
    y = functional.batch_norm(x, None, None, training=True, backend="numba")
    (dx,) = torch.autograd.grad(y, x, dy)
    return y.detach().numpy().tobytes(), dx.numpy().tobytes()

before, why = step(), threads.why_serial()
warnings.filterwarnings("ignore", category=DeprecationWarning)  # of a fork beside threads, which is the point here
child = os.fork()
if not child:
    code = 1
    try:
        assert "forked" in threads.why_serial() and threads.count() == 1
        assert step() == before
        code = 0
    finally:
        os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert threads.why_serial() == why and step() == before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_alone():
    python(FORK)


TWICE = """
import sys, torch
import normsuite, second
from normsuite import functional as one
from second import functional as other
import normsuite.backends.numba, second.backends.numba  # which register operators

for namespace in ("normsuite_backends_numba", "second_backends_numba"):
    getattr(torch.ops, namespace).normalize, getattr(torch.ops, namespace).normalize_backward
assert sys.modules["second"].__file__ != sys.modules["normsuite"].__file__
dy = torch.linspace(-1, 1, 2 * 6 * 40 * 40).reshape(2, 6, 40, 40).cos()
for seed in range(2):
    x = torch.randn(2, 6, 40, 40, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    found = []
    for functions in (one, other, one, other):
        y = functions.batch_norm(x, None, None, training=True, backend="numba")
        found.append((y.detach(), *torch.autograd.grad(y, x, dy)))
    for again in found[1:]:
        assert torch.equal(again[0], found[0][0]) and torch.equal(again[1], found[0][1])
    assert found[0][0].std() > 0.9
"""


def test_two_copies_of_the_package_in_one_process(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "second", ignore=shutil.ignore_patterns("data", "__pycache__"))
    cache = tmp_path / "cache"
    for _ in range(2):  # compiled, then from disk
        python(TWICE, folder=tmp_path, XDG_CACHE_HOME=cache)


COMPUTE = """
import threading, torch, numba
from normsuite import functional

settings = "CACHE_DIR", "CACHE_LOCATOR_CLASSES"
before = [getattr(numba.config, name, "") for name in settings]
x = torch.linspace(-3, 5, 240).reshape(2, 6, 5, 4).sin()
expected = functional.batch_norm(x, None, None, training=True, backend="reference")
calls = [lambda: functional.batch_norm(x, None, None, training=True, backend="numba"),
         lambda: functional.batch_norm(x.to(memory_format=torch.channels_last), None, None, training=True,
                                       backend="numba")]
found = []
workers = [threading.Thread(target=lambda call=call: found.append(call())) for call in 2 * calls]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert len(found) == 4
for y in found:
    torch.testing.assert_close(y, expected)
assert [getattr(numba.config, name, "") for name in settings] == before
"""


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is named by XDG_CACHE_HOME")
def test_kernels_are_kept_in_the_user_s_cache_and_nowhere_else(tmp_path):
    """Four threads that ask at once, in a process that compiles and in one that finds the kernels on disk."""
    cache = tmp_path / "cache"
    kept = [path for path in PACKAGE.rglob("*.nb[ic]")]
    python(COMPUTE, XDG_CACHE_HOME=cache)
    first = files(cache)
    assert {path.suffix for path in first} == {".nbi", ".nbc"}
    assert all("normsuite" in path.relative_to(cache).parts for path in first)
    assert [path for path in PACKAGE.rglob("*.nb[ic]")] == kept == []
    python(COMPUTE, XDG_CACHE_HOME=cache)
    assert files(cache) == first
    if hasattr(numba.config, "CACHE_LOCATOR_CLASSES"):  # numba 0.61 keeps them by the path of the sources
        elsewhere = tmp_path / "elsewhere"
        shutil.copytree(PACKAGE, elsewhere / "normsuite", ignore=shutil.ignore_patterns("__pycache__", "data"))
        python(COMPUTE, folder=elsewhere, XDG_CACHE_HOME=cache)
        assert files(cache) == first, "the same kernels elsewhere, as a gate exports them"


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is named by XDG_CACHE_HOME")
def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(tmp_path):
    (tmp_path / "cache").write_text("no folder")
    python(COMPUTE, XDG_CACHE_HOME=tmp_path / "cache")
    assert (tmp_path / "cache").read_text() == "no folder"
    assert not list(PACKAGE.rglob("*.nb[ic]"))


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is named by XDG_CACHE_HOME")
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_cache_costs_time_and_nothing_else(tmp_path, suffix):
    """As after a loss of power."""
    one = "import torch; from normsuite import functional as F; "
    one += "print(F.layer_norm(torch.ones(3, 4), (4,), backend='numba').sum().item())"
    expected = python(one, XDG_CACHE_HOME=tmp_path)
    damaged = [path for path in tmp_path.rglob(f"*{suffix}")]
    for content in (b"", b"no pickle", b"\x80\x04K\x01."):
        for path in damaged:
            path.write_bytes(content)
        assert damaged and python(one, XDG_CACHE_HOME=tmp_path) == expected
        python(one, XDG_CACHE_HOME=tmp_path)
        assert all(path.stat().st_size > 100 for path in damaged), "the next process has written them anew"


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is named by XDG_CACHE_HOME")
def test_every_kernel_has_an_index_of_its_own(tmp_path):
    """Two processes that write one index at once may leave a key that leads to the other's code."""
    script = "import sys, torch; from normsuite.backends.numba import kernels; "
    script += "kernels.get('segments.forward', getattr(torch, sys.argv[1]), int(sys.argv[2]), sys.argv[3] == '1')"
    for number, key in enumerate([("float32", 0, 0), ("float64", 0, 0), ("float32", 1, 0), ("float32", 0, 1)], 1):
        python(script, *key, XDG_CACHE_HOME=tmp_path)
        assert len(list(tmp_path.rglob("*.nbi"))) == len(list(tmp_path.rglob("*.nbc"))) == number


AFTER_THE_MAIN_THREAD = """
import threading, torch
import normsuite.backends.numba
from normsuite import functional

def work():
    threading.main_thread().join()
    print(functional.layer_norm(torch.ones(3, 4), (4,), backend="numba").sum().item())

threading.Thread(target=work).start()
"""


def test_a_kernel_is_compiled_behind_the_end_of_the_main_thread(tmp_path):
    assert python(AFTER_THE_MAIN_THREAD, XDG_CACHE_HOME=tmp_path) == "0.0\n"


FORK_WHILE_COMPILING = """
import os, threading, time, torch
from normsuite.backends.numba import kernels

begun, whole = threading.Event(), kernels._compiled

def slow(*key):
    begun.set()
    time.sleep(1)
    return whole(*key)

kernels._compiled = slow
other = threading.Thread(target=kernels.get, args=("segments.forward", torch.float64))
other.start()
begun.wait()
child = os.fork()
if not child:
    kernels._compiled = whole
    kernels.get("segments.forward", torch.float32)
    os._exit(0)
other.join()
kernels._compiled = whole
kernels.get("segments.backward", torch.float64)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_while_another_thread_compiled_can_compile():
    done = subprocess.run([sys.executable, "-c", FORK_WHILE_COMPILING], capture_output=True, text=True, timeout=240)
    assert done.stdout == "0\n", done.stderr
