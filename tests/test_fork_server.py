"""The process that workers are forked from: it is there before it is needed, imports what is slow, and ends with us."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from processes import started_by

from normsuite.machine import allocator
from normsuite.study import fork_server

pytestmark = pytest.mark.skipif(not fork_server._exists(), reason="this system has no such process")

WORKERS = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from normsuite.study import fork_server

def look():
    return [name for name in ("torch", "torchvision.datasets") if name in sys.modules], dict(os.environ)

if __name__ == "__main__":
    fork_server.begin()
    fork_server.begin()
    assert "torch" not in sys.modules, "the parent has not waited for it"
    with ProcessPoolExecutor(1, fork_server.context()) as executor:
        imported, environment = executor.submit(look).result()
    print(imported, environment["MALLOC_MMAP_THRESHOLD_"], flush=True)
    print("MALLOC_MMAP_THRESHOLD_" in os.environ, flush=True)
    time.sleep(60)
"""


def test_workers_have_what_is_slow_to_import_and_an_allocator_that_is_pinned(tmp_path):
    (tmp_path / "workers.py").write_text(WORKERS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    process = subprocess.Popen(
        [sys.executable, tmp_path / "workers.py"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        said = process.stdout.readline(), process.stdout.readline()
        assert said[0] == f"['torch', 'torchvision.datasets'] {allocator.PINNED['MALLOC_MMAP_THRESHOLD_']}\n"
        assert said[1] == "False\n", "the parent's own environment is as it was"
        (of_it,) = started_by(process.pid, "multiprocessing.forkserver")
        of_it.send_signal(signal.SIGINT)
        assert of_it.is_running(), "Ctrl-C is the parent's"
    finally:
        process.kill()
        process.communicate()
    assert not psutil.wait_procs([of_it], timeout=20)[1], "it ends with its parent"
