"""Run every kernel of the CPU on tensors that end, or begin, at a page that nobody may touch.

`python tests/guard_pages.py end float32` puts each tensor's last number before such a page, `start` its first one
behind one: operands as well as everything that the kernels make for themselves (results, statistics, working memory).
`few` behind them leaves out activations, non-temporal stores and most shapes.
An access beyond any of them ends the process with a signal. `beyond` makes one such access on purpose.
"""

import ctypes
import itertools
import mmap
import sys
import weakref

import torch
from outcomes import channels_last, drawn, outcome

from normsuite import functional
from normsuite.backends.numba import kernels, operator, outputs
from normsuite.spec import NORMS

_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_empty, _empty_like, _new_empty = torch.empty, torch.empty_like, torch.Tensor.new_empty
SHAPES = {
    (1, 8, 1, 13): 4,
    (3, 17, 3, 3): 17,
    (5, 24, 1, 1): 2,
    (2, 40, 33, 31): 8,
    (1, 2, 1, 8191): 1,
    (9, 8, 29, 31): 2,
}
"""Odd sizes on both sides of what is computed in one part, with the groups of GroupNorm."""
FEW = (3, 17, 3, 3), (2, 40, 33, 31)
"""One on either side."""


class Guarded:
    """Makes tensors beside a page without access rights.

    Attributes:
        place: "end" or "start".
        made: how many there were.
    """

    def __init__(self, place: str) -> None:
        self.place, self.made = place, 0

    def empty(self, size: int, dtype: torch.dtype) -> torch.Tensor:
        """Return a tensor of one dimension that holds so many numbers."""
        page, nbytes = mmap.PAGESIZE, size * dtype.itemsize
        inner = -(-nbytes // page) * page
        base = _libc.mmap(None, inner + 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, 0x22, -1, 0)  # private, anonymous
        if base in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "mmap")
        for guard in (base, base + page + inner):
            if _libc.mprotect(guard, page, _PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        begin = base + page + (inner - nbytes if self.place == "end" else 0)
        buffer = (ctypes.c_char * nbytes).from_address(begin)
        weakref.finalize(buffer, _libc.munmap, base, inner + 2 * page)
        self.made += 1
        return torch.frombuffer(buffer, dtype=dtype)

    def empty_like(self, x: torch.Tensor, **options) -> torch.Tensor:
        like = _empty_like(x, **options)
        if not like.numel() or like.is_meta:
            return like
        return self.empty(like.numel(), like.dtype).as_strided(like.shape, like.stride())

    def in_place_of(self, made: torch.Tensor) -> torch.Tensor:
        """Return a contiguous tensor of the same shape and type as one that was just made."""
        return made if not made.numel() or made.is_meta else self.empty(made.numel(), made.dtype).view(made.shape)

    def copy(self, x: torch.Tensor | None) -> torch.Tensor | None:
        return None if x is None else self.empty_like(x).copy_(x)


def put_in(guarded: Guarded) -> None:
    """Let the kernels' own tensors be made by `guarded`."""
    torch.empty_like = guarded.empty_like
    torch.Tensor.new_empty = lambda x, *size, **options: guarded.in_place_of(_new_empty(x, *size, **options))
    torch.empty = lambda *size, **options: guarded.in_place_of(_empty(*size, **options))


def take_out() -> None:
    torch.empty, torch.empty_like, torch.Tensor.new_empty = _empty, _empty_like, _new_empty


def settings(spec, shape, groups):
    """Every way to ask for the norm: normalised trailing sizes, or statistics that are given."""
    if spec.affine == "element":
        return [{"normalized_shape": shape[1:]}, {"normalized_shape": shape[2:]}]
    if spec.groups == "given":
        return [{"num_groups": groups}]
    return [{"use_input_stats": True}, {"use_input_stats": False}]


def operands(spec, shape, dtype, options):
    """Input, weight, bias and running statistics, not guarded yet."""
    affine = options.get("normalized_shape", shape[1:2])
    x, weight = drawn(*shape, dtype=dtype), drawn(*affine, dtype=dtype, seed=1)
    bias = drawn(*affine, dtype=dtype, seed=2) if spec.centred else None
    running = (drawn(*shape[1:2], dtype=dtype, seed=3), drawn(*shape[1:2], dtype=dtype, seed=4).square() + 0.5)
    return x, weight, bias, running


def compare(guarded, spec, x, weight, bias, running, dy, options):
    """Compute forward and backward on guarded tensors and compare with the formula; return 1 for the call."""
    given = {} if running is None else dict(zip(("running_mean", "running_var"), running, strict=True))
    before = {name: t.clone() for name, t in given.items()}
    wanted = outcome(spec, x, weight, bias, dy=dy, backend="reference", **before, **options)
    own = {name: guarded.copy(t) for name, t in given.items()}
    put_in(guarded)
    try:
        x, weight, bias, dy = map(guarded.copy, (x, weight, bias, dy))
        found = outcome(spec, x, weight, bias, dy=dy, backend="numba", **own, **options)
        into = guarded.copy(x)
        with torch.no_grad():
            functional.normalize(spec, x, weight, bias, out=into, backend="numba", **own, **options)
    finally:
        take_out()
    bound = {torch.float64: 1e-9, torch.float32: 1e-3}.get(x.dtype, 0.3)
    for mine, theirs in zip([*found, into], [*wanted, wanted[0]], strict=True):
        error = (mine.double() - theirs.double()).abs().max().item()
        if not error <= bound * max(1.0, theirs.abs().max().item()):
            raise AssertionError(f"{spec.name} {tuple(x.shape)} {x.stride()} {x.dtype} {options}: off by {error:.2g}")
    return 1


def everything(guarded: Guarded, dtype: torch.dtype, shapes=tuple(SHAPES), activations=(None, "silu")) -> int:
    """Make every call on those shapes; return how many there were."""
    calls = 0
    for shape, spec in itertools.product(shapes, NORMS.values()):
        for options, layout, affine in itertools.product(
            settings(spec, shape, SHAPES[shape]), (lambda t: t, channels_last), (True, False)
        ):
            x, weight, bias, running = operands(spec, shape, dtype, options)
            if not affine:
                weight = bias = None
            if "use_input_stats" not in options:
                running = None
            frozen = options.get("use_input_stats") is False
            if not frozen and not takes(spec, shape, options):
                continue
            # What an activation has behind it differs by rounding where it bends: silu does not.
            options = {**options, "activation": activations[calls % len(activations)]}
            dy = layout(drawn(*shape, dtype=dtype, seed=5))
            calls += compare(guarded, spec, layout(x), weight, bias, running, dy, options)
    return calls


def takes(spec, shape, options) -> bool:
    """Return whether there is more than one number to average."""
    given = {name: value for name, value in options.items() if name in ("num_groups", "normalized_shape")}
    return spec.view(shape, **given).count > 1


def beyond() -> None:
    """Let a kernel read and write one number more than there is."""
    x, spec = Guarded("end").empty(24, torch.float32).fill_(1.0).view(2, 12), NORMS["LayerNorm"]
    view = spec.view((2, 13), normalized_shape=(13,))
    launch = operator.settings(spec, view, 1, False, 1e-5, None).launch(x, None)
    launch.forward(x, x, torch.empty(4, launch.statistics), None, None, None, 0.0)


def main() -> None:
    torch.set_num_threads(2)
    if sys.argv[1] == "beyond":
        beyond()
        return
    guarded, dtype = Guarded(sys.argv[1]), getattr(torch, sys.argv[2])
    if sys.argv[3:] == ["few"]:
        calls = everything(guarded, dtype, FEW, (None,))
    else:
        calls = everything(guarded, dtype)
        outputs.STREAMED.update(forward=1, backward=1)  # results of any size are written by non-temporal stores
        calls += everything(guarded, dtype)
    used = sorted({f"{name}{' streamed' if streamed else ''}" for name, _, _, streamed in kernels._kernels})
    print(f"{calls} calls, {guarded.made} tensors; {', '.join(used)}")


if __name__ == "__main__":
    main()
