"""Situations in which commands and writers find themselves: repositories, streams, signals, full disks, two at once.

Each is a function of a folder of its own and of what draws; it returns an outcome and, where that is bad, a word on it.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAID, SAME, TRACEBACK, WRONG, LOST = "said", "no difference", "traceback", "wrong", "lost"
Outcome = tuple[str, str]


def command(folder: Path, *arguments: str, shell: str = "{}", env: dict | None = None) -> subprocess.CompletedProcess:
    """Run normsuite there; `{}` in the shell's line stands for it."""
    quoted = " ".join(f"'{part}'" for part in (sys.executable, "-m", "normsuite", *arguments))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(
        ["bash", "-c", shell.format(quoted)], cwd=folder, env=environment, capture_output=True, timeout=300, check=False
    )


def _judged(done: subprocess.CompletedProcess, *codes: int) -> Outcome:
    said = done.stderr.decode(errors="replace")
    if "Traceback" in said or "Exception ignored" in said:
        return TRACEBACK, said[-500:]
    if done.returncode not in codes:
        return WRONG, f"exit code {done.returncode}: {said[-300:]}"
    return (SAME if done.returncode == 0 else SAID), ""


# ---- streams ----

_STREAMS = {
    "{} >&-": (0, 2), "{} 2>&-": (0,), "{} >&- 2>&-": (0, 2), "{} > /dev/full": (2,), "{} > /dev/full 2>&1": (2,),
    "{} | true; exit ${{PIPESTATUS[0]}}": (0, 141), "{} | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}": (0, 141),
    "{} <&-": (0,), "PYTHONIOENCODING=ascii {}": (0,), "PYTHONIOENCODING=cp1252 {}": (0,), "LC_ALL=C {}": (0,),
    "TERM=dumb COLUMNS=1 {}": (0,),
}  # fmt: skip
_READERS = (("explain",), ("explain", "--json", "-"), ("history",), ("--version",))


def streams(folder: Path, draw: random.Random) -> Outcome:
    """Run a command whose output is closed, full, read no longer, or in an encoding without these characters."""
    shell, codes = draw.choice(list(_STREAMS.items()))
    arguments = draw.choice(_READERS)
    if arguments == ("history",):
        codes = (*codes, 3)
    outcome, said = _judged(command(folder, *arguments, shell=shell), *codes)
    return outcome, said and f"{' '.join(arguments)}, {shell}: {said}"


# ---- full disk ----


def full_disk(folder: Path, draw: random.Random) -> Outcome:
    """Write a record that the disk has no room for: the one that is there stays, and nothing of the new one."""
    from normsuite.errors import OutputError
    from normsuite.records import results

    old, new = _record(draw, 3), _record(draw, draw.randrange(200, 2000))
    if draw.random() < 0.5:
        results.write_record(folder, "one", old)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def write() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (draw.randrange(4000), resource.RLIM_INFINITY))
        try:
            results.write_record(folder, "one", new)
        except OutputError:
            return 0
        return 1

    code = _forked(write)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    if after != before:
        return LOST, f"{sorted(before)} became {sorted(after)}"
    return (SAID, "") if code == 0 else (TRACEBACK, f"code {code}")


def _record(draw: random.Random, count: int) -> dict:
    here = {"cpu": "A", "cores": 1, "packages": {}}
    samples = {"values": [draw.random() for _ in range(count)]}
    return {"schema": 1, "what": "trial", "case": {}, "samples": samples, "environment": here}


def _forked(work: Callable[[], int]) -> int:
    """Return the exit code of a copy of this process that does that; 70 for an exception."""
    child = os.fork()
    if not child:
        try:
            os._exit(work())
        except BaseException:  # the parent counts it
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ---- two at once ----


def two_at_once(folder: Path, draw: random.Random) -> Outcome:
    """Write and read the same record and entry of a cache in two processes: each reads one of both, whole."""
    from normsuite.files import caches
    from normsuite.records import results

    records = [_record(draw, draw.randrange(1, 400)) for _ in range(2)]
    texts = [json.dumps(record) for record in records]

    def work(mine: int) -> int:
        for _ in range(10):
            results.write_record(folder, "one", records[mine])
            caches.store(folder / "entry", "key", texts[mine])
            if results.read_record(folder / "one.json") not in records:
                return 1
            if caches.recall(folder / "entry", "key") not in (*texts, None):
                return 2
        return 0

    other = os.fork()
    if not other:
        try:
            os._exit(work(1))
        except BaseException:
            os._exit(70)
    codes = [_forked(lambda: work(0)), os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])]
    if 70 in codes:
        return TRACEBACK, "in one of two writers"
    if any(codes) or results.read_record(folder / "one.json") not in records:
        return WRONG, f"codes {codes}"
    left = sorted(path.name for path in folder.iterdir())
    return (SAME, "") if left == ["entry", "one.json"] else (LOST, f"left behind: {left}")


