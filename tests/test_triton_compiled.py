"""The Triton kernels compiled for devices that are not here: what the machine code has, and what the proof says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs triton")

from tools import kernel_occupancy as occupancy
from tools import kernel_proof as proof
from tools import kernel_traffic as traffic
from tools.kernel_compiler import Compiled
from tools.kernel_proof import Found, ProvenCall

REPRESENTATIVE = [
    ProvenCall("LayerNorm", (8192, 4096), "step", "bfloat16"),
    ProvenCall("GroupNorm", (64, 256, 56, 56), "step", "bfloat16", activation="silu"),
    ProvenCall("BatchNorm", (256, 256, 56, 56), "step", "float32", channels_last=True),
    ProvenCall("BatchNorm", (256, 256, 56, 56), "evaluation", "float32"),
]
TIGHT = [
    ProvenCall("BatchNorm", (256, 2048, 7, 7), "step", "float32"),  # 49 places: no vectors, and an address for each
    ProvenCall("BatchNorm", (256, 2048, 7, 7), "step", "bfloat16", activation="relu"),
    ProvenCall("LayerNorm", (8192, 4097), "step", "float32"),
    ProvenCall("RMSNorm", (8192, 4097), "step", "bfloat16"),
    ProvenCall("LayerNorm", (4096, 16384), "step", "bfloat16"),
    ProvenCall("LayerNorm", (4096, 16384), "step", "float16"),
    ProvenCall("LayerNorm", (8192, 8192), "step", "float32"),  # does not fit into sm_80's shared memory in three stages
    ProvenCall("LayerNorm", (4096, 20480), "step", "float32"),
    ProvenCall("LayerNorm", (1024, 24577), "step", "float32"),  # no vectors
    ProvenCall("LayerNorm", (1024, 24577), "step", "bfloat16"),
    ProvenCall("LayerNorm", (1024, 30000), "step", "float32"),
    ProvenCall("RMSNorm", (8192, 128), "step", "float32"),
    ProvenCall("InstanceNorm", (16, 64, 128, 128), "step", "float32"),
    ProvenCall("GroupNorm", (64, 256, 56, 56), "step", "float32", channels_last=True),
    ProvenCall("GroupNorm", (8, 320, 128, 128), "step", "bfloat16", channels_last=True, activation="silu"),
    ProvenCall("GroupNorm", (1, 128, 1024, 1024), "step", "float32"),
    ProvenCall("GroupNorm", (8, 64, 128, 128), "step", "float32", activation="silu"),  # one round of a loop on sm_90
    ProvenCall("GroupNorm", (8192, 2048, 2, 2), "step", "float32", activation="silu"),
]
"""Calls with kernels that once spilled, for one architecture or another."""

KERNELS = {
    "forward_resident", "backward_resident", "partial_statistics", "finalize", "partial_sums", "forward", "backward",
    "add_up",
}  # fmt: skip


@pytest.fixture(scope="module")
def proven():
    return proof.prove(REPRESENTATIVE, [90])


def test_kernels_have_no_faults(proven):
    assert {one["compiled"]["kernel"] for one in proven["kernels"]} == KERNELS
    for one in proven["kernels"]:
        assert one["faults"] == [], one
        assert one["compiled"]["local"] == one["compiled"]["local_bytes"] == one["compiled"]["atomics"] == 0
        assert 0 < one["compiled"]["registers"] <= 255 and one["programs"] >= 1


def test_aligned_tensors_are_read_and_written_by_whole_vectors(proven):
    of_tensors = [one for one in proven["kernels"] if one["widest"]]
    assert len(of_tensors) >= 7
    for one in of_tensors:
        assert one["widest"] == 128 and one["compiled"]["loads"][128] >= 1, one
        assert one["writes"] is ("partial" not in one["compiled"]["kernel"])
        if one["writes"]:
            assert one["compiled"]["stores"][128] >= 1, one


@pytest.mark.slow
@pytest.mark.parametrize("capability", (80, 90, 100))
def test_kernels_that_need_many_registers_have_no_faults(capability):
    for one in proof.prove(TIGHT, [capability])["kernels"]:
        assert one["faults"] == [] and one["compiled"]["local"] == 0, one


WIDE = [
    ProvenCall("LayerNorm", (524288, 8192), "step", "float32"),
    ProvenCall("BatchNorm", (1024, 64, 224, 224), "step", "float32"),
    ProvenCall("BatchNorm", (1024, 64, 224, 224), "evaluation", "float32"),
    ProvenCall("GroupNorm", (512, 320, 128, 128), "step", "float32", channels_last=True, activation="silu"),
    ProvenCall("GroupNorm", (2048, 32, 256, 256), "step", "float32"),
]


@pytest.mark.slow
def test_kernels_of_64_bit_offsets_compile_without_faults():
    """The interpreter does not see what the compiler refuses, such as two types of one result."""
    wide = [one for subject in WIDE for one in proof.launches(subject, 90) if "WIDE" in one[2]]
    assert all(named["WIDE"] for _, _, named, _ in wide)
    walking = {kernel.__name__ for kernel, *_ in wide}
    assert walking == KERNELS - {"finalize", "add_up"}
    assert not [one for one in proof.prove(WIDE, [90])["kernels"] if one["faults"]]


def test_what_was_compiled_is_not_compiled_again(tmp_path, monkeypatch):
    call = [ProvenCall("RMSNorm", (16, 8192), "forward", "float32")]
    first = proof.prove(call, [90], cache=tmp_path)
    assert first["kernels"] and len(list(tmp_path.iterdir())) == len(first["kernels"])
    monkeypatch.setattr(proof, "compiled", None)
    assert proof.prove(call, [90], cache=tmp_path) == first


def test_a_kernel_is_compiled_once(proven):
    named = [place for call in proven["calls"] for place in call["kernels"]]
    assert sorted(set(named)) == list(range(len(proven["kernels"])))


def test_faults_are_named():
    bad = Compiled("forward", 90, 4, 255, 64, 0, 0, {32: 4}, {64: 1}, 12, 3)
    found = Found(bad, 0, (1, 1, 4096), 128, True, "a call").faults
    assert len(found) == 5 and found[0].startswith("spills: 12") and found[1] == "3 atomics"


@pytest.mark.parametrize(
    ("capability", "warps", "registers", "shared", "expected"),
    [
        (90, 4, 32, 0, 16),  # by warps
        (90, 4, 128, 0, 4),  # by registers
        (90, 1, 16, 0, 32),  # by programs
        (80, 4, 32, 100_000, 1),  # by shared memory
        (90, 4, 32, 100_000, 2),
        (90, 16, 255, 0, 0),  # does not fit
    ],
)
def test_programs_of_a_multiprocessor(capability, warps, registers, shared, expected):
    """The figures are computed by hand, from the table in NVIDIA's programming guide."""
    limits = occupancy.LIMITS[capability]
    assert occupancy.programs(limits, warps=warps, registers=registers, shared_bytes=shared) == expected


