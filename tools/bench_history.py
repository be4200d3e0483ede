"""Time a long history: the report against `asv publish`, on the same made-up results; its pages' size.

    python -m tools.bench_history --out reports/bench

The history is a repository of empty commits and asv's own files of results, one for each commit, as `asv run` leaves
them: series about a level of their own with some per cent of noise, some of them with steps.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean

import numpy as np
import psutil

from normsuite import statistics
from normsuite.errors import ArgumentError, NormsuiteError
from normsuite.files import writing
from normsuite.files.git import Git
from normsuite.measure import process
from normsuite.measure.labels import ASV_LATENCY
from normsuite.presentation import text
from normsuite.records import provenance, results
from tools import browser

WHAT = "bench-history"
COMMITS, SERIES, ROUNDS = 1000, 500, 3
WAYS = ASV, OURS = "asv publish", "normsuite report"
WHOLE, ONE_MORE = "whole", "one more commit"
LATER = 8
"""Commits that are added one by one: at one of eight the report examines the end of every series again."""

_NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")
_BACKENDS = ("torch", "numba")
_CASES = ("tiny", "study")
_PARAMETERS = {"norm": _NORMS, "backend": _BACKENDS, "case": _CASES, "device": ("cpu",)}
_OF_BENCHMARK = len(_NORMS) * len(_BACKENDS) * len(_CASES)
_NOISE, _STEPS, _CHANGE = 0.03, 1.0, 0.10
"""Deviation of a commit's logarithm, steps of a series on average, and their size's deviation."""

_PAGES = ("index.html", "history.html")
"""The first, and the largest."""

_LOOK_S = 0.1
"""Between two looks at how much memory there is in use."""

_MACHINE = {"machine": "machine", "os": "Linux", "arch": "x86_64", "cpu": "made up", "num_cpu": "2", "ram": "8"}
_FIRST, _DAY = 1_700_000_000, 86_400


class Made:
    """A made-up history in a folder.

    Args:
        folder: where: `repository`, `records/asv/results` and `asv.conf.json` are made in it.
        commits, series: how many; a benchmark has twenty series.
        seed: of the numbers.

    Raises:
        ArgumentError: fewer than one commit, or a number of series that twenty does not divide.
    """

    def __init__(self, folder: Path, commits: int = COMMITS, series: int = SERIES, seed: int = 0):
        if commits < 1:
            raise ArgumentError("commits", commits, "must be at least 1")
        if series < 1 or series % _OF_BENCHMARK:
            raise ArgumentError("series", series, f"must be a multiple of {_OF_BENCHMARK}")
        self.folder, self.records = folder, folder / "records"
        self._results = self.records / "asv" / "results"
        self._repository = folder / "repository"
        names = list(ASV_LATENCY.values())
        names += [f"made.Up.track_{number:02}" for number in range(series // _OF_BENCHMARK)]
        self._names = names[: series // _OF_BENCHMARK]
        self._values = _values(commits + LATER, series, np.random.default_rng(seed))
        self._hashes: list[str] = []
        self._begin()
        for _ in range(commits):
            self.commit()

    def _begin(self) -> None:
        from asv.benchmarks import Benchmarks
        from asv.config import Config
        from asv.machine import Machine

        self._git("init", "--quiet", "--initial-branch", "main")
        config = Config()
        config.results_dir = str(self._results)
        choices = [[repr(value) for value in of] for of in _PARAMETERS.values()]
        shared = {"params": choices, "param_names": list(_PARAMETERS), "unit": "seconds", "version": "1"}
        Benchmarks(config, [{"name": name, "type": "track", "code": "", **shared} for name in self._names]).save()
        machine = Machine()
        machine.__dict__.update(_MACHINE)
        machine.save(str(self._results))
        settings = {
            "version": 1,
            "project": "made up",
            "repo": str(self._repository),
            "branches": ["main"],
            "results_dir": str(self._results),
            "html_dir": str(self.folder / "published"),
            "env_dir": str(self.folder / "env"),
        }
        writing.write_text(self.folder / "asv.conf.json", writing.to_json(settings))

    def commit(self) -> None:
        """Make one more commit, with its results."""
        from asv.results import Results, get_filename
        from asv.util import write_json

        number = len(self._hashes)
        date = _FIRST + number * _DAY
        stamp = {"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"}
        self._git("commit", "--quiet", "--allow-empty", "--message", f"change {number}", environment=stamp)
        commit = self._git("rev-parse", "HEAD").strip()
        self._hashes.append(commit)
        choices = [[repr(value) for value in of] for of in _PARAMETERS.values()]
        found = {}
        for place, name in enumerate(self._names):
            values = self._values[number, place * _OF_BENCHMARK : (place + 1) * _OF_BENCHMARK]
            low, high = ((values * factor).tolist() for factor in (0.99, 1.01))
            found[name] = [values.tolist(), choices, "1", date * 1000, 1.0, low, high]
        columns = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"]
        data = {
            "commit_hash": commit,
            "env_name": "made-up",
            "date": date * 1000,
            "params": {**_MACHINE, "python": "3.11", "torch": "2.14.1"},
            "python": "3.11",
            "requirements": {},
            "env_vars": {},
            "result_columns": columns,
            "results": found,
            "durations": {},
        }
        path = self._results / get_filename(_MACHINE["machine"], commit, data["env_name"])
        write_json(str(path), data, Results.api_version, compact=True)

    def _git(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        self._repository.mkdir(parents=True, exist_ok=True)
        who = {f"GIT_{role}_{what}": "normsuite" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return Git(self._repository, {**who, **(environment or {})}, foreign=True)(*arguments)


def _values(commits: int, series: int, draw: np.random.Generator) -> np.ndarray:
    """Return simulated seconds, an array (commits, series): constant levels with steps and noise."""
    logs = draw.normal(np.log(1e-4), 1.0, series) + draw.normal(0.0, _NOISE, (commits, series))
    for place in range(series):
        for _ in range(draw.poisson(_STEPS)):
            logs[draw.integers(commits) :, place] += draw.normal(0.0, _CHANGE)
    return np.exp(logs)


def run(
    *,
    commits: int = COMMITS,
    series: int = SERIES,
    rounds: int = ROUNDS,
    on_way: Callable[[str], None] = lambda way: None,
) -> dict:
    """Return one record: seconds and most memory of both ways, from nothing and after one more commit, in each round.

    One more commit is, for the report, the mean over several commits, one after the other.

    Args:
        commits, series: of the made-up history.
        rounds: a round is both ways in turn, in an order drawn anew, each with nothing kept from before.
        on_way: told what is done next.

    Raises:
        ArgumentError: a number that is too small.
        NormsuiteError: a way failed; the message has the last that it said.
    """
    if rounds < 1:
        raise ArgumentError("rounds", rounds, "must be at least 1")
    draw, samples, no_browser = random.Random(0), [], browser.missing()
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            on_way(f"round {number + 1} of {rounds}: making {commits} commits")
            made = Made(Path(folder), commits, series, seed=number)
            found: dict[str, dict] = {way: {} for way in WAYS}
            for stage in (WHOLE, ONE_MORE):
                if stage == ONE_MORE:
                    made.commit()
                for way in draw.sample(WAYS, len(WAYS)):
                    on_way(f"round {number + 1} of {rounds}: {way}, {stage}")
                    found[way][stage] = _timed(way, made)
                    if (way, stage) == (OURS, ONE_MORE):
                        found[way][stage] = _mean(found[way][stage], *_later(made))
            pages = [made.folder / "html" / name for name in _PAGES]
            found[OURS]["page_bytes"] = {page.name: page.stat().st_size for page in pages}
            if no_browser is None:
                on_way(f"round {number + 1} of {rounds}: pages in a browser")
                found[OURS]["interactive_seconds"] = browser.interactive_s(pages)
            samples.append(found)
    case = {"commits": commits, "series": series, "rounds": rounds}
    seeds, here = list(range(rounds)), provenance.environment()
    return results.make_record(WHAT, case, samples, environment=here, seeds=seeds, not_in_a_browser=no_browser)


def _timed(way: str, made: Made) -> dict[str, float]:
    """Return the wall seconds of a command, and the peak bytes of it and its child processes together."""
    commands = {
        ASV: ["-m", "asv", "publish", "--config", str(made.folder / "asv.conf.json")],
        OURS: ["-m", "normsuite", "report", "--from", str(made.records), "--out", str(made.folder / "html")],
    }
    environment = {**os.environ, "XDG_CACHE_HOME": str(made.folder / "cache"), "HOME": str(made.folder)}
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_S):
            most.append(_bytes_in_use(started.pid))

    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        begun = time.perf_counter()
        started = subprocess.Popen(
            [sys.executable, *commands[way]], stdout=said, stderr=said, env=environment, cwd=made.folder
        )
        looking = threading.Thread(target=look)
        looking.start()
        try:
            started.wait()  # without a limit: with one, Python looks every 50 ms
            spent_s = time.perf_counter() - begun
        finally:
            ended.set()
            looking.join()
        if started.returncode:
            said.seek(0)
            raise NormsuiteError(f"{way}: ended with {process.last_words(started.returncode, said.read())}")
    return {"seconds": spent_s, "peak_bytes": max(most)}


def _later(made: Made) -> Iterator[dict[str, float]]:
    for _ in range(LATER - 1):
        made.commit()
        yield _timed(OURS, made)


def _mean(*timed: dict[str, float]) -> dict:
    """Return the mean of the seconds, each of them, and the peak bytes."""
    each = [of["seconds"] for of in timed]
    return {"seconds": fmean(each), "each_s": each, "peak_bytes": max(of["peak_bytes"] for of in timed)}


def _bytes_in_use(pid: int) -> int:
    """Return the memory of a process and all below it; what several share counts once, where the system says so."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for each in (first, *first.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                found = each.memory_full_info()
                total += getattr(found, "pss", found.rss)
    return total


