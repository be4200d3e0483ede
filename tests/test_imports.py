"""Imports point in one direction, and what reads data or answers a user loads no torch."""

import re
import subprocess
import sys
from functools import cache

import imports
import pytest

ORDER = (
    # words, this machine, and files
    "_version errors vocabulary",
    "conventions machine",
    "files",
    "records",
    # data that need no layers
    "ahead lesson oracle presentation spec statistics targets tensors",
    "tunings",
    "backends",
    "fast_path tracing validation",
    "functional",
    "modules",
    "conversion",
    "measure",
    "conformance doctor gate history numerics study",
    "bench frames testing",
    "tune versus",
    "report",
    "cli",
    "__main__",
)
"""Rooms, by layer: none imports from a layer further on."""

WITHOUT_TORCH = (
    "spec",
    "lesson.explain",
    "lesson.claims",
    "statistics",
    "study.comparisons",
    "statistics.survival",
    "records.results",
    "records.provenance",
    "files.writing",
    "history",
    "oracle",
    "cli",
)


def room(module):
    """Return the part of the package that a module belongs to, "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


ROOMS = sorted({room(module) for module in imports.MODULES} - {""})


@cache
def edges():
    """Return the pairs of rooms of which the first imports the second."""
    return {(room(module), room(other)) for module in imports.MODULES for other in imports.imports(module)}


def reached(start):
    """Return the rooms that a room imports, directly or through others."""
    found, waiting = set(), [start]
    while waiting:
        here = waiting.pop()
        new = {other for source, other in edges() if source == here and other != here} - found
        found |= new
        waiting += new
    return found


def test_imports_are_read():
    assert {("gate", "measure"), ("modules", "functional")} <= edges() and len(imports.MODULES) > 100


@pytest.mark.parametrize("start", ROOMS)
def test_no_room_imports_itself_through_others(start):
    assert start not in reached(start) - {""}


def test_every_room_has_its_layer():
    assert sorted(" ".join(ORDER).split()) == ROOMS


def test_the_architecture_names_every_room():
    text = (imports.PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("| room | has |") : text.index("Imports point to the left")]
    first = " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    named = {name.strip("/").removesuffix(".py") for name in re.findall(r"`([\w/.]+)`", first)}
    assert set(ROOMS) - {"_version", "__main__"} <= named
    assert named - set(ROOMS) == {"norms", "benchmarks", "tools"}


@pytest.mark.parametrize("start", ROOMS)
def test_no_room_imports_one_further_on(start):
    place = next(place for place, layer in enumerate(ORDER) if start in layer.split())
    assert not reached(start) & set(" ".join(ORDER[place + 1 :]).split())


def test_torch_is_not_loaded_where_it_is_not_needed():
    code = (
        "import sys\n"
        + "\n".join(f"import normsuite.{name}" for name in WITHOUT_TORCH)
        + "\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=imports.PACKAGE.parent)
    assert done.stdout.strip() == "False", done.stderr
