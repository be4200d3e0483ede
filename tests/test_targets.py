"""Targets: which objects and paths are taken, which arguments are filled, and what is said of the others."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normsuite.errors import ArgumentError, DataError, NormsuiteError, UnknownNameError
from normsuite.targets import Target, configuration
from normsuite.targets.announced import all_by_name
from normsuite.targets.arguments import parse
from normsuite.targets.build import TargetError, build, draw, torch_beside
from normsuite.targets.loading import ImportPathError


class Norm(nn.Module):
    """A group norm whose own constructor has torch.nn's names, and other names for its tensors."""

    def __init__(self, num_groups, num_channels, epsilon=1e-3):
        super().__init__()
        self.num_groups, self.epsilon = num_groups, epsilon
        self.gamma, self.beta = nn.Parameter(torch.ones(num_channels)), nn.Parameter(torch.zeros(num_channels))

    def forward(self, x):
        return F.group_norm(x, self.num_groups, self.gamma, self.beta, self.epsilon)


class Deep(nn.Module):
    def __init__(self, depth):
        super().__init__()


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-2):
    return F.group_norm(x, num_groups, weight, bias, eps)


def adapter(groups):
    return lambda x: F.group_norm(x, groups)


def makes_nothing():
    return 3


TAKEN = {
    "class with arguments": Target(Norm, args=(4, 8), like="GroupNorm"),
    "class filled by inspection": Target(Norm, like="GroupNorm", num_groups=2),
    "module": Target(Norm(4, 8), like="GroupNorm"),
    "function": Target(group_norm, args=(4,), like="group-norm"),
    "function, by name": Target(group_norm, kwargs={"num_groups": 2, "eps": 1e-6}, like="GroupNorm"),
    "adapter": Target(adapter, args=(4,), like="GroupNorm", num_groups=4),
    "path": Target("torch.nn:GroupNorm", args=(4, 8), like="GroupNorm"),
    "three spatial sizes": Target("torch.nn:BatchNorm3d", like="BatchNorm"),
    "one spatial size": Target("torch.nn:InstanceNorm1d", like="InstanceNorm", kwargs={"affine": True}),
    "batch_norm": Target("torch.nn.functional:batch_norm", like="BatchNorm"),
    "a single size": Target("torch.nn.functional:rms_norm", args=(32,), like="RMSNorm"),
    "several sizes": Target("torch.nn:LayerNorm", args=([3, 5],), like="LayerNorm"),
}


@pytest.mark.parametrize("target", TAKEN.values(), ids=TAKEN)
def test_target_computes_what_torch_does_with_the_settings_found(target):
    built = build(target)
    x = draw(built.shape)
    torch.testing.assert_close(built(x), torch_beside(built)(x))


def test_arguments_are_filled_for_the_shape():
    built = build(Target("torch.nn:BatchNorm2d", like="BatchNorm", shapes=[[2, 24, 3, 3]]))
    assert built.module.num_features == 24
    assert build(Target("torch.nn:LayerNorm", like="LayerNorm", shapes=[[2, 24]])).module.normalized_shape == (24,)


REFUSED = {
    "no such module": (Target("no_such_module:Norm"), ImportPathError, "make = 'no_such_module:Norm': no_such_module"),
    "no such name": (Target("torch.nn:GroupNrm"), ImportPathError, "near are GroupNorm"),
    "unknown argument": (Target(Deep), ArgumentError, "args = (): …Deep needs depth too…def make(): return Deep("),
    "too many arguments": (Target(Norm, args=(1, 2, 3, 4)), ArgumentError, "does not take them"),
    "its own error": (Target("torch.nn:GroupNorm", args=(3, 8)), TargetError, "cannot be made: ValueError"),
    "no signature": (Target("torch:rms_norm"), ArgumentError, "write an adapter, def make(): return lambda input"),
    "adapter of nothing": (Target(makes_nothing), ArgumentError, "made int: it must be"),
    "no groups": (Target(lambda: nn.Identity(), like="GroupNorm"), ArgumentError, "num_groups = None"),
    "another shape": (Target("torch.nn:Linear", args=(3, 4)), TargetError, "takes none of the shapes"),
}


@pytest.mark.parametrize(("target", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line_that_names_the_argument(target, error, said):
    with pytest.raises(error) as raised:
        build(target)
    text = str(raised.value)
    assert "\n" not in text
    assert all(part in text for part in said.split("…")), text


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"make": "no path"},
        {"make": 3},
        {"make": "a:b", "like": "Nothing"},
        {"make": "a:b", "dtypes": ["int8"]},
        {"make": "a:b", "dtypes": "float32"},
        {"make": "a:b", "shapes": [[1, 2.0]]},
        {"make": "a:b", "activation": "tanh"},
        {"make": "a:b", "num_groups": 0},
        {"make": "a:b", "expected": {"output": ""}},
        {"make": "a:b", "prepare": "a:c"},
        {"make": "a:b", "kwargs": [1]},
    ],
)
def test_a_target_that_cannot_be_is_refused(fields):
    with pytest.raises(ArgumentError):
        Target(**fields)


