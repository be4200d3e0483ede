"""Projects that a gate refuses before anything starts, and how their cells are named."""

import sys

import pytest
from guarded_repository import Repository

from normsuite.errors import ArgumentError, DataError
from normsuite.gate import guarded, sides
from normsuite.targets.configuration import find_project


def test_a_package_that_is_a_link_out_of_the_project_is_refused(tmp_path):
    Repository(tmp_path / "project")
    (tmp_path / "project" / "src" / "ownnorms").rename(tmp_path / "elsewhere")
    (tmp_path / "project" / "src" / "ownnorms").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="package = 'ownnorms': its folder is a link to"):
        guarded.source_of(find_project(tmp_path / "project"))


def test_a_device_that_is_not_here_is_refused_before_anything_starts(tmp_path):
    Repository(tmp_path)
    with pytest.raises(ArgumentError, match="device = 'meta': not available here"):
        guarded.plan(find_project(tmp_path), device="meta")


def test_a_cell_is_named_with_a_plain_x_too(tmp_path):
    found = guarded.plan(find_project(Repository(tmp_path).folder), only=["*/4x8x14x14/step"]).cells
    assert [cell.name for cell in found] == ["GroupNorm/ownnorms:GroupNorm(4, 8)/4×8×14×14/step"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_package_that_a_version_lacks_is_not_taken_from_elsewhere(tmp_path, monkeypatch, alone):
    """The working copy of a package of prepared calls may be importable."""
    first, other = packages = [f"first{alone}package", f"other{alone}package"]
    for folder, package in (("version", first), ("elsewhere", other)):
        (tmp_path / folder / package).mkdir(parents=True)
        for file in ("__init__.py", "calls.py"):
            (tmp_path / folder / package / file).write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "elsewhere")])
    found = sides.load(
        tmp_path / "version", "base", packages, [f"{package}.calls" for package in packages], alone=alone
    )
    assert list(found) == [first] and other not in sys.modules
