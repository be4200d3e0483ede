"""Trees of a package's versions, and cells of the gate's table."""

import json
import os
from dataclasses import replace

import pytest
from gated_package import append, gate, git, version

from normsuite import NORMS
from normsuite.errors import ArgumentError, NormsuiteError
from normsuite.gate import trees
from normsuite.gate.cells import cell_from_dict
from normsuite.measure import own_workloads as cells
from tools.injected_commits import SOURCE

pytestmark = pytest.mark.usefixtures("gate_cache")


def test_the_working_tree_is_what_lies_there_and_git_sees_nothing_of_it(repository):
    (repository / "normsuite" / "new.py").write_text("NEW = 1\n")
    (repository / "normsuite" / "ignored.log").write_text("no")
    (repository / "normsuite" / "errors.py").unlink()
    (repository / "elsewhere.py").write_text("no part of the package")
    before = git(repository, "status", "--porcelain"), sorted((repository / ".git").rglob("*"))
    tree = trees.of_working_tree(repository=repository, source=SOURCE)
    assert (git(repository, "status", "--porcelain"), sorted((repository / ".git").rglob("*"))) == before
    assert (tree.folder / "normsuite" / "new.py").read_text() == "NEW = 1\n"
    assert not (tree.folder / "normsuite" / "ignored.log").exists()
    assert not (tree.folder / "normsuite" / "errors.py").exists()
    assert tree.commit == git(repository, "rev-parse", "HEAD") and tree.subject == "the package"


def test_what_is_left_of_a_package_is_no_package_of_the_working_tree(repository):
    """A branch that removes it leaves what git ignores."""
    (repository / "gone" / "__pycache__").mkdir(parents=True)
    (repository / "gone" / "__pycache__" / "calls.pyc").write_text("")
    source = replace(SOURCE, beside=(trees.Part("gone", "gone"),))
    tree = trees.of_working_tree(repository=repository, source=source)
    assert (tree.folder / "normsuite").is_dir() and not (tree.folder / "gone").exists()


def test_a_subject_has_no_commands_for_the_terminal(repository):
    append(repository, "errors.py", "# more\n", "a \x1b[31mred\x1b[0m subject")
    assert version(repository).subject == r"a \x1b[31mred\x1b[0m subject"


def test_equal_files_are_one_tree(repository):
    here = version(repository)
    assert trees.of_working_tree(repository=repository, source=SOURCE).folder == here.folder
    (repository / "README").write_text("not of the package")
    git(repository, "add", "README")
    git(repository, "commit", "--quiet", "--message", "words")
    assert version(repository).digest == here.digest


@pytest.mark.parametrize("name", ["nowhere", "HEAD~99", "HEAD:normsuite"])
def test_a_commit_that_is_not_there_is_named(repository, name):
    with pytest.raises(ArgumentError, match=r"base = .*no such commit here"):
        trees.of_commit(name, argument="base", repository=repository, source=SOURCE)


def test_a_shallow_clone_is_told_how_to_get_the_rest(repository, tmp_path):
    append(repository, "errors.py", "# more\n")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), str(shallow))
    done = gate(shallow, "HEAD~1")
    assert done.returncode == 2
    assert (
        "base = 'HEAD~1': not in this shallow clone; git fetch --unshallow origin gets its whole history" in done.stderr
    )


def test_no_repository_and_no_package_are_said(tmp_path):
    with pytest.raises(NormsuiteError, match="no git repository"):
        trees.root(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(NormsuiteError, match="without a commit"):
        trees.of_working_tree(repository=tmp_path, source=SOURCE)
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    with pytest.raises(ArgumentError, match="has no folder normsuite"):
        trees.of_commit("HEAD", argument="base", repository=tmp_path, source=SOURCE)


def test_old_trees_are_forgotten(repository):
    tree = version(repository)
    old = tree.folder.with_name("old")
    old.mkdir()
    os.utime(old, (0, 0))
    version(repository)
    assert tree.folder.is_dir() and not old.exists()


# ---- cells ----


def test_the_default_table():
    """Every norm's function by the kernels and auto on one case, and every module on its small case."""
    planned = {cell.name for cell in cells.plan()}
    functions = {
        f"{norm}/{backend}/study/{mode}" for norm in NORMS for backend in ("numba", "auto") for mode in cells.MODES
    }
    assert functions < planned and len(planned) == len(functions) + 11 * 2
    assert all(name.split("/")[1].startswith("auto ") for name in planned - functions), "modules"


def test_all_backends_and_cases_are_cells_where_they_are_asked_for():
    everything = cells.plan(only=["*"])
    functions, modules = 5 * 3 * 3 * 2, 11 * 2
    assert len(everything) == functions + modules == len({cell.name for cell in everything})
    assert {cell.backend for cell in cells.plan(backends=["torch"])} == {"torch"}
    assert {cell.task.case.name for cell in cells.plan(cases=["tiny"])} == {"tiny"}
    assert {cell.name for cell in cells.plan(only=["GroupNorm/*/step"])} == {
        *(f"GroupNorm/{backend}/{case}/step" for backend in cells.BACKENDS for case in cells.CASES),
        "GroupNorm/auto GroupNorm/tiny/step",
    }
    for cell in everything:
        assert cell_from_dict(json.loads(json.dumps(cell.as_dict()))) == cell


def test_a_pattern_without_a_cell_is_refused():
    with pytest.raises(ArgumentError, match=r"only = 'GroupNorn/.': matches none of the 112 cells, such as BatchNorm"):
        cells.plan(only=["GroupNorn/*"])