@pytest.mark.parametrize(
    ("grid", "units", "warps", "registers", "expected"),
    [
        ((264, 1), 4096, 8, 255, 2),  # each takes many units: all programs run at a time
        ((66, 2), 4096, 16, 128, 1),
        ((264, 2), 4096, 16, 128, 4),
        ((4096, 1), 4096, 16, 64, 2),  # one unit each, of which the limit of registers lets two fit
        ((4096, 1), 4096, 16, 128, 1),
        ((4096, 9), 0, 4, 255, 1),
    ],
)
def test_programs_that_a_launch_expects_on_a_multiprocessor(grid, units, warps, registers, expected):
    found = occupancy.expected(occupancy.LIMITS[90], grid=grid, units=units, warps=warps, most_registers=registers)
    assert found == expected


def test_a_launch_that_expects_more_programs_than_fit_is_a_fault():
    assert proof.occupancy_faults(1, 2) == ["1 of 2 programs fit at a time"]
    assert proof.occupancy_faults(2, 2) == proof.occupancy_faults(0, 2) == []  # 0 has a fault of its own


@pytest.mark.parametrize("capability", (80, 90, 100))
def test_programs_that_share_a_row_run_at_a_time(capability):
    """A row of 16,384 is written by several programs, with 16 warps of 128 registers each: one fits."""
    (launched,) = [
        one
        for one in proof.launches(ProvenCall("LayerNorm", (4096, 16384), "step", "float32"), capability)
        if one[0].__name__ == "backward_resident"
    ]
    _, grid, given, options = launched
    limits = occupancy.LIMITS[capability]
    assert grid[1] > 1 and given["units"] > grid[0] > 1
    registers = {"warps": options["num_warps"], "most_registers": options["maxnreg"]}
    assert occupancy.expected(limits, grid=grid, units=given["units"], **registers) == 1


def test_traffic_of_statistics_in_registers_is_the_least():
    size = 8192 * 4096 * 4
    queued = proof.launches(ProvenCall("LayerNorm", (8192, 4096), "forward", "float32"), 90)
    assert traffic.of(queued, size, 2) == traffic.Traffic(size, size, 0, 2 * size)


def test_traffic_of_statistics_of_several_programs():
    subject = ProvenCall("BatchNorm", (256, 256, 56, 56), "step", "float32", channels_last=True)
    queued = proof.launches(subject, 90)
    moved = traffic.of(queued, 1000, 5)
    (statistics,) = [(grid, given) for kernel, grid, given, _ in queued if kernel.__name__ == "partial_statistics"]
    pivots = statistics[0][1] * statistics[1]["R"] * 256 * 4  # a part begins with its first tile's mean
    assert moved.read_bytes == (1 + 1 + 2 + 2) * 1000 + pivots and moved.written_bytes == 2000
    partial = [given["partial"].nbytes for kernel, _, given, _ in queued if kernel.__name__ in ("finalize", "add_up")]
    assert len(partial) == 3 and moved.partial_bytes == 2 * sum(partial) + 256 * 8  # finalize begins with a mean each


def test_the_table_has_every_norm_layout_and_mode():
    found = list(proof.calls())
    assert len({subject.name for subject in found}) == len(found) > 300
    for norm in ("BatchNorm", "InstanceNorm", "GroupNorm"):
        of_norm = [subject for subject in found if subject.norm == norm]
        assert {s.channels_last for s in of_norm} == {True, False} and {s.dtype for s in of_norm} == set(proof.DTYPES)
    assert {s.mode for s in found if s.norm == "BatchNorm"} == set(proof.MODES)


def test_a_pattern_without_a_call_is_refused():
    command = [sys.executable, "-m", "tools.kernel_proof", "--only", "NoNorm*"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert done.returncode == 2 and "--only NoNorm*: matches no call" in done.stderr


def test_the_command_writes_json(tmp_path, monkeypatch):
    made = {"capabilities": [80], "kernels": [], "calls": []}
    monkeypatch.setattr(
        proof, "prove", lambda subjects, capabilities, processes, cache: made | {"calls": len(subjects)}
    )
    assert proof.main(["--capability", "80", "--json", str(tmp_path / "proof.json"), "--only", "RMSNorm*"]) == 0
    assert json.loads((tmp_path / "proof.json").read_text())["calls"] == 6 * len(proof.ROWS)
