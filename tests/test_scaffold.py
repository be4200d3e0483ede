"""`normsuite init`: what it writes can be read back, and nothing is overwritten."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from asv.config import Config

from normsuite.errors import ArgumentError
from normsuite.targets import scaffold
from normsuite.targets.configuration import find_project

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.org")
SOURCE = """
class MyRMSNorm: ...
class GroupNormSiLU: ...
class _LayerNorm: ...
class Attention: ...
"""


@pytest.fixture
def project(tmp_path):
    package = tmp_path / "src" / "mine"
    (package / "within").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('never imported')\n")
    (package / "norms.py").write_text(SOURCE)
    (package / "norms-old.py").write_text("class LayerNorm: ...\n")  # which no statement imports
    (package / "within" / "broken.py").write_text("class LayerNorm(:\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").write_text("")
    return tmp_path


@pytest.mark.parametrize("package", ["my-norms", ".", "src/mine", ""])
def test_what_no_statement_imports_is_no_package(project, package):
    (project / "my-norms").mkdir()
    (project / "my-norms" / "__init__.py").write_text("")
    assert scaffold.packages(project) == ["mine"]
    with pytest.raises(ArgumentError, match="no name that Python imports"):
        scaffold.files(project, package, asv=False)
    assert not (project / "pyproject.toml").exists()


def test_a_file_of_settings_that_is_none_is_refused(project):
    (project / "pyproject.toml").write_text("tool = 1\n")
    with pytest.raises(ArgumentError, match="tool = 1 must be a table"):
        scaffold.files(project, "mine", asv=False)


def test_classes_are_found_without_importing_them(project):
    assert scaffold.packages(project) == ["mine"]
    assert scaffold.norms(project, "mine") == [
        ("mine.norms:MyRMSNorm", "RMSNorm"),
        ("mine.norms:GroupNormSiLU", "GroupNorm"),
    ]
    with pytest.raises(ArgumentError, match="package = 'yours'"):
        scaffold.norms(project, "yours")


def test_a_norm_of_maps_is_not_taken_for_one_over_the_last_size(project):
    (project / "src" / "mine" / "norms.py").write_text("class LayerNorm2d:\n    ...\n\n\nclass BatchNorm2d:\n    ...\n")
    found = scaffold.norms(project, "mine")
    assert found == [("mine.norms:LayerNorm2d", "none"), ("mine.norms:BatchNorm2d", "BatchNorm")]
    scaffold.files(project, "mine", asv=False)
    assert [(t.like, t.shapes) for t in find_project(project).targets] == [
        (None, ((16, 64, 14, 14),)),
        ("BatchNorm", ((16, 64, 14, 14),)),
    ]


@pytest.mark.parametrize("before", ["", "[project]\nname = 'mine'"])
def test_what_is_written_can_be_read(project, before):
    if before:
        (project / "pyproject.toml").write_text(before)
    written, kept = scaffold.files(project, "mine", asv=True)
    assert not kept and (project / "pyproject.toml").read_text().startswith(before or "[tool.normsuite]")
    found = find_project(project)
    assert found.packages == ("mine",) and [t.like for t in found.targets] == ["RMSNorm", "GroupNorm"]
    assert [t.args for t in found.targets] == [(64,), (4, 64)]
    workflow = yaml.safe_load((project / scaffold.WORKFLOW).read_text())
    assert workflow["jobs"]["normsuite"]["steps"][1]["with"]["base"] == "origin/${{ github.base_ref }}"
    ast.parse((project / "benchmarks" / "norms.py").read_text())
    texts = {path: path.read_text() for path in written}
    again, kept = scaffold.files(project, "mine", asv=True)
    assert not again and set(kept) == set(texts) and texts == {path: path.read_text() for path in kept}


def test_the_command_says_what_it_wrote(project):
    command = [sys.executable, "-m", "normsuite", "init"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0 and "wrote pyproject.toml" in done.stdout, done.stderr
    again = subprocess.run([*command, "--json", "-"], cwd=project, capture_output=True, text=True)
    found = json.loads(again.stdout)
    assert (found["package"], found["wrote"]) == ("mine", []) and "pyproject.toml" in found["kept"]
    done = subprocess.run(command, cwd=project / "tests", capture_output=True, text=True)
    assert done.returncode == 2 and "package = None: name one" in done.stderr


def test_the_action_reads_what_the_workflow_gives():
    action = yaml.safe_load((Path(__file__).parent.parent / "action.yml").read_text())
    assert "base" in action["inputs"] and action["runs"]["using"] == "composite"
    assert all("shell" in step for step in action["runs"]["steps"] if "run" in step)


def test_asv_installs_what_the_benchmarks_import(project):
    scaffold.files(project, "mine", asv=True)
    found = Config.load(str(project / "asv.conf.json"))
    tree = ast.parse((project / "benchmarks" / "norms.py").read_text())
    imported = {node.module.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) <= found.matrix["req"].keys()
    assert "--force-reinstall" not in " ".join(found.install_command), "that would install torch anew for each commit"


@pytest.mark.slow
def test_asv_runs_the_benchmarks(tmp_path):
    (tmp_path / "src" / "mine").mkdir(parents=True)
    source = "import torch\n\n\nclass MyRMSNorm(torch.nn.RMSNorm):\n    pass\n"
    (tmp_path / "src" / "mine" / "__init__.py").write_text(source)
    scaffold.files(tmp_path, "mine", asv=True)
    for command in (["git", "init", "-qb", "main"], ["git", "add", "-A"], ["git", *AUTHOR, "commit", "-qm", "one"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    environment = {**os.environ, "ASV_PYTHONPATH": str(tmp_path / "src"), "HOME": str(tmp_path)}
    asv = [sys.executable, "-m", "asv", "run", "--environment", f"existing:{sys.executable}", "--quick"]
    subprocess.run([*asv[:3], "machine", "--yes"], cwd=tmp_path, env=environment, check=True)
    done = subprocess.run([*asv, "--dry-run"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "failed" not in done.stdout, done.stdout + done.stderr
    assert "norms.Forward.time_forward" in done.stdout
