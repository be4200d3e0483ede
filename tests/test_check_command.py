"""`normsuite check`: which targets it takes, and what it shows where one of them ends it."""

import json
import sys

import pytest
from checked_norms import LIKE
from typer.testing import CliRunner

from normsuite.cli import app, check, target_norms
from normsuite.errors import DataError
from normsuite.measure.task import shape_case
from normsuite.targets import scaffold

PROJECT = """
[tool.normsuite]
package = "mine"

[[tool.normsuite.target]]
make = "torch.nn:LayerNorm"
args = [8]
like = "LayerNorm"
shapes = [[4, 8]]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chosen(*names, args="", **options):
    return check.chosen_targets(list(names), args=args, shapes=[], dtypes=[], options=options)


def test_a_target_of_the_project_is_found_by_its_import_path(project):
    (found,) = chosen("torch.nn:LayerNorm")
    assert (found.args, found.like, found.shapes) == ((8,), "LayerNorm", ((4, 8),))
    (found,) = chosen("torch.nn:LayerNorm", args="16")
    assert (found.args, found.like, found.shapes) == ((16,), "LayerNorm", ()), "what was written for other arguments"
    (found,) = chosen("torch.nn:RMSNorm", args="16")
    assert (found.args, found.like) == ((16,), None)


def test_an_import_path_is_checked_beside_a_file_that_cannot_be_used(project, capsys):
    (project / "pyproject.toml").write_text("[tool.normsuite]\npackge = 'mine'\n")
    (found,) = chosen("torch.nn:LayerNorm", args="16", like="LayerNorm")
    assert found.args == (16,) and "packge" in capsys.readouterr().err
    with pytest.raises(DataError):
        chosen("a name")


def test_the_others_are_checked_where_one_cannot_be_made():
    names = ["torch.nn:LayerNorm", "no_such_module:Norm", "nor_this:Norm", "torch.nn:LayerNorm"]
    done = CliRunner().invoke(app, ["check", *names, "--args", "8", "--like", "LayerNorm", "--only", "result_kind"])
    assert done.stdout.count("torch.nn:LayerNorm, like LayerNorm: 1 ok") == 2, done.output
    assert "nor_this" in done.stderr and "no_such_module" in str(done.exception)


def test_what_was_found_is_shown_after_an_interruption(monkeypatch):
    from normsuite import conformance

    def interrupted(target, found=conformance.check, **options):
        if target.make == "torch.nn:RMSNorm":
            raise KeyboardInterrupt
        return found(target, **options)

    monkeypatch.setattr(sys.modules["normsuite.conformance.check"], "check", interrupted)
    names = ["torch.nn:LayerNorm", "torch.nn:RMSNorm"]
    done = CliRunner().invoke(app, ["check", *names, "--args", "8", "--only", "result_kind"])
    assert "torch.nn:LayerNorm: 1 ok" in done.stdout and done.exit_code != 0


def test_an_explanation_can_be_read_by_programs(tmp_path):
    done = CliRunner().invoke(app, ["check", "--explain", "--only", "mean_*", "--json", "-"])
    found = json.loads(done.stdout)
    assert found and all(name.startswith("mean_") and sentence.endswith(".") for name, sentence in found.items())


def test_a_norm_is_tried_with_the_shape_and_the_groups_that_were_typed():
    own = [shape_case("4,8,6,5", num_groups=4)]
    options = {"args": "", "like": "GroupNorm", "own": own, "groups": LIKE["num_groups"]}
    norms, (case,), _ = target_norms.planned(["odd_norms:PrivateGroups"], norms=None, backends=None, **options)
    assert norms == ["GroupNorm"] and (case.shape, case.num_groups) == ((4, 8, 6, 5), 4)


def test_classes_in_a_dotted_package_are_found(tmp_path):
    folder = tmp_path / "company" / "norms"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("class MyLayerNorm: ...\n")
    assert scaffold.norms(tmp_path, "company.norms") == [("company.norms:MyLayerNorm", "LayerNorm")]
