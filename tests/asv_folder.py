"""Folders of asv's results (format 2) from plain lists, with all that a file may say, for tests of what reads them."""

import json
import os
import random
import subprocess

COLUMNS = [
    "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b", "stats_q_25",
    "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
]  # fmt: skip
MACHINE = {"machine": "box", "cpu": "Some CPU", "num_cpu": "8", "os": "Linux", "arch": "x86_64", "ram": "1"}
NAME = "latency.Series.track"
DAY = 86_400
START = 1_780_000_000


class Folder:
    """asv's folder of one machine."""

    def __init__(self, path, name="box"):
        self.path, self.machine = path, path / name
        self.machine.mkdir(parents=True, exist_ok=True)
        (self.machine / "machine.json").write_text(json.dumps({"version": 1, **MACHINE, "machine": name}))
        self._draw = random.Random(1)

    def list(self, benchmarks):
        """Write the list of benchmarks; what is left out of one is as a series without parameters has it."""
        usual = {"code": "", "type": "track", "params": [], "param_names": [], "unit": "seconds", "version": "1"}
        found = {name: {**usual, "name": name, **of} for name, of in benchmarks.items()}
        (self.path / "benchmarks.json").write_text(json.dumps({"version": 2, **found}))
        return self

    def add(
        self, commit, date, values, *, params=None, row_version="1", env="venv", python="3.11", started=None, **more
    ):
        """Write one file: `values` are those of each benchmark, one for each of its choices."""
        at = 1000 * (date if started is None else started)
        rows = {name: [of, (params or {}).get(name, []), row_version, at, 1.0] for name, of in values.items()}
        installed = {"torch": "2.14.1", **more.pop("installed", {})}
        data = {
            "version": 2, "commit_hash": commit, "env_name": env, "date": 1000 * date, "python": python,
            "params": {**MACHINE, "python": python, **installed}, "requirements": {}, "env_vars": {},
            "result_columns": COLUMNS, "results": rows, "durations": {}, **more,
        }  # fmt: skip
        path = self.machine / f"{commit[:8]}-{env}.json"
        path.write_text(json.dumps(data))
        return path

    def noisy(self, value, share=0.003):
        return value * (1 + self._draw.uniform(-share, share))


def commit_of(number):
    return f"{number + 1:08x}" + 32 * "0"


class Repository:
    """A git repository whose commits have the dates that they are given."""

    def __init__(self, path):
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments, at=START):
        when = f"@{at} +0000"
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        done = subprocess.run(
            ["git", "-C", self.path, *identity, *arguments], capture_output=True, text=True, check=True,
            env={**os.environ, "GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when},
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, message, at=START):
        self.git("commit", "-q", "--allow-empty", "-m", message, at=at)
        return self.git("rev-parse", "HEAD")
