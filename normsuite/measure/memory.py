"""How much memory a call takes: the highest sum of tensor bytes alive at once, counted by the allocator itself.

Process memory says little here: the C library keeps what was freed, and torch's libraries allow themselves workspaces.
On the CPU torch's profiler reports every allocation and release of a tensor's bytes; an accelerator's caching allocator
keeps the peak.
"""

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], *, device: str = "cpu") -> int:
    """Most bytes of tensors that the call had at once, beside those that were there before it.

    The call runs once before, so that what it makes once and keeps does not count. Exact and repeatable on the CPU; an
    accelerator rounds every tensor up to its allocator's blocks.

    Args:
        call: without arguments; its result counts until it returns.
        device: "cpu" or the accelerator's name.
    """
    call()
    return _on_accelerator(call, torch.device(device)) if device != "cpu" else _on_cpu(call)


def _on_cpu(call: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    alive = peak = 0
    for event in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["args"]["Ev Idx"]):
        if event["args"]["Device Type"] == 0:
            alive += event["args"]["Bytes"]
            peak = max(peak, alive)
    return peak


def _on_accelerator(call: Callable[[], object], device: torch.device) -> int:
    torch.accelerator.synchronize(device)
    before = torch.accelerator.memory_allocated(device)
    torch.accelerator.reset_peak_memory_stats(device)
    call()
    torch.accelerator.synchronize(device)
    return torch.accelerator.max_memory_allocated(device) - before


def saved_bytes(call: Callable[[], object], *, beside: Iterable[torch.Tensor] = ()) -> int:
    """Bytes of the tensors that the forward pass keeps for the backward pass, each storage once.

    Everything that is saved counts, the input too, which its owner mostly keeps anyway.

    Args:
        call: a forward and a backward pass.
        beside: tensors that do not count: the parameters, which exist with or without a backward pass.
    """
    known = {t.untyped_storage().data_ptr() for t in beside}
    saved: dict[int, torch.UntypedStorage] = {}  # holds them, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return sum(storage.nbytes() for storage in saved.values())
