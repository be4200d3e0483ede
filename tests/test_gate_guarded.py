"""The gate in a user's repository: the package and cells that its pyproject says, in one process or one each."""

import ast
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import gate_records
import pytest
from guarded_repository import IN_C, ROOT, CompiledRepository, Repository, exported

from normsuite.errors import ArgumentError, DataError
from normsuite.gate import guarded, sides, summary, trees
from normsuite.gate.decide import SAME, UNDECIDED, WORSE
from normsuite.gate.row import CellRow
from normsuite.measure import own_workloads
from normsuite.measure.prepared import PreparedCall
from normsuite.measure.workload import Absent
from normsuite.targets import Target
from normsuite.targets.configuration import find_project

MODULES = ["ownnorms.norms", "ownnorms.calls"]


@pytest.fixture
def forget():
    """Lets go of the modules that a test imports."""
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("ownnorms", "owncalls", "otherparts")):
            del sys.modules[name]
    sys.path[:] = path


def test_cells_are_those_of_the_projects_targets(tmp_path, monkeypatch):
    project = find_project(Repository(tmp_path).folder)
    planned = guarded.plan(project)
    cells = planned.cells
    assert cells.pop().name == "prepared/attention"
    assert [cell.name for cell in cells] == [
        f"{norm}/ownnorms:{norm}({args})/{case}/{mode}"
        for norm, args, case in (("RMSNorm", "64", "32×16×64"), ("GroupNorm", "4, 8", "4×8×14×14"))
        for mode in ("forward", "step")
    ]
    assert planned.notes == []
    monkeypatch.setattr(guarded.devices, "check", lambda device: device)
    there = guarded.plan(project, device="cuda").cells
    assert [cell.name for cell in there if cell.task.host_time] == [
        *(f"{cell.name}/host" for cell in cells),
        "prepared/attention/host",
    ], "a cell more of each target on its smallest input, and of a prepared call"
    assert [c.name for c in guarded.plan(project, only=["RMS*/step"]).cells] == [
        "RMSNorm/ownnorms:RMSNorm(64)/32×16×64/step"
    ]
    with pytest.raises(ArgumentError, match="only = 'Batch"):
        guarded.plan(project, only=["BatchNorm*"])


def test_a_mode_that_a_norm_does_not_have_is_said(tmp_path):
    project = find_project(Repository(tmp_path).folder)
    planned = guarded.plan(project, modes=["evaluation"])
    assert [cell.name for cell in planned.cells] == ["prepared/attention"] and planned.targets == {}
    assert [note.partition(": ")[2] for note in planned.notes] == [
        f"not measured ({norm} has no mode evaluation)" for norm in ("RMSNorm", "GroupNorm")
    ]
    alone = replace(project, targets=project.targets[:1])
    with pytest.raises(ArgumentError, match="has no mode evaluation"):
        guarded.plan(alone, modes=["evaluation"])


def test_a_shape_without_channels_has_no_cell():
    target = Target("torch.nn:GroupNorm", args=(2, 8), like="GroupNorm", shapes=((4, 8), (8,)))
    assert guarded.why_not(target) == "has the shape (8,), which has no channels"
    assert guarded.why_not(Target("torch.nn:LayerNorm", args=(8,), like="LayerNorm", shapes=((8,),))) is None


CELLS = """
from normsuite import Target
from normsuite.measure.prepared import PreparedCall


def cells(norms=(), device="cpu"):
    found = [Target("ownnorms:RMSNorm", args=(64,), like="RMSNorm", shapes=((4, 64),), name="small")]
    found += [PreparedCall("ownnorms.calls:attention", "again", device)]
    return [each for each in found if not norms or "RMSNorm" in norms and isinstance(each, Target)]


def wrong():
    return [3]


def failing():
    raise RuntimeError("not today")


def twice():
    return [PreparedCall("ownnorms.calls:attention", "attention")]


number = 3
"""


