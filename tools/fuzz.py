"""Try random sequences of norm calls against float64 and torch.nn: `python -m tools.fuzz --calls 100000 --seed 1`.

Every call is drawn from the seed and its place in the sequence; what a sequence leaves behind (calls that were
checked before, running statistics) is part of what is tried. A difference is printed with its place, and the command
ends with 1 if there was one.
"""

import argparse
import contextlib
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from functools import partial
from multiprocessing import get_context

import torch
from torch.nn import functional as theirs
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from normsuite import functional
from normsuite.errors import NormsuiteError
from tools import drawing
from tools.drawing import LAYOUTS, Halved, Kind
from tools.formula import RUNNING, SOURCES, Tensors, truth

BOUNDS = {torch.float64: 1e-9, torch.float32: 3e-4, torch.bfloat16: 0.3, torch.float16: 5e-2}
"""Largest difference, as a part of the largest number that goes into a result, by its type."""
SEED = 20261127
CALLS_OF_A_PART = 1500
"""How many calls one of several processes makes at a time: a multiple of 3, since each kind is called three times."""


class Difference(AssertionError):
    """A call gave something else than it should have; the message says what."""


class _Raised(Exception):
    """An exception that a hook raises here, and that nothing may swallow."""


def refused_by_torch(kind: Kind, given: Tensors) -> bool:
    """Return whether torch.nn.functional refuses these shapes and settings, in float64."""
    own = {name: None if t is None else t.clone() for name, t in given.items()}
    x, weight, bias, mean, var = (own[name] for name in (*SOURCES, *RUNNING))
    call = {
        "BatchNorm": lambda: theirs.batch_norm(x, mean, var, weight, bias, kind.use_input_stats, 0.3, kind.eps),
        "InstanceNorm": lambda: theirs.instance_norm(x, mean, var, weight, bias, kind.use_input_stats, 0.3, kind.eps),
        "LayerNorm": lambda: theirs.layer_norm(x, kind.normalized_shape, weight, bias, kind.eps),
        "RMSNorm": lambda: theirs.rms_norm(x, kind.normalized_shape, weight, kind.eps),
        "GroupNorm": lambda: theirs.group_norm(x, kind.num_groups, weight, bias, kind.eps),
    }[kind.spec.name]
    try:
        call()
    except (ValueError, RuntimeError):
        return True
    return False


def tensors(kind: Kind, given: Tensors) -> Tensors:
    """Return the tensors of the call: of its types and layouts, with gradients asked for."""
    made: Tensors = {}
    for name, t in given.items():
        if t is None:
            made[name] = None
            continue
        t = t.to(kind.dtype if name in ("input", "dy") else kind.of_parameters, copy=True)
        if name == "input":
            t = LAYOUTS[kind.layout](t)
        elif name == "dy" and kind.of_dy == "expanded":
            t = t.flatten()[:1].reshape((1,) * t.dim()).expand(t.shape)
        elif name == "dy":
            t = LAYOUTS[kind.of_dy](t)
        elif name == "weight":
            t = _as(kind.weight_kind, t)
        if kind.device != "cpu":
            t = torch.empty_like(t, device=kind.device)
        if name in SOURCES and kind.needs[SOURCES.index(name)] and kind.weight_kind != "subclass":
            t = t.detach().requires_grad_()
        made[name] = t
    return made


def _as(weight_kind: str, t: torch.Tensor) -> torch.Tensor:
    if weight_kind == "parameter":
        return torch.nn.Parameter(t, requires_grad=False)
    if weight_kind == "expanded":
        return t.flatten()[:1].reshape((1,) * t.dim()).expand(t.shape)
    if weight_kind == "gapped":
        return torch.stack([t, torch.full_like(t, 7.0)], -1)[..., 0]
    return Halved(2 * t) if weight_kind == "subclass" else t


