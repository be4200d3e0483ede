"""Compile every kernel that calls of a device's size need, for devices that are not here, and print what came out.

    python -m tools.kernel_proof [--capability 80 90 100] [--json FILE] [--out FOLDER] [--only PATTERN]
                                 [--cache FOLDER]

It prints, as JSON, one object for each kernel (registers, spills, memory, instructions, programs that fit) and one for
each call (its kernels, and the bytes that they move against the least); with --out it writes a record of that, which
the report shows. With --cache it stores each kernel's object as soon as there is one, and does not compile it again:
what was interrupted goes on there. It proves no speed: see `kernel_compiler`.
"""

import argparse
import fnmatch
import hashlib
import inspect
import json
import math
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import torch

from normsuite.backends.triton import geometry, launch, tiles
from normsuite.files import reading, writing
from normsuite.records import kinds, provenance, results
from normsuite.spec import NORMS, find

from . import kernel_compiler, kernel_occupancy, kernel_traffic

GROUPS = 32
MODES = ("forward", "step", "evaluation")
DTYPES = ("float32", "bfloat16", "float16")
PROCESSES = 2


@dataclass(frozen=True)
class ProvenCall:
    """One call whose kernels are compiled.

    Attributes:
        norm: its name.
        shape: (N, C, *S); (rows, length) of a norm over trailing sizes.
        mode: "forward" (no gradients), "step" (with them) or "evaluation" (running statistics, no gradients).
        dtype: of all tensors but the running statistics, which are float32.
        channels_last, activation: as the call has them.
    """

    norm: str
    shape: tuple[int, ...]
    mode: str
    dtype: str
    channels_last: bool = False
    activation: str | None = None

    @property
    def name(self) -> str:
        """Return the call as text: norm, shape, layout, dtype, mode and activation."""
        layout = " channels_last" if self.channels_last else ""
        activation = f" {self.activation}" if self.activation else ""
        return f"{self.norm} {'x'.join(map(str, self.shape))}{layout} {self.dtype} {self.mode}{activation}"


ROWS = ((8192, 1), (8192, 128), (8192, 1024), (8192, 4096), (8192, 4097), (8192, 5120), (8192, 8192), (4096, 16384),
        (16, 65536), (16, 200704), (16, 8192), (1048576, 128),
        (4096, 12288), (4096, 20480), (1024, 24577), (1024, 30000), (1024, 32768), (1024, 40000),
        (524288, 8192))  # fmt: skip
PLACES = {
    "BatchNorm": ((256, 64, 112, 112), (256, 256, 56, 56), (256, 1024, 14, 14), (256, 2048, 7, 7)),
    "GroupNorm": (
        (8, 320, 128, 128),
        (8, 640, 64, 64),
        (8, 1280, 32, 32),
        (1, 128, 1024, 1024),
        (64, 256, 56, 56),
        (8, 64, 128, 128),
        (8192, 2048, 2, 2),
    ),
    "InstanceNorm": (
        (4, 32, 1080, 1920),
        (2, 32, 128, 128, 128),
        (16, 64, 128, 128),
        (1, 256, 64, 64),
        (2048, 1024, 4, 4),
    ),
}
"""Rows of language and vision models, then lengths between powers of two and offsets of 64 bits; ResNet-50, diffusion
UNet and VAE, groups of two channels, style transfer, pix2pix and nnU-Net; many samples of few places."""


def calls() -> Iterator[ProvenCall]:
    """Yield every call of the table."""
    for dtype in DTYPES:
        for norm, spec in NORMS.items():
            if spec.affine == "element":
                for shape in ROWS:
                    yield from (ProvenCall(norm, shape, mode, dtype) for mode in MODES[:2])
                continue
            modes = MODES if spec.running != "never" else MODES[:2]
            activation = "silu" if norm == "GroupNorm" else "relu"
            for sizes in PLACES[norm]:
                for last in (False, True):
                    for mode in modes:
                        yield ProvenCall(norm, sizes, mode, dtype, last)
                        yield ProvenCall(norm, sizes, mode, dtype, last, activation)