@pytest.fixture
def providing(tmp_path, monkeypatch):
    """Returns a project whose pyproject names a function of cells."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "owncells.py").write_text(CELLS)

    def of(name):
        repository = Repository(tmp_path / name, further=f'cells = "owncells:{name}"')
        shutil.copy(tmp_path / "owncells.py", repository.folder)
        return find_project(repository.folder)

    yield of
    sys.modules.pop("owncells", None)


def test_a_project_s_own_function_says_further_cells(providing):
    project = providing("cells")
    planned = guarded.plan(project, modes=["forward"])
    names = [cell.name for cell in planned.cells]
    assert names[:2] == ["RMSNorm/ownnorms:RMSNorm(64)/4×64/forward", "prepared/again"] and len(names) == 5
    assert list(guarded.trained(project, planned)) == ["small", "ownnorms:RMSNorm", "ownnorms:GroupNorm"]
    chosen = guarded.plan(project, norms=["RMSNorm"])  # which the targets of the table know nothing of
    assert {cell.name.rpartition("/")[0] for cell in chosen.cells} == {"RMSNorm/ownnorms:RMSNorm(64)/4×64"}
    with pytest.raises(ArgumentError, match="backends = 'torch': owncells:cells takes no backends: use --only"):
        guarded.plan(project, backends=["torch"])


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("wrong", DataError, "returns int, and no targets or workloads"),
        ("failing", DataError, "fails: RuntimeError: not today"),
        ("twice", DataError, "two cells are called 'prepared/attention'"),
        ("number", DataError, "cannot be called"),
        ("absent", ArgumentError, "owncells has no absent"),
    ],
)
def test_a_function_of_cells_that_cannot_be_used_is_named(providing, name, error, said):
    with pytest.raises(error, match=said):
        guarded.plan(providing(name))


def test_this_package_is_guarded_like_a_users_by_what_its_pyproject_says():
    project = find_project(ROOT)
    planned = guarded.plan(project)
    assert planned.cells == own_workloads.plan() and planned.notes == []
    assert guarded.plan(project, norms=["LayerNorm"], only=["*/tiny/step"]).cells == own_workloads.plan(
        norms=["LayerNorm"], only=["*/tiny/step"]
    )
    assert guarded.source_of(project).names == ("normsuite",)
    assert guarded.trained(project, planned) == dict.fromkeys(cell.task.spec.name for cell in planned.cells)


def test_nothing_in_the_gate_names_this_package():
    """Its own name would be another package's special case."""
    for file in sorted((ROOT / "normsuite" / "gate").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str}
        assert not [text for text in texts if re.fullmatch(r"normsuite([._]\S*)?", text)], file