class _Sees(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def _call(kind: Kind, own: Tensors, x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    statistics = {name: own[name] for name in RUNNING}
    return functional.normalize(
        kind.spec, x, own["weight"], own["bias"], **statistics, **kind.settings, out=out, backend=kind.backend
    )


def _output(kind: Kind, own: Tensors) -> torch.Tensor | None:
    if kind.out is None:
        return None
    x = own["input"]
    if kind.out == "input":
        return x
    if kind.out == "overlapping" and x.is_contiguous():
        room = x.new_empty(x.numel() + 1)
        own["input"] = room[:-1].view(x.shape).copy_(x)
        return room[1:].view(x.shape)
    return torch.empty_like(x) if torch.empty_like(x).stride() == x.stride() else None


def computed(kind: Kind, own: Tensors) -> Tensors:
    """Return what the call gives under its context: output, and the gradients that are asked for."""
    context = kind.context
    if context == "thread":
        found: list = []
        worker = threading.Thread(target=lambda: found.append(_guarded(kind, own)))
        worker.start()
        worker.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]
    around = {
        "no_grad": torch.no_grad,
        "inference_mode": torch.inference_mode,
        "default device meta": lambda: torch.device("meta"),
        "dispatch mode": _Sees,
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    }.get(context, contextlib.nullcontext)
    with around():
        if context in ("no_grad", "inference_mode"):
            if context == "inference_mode":
                own |= {name: own[name].clone() for name in ("input",)}
            out = _output(kind, own)
            version = None if out is None or out.is_inference() else out._version
            y = _call(kind, own, own["input"], out)
            if out is not None and (y is not out or (version is not None and out._version == version)):
                raise Difference("out was written and neither returned nor counted as changed")
            return {"y": y}
        if context == "vmap":
            return {"y": torch.vmap(lambda x: _call(kind, own, x))(torch.stack([own["input"].detach()] * 2))[1]}
        if context == "forward-mode derivative":
            with torch.autograd.forward_ad.dual_level():
                dual = torch.autograd.forward_ad.make_dual(own["input"].detach(), own["dy"])
                y = torch.autograd.forward_ad.unpack_dual(_call(kind, {**own, **_detached(own)}, dual))
                return {"y": y.primal, "tangent": y.tangent}
        return _differentiated(kind, own)


def _detached(own: Tensors) -> Tensors:
    return {name: None if own[name] is None else own[name].detach() for name in ("weight", "bias")}


def _guarded(kind: Kind, own: Tensors) -> Tensors | BaseException:
    try:
        return _differentiated(kind, own)
    except BaseException as error:
        return error


def _differentiated(kind: Kind, own: Tensors) -> Tensors:
    x = own["input"]
    sources = {n: own[n] for n in SOURCES if own[n] is not None and own[n].requires_grad}
    if kind.context == "hook that raises":
        return _under_a_hook(kind, own, sources)
    if kind.context == "checkpoint":
        y = checkpoint(lambda x: _call(kind, own, x), x, use_reentrant=False)
    else:
        y = _call(kind, own, x)
    found: Tensors = {"y": y.detach()}
    if sources and y.requires_grad:
        dy, options = own["dy"], {}
        if kind.context == "batched gradients":
            dy, options = torch.stack([dy, dy]), {"is_grads_batched": True}
        elif kind.context == "create_graph":
            options = {"create_graph": True}
        # Torch's LayerNorm saves its bias, others and our kernels do not.
        free = kind.spec.name != "LayerNorm" or kind.backend in ("numba", "reference")
        if kind.context == "bias stepped in between" and own["bias"] is not None and kind.activation is None and free:
            with torch.no_grad():
                own["bias"].mul_(1.0)
        gradients = torch.autograd.grad(y, list(sources.values()), dy, **options)
        for name, g in zip(sources, gradients, strict=True):
            found[f"d{name}"] = g[1] if kind.context == "batched gradients" else g.detach()
    return found


def _under_a_hook(kind: Kind, own: Tensors, sources: Tensors) -> Tensors:
    """Check that the exception of a hook comes through as it is, and the call has had its effects once."""

    def raising(t):
        raise _Raised

    try:
        with torch.autograd.graph.saved_tensors_hooks(raising, raising):
            y = _call(kind, own, own["input"])
    except _Raised:
        return {}
    return {"y": y.detach()}


def check(kind: Kind, seed: int) -> str:
    """Make one call and compare; return how it ended.

    Raises:
        Difference: with what differs.
    """
    given = drawing.operands(kind, seed)
    own = tensors(kind, given)
    before = {name: None if t is None or kind.device != "cpu" else _numbers(t) for name, t in own.items()}
    refused = refused_by_torch(kind, given)
    try:
        found = computed(kind, own)
    except NormsuiteError as error:
        mixed = kind.backend == "torch" and kind.of_parameters is not kind.dtype and "beside" in str(error)
        if not refused and not mixed:
            raise Difference(f"refused: {error}") from error
        found = None
    except Exception as error:
        raise Difference(f"{type(error).__name__}: {str(error).splitlines()[0][:200]}") from error
    else:
        if refused:
            raise Difference("computed what torch.nn refuses")
    if kind.device != "cpu":
        if found is not None and (found["y"].shape != kind.shape or not found["y"].is_meta):
            raise Difference("another shape or device")
        return "meta"
    _unchanged(kind, own, before, found is None)
    if found is None:
        return "refused"
    true = truth(kind, given)
    if not found:  # a hook has ended the call, before its effects or behind them
        moved = {name: own[name] for name in RUNNING if own[name] is not None and kind.use_input_stats}
        if all(torch.equal(_numbers(t), given[name]) for name, t in moved.items()):
            return "raised by a hook"
    _close(kind, own, found, true)
    return "computed" if found else "raised by a hook"


def _numbers(t: torch.Tensor) -> torch.Tensor:
    return (t.twice / 2 if isinstance(t, Halved) else t).detach().double()


def _unchanged(kind: Kind, own: Tensors, before: Tensors, all_of_them: bool) -> None:
    for name, t in before.items():
        written = (kind.out is not None and name == "input") or (name in RUNNING and not all_of_them)
        if t is not None and not written and not torch.equal(_numbers(own[name]), t):
            raise Difference(f"{name} was changed")


def _close(kind: Kind, own: Tensors, found: Tensors, true: Tensors) -> None:
    twice = kind.context == "checkpoint" and any(t is not None and t.requires_grad for t in own.values())
    if kind.running and not twice and kind.context not in ("vmap", "forward-mode derivative"):
        found = {**found, **{name: own[name] for name in RUNNING}}
    for name, t in found.items():
        if name == "tangent" or t is None:
            continue
        bound = max(BOUNDS[kind.dtype], BOUNDS[kind.of_parameters])
        if name.startswith("d") and true["margin"] < bound:
            continue  # where ReLU's derivative jumps, rounding decides
        wanted = true[name]
        if t.shape != wanted.shape:
            raise Difference(f"{name} has the shape {tuple(t.shape)}")
        dtype = kind.dtype if name in ("y", "dinput") else kind.of_parameters
        if t.dtype is not dtype and kind.context not in ("autocast", "vmap"):  # where torch promotes mixed types
            raise Difference(f"{name} has the type {t.dtype}")
        # Of narrow types torch stores statistics narrow, too, whose rounding a small deviation magnifies: in y once, in
        # its gradients twice. The kernels' statistics are wide.
        narrow, passes = bound > 1e-3, kind.backend in ("torch", "auto")
        times = 1 + (narrow and passes) if name.startswith("d") else int(name == "y" and narrow)
        scale = max(1.0, wanted.abs().max().item()) * true["steep"] ** times
        if name in ("dweight", "dbias"):
            scale *= max(1.0, (wanted.numel() and own["input"].numel() / wanted.numel()) ** 0.5)
        error = (_numbers(t) - wanted).abs().max().item()
        if not error <= bound * scale:
            raise Difference(f"{name} is off by {error:.2g}, more than {bound * scale:.2g}")


def described(kind: Kind) -> str:
    """Return the call in one line."""
    shown = ((f.name, getattr(kind, f.name)) for f in fields(kind))
    return ", ".join(f"{name}={value.name if name == 'spec' else value}" for name, value in shown)


def run(
    calls: int, seed: int, *, first: int = 0, seconds: float | None = None, report: Callable[[str], None] = print
) -> tuple[Counter, int]:
    """Make that many calls from that place of the sequence on, or as many as the seconds allow.

    Return how they ended and how many differed.
    """
    ends: Counter = Counter()
    differences, begun = 0, time.monotonic()
    for place in range(first, first + calls):
        if seconds is not None and time.monotonic() - begun > seconds:
            break
        # Each kind is called two or three times, so that it is in the cache, with other numbers.
        kind = drawing.kind(random.Random(f"{seed} {place // 3}"))
        try:
            ends[check(kind, seed + place)] += 1
        except Difference as error:
            differences += 1
            report(f"{place}: {error}: {described(kind)}")
    return ends, differences


def _part(calls: int, seed: int, first: int, until: float | None) -> tuple[Counter, list[str]]:
    """Make one process's calls on one thread; return how they ended and what differed."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    said: list[str] = []
    seconds = None if until is None else max(0.0, until - time.monotonic())
    return run(calls, seed, first=first, seconds=seconds, report=said.append)[0], said


def run_in_processes(
    processes: int, calls: int, seed: int, *, first: int = 0, seconds: float | None = None
) -> tuple[Counter, int]:
    """Make the calls that `run` makes in several processes of one thread each; print what differs as it is found."""
    ends: Counter = Counter()
    differences, begun = 0, time.monotonic()
    until = None if seconds is None else begun + seconds
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        places = range(first, first + calls, CALLS_OF_A_PART)
        parts = [pool.submit(_part, min(CALLS_OF_A_PART, first + calls - p), seed, p, until) for p in places]
        for part in as_completed(parts):
            found, said = part.result()
            ends += found
            differences += len(said)
            print(*said, sep="\n", end="\n" if said else "")
            print(
                f"{ends.total() + differences} calls in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True
            )
    return ends, differences


def main() -> int:
    """Run the calls, print how they ended, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--first", type=int, default=0, help="the place in the sequence to begin at")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--processes", type=int, default=1, help="of one thread each, if there are several")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    make = partial(run_in_processes, given.processes) if given.processes > 1 else run
    ends, differences = make(given.calls, given.seed, first=given.first, seconds=given.seconds)
    print(f"seed {given.seed}: {ends.total() + differences} calls, {dict(ends)}, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
