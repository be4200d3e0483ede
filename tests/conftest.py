"""What all tests share: tiers, a fixed number of threads, and caches that are not the user's."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

# Before torch is loaded. Workers of pytest-xdist share the cores: a thread that waits must not spin.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.pop("COLUMNS", None)  # the width of the terminal in which the tests run

import pytest
import tiers
import torch
from addressed import kernels_at_every_size  # noqa: F401, a fixture
from auto_tables import measured  # noqa: F401, a fixture
from gated_package import first, gate_cache, repository  # noqa: F401, fixtures

from normsuite.files import caches

pytest.register_assert_rewrite("outcomes")  # so that what is compared there is shown where it differs

# A shell that starts the tests in the background has their processes ignore Ctrl-C, which some of them are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around those that make another order: tiers are of the files' own
def pytest_collection_modifyitems(items):
    tiers.mark(items)
    return (yield)


@pytest.fixture(autouse=True)
def _threads():
    """Give each test two threads, whatever the one before it has left."""
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _same_draws():
    """Draw the same tensors in a test in whichever order tests run."""
    torch.manual_seed(0)


@contextmanager
def _cache_in(folder: Path):
    """Let the cache lie in that folder, but for compiled kernels, which depend on sources alone."""
    compiled = caches.folder("kernels")
    if compiled is not None:
        (folder / "normsuite").mkdir(exist_ok=True)
        (folder / "normsuite" / "kernels").symlink_to(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def digits_cache(tmp_path_factory):
    """A cache folder of the tests' own, for this process and its children."""
    with _cache_in(tmp_path_factory.mktemp("cache")) as folder:
        yield folder


@pytest.fixture(scope="session")
def digits(digits_cache):
    from normsuite.study import digits

    return digits.load()


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache apart from the user's, for tests of what is kept of files that are thrown away."""
    with _cache_in(tmp_path_factory.mktemp("own-cache")) as folder:
        yield folder