def test_a_repository_without_a_table_is_told_how_it_gets_one(tmp_path):
    repository = Repository(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    done = subprocess.run(
        [sys.executable, "-m", "normsuite", "gate", "HEAD"], cwd=repository.folder, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "`normsuite init` writes it" in done.stderr


@pytest.mark.parametrize("under", ["src", "."])
def test_two_versions_lie_in_one_process(tmp_path, forget, under):
    repository = Repository(tmp_path, under=under)
    base = exported(repository)
    repository.change("inexact")
    repository.commit("Second")
    head = exported(repository)
    assert base.digest != head.digest and base.packages == ("ownnorms",)
    packages = {
        side: sides.load(tree.folder, side, tree.packages, MODULES, alone=False)["ownnorms"]
        for side, tree in (("base", base), ("head", head))
    }
    cell = guarded.plan(find_project(tmp_path), only=["GroupNorm*/forward"]).cells[0]
    given = cell.task.operands()
    calls = {side: cell.of(package).prepare(given) for side, package in packages.items()}
    assert (calls["base"]() - calls["head"]()).abs().max() > 0
    prepared = guarded.plan(find_project(tmp_path), only=["prepared/*"]).cells[0]
    (call,) = sides.ready(packages["head"], prepared, [None])
    assert call().shape == (64, 64)
    assert "ownnorms" not in sys.modules
    repository.git("checkout", "--quiet", "HEAD~1")
    assert (
        trees.of_working_tree(repository=tmp_path, source=guarded.source_of(find_project(tmp_path))).digest
        == base.digest
    )


def test_absolute_imports_are_told_and_work_alone(tmp_path, forget, monkeypatch):
    tree = exported(Repository(tmp_path, absolute=True))
    monkeypatch.syspath_prepend(str(tree.folder))  # as where the package is installed
    with pytest.raises(ImportError, match="imports itself by its own name"):
        sides.load(tree.folder, "base", tree.packages, MODULES, alone=False)
    for name in [name for name in sys.modules if name.startswith("ownnorms")]:
        del sys.modules[name]
    package = sides.load(tree.folder, "base", tree.packages, MODULES, alone=True)["ownnorms"]
    assert package.__name__ == "ownnorms" and package.__file__.startswith(str(tree.folder))
    cell = guarded.plan(find_project(tmp_path), only=["RMSNorm*/forward"]).cells[0]
    assert cell.of(package).prepare()().shape == (32, 16, 64)


@pytest.mark.parametrize("name", ["[]", '"other"', '["ownnorms", "other"]'])
def test_a_project_without_a_folder_for_its_package_is_refused(tmp_path, name):
    repository = Repository(tmp_path)
    text = (tmp_path / "pyproject.toml").read_text().replace('package = "ownnorms"', f"package = {name}")
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(DataError, match="package ="):
        exported(repository)


def test_prepared_calls_in_a_package_of_their_own_are_exported_and_want_a_process_each(tmp_path, forget):
    repository = Repository(tmp_path, calls="owncalls.calls")
    tree = exported(repository)
    assert tree.packages == ("ownnorms", "owncalls") and (tree.folder / "owncalls" / "calls.py").is_file()
    modules = ["owncalls.calls"]
    with pytest.raises(ImportError):  # by the norms' own name, which is neither version's
        sides.load(tree.folder, "base", tree.packages, modules, alone=False)
    sys.modules.pop("ownnorms", None)
    packages = sides.load(tree.folder, "base", tree.packages, modules, alone=True)
    (cell,) = guarded.plan(find_project(tmp_path), only=["prepared/*"]).cells
    package = sides.package_for(cell, packages, tree.packages)
    assert package.__name__ == "owncalls" and sides.ready(package, cell, [None])[0]().shape == (64, 64)
    assert sys.modules["ownnorms"].__file__.startswith(str(tree.folder))


@pytest.mark.parametrize(
    ("name", "said"),
    [("not_callable", "returns int"), ("failing", "fails: RuntimeError: not today"), ("absent", "has no absent"),
     ("printing", "prints 'x'")],
)  # fmt: skip
def test_a_prepared_call_that_cannot_be_is_named(tmp_path, forget, name, said):
    repository = Repository(tmp_path)
    packages = sides.load(exported(repository).folder, "base", ["ownnorms"], MODULES, alone=False)
    cell = PreparedCall(f"ownnorms.calls:{name}", name)
    of_host = replace(cell, host_time=True)
    assert PreparedCall.from_dict(cell.as_dict()) == cell and PreparedCall.from_dict(of_host.as_dict()) == of_host
    assert of_host.name == f"prepared/{name}/host" and of_host.task.host_time and not cell.task.host_time
    with pytest.raises(Absent, match=said):
        sides.ready(sides.package_for(cell, packages, ["ownnorms"]), cell, [None])


def test_what_one_version_lacks_is_absent_there(tmp_path, forget):
    repository = Repository(tmp_path, calls="owncalls.calls")
    repository.git("rm", "-r", "--quiet", "owncalls", "src/ownnorms/calls.py", "--ignore-unmatch")
    repository.commit("Without the calls")
    (tmp_path / "owncalls").mkdir()  # as it lies in the working tree
    tree = exported(repository)
    packages = sides.load(tree.folder, "base", tree.packages, ["owncalls.calls"], alone=False)
    assert list(packages) == ["ownnorms"]
    with pytest.raises(Absent, match="has no package owncalls"):
        sides.package_for(PreparedCall("owncalls.calls:attention", "attention"), packages, tree.packages)


def test_several_packages_are_one_version(tmp_path, forget):
    repository = Repository(tmp_path)
    other = tmp_path / "otherparts"
    other.mkdir()
    (other / "__init__.py").write_text("NAME = 1\n")
    (tmp_path / "pyproject.toml").write_text(
        (tmp_path / "pyproject.toml").read_text().replace('"ownnorms"', '["ownnorms", "otherparts"]', 1)
    )
    repository.commit("Two packages")
    first = exported(repository)
    assert (first.folder / "otherparts" / "__init__.py").is_file() and (first.folder / "ownnorms").is_dir()
    (other / "__init__.py").write_text("NAME = 2\n")
    source = guarded.source_of(find_project(tmp_path))
    changed = trees.of_working_tree(repository=tmp_path, source=source)
    assert changed.digest != first.digest
    packages = sides.load(changed.folder, "head", changed.packages, [], alone=False)
    assert packages["otherparts"].NAME == 2 and packages["otherparts"].__name__ == "otherparts_head"
    base = exported(repository, "HEAD~1")  # without the second
    assert list(sides.load(base.folder, "base", base.packages, [], alone=False)) == ["ownnorms"]


def rows(*verdicts):
    return [
        CellRow("c", "time", "s", None, None, None, UNDECIDED, 0, "not measured")
        if verdict is None
        else CellRow("c", "time", "s", None, (1.0, 1.0), None, verdict, 4, None)
        for verdict in verdicts
    ]


@pytest.mark.parametrize(
    ("verdicts", "undecided", "code"),
    [
        ((WORSE, UNDECIDED), "pass", 1),
        ((UNDECIDED,), "pass", 0),
        ((UNDECIDED,), None, 3),
        ((SAME, UNDECIDED), "fail", 3),
        ((SAME, UNDECIDED), None, 0),
        ((SAME,), "fail", 0),
        ((None,), "pass", 3),
        ((UNDECIDED, None), "pass", 3),
        ((SAME, None), "fail", 3),
    ],
)
def test_what_stays_undecided_is_the_projects_choice(verdicts, undecided, code):
    made = gate_records.record() | {"undecided": undecided}
    assert summary.exit_code(made, rows(*verdicts)) == code


def gated(folder, budget="40s", *further):
    command = [sys.executable, "-m", "normsuite", "gate", "HEAD~1", "HEAD", "--budget", budget, "--threads", "1"]
    command += ["--json", "found.json"]  # one thread: threads of a call wait for each other where others compute
    done = subprocess.run([*command, *further], cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    rows = json.loads((folder / "found.json").read_text())["rows"]
    return done.returncode, [(row["cell"].partition("/")[0], row["metric"]) for row in rows if row["verdict"] == WORSE]


FOUND = {
    "inexact": ("GroupNorm", "output error at mean 10000"),
    "heavier": ("RMSNorm", "saved bytes"),
    "slower": ("RMSNorm", "time"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("absolute", "under"), [(False, "src"), (True, "src"), (False, ".")])
@pytest.mark.parametrize("change", [*FOUND, "clean"])
def test_a_change_is_found(tmp_path, change, absolute, under):
    """The slowdown is a large one, so that it is found while others use the machine."""
    repository = Repository(tmp_path, absolute=absolute, under=under)
    repository.change(change)
    repository.commit(change)
    code, worse = gated(tmp_path)
    if change == "clean":
        assert code == 0 and worse == []
    else:
        assert code == 1 and FOUND[change] in worse


@pytest.mark.slow
@pytest.mark.parametrize("change", [*IN_C, "clean"])
def test_a_change_of_a_compiled_extension_is_found(tmp_path, change):
    """Each version is built, with its own part in C."""
    if not Path(sysconfig.get_path("include"), "Python.h").is_file() or shutil.which("cc") is None:
        pytest.skip("there is no C compiler, or no Python.h")
    repository = CompiledRepository(tmp_path)
    repository.change(change)
    code, worse = gated(tmp_path)
    if change == "clean":
        assert code == 0 and worse == []
    else:
        assert code == 1 and ("GroupNorm", FOUND[change][1]) in worse


@pytest.mark.slow
def test_a_prepared_call_is_timed_and_one_that_only_head_has_is_not_available(tmp_path):
    repository = Repository(tmp_path, calls="owncalls.calls")
    calls = tmp_path / "owncalls" / "calls.py"
    calls.write_text(f"{calls.read_text()}\n\ndef later():\n    return attention()\n")
    further = '[[tool.normsuite.target]]\nname = "later"\nprepare = "owncalls.calls:later"\n'
    (tmp_path / "pyproject.toml").write_text((tmp_path / "pyproject.toml").read_text() + further)
    repository.change("slower")
    repository.commit("Slower, with one call more")
    code, worse = gated(tmp_path, "30s", "--only", "prepared/*")
    assert code == 1 and worse == [("prepared", "time")]
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    (later,) = [row for row in rows if row["cell"] == "prepared/later"]
    assert later["verdict"] == "n/a" and "has no later" in later["note"]
    assert {"peak bytes", "time"} <= {row["metric"] for row in rows if row["cell"] == "prepared/attention"}


@pytest.mark.slow
def test_a_bisection_finds_the_commit(tmp_path):
    """Bytes are compared, which need no quiet machine."""
    repository = Repository(tmp_path)
    for subject in ("One", "Two"):
        (repository.path / "more.py").write_text(f"NAME = {subject!r}\n")
        repository.commit(subject)
    repository.change("heavier")
    repository.commit("Save one tensor more")
    (repository.path / "more.py").write_text("NAME = 4\n")
    repository.commit("Four")
    command = [sys.executable, "-m", "normsuite", "bisect", "HEAD~4", "HEAD", "--only", "RMSNorm/*/step"]
    command += ["--metric", "saved bytes", "--budget", "5s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and "made by" in done.stdout, done.stdout + done.stderr
    assert "Save one tensor more" in done.stdout.splitlines()[-1] and "Four" not in done.stdout.splitlines()[-1]
