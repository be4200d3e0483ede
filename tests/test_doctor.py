"""What the doctor says of machines that are made up, and of this one."""

import json
import math

import pytest
from typer.testing import CliRunner

from normsuite import backends, doctor
from normsuite.bench.summary import AGAIN, BASELINE
from normsuite.cli import app
from normsuite.doctor import noise, system
from normsuite.errors import NormsuiteError, UnsupportedError
from normsuite.machine import allocator
from normsuite.measure import implementations, process

QUIET = {
    "cpu": "A processor", "cores": 4, "usable_cores": 2, "quota": None, "governor": "performance", "turbo": False,
    "smt": False, "load": 0.1, "threads": 2, "kernels": "torch's OpenMP, 2 threads", "tuning": "shipped",
    "allocator": dict(allocator.PINNED), "accelerator": "none",
}  # fmt: skip


def machine(**changed):
    return doctor.Machine(**{**QUIET, **changed})


def test_a_quiet_machine_needs_no_advice():
    assert doctor.advise(machine()) == []


def test_what_the_system_does_not_say_is_no_reason_for_advice():
    assert doctor.advise(machine(governor=None, turbo=None, smt=None, load=None)) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"governor": "powersave"}, "governor is powersave"),
        ({"turbo": True}, "turbo"),
        ({"load": 0.7}, "the load is 0.7"),
        ({"threads": 3}, "OMP_NUM_THREADS=2"),
        ({"quota": 1.5}, "OMP_NUM_THREADS=1"),
        ({"quota": 0.5}, "OMP_NUM_THREADS=1"),
        ({"smt": True}, "share a core"),
        ({"usable_cores": 4}, "taskset -c 0-1"),
        ({"usable_cores": 4, "threads": 1}, "taskset -c 0 "),
        ({"allocator": {"MALLOC_TRIM_THRESHOLD_": "1"}}, "MALLOC_MMAP_THRESHOLD_="),
    ],
)
def test_each_disturbance_has_its_advice(changed, said):
    (advice,) = doctor.advise(machine(**changed))
    assert said in advice


def process_said(ratio, others):
    """Return the message of a process in which the second of two equal calls took `ratio` times as long."""
    first = [1e-3, 1.1e-3, 1e-3, 0.9e-3] * 5
    return {"times_s": {BASELINE: first, AGAIN: [ratio * t for t in first]}, "others_share": others}


def test_noise_is_that_of_processes_and_of_calls():
    found = noise._noise([process_said(0.99, 0.0), process_said(1.01, 0.8)])
    assert found.ratio.low < 1 < found.ratio.high and found.ratio.value == pytest.approx(1, abs=1e-3)
    assert found.spread == pytest.approx(0.2) and found.call_s == pytest.approx(1e-3)
    assert found.others == pytest.approx(0.4) and found.processes == 2
    (advice,) = doctor.advise(machine(), found)
    assert "other programs took 40%" in advice


def test_noise_of_a_system_that_does_not_tell_what_others_take():
    found = noise._noise([process_said(0.99, None), process_said(1.01, None)])
    assert found.others is None and doctor.advise(machine(), found) == []


def test_noise_is_measured_in_fresh_processes():
    found = doctor.measure_noise(1, processes=2, seconds=0.05)
    assert found.processes == 2 and found.call_s > 0 and found.spread >= 0
    assert math.isfinite(found.ratio.value) and found.ratio.low <= found.ratio.value <= found.ratio.high


@pytest.mark.parametrize(
    ("files", "turbo", "quota"),
    [
        ({}, None, None),
        ({"cpu/intel_pstate/no_turbo": "0\n"}, True, None),
        ({"cpu/intel_pstate/no_turbo": "1\n", "cpu/cpufreq/boost": "1\n"}, False, None),
        ({"cpu/cpufreq/boost": "0\n"}, False, None),
        ({"cpu.max": "max 100000\n"}, None, None),
        ({"cpu.max": "150000 100000\n"}, None, 1.5),
    ],
)
def test_what_the_system_writes_is_understood(tmp_path, monkeypatch, files, turbo, quota):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(system, "_CPUS", tmp_path / "cpu")
    monkeypatch.setattr(system, "_QUOTA", tmp_path / "cpu.max")
    assert (system._turbo(), system._quota()) == (turbo, quota)


def test_a_backend_says_itself_why_not(monkeypatch):
    def refuse(call):
        return f"does not feel like {call.spec.name}" if call.spec.name == "GroupNorm" else None

    monkeypatch.setattr(backends.get("reference"), "why_not", refuse)
    refused = doctor.refused_norms()
    found = doctor.usable_backends(refused)
    assert set(found) == set(backends.NAMES)
    assert refused["reference"] == {"GroupNorm": "does not feel like GroupNorm"} and refused["torch"] == {}
    assert found["reference"] is None and found["torch"] is None
    done = CliRunner().invoke(app, ["doctor", "--quick"], env={"COLUMNS": "200"})
    assert "available, but not for GroupNorm: does not feel like GroupNorm" in done.stdout


def test_a_backend_of_accelerators_says_so_once():
    pytest.importorskip("triton", reason="needs triton")
    assert doctor.usable_backends(doctor.refused_norms())["triton"] == "computes on an accelerator, not on cpu"


def test_a_backend_that_cannot_be_imported_says_so(monkeypatch):
    def get(name, found=backends.get):
        if name == "reference":
            raise UnsupportedError("backend", name, "cannot be imported (no such thing)")
        return found(name)

    monkeypatch.setattr(backends, "get", get)
    assert "no such thing" in doctor.usable_backends(doctor.refused_norms())["reference"]


def test_a_backend_that_fails_is_named_with_its_error(monkeypatch):
    def fail(call):
        raise OSError("no such library\nat all")

    monkeypatch.setattr(backends.get("reference"), "why_not", fail)
    assert "no such library" in doctor.usable_backends(doctor.refused_norms())["reference"]


def test_a_rival_of_activations_alone_is_measured():
    assert doctor.usable_rivals()["torch.compile, activation apart"] is None


def test_a_rival_that_is_not_installed_names_what_installs_it(monkeypatch):
    monkeypatch.setattr(implementations, "find_spec", lambda package: None)
    found = doctor.usable_rivals()
    assert {"flax", "onnxruntime", "liger", "torch.compile"} <= set(found)
    assert not {BASELINE, AGAIN, *backends.NAMES} & set(found)
    for rival in ("flax", "onnxruntime"):
        assert "not installed" in found[rival] and implementations.PEERS in found[rival]


def test_the_command_shows_everything_but_the_noise_when_it_is_to_be_quick():
    done = CliRunner().invoke(app, ["doctor", "--quick"])
    assert done.exit_code == 0, done.output
    for said in (
        "processor",
        "numba kernels",
        "sizes of auto",
        "accelerator",
        "not measured (--quick)",
        *backends.NAMES,
    ):
        assert said in done.output


def test_the_command_as_json():
    done = CliRunner().invoke(app, ["doctor", "--quick", "--json", "-"])
    found = json.loads(done.output)
    assert done.exit_code == 0 and found["noise"] is None and found["machine"]["threads"] == 2
    assert set(found["backends"]) == set(backends.NAMES) and isinstance(found["advice"], list)


def test_a_measuring_process_that_dies_is_an_error_of_one_line(monkeypatch):
    def die(*_, **__):
        raise process.Died("exit code 1: out of luck")

    monkeypatch.setattr(doctor, "measure_noise", die)
    done = CliRunner().invoke(app, ["doctor"])
    assert isinstance(done.exception, NormsuiteError) and "out of luck" in str(done.exception)
