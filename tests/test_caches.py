"""The user's cache: checked before it is used, made again where it does not hold, done without where there is none."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from asv_folder import DAY, NAME, START, Folder, commit_of

from normsuite import history
from normsuite.errors import OutputError
from normsuite.files import caches, reading
from normsuite.history import levels

pytestmark = pytest.mark.usefixtures("own_cache")
ROOT = Path(__file__).parent.parent


def recorded(path, count=40):
    folder = Folder(path).list({NAME: {}})
    for n in range(count):
        folder.add(commit_of(n), START + DAY * n, {NAME: [folder.noisy(1.0 if n < count // 2 else 1.3)]})
    return path


def said(folder):
    found = history.read(folder)
    trends = history.trends(history.segments(found.results))
    return repr([(t.segment.values, t.steps, t.floor) for t in trends])


def test_no_flipped_bit_changes_what_is_said(tmp_path, own_cache):
    shutil.rmtree(own_cache / "normsuite" / "history", ignore_errors=True)  # what other tests have kept or damaged
    folder = recorded(tmp_path)
    right = said(folder)
    kept = [path for path in own_cache.rglob("history/*/*") for path in ([path] if path.is_file() else path.iterdir())]
    assert len(kept) > 5
    draw = random.Random(0)
    for path in kept * 4:
        whole = path.read_bytes()
        spoiled = bytearray(whole)
        spoiled[draw.randrange(len(spoiled))] ^= 1 << draw.randrange(8)
        path.write_bytes(spoiled)
        assert said(folder) == right, path
        path.write_bytes(whole[: draw.randrange(len(whole))])
        assert said(folder) == right, path


def test_a_cache_runs_nothing(tmp_path, own_cache):
    folder = recorded(tmp_path / "results", 12)
    right = said(folder)

    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for path in [path for path in own_cache.rglob("*") if path.is_file()]:
        path.write_bytes(pickle.dumps(Runs()))
    assert said(folder) == right and not (tmp_path / "ran").exists()


def test_a_part_in_another_s_place_is_not_taken_for_it(tmp_path, own_cache):
    caches.store(tmp_path / "a", "a", "text")
    assert caches.recall(tmp_path / "a", "a") == "text"
    (tmp_path / "a").rename(tmp_path / "b")
    assert caches.recall(tmp_path / "b", "b") is None and caches.recall(tmp_path / "a", "a") is None
    os.mkfifo(tmp_path / "c")
    assert caches.recall(tmp_path / "c", "c") is None


def test_where_nothing_can_be_kept_the_same_is_said(tmp_path, own_cache, monkeypatch):
    folder = recorded(tmp_path / "results", 12)
    right = said(folder)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert caches.folder("history") is None and levels._file() is None
    assert said(folder) == right


IN_ITS_PLACE = {
    "a named pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.parent.parent / "precious"),
    "a link to a device": lambda path: path.symlink_to("/dev/full"),
    "a folder": lambda path: (path.mkdir(), (path / "x").touch()),
}


@pytest.mark.parametrize("make", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
def test_what_lies_in_an_entry_s_place_is_replaced_and_not_written_into(tmp_path, make):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "cache").mkdir()
    path = tmp_path / "cache" / "entry"
    make(path)
    assert caches.recall(path, "key") is None
    caches.store(path, "key", "text")
    assert caches.recall(path, "key") == "text" and path.is_file() and not path.is_symlink()
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_a_folder_that_was_removed_is_made_again(own_cache):
    found = caches.folder("tuned")
    shutil.rmtree(found)
    assert caches.folder("tuned") == found and found.is_dir()


def test_what_is_refused_is_closed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(reading.Unreadable):
            reading.read_bytes(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_nobody_else_s_folder_is_used_in_place_of_a_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(caches.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(caches, "folder", lambda: None)
    place = caches.folder_or_temporary()
    assert place.is_dir() and place.stat().st_mode & 0o777 == 0o700 and caches.folder_or_temporary() == place
    place.rmdir()
    place.symlink_to(tmp_path)
    with pytest.raises(OutputError, match="is not this user's folder"):
        caches.folder_or_temporary()


NUMBA = (
    "import torch, normsuite\n"
    "made = normsuite.GroupNorm(2, 8, backend='numba')\n"
    "with torch.no_grad():\n"
    "    made(torch.randn(2, 8, 64, 64))\n"
    "print('done')"
)
UNSHARED = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]


def without_account(home, *command, cwd):
    """A command of a user who has no account, and no home or one that cannot be written to."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "0"}
    for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
        environment.pop(name, None)
    if home is not None:
        environment["HOME"] = home
    return subprocess.run([*UNSHARED, *command], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def unshared():
    if subprocess.run([*UNSHARED, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody be another user")


@pytest.mark.parametrize("home", [None, "/", "/nonexistent", ""])
def test_a_user_without_an_account_reads_a_history(tmp_path, unshared, home):
    folder = recorded(tmp_path / "results", 12)
    command = Path(sys.executable).with_name("normsuite")
    done = without_account(home, command, "history", "--from", folder, "--json", "-", cwd=tmp_path)
    assert done.returncode in (0, 1) and json.loads(done.stdout)["segments"], done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "~").exists()
    assert without_account(home, command, "--version", cwd=tmp_path).returncode == 0


def test_a_user_without_an_account_computes_without_a_cache(tmp_path, unshared):
    done = without_account(None, sys.executable, "-c", NUMBA, cwd=tmp_path)
    assert done.stdout == "done\n", done.stderr[-2000:]
