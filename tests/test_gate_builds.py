"""Versions with compiled parts: the project's command builds them, once, and ends with all that it started."""

import sys
import time
from pathlib import Path

import pytest
from guarded_repository import Repository, exported

from normsuite.errors import NormsuiteError
from normsuite.gate import trees


def test_a_version_is_built_once(tmp_path, monkeypatch):
    further = 'build = "cp -r src/ownnorms {out} && date +%N > {out}/ownnorms/made"'
    repository = Repository(tmp_path, further=further)
    first, again = exported(repository), exported(repository)
    assert (first.folder / "ownnorms" / "made").read_text() == (again.folder / "ownnorms" / "made").read_text()
    added = first.folder / "ownnorms" / "cache.json"  # as some packages write when they are imported
    added.write_text("{}")
    assert exported(repository).folder == first.folder and added.is_file()
    (first.folder / "ownnorms" / "made").unlink()  # as a cleaner of caches does
    assert exported(repository).folder == first.folder and (first.folder / "ownnorms" / "made").is_file()
    (first.folder / "files.json").write_bytes(b"\xff")
    assert exported(repository).folder == first.folder and not added.exists()
    assert not list(first.folder.parent.glob(".part-*"))
    text = (tmp_path / "pyproject.toml").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version", "of another interpreter")
        assert exported(repository).folder != first.folder
    for command, said in (("exit 3", "ends with 3"), ("true", "made no folder ownnorms")):
        (tmp_path / "pyproject.toml").write_text(text.replace(further, f'build = "{command}"'))
        with pytest.raises(NormsuiteError, match=said):
            exported(repository)


def test_a_build_that_takes_too_long_ends_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "BUILD_S", 2.0)
    begun = tmp_path / "begun"
    further = f"build = \"sh -c 'echo $$ > {begun}; sleep 60' ; true\""
    with pytest.raises(NormsuiteError, match="takes longer than 2 s"):
        exported(Repository(tmp_path / "repository", further=further))
    pid = int(begun.read_text())
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the compiler goes on")


def test_a_build_may_print_what_is_no_text(tmp_path):
    further = "build = \"printf '\\\\377' >&2; exit 3\""
    with pytest.raises(NormsuiteError, match="ends with 3"):
        exported(Repository(tmp_path, further=further))
