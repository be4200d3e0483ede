"""Drawings that are kept: found again by what they are of, and never wrong."""

import os
import subprocess
import sys
import time

import pytest

from normsuite.files import caches
from normsuite.presentation import drawing_cache
from normsuite.spec import NORMS

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def draw():
    """Draws, and counts."""

    def circle(radius, words):
        circle.calls += 1
        return f'<svg><text y="{radius}">{words}</text></svg>\n'

    circle.calls = 0
    return circle


def of(cache, text):
    """The file that has it."""
    (found,) = (path for path in cache.rglob("report/*.svg") if text in path.read_text())
    return found


def test_the_same_is_drawn_once(draw, own_cache):
    first = drawing_cache.drawn(draw, 1, ["a", "ü"])
    assert drawing_cache.drawn(draw, 1, ["a", "ü"]) == first and draw.calls == 1
    assert drawing_cache.drawn(draw, 2, ["a", "ü"]) != first and draw.calls == 2


def test_what_is_damaged_is_drawn_again(draw, own_cache):
    first = drawing_cache.drawn(draw, 3, ["<b>"])
    path = of(own_cache, "<b>")
    for damaged in (b"", first[:-4].encode(), b"\xff" + first.encode()):
        path.write_bytes(damaged)
        assert drawing_cache.drawn(draw, 3, ["<b>"]) == first
    assert draw.calls == 4 and path.read_text().endswith(first)


def test_other_files_of_the_package_libraries_and_norms_draw_otherwise(draw, own_cache, monkeypatch):
    first = drawing_cache._version()
    monkeypatch.setattr(drawing_cache, "NORMS", dict(reversed(NORMS.items())))
    assert drawing_cache._version.__wrapped__() != first
    monkeypatch.undo()
    monkeypatch.setattr(drawing_cache.provenance, "version", lambda name: "0")
    assert drawing_cache._version.__wrapped__() != first
    monkeypatch.undo()
    assert drawing_cache._version.__wrapped__() == first


def test_drawings_that_nobody_asked_for_are_removed_in_time(draw, own_cache):
    for radius in (4, 5, 6):
        drawing_cache.drawn(draw, radius, [])
    used, unused, recent = (of(own_cache, f'y="{radius}"') for radius in (4, 5, 6))
    long_ago = time.time() - (caches.KEPT_DAYS + 1) * 86_400
    for path in (used, unused):
        os.utime(path, (long_ago, long_ago))
    drawing_cache.drawn(draw, 4, [])
    assert used.stat().st_mtime > long_ago + 1
    drawing_cache.drawn(draw, 7, [])
    assert used.exists() and recent.exists() and not unused.exists()


def test_the_users_own_style_draws_nothing_else(tmp_path):
    """What a style changes would be kept, and come back where it is not."""
    style = ("lines.linewidth: 9", "font.size: 33", "savefig.format: pdf", "axes.facecolor: red")
    (tmp_path / "matplotlibrc").write_text("\n".join(style))
    code = (
        "import matplotlib; from normsuite.numerics import charts\n"
        "lines = [('BatchNorm', [0, 1], [1e-7, 1e-6])]\n"
        "print(matplotlib.rcParams['font.size'], charts._draw('x', 'x', lines, [0.0, 1.0], (1e-8, 1e-5)))"
    )
    plain, styled = (
        subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
        for folder in (tmp_path.parent, tmp_path)
    )
    assert styled.startswith("33.0 <svg") and plain.partition(" ")[2] == styled.partition(" ")[2]


def test_where_nothing_can_be_kept_it_is_drawn(draw, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert drawing_cache.drawn(draw, 8, []) == drawing_cache.drawn(draw, 8, []) and draw.calls == 2
