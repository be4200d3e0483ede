"""The fault harness sees what it is for; `make faults` runs it whole."""

import importlib
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import faults

collect = importlib.import_module("normsuite.report.collect")  # the package has a function of that name

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_reader_that_breaks_or_loses_is_seen(tmp_path, monkeypatch):
    faults.made(tmp_path, "numerics")
    whole = collect.collect

    def breaks(folder):
        for path in folder.rglob("*.json"):
            json.loads(path.read_text())
        return whole(folder)

    monkeypatch.setattr(collect, "collect", breaks)
    monkeypatch.setattr(faults, "MUTATIONS", {"zeros": faults.MUTATIONS["zeros"]})
    of = faults.Run(0)
    of.records(tmp_path, "numerics", 2)
    assert of.counts["numerics"]["traceback"] == 2

    def silent(folder):
        found = whole(folder)
        found.notes.clear()
        return found

    monkeypatch.setattr(collect, "collect", silent)
    of = faults.Run(0)
    of.records(tmp_path, "numerics", 2)
    assert of.counts["numerics"]["wrong"] == 2
