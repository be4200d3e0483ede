"""Settings of a target's norm that the gate takes from its arguments, since it imports no target itself."""

from pathlib import Path

import pytest

from normsuite.errors import ArgumentError
from normsuite.gate import guarded
from normsuite.targets import Target
from normsuite.targets.configuration import Project


@pytest.mark.parametrize(
    ("args", "kwargs", "groups"),
    [
        ([4, 64], {}, 4),
        ([64, 8], {}, 8),
        ([4], {}, 4),
        ([64, 64], {}, 64),
        ([64], {"num_groups": 8}, 8),
        ([64], {}, None),
        ([], {}, None),
    ],
)
def test_the_number_of_channels_is_not_taken_for_that_of_groups(args, kwargs, groups):
    target = Target("mine:GroupNorm", args=args, kwargs=kwargs, like="GroupNorm", shapes=((2, 64, 5, 5),))
    project = Project(Path(), ("mine",), (target,))
    if groups is None:
        with pytest.raises(ArgumentError, match=r"can be measured \(.*: say num_groups\)"):
            guarded.plan(project)
    else:
        assert {cell.task.num_groups for cell in guarded.plan(project).cells} == {groups}


def test_a_setting_that_is_no_size_is_not_taken_for_one():
    target = Target("mine:rms_norm", args=[1e-6], like="RMSNorm", shapes=((2, 5, 64),))
    cells = guarded.plan(Project(Path(), ("mine",), (target,))).cells
    assert {cell.task.normalized_shape for cell in cells} == {(64,)}