def ratios(record: dict) -> dict[str, statistics.Interval]:
    """Return the ratios of our seconds to asv's for the whole history, and for one more commit.

    The latter is over asv's seconds for the whole history too.
    """
    return {
        stage: statistics.ratio_interval(
            [
                statistics.paired_log_ratio([found[OURS][stage]["seconds"]], [found[ASV][WHOLE]["seconds"]])
                for found in record["samples"]
            ]
        )
        for stage in (WHOLE, ONE_MORE)
    }


def lines(record: dict) -> list[str]:
    """Return lines for people."""
    case, samples, found = record["case"], record["samples"], ratios(record)
    said = [
        f"{case['commits']} commits × {case['series']} series, {case['rounds']} rounds; seconds over those of `{ASV}` "
        "for the whole history [95 %]:"
    ]
    for stage, ratio in found.items():
        of = sorted(round_[OURS][stage]["seconds"] for round_ in samples)
        several = len(samples[0][OURS][stage].get("each_s", ()))
        said.append(
            f"`{OURS}`, {stage}{f', mean of {several}' if several else ''}: "
            f"{text.interval(ratio, text.ratio_of_times)}, {of[len(of) // 2]:.1f} s here"
        )
    theirs = sorted(round_[ASV][WHOLE]["seconds"] for round_ in samples)
    most = {
        way: max(round_[way][stage]["peak_bytes"] for round_ in samples for stage in (WHOLE, ONE_MORE)) for way in WAYS
    }
    said.append(f"`{ASV}`: {theirs[len(theirs) // 2]:.1f} s here")
    said.append(f"most memory: {most[OURS] / 2**20:.0f} MiB, asv {most[ASV] / 2**20:.0f} MiB")
    return said + [_page_said(name, record) for name in _PAGES]


def _page_said(name: str, record: dict) -> str:
    ours = [found[OURS] for found in record["samples"]]
    said = f"{name}: {max(of['page_bytes'][name] for of in ours) / 2**20:.1f} MiB"
    if record["not_in_a_browser"]:
        return f"{said}, not measured in a browser: {record['not_in_a_browser']}"
    loads = sorted(seconds for of in ours for seconds in of["interactive_seconds"][name])
    median, most = (1000 * loads[place] for place in (len(loads) // 2, -1))
    return f"{said}, can be used after {median:.0f} ms, {most:.0f} ms at most of {len(loads)} loads in Chromium"


def main() -> None:
    """Measure, keep the record, and print what it says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), help="folder for the record")
    out = writing.output_folder(parser.parse_args().out, "out")
    record = run(on_way=lambda way: print(way, file=sys.stderr))
    results.write_record(out, WHAT, record)
    print("\n".join(lines(record)))


if __name__ == "__main__":
    main()
