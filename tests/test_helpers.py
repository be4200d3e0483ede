"""Helpers: they take their share, and nothing depends on them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from normsuite.machine.helpers import ALONE, MOST, Helpers


def slow(number):
    time.sleep(0.02)
    return number, os.getpid()


def kill_helper():
    """The process that runs it, where that is not the tests' own."""
    if os.getppid() != int(os.environ["PARENT_OF_HELPERS"]):
        return "here"
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError("as it is meant")


def test_helpers_and_the_caller_share_what_there_is():
    with Helpers(count=2) as helpers:
        helpers.start()
        given = [helpers.give(slow, number) for number in range(150)]
        found = [part.result() for part in reversed(given)][::-1]
    assert [number for number, _ in found] == list(range(150))
    by = {process for _, process in found}
    assert os.getpid() in by and 2 <= len(by) <= 3


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_of_one_thread_is_copied_and_one_of_several_is_not(tmp_path, threads):
    """A copy has what was imported, and its garbage is collected again."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import gc, os, sys, threading, time
from normsuite.machine.helpers import Helpers

def found():
    return os.getpid(), gc.isenabled(), "colorsys" in sys.modules

if __name__ == "__main__":
    import colorsys
    for _ in range({threads} - 1):
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
    gc.disable()
    with Helpers(count=1) as helpers:
        helpers.start()
        given = [helpers.give(found) for _ in range(3)]
        time.sleep(3 if {threads} > 1 else 0.5)
        pid, collected, has = given[0].result()
    print(pid != os.getpid(), collected, has)
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.stdout.split() == ["True", "True", str(threads == 1)]


def test_without_helpers_it_is_done_here():
    with Helpers(count=1) as helpers:
        assert helpers.give(slow, 1).result() == (1, os.getpid()), "not started"
    ALONE.start()
    assert ALONE.give(slow, 2).result() == (2, os.getpid())
    with Helpers(count=0) as helpers:
        helpers.start()
        assert helpers.give(slow, 3).result() == (3, os.getpid())


def test_a_failure_is_the_caller_s():
    with Helpers(count=1) as helpers:
        helpers.start()
        given = [helpers.give(fail) for _ in range(5)]
        for part in given:
            with pytest.raises(ValueError, match="as it is meant"):
                part.result()


def test_a_helper_that_was_killed_leaves_its_work_to_the_caller(monkeypatch):
    monkeypatch.setenv("PARENT_OF_HELPERS", str(os.getpid()))
    with Helpers(count=1) as helpers:
        helpers.start()
        given = [helpers.give(kill_helper), *(helpers.give(slow, number) for number in range(3))]
        time.sleep(1.0)  # it comes and goes
        assert [part.result() for part in given] == ["here", *((number, os.getpid()) for number in range(3))]
        assert helpers.give(slow, 4).result() == (4, os.getpid()), "and nothing is given any more"


def test_there_are_as_many_as_cores_are_left(monkeypatch):
    for cores, expected in ((1, 0), (2, 1), (64, MOST)):
        monkeypatch.setattr("normsuite.machine.processor.usable_cores", lambda cores=cores: cores)
        assert Helpers()._count == expected


def test_ctrl_c_leaves_none_behind(tmp_path):
    """In the parent's group, as in a terminal."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from normsuite.machine.helpers import Helpers\n"
        "if __name__ == '__main__':\n"
        "    with Helpers(count=1) as helpers:\n"
        "        helpers.start()\n"
        "        parts = [helpers.give(time.sleep, 0.2) for _ in range(100)]\n"
        "        print('begun', flush=True)\n"
        "        [part.result() for part in parts]\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in said and process.returncode
    end = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:  # they end when the parent has
            os.killpg(process.pid, 0)
            time.sleep(0.05)