# ---- repositories ----


def repository(folder: Path) -> Path:
    """Make a repository with two commits of a small package."""
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    (folder / "normsuite" / "data").mkdir(parents=True)
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    for version in (1, 2):
        (folder / "normsuite" / "__init__.py").write_text(f"version = {version}\n")
        (folder / "normsuite" / "data" / "a b.txt").write_text("text\n")
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", f"commit {version}"], check=True)
    return folder


def _digests(made: Path) -> dict[str, str]:
    from normsuite.gate import trees

    from .injected_commits import SOURCE

    here = {"repository": made, "source": SOURCE}
    found = {name: trees.of_commit(name, argument="base", **here).digest for name in ("HEAD", "HEAD~1")}
    return {**found, "working tree": trees.of_working_tree(**here).digest}


def repositories(folder: Path, draw: random.Random) -> Outcome:
    """Damage, remove, lock or replace a file of git's own: the same versions as before, or a word on it."""
    from normsuite.errors import NormsuiteError
    from tools.mutations import OF_BYTES, state

    made = repository(folder / "r")
    expected = _digests(made)
    files = sorted(path for path in (made / ".git").rglob("*") if path.is_file() and "hooks" not in path.parts)
    path = draw.choice([path for path in files if path.stat().st_size > 2])
    if draw.random() < 0.2:
        what = "locked"
        path.with_name(f"{path.name}.lock").touch()
    else:
        path.chmod(0o644)
        what = draw.choice([name for name in OF_BYTES if name not in ("a named pipe", "an endless device")])
        OF_BYTES[what](path, draw)
    before = state(made)
    try:
        found = _digests(made)
    except NormsuiteError:
        return (SAID, "") if state(made) == before else (LOST, f"{path.name}: {what}")
    if state(made) != before:
        return LOST, f"{path.name}: {what}"
    if found != expected and path.name not in ("HEAD", "main"):  # these say what is meant
        return WRONG, f"{path.relative_to(made)}: {what}"
    return SAME, ""


# ---- signals ----


def signals(folder: Path, draw: random.Random) -> Outcome:
    """Stop a measuring command by SIGTERM or Ctrl-C: what was finished has a record, and no process goes on."""
    number = draw.choice((signal.SIGTERM, signal.SIGINT))
    if draw.random() < 0.5:
        task = ["--norm", "GroupNorm", "--case", "tiny", "--mode", "forward", "--activation", "none"]
        arguments = ["bench", *task, "--backend", "torch", "--processes", "20", "--seconds", "1"]
        return _stopped(folder, number, arguments, folder / "reports" / "bench")
    made = repository(folder / "r")
    shutil.rmtree(made / "normsuite")
    shutil.copytree(ROOT / "normsuite", made / "normsuite", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", made)  # which says what the gate guards
    git = ["git", "-C", str(made), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command_ in (["add", "--all"], ["commit", "-q", "-m", "as it is"]):
        subprocess.run([*git, *command_], check=True)
    (made / "normsuite" / "errors.py").open("a").write("\n# another version\n")
    # More cells than are decided in 15 seconds.
    arguments = ["gate", "HEAD", "--only", "*/torch/*", "--budget", "300s"]
    return _stopped(made, number, arguments, made / "reports" / "gate")


def _stopped(folder: Path, number: int, arguments: Sequence[str], records: Path) -> Outcome:
    """End the command after 15 seconds, or later, until something had been measured before."""
    from normsuite.records import results

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for seconds in (15, 30, 60, 120):
        with subprocess.Popen(
            [sys.executable, "-m", "normsuite", *arguments],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            time.sleep(seconds)
            ended = process.poll()
            process.send_signal(number)
            _, said = process.communicate(timeout=120)
        if "Traceback" in said:
            return TRACEBACK, said[-500:]
        if ended is not None:
            return WRONG, f"{arguments[0]}: ended by itself within {seconds} s, exit code {ended}: {said[-300:]}"
        if process.returncode != (143 if number == signal.SIGTERM else 130):
            return WRONG, f"{arguments[0]}: exit code {process.returncode}: {said[-300:]}"
        kept = results.read_records(records, arguments[0])
        if kept.damaged:
            return WRONG, f"{arguments[0]}: {kept.damaged}"
        if kept.good:
            return SAID, ""
    return LOST, f"{arguments[0]}: no record after {seconds} s: {said[-300:]}"


SITUATIONS: dict[str, tuple[Callable[[Path, random.Random], Outcome], float]] = {
    "repositories": (repositories, 0.04),
    "streams": (streams, 0.03),
    "signals": (signals, 0.002),
    "full disk": (full_disk, 0.04),
    "two at once": (two_at_once, 0.02),
}
"""What is tried, and its share of all mutations."""
