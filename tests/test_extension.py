"""A new norm is one file: here in a temporary folder, found by explain, bench, study and report."""

import copy
import json
import os
import subprocess
import sys

import pytest

from normsuite import spec
from normsuite.errors import DataError

FILE = """
name = "PlaneNorm"
groups = "channels"
axes = ["spatial"]
affine = "channel"
affine_by_default = true
running = "never"
paper = "this test"
centred = false
"""

ELEMENT = FILE.replace('"channels"', '"one"').replace('"channel"', '"element"')

USE = """
import sys
from pathlib import Path
from normsuite import report
from normsuite.measure import accuracy, workload
from normsuite.spec import find
from normsuite.study import sweep
from normsuite.study.plan import plan

if __name__ == "__main__":
    out = Path(sys.argv[1])
    norm = find("plane_norm")
    assert max(accuracy.errors(workload.named(norm.name, "reference", "tiny"))) < 1e-6
    small = {"epochs": 1, "train_size": 640, "batch_size": 64}
    runs = plan(norms=["PlaneNorm", "none"], seeds=1, backend="reference", **small)
    sweep.sweep(runs, out / "study", processes=1)
    page, _ = report.write(out, out / "html")
    assert all((page.parent / f"{name}.html").read_text().count("PlaneNorm") > 5 for name in ("norms", "learning"))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "norms").mkdir()
    (tmp_path / "norms" / "plane-norm.toml").write_text(FILE)
    return tmp_path


def environment(folder):
    return {**os.environ, spec.FOLDERS_VARIABLE: str(folder / "norms")}


def test_a_norm_from_a_folder_is_everywhere(folder, digits_cache):
    (folder / "use.py").write_text(USE)
    subprocess.run([sys.executable, folder / "use.py", folder / "out"], env=environment(folder), check=True)


def test_a_study_leaves_out_what_its_backend_lacks_and_says_so(folder):
    command = [sys.executable, "-m", "normsuite", "study", "--dry-run", "--json", "-"]
    by_torch = subprocess.run(command, env=environment(folder), check=True, capture_output=True, text=True)
    assert "PlaneNorm is left out: torch has no PlaneNorm; --backend auto computes it" in by_torch.stderr
    command += ["--backend", "auto"]
    by_auto = subprocess.run(command, env=environment(folder), check=True, capture_output=True, text=True)
    assert "left out" not in by_auto.stderr
    assert json.loads(by_auto.stdout)["runs"] - json.loads(by_torch.stdout)["runs"] == 3


def test_a_norm_from_a_folder_is_explained(folder):
    command = [sys.executable, "-m", "normsuite", "explain", "planenorm", "--json", "-"]
    done = subprocess.run(command, env=environment(folder), check=True, capture_output=True, text=True)
    rows = json.loads(done.stdout)
    assert {row["norm"] for row in rows} == {"PlaneNorm"} and len(rows) == 12 * 2 + 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FILE.replace('"channels"', '"all"'), "groups = 'all' must be among one, channels, given"),
        (FILE.replace('["spatial"]', '["time"]'), "axes = ['time'] must be a list of some of batch, group, spatial"),
        (FILE.replace('["spatial"]', '"spatial"'), "axes = 'spatial' must be a list of some of batch, group, spatial"),
        (FILE.replace('["spatial"]', "[]"), "axes = [] must be a list of some of"),
        (FILE.replace('["spatial"]', '[["spatial"]]'), "axes = [['spatial']] must be a list of some of"),
        (FILE.replace('"channels"', '["one"]'), "groups = ['one'] must be among one, channels, given"),
        (FILE.replace('"channel"', '"element"'), "groups = 'channels' must be 'one' where affine = 'element'"),
        (ELEMENT.replace('"never"', '"always"'), "running = 'always' must be 'never' where affine = 'element'"),
        (
            FILE.replace('"channels"', '"given"')
            .replace('["spatial"]', '["group", "spatial"]')
            .replace("never", "optional"),
            "running = 'optional' needs a mean for each channel, over its places",
        ),
        (FILE.replace("never", "optional"), "running = 'optional' needs a norm that is centred"),
        (FILE.replace("centred", "centered"), "does not know centered"),
        (FILE.replace('running = "never"', ""), "lacks running"),
        (FILE.replace("centred = false", "centred = 0"), "centred = 0 must be true or false"),
        (FILE.replace('"PlaneNorm"', '"none"'), "name = 'none' must be a name"),
        (FILE.replace('"PlaneNorm"', "3"), "name = 3 must be a name"),
        ("name =", "cannot be read"),
    ],
)
def test_a_wrong_file_is_named_with_its_field(folder, text, says):
    (folder / "norms" / "plane-norm.toml").write_text(text)
    with pytest.raises(DataError) as caught:
        spec.load(folder / "norms" / "plane-norm.toml")
    assert str(caught.value).startswith("plane-norm.toml: ") and says in str(caught.value)


def test_a_copied_layer_has_the_same_norm():
    """Calls that were checked are found by it, and a model's layers are often copies of one."""
    assert copy.deepcopy(spec.NORMS["BatchNorm"]) is spec.NORMS["BatchNorm"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("plane_norm", "torch_call = 'plane_norm' must be among batch_norm, layer_norm, group_norm"),
        (["batch_norm"], "torch_call = ['batch_norm'] must be among batch_norm"),
        (
            "batch_norm",
            "torch_call = 'batch_norm' computes a norm with axes = ['batch', 'spatial'], and this file has ['spatial']",
        ),
    ],
)
def test_a_call_of_torch_that_computes_another_norm_is_refused(folder, call, says):
    (folder / "norms" / "plane-norm.toml").write_text(f"{FILE}torch_call = {json.dumps(call)}\n")
    (folder / "norms" / ".DS_Store").write_bytes(b"\0")
    command = [sys.executable, "-m", "normsuite", "explain"]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f"normsuite: plane-norm.toml: {says}")


def test_a_call_of_torch_that_computes_the_norm_is_taken(folder):
    text = FILE.replace("centred = false", "centred = true").replace('["spatial"]', '["group", "spatial"]')
    (folder / "norms" / "plane-norm.toml").write_text(f'{text}torch_call = "instance_norm"\n')
    command = [sys.executable, "-m", "normsuite", "explain", "PlaneNorm"]
    assert subprocess.run(command, env=environment(folder), capture_output=True).returncode == 0


def test_a_second_norm_of_that_name_is_refused(folder):
    (folder / "norms" / "plane-norm.toml").write_text(FILE.replace("PlaneNorm", "batch-norm"))
    done = subprocess.run(
        [sys.executable, "-m", "normsuite", "explain"], env=environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "normsuite: plane-norm.toml: there is a norm named batch-norm already\n"


def test_a_folder_that_is_not_there_is_named(folder):
    misspelt = {**environment(folder), spec.FOLDERS_VARIABLE: str(folder / "nroms")}
    done = subprocess.run([sys.executable, "-m", "normsuite", "explain"], env=misspelt, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("nroms': is no folder\n"), done.stderr
