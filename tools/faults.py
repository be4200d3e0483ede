"""Damages records, results, settings and caches in a thousand ways, and prints what became of each kind as a table.

Each mutation is applied alone to a folder that is whole, which is then read as the commands read it. Counted are
tracebacks (errors that are none of the project's own), wrong figures (a damage that changed what is shown and that no
note names), and records lost (a file that is not there any more, or holds something else, after it was read).

    python tools/faults.py [--count 1000] [--seed 0]
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REFERENCE = ROOT / "reports" / "reference"
KEPT_OF_EACH = {"study": 6, "bench": 2, "gate": 1, "numerics": 1, "self-check": 3}

JUNK = (
    None, True, -1, -17.5, 1e300, 10**400, "text", "", "\x1b[31m", "\ud800", "\u202e", [], {}, [[]], {"a": {"b": []}},
    [None], float("nan"), float("inf"), "2026-13-99", "../../x",
)  # fmt: skip
"""What no measurement gives in the place of what is there; where it may be there, nothing shown depends on it."""


def places(value: object, way: tuple = ()) -> Iterator[tuple]:
    """Every place in a JSON value, by the keys that lead to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*way, key)
        yield from places(each, (*way, key))


def at(value, way: tuple):
    for key in way:
        value = value[key]
    return value


def of_json(change: Callable[[object, tuple, random.Random], None]) -> Callable[[Path, random.Random], None]:
    """A mutation of one place of a JSON file."""

    def mutate(path: Path, draw: random.Random) -> str:
        value = json.loads(path.read_text())
        way = draw.choice(list(places(value)))
        change(at(value, way[:-1]), way[-1], draw)
        path.write_text(json.dumps(value))
        now = repr(at(value, way[:-1]))[:80]
        return f"{'/'.join(map(str, way))} in {now}"

    return mutate


def _junk(owner, key, draw) -> None:
    owner[key] = draw.choice(JUNK)


def _without(owner, key, draw) -> None:
    del owner[key]


def _of_another_kind(owner, key, draw) -> None:
    owner[key] = {"now": owner[key]} if draw.random() < 0.5 else [owner[key]]


def _bytes(change: Callable[[bytes, random.Random], bytes]) -> Callable[[Path, random.Random], None]:
    return lambda path, draw: path.write_bytes(change(path.read_bytes(), draw)) and None


def _replaced(make: Callable[[Path], object]) -> Callable[[Path, random.Random], None]:
    def mutate(path: Path, draw: random.Random) -> None:
        path.unlink()
        make(path)

    return mutate


def _flipped(old: bytes, draw: random.Random) -> bytes:
    """A bit of what is not a digit: a digit that changes is a figure like any other."""
    spoiled = bytearray(old)
    choices = [place for place in range(len(old)) if not chr(old[place]).isalnum()]
    spoiled[draw.choice(choices)] = draw.choice((0, 7, 27, 128, 255))
    return bytes(spoiled)


MUTATIONS: dict[str, Callable[[Path, random.Random], None]] = {
    "a value is junk": of_json(_junk),
    "a field or value is gone": of_json(_without),
    "a value is of another kind": of_json(_of_another_kind),
    "cut off": _bytes(lambda old, draw: old[: draw.randrange(len(old) - 2)]),
    "a byte is another": _bytes(_flipped),
    "zeros": _bytes(lambda old, draw: bytes(len(old))),
    "another encoding": _bytes(lambda old, draw: old.decode().encode(draw.choice(("utf-16", "utf-32")))),
    "deeply nested": _bytes(lambda old, draw: b"[" * draw.choice((2000, 100_000))),
    "thousands of digits": _bytes(lambda old, draw: b'{"a": ' + b"9" * 5000 + b"}"),
    "a folder": _replaced(lambda path: path.mkdir()),
    "a named pipe": _replaced(os.mkfifo),
    "a link that leads nowhere": _replaced(lambda path: path.symlink_to("/nowhere")),
    "an endless device": _replaced(lambda path: path.symlink_to("/dev/zero")),
}