def launches(subject: ProvenCall, capability: int, family: tiles.Family | None = None) -> list[kernel_traffic.Launched]:
    """Return what that call queues on the device of that capability, or would with other constants than its own."""
    spec, dtype, recorder = find(subject.norm), getattr(torch, subject.dtype), kernel_compiler.Recorder()
    n, c, places = subject.shape[0], subject.shape[1], math.prod(subject.shape[2:])
    rows, frozen = spec.affine == "element", subject.mode == "evaluation"
    groups = {"one": 1, "channels": c, "given": GROUPS}[spec.groups]
    sizes, axes = (n, groups, c // groups, places), spec.axes
    if rows:
        sizes = (n, 1, c, 1)
    elif frozen:
        sizes, axes = (n, c, 1, places), frozenset({"batch", "spatial"})
    lies = geometry.make(sizes, axes, channels_last=subject.channels_last, per_element=rows, affine=True)
    limits = kernel_occupancy.LIMITS[capability]
    family = family or tiles.of_capability(capability)
    family = replace(family, shared_bytes=limits.shared_bytes - limits.reserved_bytes)
    made = launch.Launch(
        lies, spec.centred, subject.activation, frozen, 1e-5, dtype.itemsize, limits.multiprocessors, family, recorder
    )
    x = torch.empty(1, dtype=dtype, device="meta")
    bias = x if spec.centred else None
    running = None
    if frozen or spec.running == "always":
        running = (torch.empty(1, device="meta"),) * 2
    statistics = torch.empty((launch.ROWS, made.statistics), device="meta") if subject.mode == "step" else None
    made.forward(x, x, statistics, x, bias, running, 0.1)
    if subject.mode == "step":
        made.backward(x, x, statistics, x, bias, x, x, bias)
    return recorder.launches


def key(launched: kernel_traffic.Launched, capability: int) -> str:
    """Return what two launches share whose machine code is the same."""
    kernel, _, given, options = launched
    return f"{kernel.__name__} {capability} {kernel_compiler.source(kernel, given).hash()} {sorted(options.items())}"


@dataclass(frozen=True)
class Found:
    """One compiled kernel.

    Attributes:
        compiled: what the compiler made of it.
        programs: that a multiprocessor holds at a time.
        tile: (statistics, rows, columns), where it has one.
        widest: bits that one load or store could have, given how the tensor is aligned and how many elements a thread
            has; 0 where it reads no tensor.
        writes: whether it writes a tensor.
        of: the first call that needs it.
    """

    compiled: kernel_compiler.Compiled
    programs: int
    tile: tuple[int, ...]
    widest: int
    writes: bool
    of: str

    @property
    def faults(self) -> list[str]:
        """Return what would make it slow or its results differ from run to run."""
        c, found = self.compiled, []
        if c.local or c.local_bytes:
            found.append(f"spills: {c.local} loads and stores of local memory, {c.stack_bytes} bytes of stack")
        if c.atomics:
            found.append(f"{c.atomics} atomics")
        if not self.programs:
            found.append("does not fit onto a multiprocessor")
        if self.widest == 128 and max(c.loads, default=0) < 128:
            found.append("no loads of 128 bits")
        if self.widest == 128 and self.writes and max(c.stores, default=0) < 128:
            found.append("no stores of 128 bits")
        return found


def occupancy_faults(programs: int, expected: int) -> list[str]:
    """Return what is wrong where fewer programs fit onto a multiprocessor than a launch expects."""
    return [f"{programs} of {expected} programs fit at a time"] if 0 < programs < expected else []


def _expected(launched: kernel_traffic.Launched, capability: int) -> int:
    _, grid, given, options = launched
    return kernel_occupancy.expected(
        kernel_occupancy.LIMITS[capability],
        grid=grid,
        units=given.get("units", 0),
        warps=options.get("num_warps", 4),
        most_registers=options.get("maxnreg", 255),
    )


def compiled(subject: ProvenCall, place: int, capability: int) -> Found:
    """Compile one kernel of a call, by its place among those that the call queues."""
    launched = launches(subject, capability)[place]
    (made,) = kernel_compiler.compiled(kernel_compiler.Recorder([launched]), capability)
    fit = kernel_occupancy.programs(
        kernel_occupancy.LIMITS[capability], warps=made.warps, registers=made.registers, shared_bytes=made.shared_bytes
    )
    given = launched[2]
    tile = tuple(given[name] for name in "ARL") if "R" in given else ()
    writes = given.get("y") is not None or given.get("dx") is not None
    return Found(made, fit, tile, _widest(given, tile, made.warps), writes, subject.name)


def _widest(given: dict, tile: tuple[int, ...], warps: int) -> int:
    if not tile:
        return 0
    itemsize = given["x"].element_size()
    side = given["COL_ALIGN"] if given["col_stride"] == 1 and tile[2] > 1 else given["INNER_ALIGN"]
    each = min(side, math.prod(tile) // (32 * warps), tile[2] if tile[2] > 1 else tile[0])
    return 8 * min(16, each * itemsize)


_READER = "".join(inspect.getsource(part) for part in (kernel_compiler, kernel_occupancy, compiled, _widest))
"""The text of all that makes a `Found`, by which cached ones are told apart."""


def prove(
    found: Sequence[ProvenCall], capabilities: Sequence[int], processes: int = PROCESSES, cache: Path | None = None
) -> dict:
    """Compile what the calls need, each kernel once, and return all of it as JSON has it.

    Args:
        found: the calls.
        capabilities: of the devices.
        processes: that compile at a time.
        cache: a folder for what was compiled, and with what was compiled before.

    Raises:
        OutputError: the folder cannot be written to.
        Unreadable: a file of it is damaged.
    """
    wanted: dict[str, tuple[ProvenCall, int, int]] = {}
    expected: dict[str, int] = {}
    listed = []
    for capability in capabilities:
        for subject in found:
            queued = launches(subject, capability)
            keys = [key(launched, capability) for launched in queued]
            for place, name in enumerate(keys):
                wanted.setdefault(name, (subject, place, capability))
                expected[name] = max(expected.get(name, 1), _expected(queued[place], capability))
            size = math.prod(subject.shape) * getattr(torch, subject.dtype).itemsize
            moved = kernel_traffic.of(queued, size, 5 if subject.mode == "step" else 2)
            call = {"call": subject.name, "capability": capability, **asdict(moved), "ratio": round(moved.ratio, 4)}
            call["sources"] = [
                given.get("SOURCE", "registers") for _, _, given, _ in queued if "y" in given or "dx" in given
            ]
            listed.append(call | {"kernels": [list(wanted).index(name) for name in keys]})
    made = _all_compiled(wanted, processes, cache)
    kernels = []
    for name in wanted:
        faults = [*made[name].faults, *occupancy_faults(made[name].programs, expected[name])]
        kernels.append(asdict(made[name]) | {"expected": expected[name], "faults": faults})
    return {"capabilities": list(capabilities), "kernels": kernels, "calls": listed}


def _all_compiled(
    wanted: dict[str, tuple[ProvenCall, int, int]], processes: int, cache: Path | None
) -> dict[str, Found]:
    """Return what was compiled, by `key`, and store it."""
    made: dict[str, Found] = {}
    files: dict[str, Path] = {}
    if cache is not None:
        writing.output_folder(cache, "cache")
        version = hashlib.sha256(f"{_READER}{provenance.version('triton')}".encode()).hexdigest()
        files = {name: cache / f"{hashlib.sha256((version + name).encode()).hexdigest()}.json" for name in wanted}
        made = {name: found for name, file in files.items() if (found := _cached(file)) is not None}
    missing = [name for name in wanted if name not in made]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        under_way = {pool.submit(compiled, *wanted[name]): name for name in missing}
        for done in as_completed(under_way):
            name = under_way[done]
            made[name] = done.result()
            if files:
                writing.write_text(files[name], writing.to_json(asdict(made[name])))
    return made


def _cached(file: Path) -> Found | None:
    """Return one compiled kernel as it was written; None where it is not there, or damaged."""
    try:
        return msgspec.convert(reading.read_json(file), Found, str_keys=True)
    except (reading.Unreadable, msgspec.ValidationError):
        return None


def write_record(proved: dict, folder: Path, only: str) -> Path:
    """Write a record of what was proved, and return its file.

    Args:
        proved: as `prove` returns it.
        folder: that is made if need be.
        only: the pattern of the calls' names.

    Raises:
        OutputError: it cannot be written.
    """
    case = {"capabilities": proved["capabilities"], "only": only}
    samples = {name: proved[name] for name in ("kernels", "calls")}
    compiler = {"triton": provenance.version("triton")}
    record = results.make_record(
        kinds.AHEAD.what, case, samples, environment=provenance.environment(), seeds=[], compiler=compiler
    )
    return results.write_record(writing.output_folder(folder, "out"), kinds.AHEAD.what, record)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile the kernels of the chosen calls and write the result as JSON or a record; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.kernel_proof", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--capability", type=int, nargs="+", choices=tuple(kernel_occupancy.LIMITS), default=[80, 90, 100]
    )
    parser.add_argument("--json", type=Path, help="a file, instead of the standard output")
    parser.add_argument("--out", type=Path, help="a folder for a record of it, instead of JSON")
    parser.add_argument("--only", default="*", help="calls whose name matches, such as 'GroupNorm *bfloat16 step*'")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--cache", type=Path, help="a folder for what was compiled, so that it is compiled once")
    given = parser.parse_args(arguments)
    chosen = [subject for subject in calls() if fnmatch.fnmatch(subject.name, given.only)]
    if not chosen:
        parser.error(f"--only {given.only}: matches no call")
    proved = prove(chosen, given.capability, given.processes, given.cache)
    text = json.dumps(proved, indent=1)
    if given.out is not None:
        print(f"wrote {write_record(proved, given.out, given.only)}")
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    elif given.out is None:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
