"""The description of a machine that asv is given."""

import json
from pathlib import Path

import pytest
from asv.machine import Machine, MachineCollection

from tools import asv_machine


def test_two_cards_in_equal_machines_have_names_and_processors_of_their_own():
    plain, first, second = map(asv_machine.described, (None, "NVIDIA H100 PCIe", "NVIDIA H200"))
    assert plain == Machine.get_defaults()
    assert first["machine"] == f"{plain['machine']}-nvidia-h100-pcie" != second["machine"]
    assert first["cpu"] == f"{plain['cpu']}, NVIDIA H100 PCIe" != second["cpu"]
    assert {name for name in plain if first[name] != plain[name]} == {"machine", "cpu"}


def test_the_machine_is_stored_where_asv_looks_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        MachineCollection, "get_machine_file_path", staticmethod(lambda: str(tmp_path / "machine.json"))
    )
    monkeypatch.setattr(asv_machine.torch.accelerator, "current_accelerator", lambda check_available: None)
    asv_machine.main()
    name = capsys.readouterr().out.strip()
    assert json.loads((tmp_path / "machine.json").read_text())[name]["machine"] == name
    assert MachineCollection.load(name)["cpu"] == Machine.get_defaults()["cpu"]


@pytest.mark.parametrize("target", ["report"])
def test_make_names_the_machine(target):
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.split(f"\n{target}:")[1].split("\n\n")[0]
    assert "tools.asv_machine" in recipe and '--machine "$$machine"' in recipe