def made(folder: Path, name: str) -> None:
    """A folder of records of one kind, or of asv's results."""
    if name in KEPT_OF_EACH:
        count = KEPT_OF_EACH[name]
        paths = sorted((REFERENCE / name).rglob("*.json"))
        if name == "study":  # one seed of every norm
            paths = [path for path in paths if "-seed0-" in path.name]
        (folder / name).mkdir(parents=True)
        for path in paths[:: max(1, len(paths) // count)][:count]:
            shutil.copy(path, folder / name)
        return
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


def shown(folder: Path) -> tuple[list[str], list[str]]:
    """What the report shows of that folder, line by line, and its notes."""
    from normsuite.report.collect import collect
    from normsuite.report.markdown import markdown
    from normsuite.report.pages import pages

    found = collect(folder)
    notes = list(found.notes)
    return markdown(pages(found)).splitlines(), notes


def figures(lines: list[str], notes: list[str]) -> list[str]:
    """Those lines that are no notes."""
    return [line for line in lines if not line.startswith("- ")]


class Run:
    """Counts what became of mutations, by what was damaged."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        self.counts: dict[str, Counter] = {}
        self.said: list[str] = []

    def count(self, kind: str, outcome: str, said: str = "") -> None:
        self.counts.setdefault(kind, Counter()).update(["mutations", outcome])
        if said:
            self.said.append(f"{kind}: {outcome}: {said}")
            print(self.said[-1], file=sys.stderr, flush=True)

    def records(self, folder: Path, name: str, count: int) -> None:
        """Damage records of one kind, one at a time."""
        from normsuite.errors import NormsuiteError

        within = folder / name
        clean = figures(*shown(folder))
        files = sorted(path for path in within.rglob("*.json") if path.name != "machine.json")
        if name == "asv":
            files = [path for path in files if path.name != "benchmarks.json"]
        for _ in range(count):
            path = self.draw.choice(files)
            what, mutate = self.draw.choice(list(MUTATIONS.items()))
            whole = path.read_bytes()
            where = mutate(path, self.draw)
            before = state(within)
            try:
                lines, notes = shown(folder)
                named = any(path.name in note for note in notes)
                changed = figures(lines, notes) != clean
                lost = state(within) != before
                outcome = "lost" if lost else "wrong" if changed and not named else "said" if named else "no difference"
                self.count(name, outcome, f"{path.name}: {what}: {where}" if outcome in ("lost", "wrong") else "")
            except NormsuiteError as error:
                self.count(name, "said" if path.name in str(error) else "refused")
            except Exception:
                self.count(name, "traceback", f"{path.name}: {what}\n{traceback.format_exc()}")
            finally:
                restore(path, whole)

    def settings(self, folder: Path, count: int) -> None:
        """Damage settings of a study and lists of accepted regressions."""
        from normsuite.errors import NormsuiteError
        from normsuite.gate import accepted
        from normsuite.spec import load
        from normsuite.study import plan

        texts = {
            "study.toml": ('preset = "quick"\nnorms = ["BatchNorm"]\nseeds = 2\nl1 = 1e-5\n', _plan(plan)),
            "accepted.toml": (
                '[[accepted]]\ncell = "a/*"\nmetric = "time"\nreason = "so"\nuntil = 2030-01-31\nat_most = 1.1\n',
                accepted.read,
            ),
            "norm.toml": ((ROOT / "normsuite" / "norms").glob("*batch*.toml").__next__().read_text(), load),
        }
        for _ in range(count):
            name = self.draw.choice(sorted(texts))
            text, read = texts[name]
            path = folder / name
            path.write_text(text)
            whole = text.encode()
            kinds = [kind for kind, of in MUTATIONS.items() if kind not in ("a value is junk", *_JSON_ALONE)]
            what = self.draw.choice(kinds)
            MUTATIONS[what](path, self.draw)
            try:
                read(path)
                still = path.is_file() and _parsed(path) is not None
                self.count("settings", "no difference" if still else "wrong", "" if still else f"{name}: {what}")
            except NormsuiteError:
                self.count("settings", "said")
            except Exception:
                self.count("settings", "traceback", f"{name}: {what}\n{traceback.format_exc()}")
            finally:
                restore(path, whole)

    def caches(self, folder: Path, count: int) -> None:
        """Damage what is cached: nothing shown may change, and nothing need be said."""
        from normsuite import caches

        clean = figures(*shown(folder))
        cached = [path for path in caches.folder().rglob("*") if path.is_file()]
        for _ in range(count):
            path = self.draw.choice(cached)
            what = self.draw.choice(["cut off", "a byte is another", "zeros", "a named pipe", "a folder"])
            whole = path.read_bytes()
            MUTATIONS[what](path, self.draw)
            try:
                changed = figures(*shown(folder)) != clean
                self.count("caches", "wrong" if changed else "no difference", f"{path.name}: {what}" if changed else "")
            except Exception:
                self.count("caches", "traceback", f"{path.name}: {what}\n{traceback.format_exc()}")
            finally:
                restore(path, whole)


_JSON_ALONE = ("a field or value is gone", "a value is of another kind")


def _plan(plan) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        settings = plan.read(path)
        return plan.plan(settings.pop("preset", "quick"), **settings)

    return read


def _parsed(path: Path) -> dict | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return None


def state(folder: Path) -> dict[str, object]:
    """What lies there: names, kinds and contents."""
    found = {}
    for path in folder.rglob("*"):
        kind = path.lstat().st_mode
        regular = path.is_file() and not path.is_symlink()
        found[str(path)] = (kind, path.read_bytes() if regular else None)
    return found


def restore(path: Path, whole: bytes) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(whole)


COLUMNS = ("mutations", "said", "refused", "no difference", "traceback", "wrong", "lost")


def table(counts: dict[str, Counter]) -> str:
    total = sum(counts.values(), Counter())
    lines = ["| damaged | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for kind, of in [*counts.items(), ("all", total)]:
        lines.append(f"| {kind} | " + " | ".join(str(of[column]) for column in COLUMNS) + " |")
    return "\n".join(lines)


def run(count: int, seed: int) -> Run:
    """Damage `count` files."""
    of = Run(seed)
    shares = {"study": 0.12, "bench": 0.12, "gate": 0.12, "numerics": 0.12, "self-check": 0.1, "asv": 0.22}
    with tempfile.TemporaryDirectory() as aside:
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(Path(aside) / "cache")
        try:
            for name, share in shares.items():
                folder = Path(aside) / name
                made(folder, name)
                of.records(folder, name, max(1, round(share * count)))
            of.settings(Path(aside), max(1, round(0.1 * count)))
            of.caches(Path(aside) / "asv", max(1, count - sum(each["mutations"] for each in of.counts.values())))
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before
    return of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    of = run(given.count, given.seed)
    print(table(of.counts))
    bad = sum(each[name] for each in of.counts.values() for name in ("traceback", "wrong", "lost"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
