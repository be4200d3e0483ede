"""The gate in anybody's repository: the package and cells that its pyproject says, in one process or one each."""

import subprocess
import sys

import pytest
from guarded_repository import Repository

from normsuite.errors import ArgumentError, DataError, NormsuiteError
from normsuite.gate import guarded, sides, summary, trees
from normsuite.gate.decide import SAME, UNDECIDED, WORSE
from normsuite.targets.configuration import find_project


@pytest.fixture
def forget():
    """Lets go of the modules that a test imports."""
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("ownnorms"):
            del sys.modules[name]
    sys.path[:] = path


def exported(repository, name="HEAD", **further):
    project = find_project(repository.folder)
    source = guarded.source_of(project, repository.folder)
    return trees.of_commit(name, argument="base", repository=repository.folder, source=source)


def test_cells_are_those_of_the_projects_targets(tmp_path):
    project = find_project(Repository(tmp_path).folder)
    cells, notes = guarded.cells(project)
    assert [cell.name for cell in cells] == [
        f"{norm}/ownnorms:{norm}({args})/{case}/{mode}"
        for norm, args, case in (("RMSNorm", "64", "32×16×64"), ("GroupNorm", "4, 8", "4×8×14×14"))
        for mode in ("forward", "step")
    ]
    assert notes == [
        "ownnorms.parts:scaled: not measured (a prepared call has no norm whose values could be looked at)"
    ]
    assert [c.name for c in guarded.cells(project, only=["RMS*/step"])[0]] == [
        "RMSNorm/ownnorms:RMSNorm(64)/32×16×64/step"
    ]
    with pytest.raises(ArgumentError, match="only = 'Batch"):
        guarded.cells(project, only=["BatchNorm*"])


@pytest.mark.parametrize("under", ["src", "."])
def test_two_versions_lie_in_one_process(tmp_path, forget, under):
    repository = Repository(tmp_path, under=under)
    base = exported(repository)
    repository.change("inexact")
    repository.commit("Second")
    head = exported(repository)
    assert base.digest != head.digest and base.package == "ownnorms"
    packages = {
        side: sides.load_anybodys(tree.folder, side, "ownnorms", ["norms"], alone=False)
        for side, tree in (("base", base), ("head", head))
    }
    cell = guarded.cells(find_project(tmp_path), only=["GroupNorm*/forward"])[0][0]
    given = cell.task.operands()
    calls = {side: cell.of(package).prepare(given) for side, package in packages.items()}
    assert (calls["base"]() - calls["head"]()).abs().max() > 0
    assert "ownnorms" not in sys.modules
    repository.git("checkout", "--quiet", "HEAD~1")
    assert (
        trees.of_working_tree(repository=tmp_path, source=guarded.source_of(find_project(tmp_path), tmp_path)).digest
        == base.digest
    )


def test_absolute_imports_are_told_and_work_alone(tmp_path, forget, monkeypatch):
    tree = exported(Repository(tmp_path, absolute=True))
    monkeypatch.syspath_prepend(str(tree.folder))  # as where the package is installed
    with pytest.raises(ImportError, match="imports itself by its own name"):
        sides.load_anybodys(tree.folder, "base", "ownnorms", ["norms"], alone=False)
    for name in [name for name in sys.modules if name.startswith("ownnorms")]:
        del sys.modules[name]
    package = sides.load_anybodys(tree.folder, "base", "ownnorms", ["norms"], alone=True)
    assert package.__name__ == "ownnorms" and package.__file__.startswith(str(tree.folder))
    cell = guarded.cells(find_project(tmp_path), only=["RMSNorm*/forward"])[0][0]
    assert cell.of(package).prepare()().shape == (32, 16, 64)


def test_a_version_is_built_once(tmp_path):
    further = 'build = "cp -r src/ownnorms {out} && date +%N > {out}/ownnorms/made"'
    repository = Repository(tmp_path, further=further)
    first, again = exported(repository), exported(repository)
    assert (first.folder / "ownnorms" / "made").read_text() == (again.folder / "ownnorms" / "made").read_text()
    text = (tmp_path / "pyproject.toml").read_text()
    for command, said in (("exit 3", "ends with 3"), ("true", "made no folder ownnorms")):
        (tmp_path / "pyproject.toml").write_text(text.replace(further, f'build = "{command}"'))
        with pytest.raises(NormsuiteError, match=said):
            exported(repository)


@pytest.mark.parametrize("name", ["ownnorms", "own.norms"])
def test_a_project_without_one_package_is_refused(tmp_path, name):
    repository = Repository(tmp_path)
    text = (
        (tmp_path / "pyproject.toml")
        .read_text()
        .replace('"ownnorms"', '["a", "b"]' if name == "ownnorms" else '"other"')
    )
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(DataError, match="package ="):
        exported(repository)


def rows(*verdicts):
    return [summary.Row("c", "time", "s", None, (1.0, 1.0), None, verdict, 4, None) for verdict in verdicts]


@pytest.mark.parametrize(
    ("verdicts", "undecided", "code"),
    [
        ((WORSE, UNDECIDED), "pass", 1),
        ((UNDECIDED,), "pass", 0),
        ((UNDECIDED,), None, 3),
        ((SAME, UNDECIDED), "fail", 3),
        ((SAME, UNDECIDED), None, 0),
        ((SAME,), "fail", 0),
    ],
)
def test_what_stays_undecided_is_the_projects_choice(verdicts, undecided, code):
    assert summary.exit_code(None, rows(*verdicts), undecided=undecided) == code


@pytest.mark.slow
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(
    ("change", "code", "said"), [("inexact", 1, "× inf"), ("heavier", 1, "bytes"), ("clean", 0, "")]
)
def test_a_change_is_found(tmp_path, change, code, said, absolute):
    repository = Repository(tmp_path, absolute=absolute)
    repository.change(change)
    repository.commit(change)
    command = [sys.executable, "-m", "normsuite", "gate", "HEAD~1", "HEAD", "--budget", "40s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == code and said in done.stdout, done.stdout + done.stderr
