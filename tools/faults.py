"""Damages records, results, settings, caches and repositories, and tries streams, signals, full disks and two writers.

Each mutation is applied alone to what is whole, which is then read as the commands read it. Counted are tracebacks
(errors that are none of the project's own), wrong figures (a value that is read differs from what was recorded, and no
note names the file), and records lost (a file that is not there any more, or holds something else, after it was read).

    python -m tools.faults [--count 1000] [--seed 0]
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from normsuite import history
from normsuite.errors import NormsuiteError
from normsuite.files import caches, writing
from normsuite.records import compact, kinds, results
from tools import mutations
from tools.mutations import OF_BYTES, OF_JSON, restore, state
from tools.situations import SITUATIONS

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "reports" / "reference"
KINDS = {kind.folder: kind.what for kind in (kinds.STUDY, kinds.BENCH, kinds.GATE, kinds.NUMERICS, kinds.SELF_CHECK)}
"""Folders of records, and what these say that they are of."""

FILES_OF_EACH = 6
WHOLE_REPORT_EVERY = 25
"""Mutations of records after which the whole report is made too."""

SHARES = {
    "study": 0.12, "bench": 0.1, "gate": 0.12, "numerics": 0.08, "self-check": 0.08, "compact files": 0.08,
    "results": 0.15, "settings": 0.1, "caches": 0.04,
}  # fmt: skip
COLUMNS = ("mutations", "said", "no difference", "traceback", "wrong", "lost")


def records_of(folder: Path, name: str) -> Path:
    """Write some records of a kind, as a command writes them, into a folder."""
    found = results.read_records(REFERENCE / name, KINDS[name]).good
    for number, record in enumerate(found[:: max(1, len(found) // FILES_OF_EACH)][:FILES_OF_EACH]):
        results.write_record(folder / name, f"{name}-{number}", record)
    return folder / name


def asv_results(folder: Path) -> Path:
    """Write a history of one benchmark, with a step in it."""
    box = folder / "asv" / "results" / "box"
    box.mkdir(parents=True)
    machine = {"machine": "box", "cpu": "A processor", "num_cpu": "8", "os": "Linux", "arch": "x86_64", "ram": "1"}
    (box / "machine.json").write_text(json.dumps({"version": 1, **machine}))
    benchmark = {
        "code": "", "name": "a.time_b", "type": "time", "params": [["'x'", "'y'"]], "param_names": ["p"],
        "unit": "seconds", "version": "1",
    }  # fmt: skip
    (box.parent / "benchmarks.json").write_text(json.dumps({"version": 2, "a.time_b": benchmark}))
    draw = random.Random(1)
    for n in range(16):
        values = [scale * (1 + 0.003 * draw.random()) * (1 if n < 8 else 1.3) for scale in (1, 2)]
        data = {
            "version": 2, "commit_hash": f"{n + 1:040x}", "env_name": "venv", "date": 1_780_000_000_000 + n * 10**8,
            "params": {**machine, "python": "3.11"}, "python": "3.11", "requirements": {}, "env_vars": {},
            "result_columns": ["result", "params", "version", "started_at"], "durations": {},
            "results": {"a.time_b": [values, [["'x'", "'y'"]], "1", 1_780_000_000_000 + n * 10**8]},
        }  # fmt: skip
        (box / f"{n + 1:08x}-venv.json").write_text(json.dumps(data))
    return box.parent


def report(folder: Path) -> list[str]:
    """Return the lines of a report without drawings."""
    from normsuite.report.collect import collect
    from normsuite.report.markdown import markdown
    from normsuite.report.pages import pages

    return markdown(pages(collect(folder))).splitlines()


class Run:
    """Counts what became of mutations, by what was damaged."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        self.counts: dict[str, Counter] = {}
        self.bad: list[str] = []

    def count(self, kind: str, outcome: str, said: str = "") -> None:
        """Count one, and print what is bad."""
        self.counts.setdefault(kind, Counter()).update(["mutations", outcome])
        if said and outcome in ("traceback", "wrong", "lost"):
            self.bad.append(f"{kind}: {outcome}: {said}")
            print(self.bad[-1], file=sys.stderr, flush=True)

    def files(
        self, kind: str, within: Path, ways: dict, read: Callable[[], tuple[object, list[str]]], count: int
    ) -> None:
        """Damage a file at a time.

        Args:
            kind: of the row.
            within: the files' folder.
            ways: mutations.
            read: returns what is read, as a list, and notes; less than all may be read where a note names the file.
            count: how many.
        """
        clean, _ = read()
        files = sorted(path for path in within.rglob("*") if path.name.endswith(results.SUFFIXES))
        files = [path for path in files if path.name not in ("machine.json", "benchmarks.json")]
        for _ in range(count):
            path = self.draw.choice(files)
            what, mutate = self.draw.choice(list(ways.items()))
            whole = path.read_bytes()
            where = mutate(path, self.draw)
            before = state(within)
            try:
                found, notes = read()
                named = any(path.name in note for note in notes)
                lost = state(within) != before
                wrong = [each for each in found if each not in clean] or (len(found) < len(clean) and not named)
                outcome = "lost" if lost else "wrong" if wrong else "said" if named else "no difference"
                self.count(kind, outcome, f"{path.name}: {what}: {where}")
            except NormsuiteError as error:
                self.count(kind, "said" if path.name in str(error) else "wrong", f"{path.name}: {what}: {error}")
            except Exception:
                self.count(kind, "traceback", f"{path.name}: {what}: {where}\n{traceback.format_exc()}")
            finally:
                restore(path, whole)

    def records(self, folder: Path, name: str, count: int) -> None:
        """Damage records of one kind; now and then the report is made of what is left."""
        within = records_of(folder, name)
        calls = 0

        def read() -> tuple[list[dict], list[str]]:
            nonlocal calls
            calls += 1
            if calls % WHOLE_REPORT_EVERY == 0:
                report(folder)
            found = results.read_records(within, KINDS[name])
            return found.good, [f"{file}: {reason}" for file, reason in found.damaged]

        self.files(name, within, {**OF_JSON, **OF_BYTES}, read, count)

    def compact_files(self, folder: Path, count: int) -> None:
        """Damage compact files of records: their bytes, or a record in them."""
        for name, what in KINDS.items():
            records = [(path.stem, json.loads(path.read_text())) for path in records_of(folder / "of", name).iterdir()]
            writing.write_bytes(folder / "packed" / name / f"{name}.jsonl.xz", compact.packed(records))

            def read(within=folder / "packed" / name, what=what) -> tuple[list[dict], list[str]]:
                found = results.read_records(within, what)
                return found.good, [f"{file}: {reason}" for file, reason in found.damaged]

            ways = {**OF_JSON, **{k: v for k, v in OF_BYTES.items() if k != "another encoding"}}
            self.files("compact files", folder / "packed" / name, ways, read, count // len(KINDS))

    def results(self, folder: Path, count: int) -> None:
        """Damage results of asv's, which have no digest: another likely value is taken for what was measured."""
        within = asv_results(folder)
        calls = 0

        def read() -> tuple[list, list[str]]:
            nonlocal calls
            calls += 1
            if calls % WHOLE_REPORT_EVERY == 0:
                report(folder)
            found = history.read(within)
            return [_values(of) for of in found.results], found.notes

        unseen = (mutations.LIKELY, mutations.BIT)
        ways = {name: of for name, of in {**OF_JSON, **OF_BYTES}.items() if name not in unseen} | mutations.BIT_BETWEEN
        self.files("results", within, ways, read, count)

    def settings(self, folder: Path, count: int) -> None:
        """Damage settings of a study, of a norm, and lists of accepted regressions."""
        from normsuite.gate import accepted
        from normsuite.spec import load

        texts = {
            "study.toml": ('preset = "quick"\nnorms = ["BatchNorm"]\nseeds = 2\nl1 = 1e-5\n', _plan),
            "accepted.toml": (
                '[[accepted]]\ncell = "a/*"\nmetric = "time"\nreason = "so"\nuntil = 2030-01-31\nat_most = 1.1\n',
                accepted.read,
            ),
            "norm.toml": (next((ROOT / "normsuite" / "norms").glob("*batch*.toml")).read_text(), load),
        }
        for _ in range(count):
            name = self.draw.choice(sorted(texts))
            text, read = texts[name]
            path = folder / name
            path.write_text(text)
            what, mutate = self.draw.choice([*OF_BYTES.items(), ("a value is junk", _junk_toml)])
            mutate(path, self.draw)
            try:
                read(path)
                still = path.is_file() and _parsed(path) is not None
                self.count("settings", "no difference" if still else "wrong", f"{name}: {what}")
            except NormsuiteError:
                self.count("settings", "said")
            except Exception:
                self.count("settings", "traceback", f"{name}: {what}\n{traceback.format_exc()}")
            finally:
                restore(path, text.encode())

    def caches(self, within: Path, count: int) -> None:
        """Damage what is cached: nothing that is read may change, and nothing need be said."""
        clean = [_values(of) for of in history.read(within).results]
        cached = [path for path in caches.folder().rglob("*") if path.is_file()]
        for _ in range(count):
            path = self.draw.choice(cached)
            what = self.draw.choice(["cut off", mutations.BIT, "zeros", "a named pipe", "a folder"])
            whole = path.read_bytes()
            OF_BYTES[what](path, self.draw)
            try:
                changed = [_values(of) for of in history.read(within).results] != clean
                self.count("caches", "wrong" if changed else "no difference", f"{path.name}: {what}")
            except Exception:
                self.count("caches", "traceback", f"{path.name}: {what}\n{traceback.format_exc()}")
            finally:
                restore(path, whole)

    def situation(self, name: str, count: int) -> None:
        """Try one of `SITUATIONS`, each time in a folder of its own."""
        for _ in range(count):
            with tempfile.TemporaryDirectory() as aside:
                try:
                    self.count(name, *SITUATIONS[name][0](Path(aside), self.draw))
                except Exception:
                    self.count(name, "traceback", traceback.format_exc())


def _values(of: history.AsvResult) -> tuple:
    """Return what is measured, and when; another machine or setting is shown as a segment of its own."""
    return (of.benchmark, of.commit, of.date, tuple(of.values))


def _plan(path: Path) -> object:
    from normsuite.study import plan, settings_file

    settings = settings_file.read(path)
    return plan.plan(settings.pop("preset", "quick"), **settings)


_TOML = ("-1", "1e999", '""', '"text"', "[]", "[[1]]", "{a = 1}", "true", "2030-99-99", "nan", "9" * 400, "'\x1b[31m'")


def _junk_toml(path: Path, draw: random.Random) -> None:
    lines = path.read_text().splitlines()
    number = draw.choice([n for n, line in enumerate(lines) if "=" in line and not line.startswith("#")])
    lines[number] = f"{lines[number].partition('=')[0]}= {draw.choice(_TOML)}"
    path.write_text("\n".join(lines) + "\n")


def _parsed(path: Path) -> dict | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return None


def table(counts: dict[str, Counter]) -> str:
    """Return the counts as Markdown."""
    total = sum(counts.values(), Counter())
    lines = ["| damaged | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for kind, of in [*counts.items(), ("all", total)]:
        lines.append(f"| {kind} | " + " | ".join(str(of[column]) for column in COLUMNS) + " |")
    return "\n".join(lines)


def run(count: int, seed: int) -> Run:
    """Try so many mutations; those of files come first."""
    of = Run(seed)
    with tempfile.TemporaryDirectory() as aside:
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(Path(aside) / "cache")
        try:
            for name in KINDS:
                of.records(Path(aside) / name, name, round(SHARES[name] * count))
            of.compact_files(Path(aside) / "compact", round(SHARES["compact files"] * count))
            of.results(Path(aside) / "results", round(SHARES["results"] * count))
            of.caches(Path(aside) / "results" / "asv" / "results", round(SHARES["caches"] * count))
            for name, (_, share) in SITUATIONS.items():
                of.situation(name, max(1, round(share * count)))
            of.settings(Path(aside), max(1, count - sum(each["mutations"] for each in of.counts.values())))
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before
    return of


def main() -> None:
    """Try the faults, print the counts, and exit with 1 if anything was bad."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # A shell that starts this in the background has it ignore Ctrl-C, and with it every command that is tried.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    of = run(given.count, given.seed)
    print(table(of.counts))
    sys.exit(1 if of.bad else 0)


if __name__ == "__main__":
    main()
