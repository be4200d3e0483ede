"""Measure from which size on the triton kernels are faster than torch's calls, and write `accelerators.toml`.

For each norm, layout, type and mode, both are timed on tensors of growing size by the device's own time (captured
graphs over rotating operands, A B B A) and by the host's. The kernels get a size if they take at most MARGIN of torch's
device time there and at every larger one, and if either the device is what the call waits for or they keep the host no
longer than torch does.

    python tools/accelerator_table.py [--device cuda] [--out normsuite/backends/accelerators.toml] [--rounds 6]
"""

import argparse
import statistics
import tomllib
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

import normsuite.functional as ours
from normsuite.bench import device_clock
from normsuite.spec import NORMS

MARGIN = 0.98
MIB = 2**20
SIZES = tuple(n * MIB for n in (2, 4, 8, 16, 64, 256))
"""Bytes of the input."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROW, CHANNELS, GROUPS, PLACES = 4096, 256, 32, (28, 28)
LAYOUTS = {"element": ("contiguous", "unaligned"), "channel": ("contiguous", "channels_last")}
NEVER = -1


def operands(spec, layout: str, dtype: torch.dtype, size: int, device: torch.device) -> dict:
    """Random tensors of about that many bytes."""
    if spec.affine == "element":
        row = ROW + 1 if layout == "unaligned" else ROW
        shape, affine = (max(1, size // (row * dtype.itemsize)), row), (row,)
    else:
        n = max(1, size // (CHANNELS * PLACES[0] * PLACES[1] * dtype.itemsize))
        shape, affine = (n, CHANNELS, *PLACES), (CHANNELS,)

    def normal(*sizes):
        return torch.randn(sizes, device=device, dtype=torch.float32)

    x, dy = normal(*shape).to(dtype), normal(*shape).to(dtype)
    if layout == "channels_last":
        x, dy = (t.contiguous(memory_format=torch.channels_last) for t in (x, dy))
    of_parameters = dtype if spec.running == "never" else torch.float32
    weight = (1 + 0.1 * normal(*affine)).to(of_parameters)
    bias = normal(*affine).to(of_parameters) if spec.centred else None
    running = (torch.zeros(CHANNELS, device=device), torch.ones(CHANNELS, device=device))
    return {"x": x, "dy": dy, "weight": weight, "bias": bias, "running": running, "affine": affine}


def norm(spec, given: dict, mode: str, backend: str | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """The norm as a function of its input; torch.nn.functional's own where no backend is named."""
    weight, bias, running = given["weight"], given["bias"], given["running"]
    module, named = (F, {}) if backend is None else (ours, {"backend": backend})
    match spec.name:
        case "BatchNorm":
            return lambda x: module.batch_norm(x, *running, weight, bias, mode != "evaluation", **named)
        case "InstanceNorm":
            return lambda x: module.instance_norm(x, None, None, weight, bias, **named)
        case "LayerNorm":
            return lambda x: module.layer_norm(x, given["affine"], weight, bias, **named)
        case "RMSNorm":
            return lambda x: module.rms_norm(x, given["affine"], weight, 1e-5, **named)
        case _:
            return lambda x: module.group_norm(x, GROUPS, weight, bias, **named)


def call(spec, given: dict, mode: str, backend: str | None) -> Callable[[], object]:
    """One forward pass, or one with its backward pass."""
    compute, x = norm(spec, given, mode, backend), given["x"]
    if mode != "step":
        return lambda: compute(x)
    wanted = [t.detach().requires_grad_() for t in (x, given["weight"], given["bias"]) if t is not None]
    given = {**given, "weight": wanted[1], "bias": wanted[2] if len(wanted) > 2 else None}
    compute = norm(spec, given, mode, backend)
    return lambda: torch.autograd.grad(compute(wanted[0]), wanted, given["dy"])


def ratios(spec, layout: str, dtype, mode: str, size: int, device: device_clock.Accelerator, rounds: int, name: str):
    """Return device time and host time of the kernels over torch's, and the device time over the host time."""
    where = torch.device(name)
    cache = torch.get_device_module(where).get_device_properties(where).L2_cache_size
    count = device_clock.operand_sets(2 * size, cache)
    sets = [operands(spec, layout, dtype, size, where) for _ in range(count)]
    with torch.set_grad_enabled(mode == "step"):
        calls = {b: [call(spec, given, mode, b) for given in sets] for b in (None, "triton")}
        recorded = {b: device_clock.record(of_b, device) for b, of_b in calls.items()}
        repeat = {b: device_clock.calibrate(r, device) for b, r in recorded.items()}
        times, hosts = {None: [], "triton": []}, {None: [], "triton": []}
        for number in range(rounds):
            for b in (None, "triton") if number % 2 else ("triton", None):
                times[b].append(device_clock.device_sample(recorded[b], repeat[b], device))
                hosts[b].append(device_clock.host_sample(calls[b], device))
    device.release()
    on_device, on_host = (
        statistics.median(t / n for t, n in zip(of["triton"], of[None], strict=True)) for of in (times, hosts)
    )
    return on_device, on_host, statistics.median(times["triton"]) / statistics.median(hosts["triton"])


def least(found: list[tuple[int, float, float, float]]) -> int:
    """Return the smallest size from which on the kernels win, or NEVER."""
    smallest = NEVER
    for size, on_device, on_host, waits in reversed(found):
        if on_device > MARGIN or (waits < 1 and on_host > 1):
            break
        smallest = size
    return smallest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("normsuite/backends/accelerators.toml"))
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    model = torch.get_device_module(options.device).get_device_name(options.device)
    clock = device_clock.Accelerator(options.device)
    lines = []
    for spec in NORMS.values():
        for layout in LAYOUTS[spec.affine]:
            for dtype_name, dtype in DTYPES.items():
                entry = {}
                for mode in ("forward", "step", *(["evaluation"] if spec.running == "always" else [])):
                    found = []
                    for size in SIZES:
                        measured = ratios(spec, layout, dtype, mode, size, clock, options.rounds, options.device)
                        found.append((size, *measured))
                    entry[mode] = least(found)
                    shown = " ".join(f"{size // MIB}:{d:.2f}/{h:.2f}/{w:.1f}" for size, d, h, w in found)
                    print(f"{spec.name:12} {layout:13} {dtype_name:8} {mode:10} {shown} -> {entry[mode]}", flush=True)
                lines.append(f'["{model}".{spec.name}.{layout}.{dtype_name}]')
                lines += [f"{mode} = {size}" for mode, size in entry.items()]
    others = {}
    if options.out.exists():
        others = {k: v for k, v in tomllib.loads(options.out.read_text(encoding="utf-8")).items() if k != model}
    for name, norms in others.items():
        for norm_name, layouts in norms.items():
            for layout, dtypes in layouts.items():
                for dtype_name, entry in dtypes.items():
                    lines.append(f'["{name}".{norm_name}.{layout}.{dtype_name}]')
                    lines += [f"{mode} = {size}" for mode, size in entry.items()]
    head = (
        "# Bytes of the input from which on the triton kernels are faster than torch's calls, by device; -1: never.\n"
        "# Made by tools/accelerator_table.py.\n\n"
    )
    options.out.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