def test_a_target_travels_as_json():
    target = Target(Norm, args=(4, 8), like="groupnorm", shapes=[[2, 8, 3]], expected={"vmap": "for no reason"})
    again = Target.from_dict(json.loads(json.dumps(target.as_dict())))
    assert (again.loaded(), again.like, again.shapes) == (Norm, "GroupNorm", ((2, 8, 3),))
    with pytest.raises(ArgumentError, match="no import path"):
        Target(lambda x: x).as_dict()


def test_what_is_written_behind_a_bracket_is_not_taken_for_the_arguments():
    with pytest.raises(ArgumentError, match="must be Python's literals"):
        parse("1)(2")


def test_tuples_of_arguments_stay_tuples_in_another_process():
    target = Target(Norm, args=((8, [1, (2,)]), 3), kwargs={"sizes": {"inner": (4,)}, "plain": [5]})
    again = Target.from_dict(json.loads(json.dumps(target.as_dict())))
    assert (again.args, again.kwargs) == (target.args, target.kwargs)
    assert Target.from_dict(target.as_dict()) == replace(target, make=again.make)
    assert Target.from_dict({"make": "a:b", "kwargs": {"x": {"tuple:": 3}}}).kwargs == {"x": {"tuple:": 3}}


def test_a_normalized_shape_is_taken_with_and_without_like():
    for like in (None, "LayerNorm"):
        target = Target("torch.nn.functional:layer_norm", args=(16,), shapes=[(4, 6, 16)], like=like)
        assert build(target).module.settings["normalized_shape"] == (16,)
        with pytest.raises(ArgumentError, match=r"normalized_shape = 5\.0: must be a size"):
            build(replace(target, args=(5.0,)))


def project(folder, text):
    (folder / "pyproject.toml").write_text(text)
    return configuration.find_project(folder)


def test_a_projects_table(tmp_path):
    found = project(
        tmp_path,
        """
        [tool.normsuite]
        package = "mine"
        isolation = "process"
        [[tool.normsuite.target]]
        name = "gn"
        make = "mine:GroupNorm"
        args = [4, 64]
        like = "GroupNorm"
        shapes = [[16, 64, 14, 14]]
        [[tool.normsuite.target]]
        prepare = "benchmarks.calls:attention"
        [tool.normsuite.gate]
        budget = "1.5min"
        """,
    )
    assert found.packages == ("mine",) and found.gate.budget_s == 90
    assert [target.title for target in found.targets] == ["gn", "benchmarks.calls:attention"]
    (tmp_path / "src" / "mine").mkdir(parents=True)
    assert found.package_folder("mine") == tmp_path / "src" / "mine"
    assert all_by_name(tmp_path)["gn"].args == (4, 64) and "other" not in all_by_name(tmp_path)
    with pytest.raises(DataError, match="package = 'yours'"):
        found.package_folder("yours")


def test_no_table_is_no_project(tmp_path):
    (tmp_path / ".git").mkdir()
    assert project(tmp_path, "[tool.other]\n") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tool.normsuite.packge = 'a'", "packge"),
        ("tool.normsuite.package = 3", "package = 3"),
        ("tool.normsuite.package = 'a b'", "a b"),
        ("tool.normsuite.package = 'a'\ntool.normsuite.packages = ['b']", "packages = ['b'] stands beside package"),
        ("tool.normsuite.isolation = 'none'", "isolation = 'none'"),
        ("tool.normsuite.isolation = 'no'", "isolation = 'no'"),
        ("tool.normsuite.build = 1", "build = 1"),
        ("tool.normsuite.gate.budget = 'long'", "budget = 'long'"),
        ("tool.normsuite.gate.undecided = 'maybe'", "undecided = 'maybe'"),
        ("tool.normsuite.target = 3", "target = 3"),
        ("[[tool.normsuite.target]]\nmake = 'a:b'\nlike = 'Nothing'", "target a:b: like = 'Nothing'"),
        ("[[tool.normsuite.target]]\nmake = 3", "make = 3"),
        ("[[tool.normsuite.target]]\nmak = 'a:b'", "mak"),
        ("[[tool.normsuite.target]]\nmake = 'a:b'\n[[tool.normsuite.target]]\nmake = 'a:b'", "two targets"),
        ("tool.normsuite = 3", "must be a table"),
        ("tool = 1", "tool = 1 must be a table"),
        ("[tool", "is no TOML"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path, text, said):
    with pytest.raises(DataError) as raised:
        project(tmp_path, text)
    assert said in str(raised.value) and "pyproject.toml" in str(raised.value)


def test_all_errors_are_of_the_suite():
    assert issubclass(TargetError, NormsuiteError) and issubclass(UnknownNameError, ArgumentError)


@pytest.mark.parametrize("text", ["(", "1) + (2", "x", "{[1]: 2}", "eps=1, eps=2", "**{'a': 1}"])
def test_arguments_that_are_no_literals_are_refused(text):
    with pytest.raises(ArgumentError, match="must be Python's literals"):
        parse(text)


def test_arguments_are_read_as_literals():
    assert parse("4, (8, 2), eps=1e-6") == ((4, (8, 2)), {"eps": 1e-6}) and parse("") == ((), {})
