"""Compile the kernels for a device that is not here, and read what the compiler made of them.

Neither registers nor instructions prove speed; they show what would be slow: spills to local memory, scalar loads, and
atomics, which would make results differ from run to run.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

_POINTER = {torch.float32: "*fp32", torch.float64: "*fp64", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
_OPTIONS = ("num_warps", "num_stages", "maxnreg")


@dataclass
class Recorder:
    """A stand-in for `launch.run` that stores what would have been queued."""

    launches: list[tuple[triton.JITFunction, tuple[int, ...], dict, dict]] = field(default_factory=list)

    def __call__(self, kernel, grid, *arguments, **named) -> None:
        """Store a kernel with its grid, arguments by name and options in `launches`, and queue nothing."""
        options = {name: named.pop(name) for name in _OPTIONS if name in named}
        given = dict(zip(kernel.arg_names, arguments, strict=False)) | named
        self.launches.append((kernel, grid, given, options))


def source(kernel: triton.JITFunction, given: dict) -> ASTSource:
    """Return the kernel specialised as a launch with aligned pointers specialises it."""
    signature, constants, attributes = {}, {}, {}
    for place, parameter in enumerate(kernel.params):
        name, value = parameter.name, given[parameter.name]
        if parameter.is_constexpr or value is None or (type(value) is int and value == 1):
            signature[name], constants[(place,)] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[name], attributes[(place,)] = _POINTER[value.dtype], [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0:
                attributes[(place,)] = [["tt.divisibility", 16]]
    return ASTSource(kernel, signature, constants, attributes)


@dataclass(frozen=True)
class Compiled:
    """One kernel as the compiler made it.

    Attributes:
        kernel: its name.
        capability: 80 for sm_80.
        warps, registers: of a program, and of each thread.
        stack_bytes, local_bytes, shared_bytes: a thread's stack and local memory, and a program's shared memory.
        loads, stores: global memory instructions by width in bits.
        local: loads and stores of local memory, which are spills.
        atomics: instructions that update memory in whatever order threads come.
    """

    kernel: str
    capability: int
    warps: int
    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int
    loads: dict[int, int]
    stores: dict[int, int]
    local: int
    atomics: int


def compiled(recorder: Recorder, capability: int) -> Iterator[Compiled]:
    """Compile what was recorded for that capability of NVIDIA's devices, and yield what came out."""
    target = GPUTarget("cuda", capability, 32)
    for kernel, _, given, options in recorder.launches:
        found = triton.compile(source(kernel, given), target=target, options=options)
        yield _read(kernel.__name__, capability, options.get("num_warps", 4), found)


def _said(tool: str, *arguments: str) -> str:
    """Return what one of the tools prints that Triton comes with; what it prints as an error goes to the user."""
    command = [Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _read(name: str, capability: int, warps: int, found) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(found.asm["cubin"])
        usage = _said("cuobjdump", "--dump-resource-usage", str(file))
        code = _said("nvdisasm", "-c", "-ndf", str(file))  # no data flow: half the time for the same instructions
    numbers = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", usage)}
    return Compiled(
        kernel=name,
        capability=capability,
        warps=warps,
        registers=numbers["REG"],
        stack_bytes=numbers["STACK"],
        local_bytes=numbers["LOCAL"],
        shared_bytes=found.metadata.shared,
        loads=_widths(code, "LDG", "LDGSTS"),
        stores=_widths(code, "STG"),
        local=len(re.findall(r"\b(?:LDL|STL)\b", code)),
        atomics=len(re.findall(r"\b(?:ATOM|ATOMG|RED|REDG)\b[.\s]", code)),
    )


def _widths(code: str, *instructions: str) -> dict[int, int]:
    """Count the instructions of those names by their width in bits."""
    found: dict[int, int] = {}
    for modifiers in re.findall(rf"\b(?:{'|'.join(instructions)})((?:\.\w+)+)", code):
        parts = modifiers.split(".")
        width = next((int(p) for p in parts if p in ("64", "128", "256")), None)
        width = width or next((int(p[1:]) for p in parts if p in ("U8", "S8", "U16", "S16")), 32)
        found[width] = found.get(width, 0) + 1
    return found
