"""Random calls of norms: what they are given and how they are made."""

import random
from dataclasses import dataclass
from math import prod

import torch

from normsuite import backends
from normsuite.spec import NORMS, NormSpec
from normsuite.tunings import accelerators

_ON_CPU = tuple(name for name in backends.NAMES if name != accelerators.KERNELS)
"""The backends that compute there."""

DTYPES = (torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16)
CONTEXTS = (
    "plain",
    "plain",
    "plain",
    "no_grad",
    "inference_mode",
    "default device meta",
    "thread",
    "checkpoint",
    "batched gradients",
    "create_graph",
    "vmap",
    "dispatch mode",
    "hook that raises",
    "autocast",
    "bias stepped in between",
    "forward-mode derivative",
)
"""Around a call, the more usual ones oftener."""


def channels_last(x):
    """Return x (N, C, *S) with the same values and the channels innermost in memory."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def gapped(x):
    """Return x with the same values, and a gap behind each number and each row in memory."""
    room = x.new_full((*x.shape[:-2], x.shape[-2] + 1, 2 * x.shape[-1] + 1), 7.0)
    return room[..., :-1, 1::2].copy_(x)


def reversed_dims(x):
    """Return x with the same values and its dimensions in reverse order in memory."""
    order = list(range(x.dim()))[::-1]
    return x.permute(order).contiguous().permute(order)


def samples_inside(x):
    """Return x (N, C, *S) with the same values, and samples and channels innermost in memory."""
    order = [*range(2, x.dim()), 0, 1]
    return x.permute(order).contiguous().permute([order.index(d) for d in range(x.dim())])


def odd_strides(x):
    """Return x with other strides along dimensions of size 1, where no step is made."""
    strides = [s if n > 1 else 3 + 2 * d for d, (n, s) in enumerate(zip(x.shape, x.stride(), strict=True))]
    return x.as_strided(x.shape, strides)


def behind_others(x):
    """Return x with the same values, in the middle of a larger storage."""
    room = x.new_full((x.numel() + 9,), 7.0)
    return room[5 : 5 + x.numel()].view(x.shape).copy_(x)


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": channels_last,
    "gapped": gapped,
    "reversed": reversed_dims,
    "samples inside": samples_inside,
    "odd strides": odd_strides,
    "odd strides, channels_last": lambda x: odd_strides(channels_last(x)),
    "behind others": behind_others,
}


class Halved(torch.Tensor):
    """A tensor stored as twice its values: a subclass whose memory is not its numbers."""

    @staticmethod
    def __new__(cls, twice):
        """Return a tensor of the shape and type of `twice`, without memory of its own."""
        return torch.Tensor._make_wrapper_subclass(cls, twice.shape, dtype=twice.dtype, device=twice.device)

    def __init__(self, twice):
        self.twice = twice

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return args[0]
        plain = torch.utils._pytree.tree_map_only(cls, lambda t: t.twice / 2, (args, kwargs or {}))
        return function(*plain[0], **plain[1])


@dataclass(frozen=True)
class Kind:
    """One kind of call; its tensors are drawn by a seed."""

    spec: NormSpec
    shape: tuple[int, ...]
    dtype: torch.dtype
    of_parameters: torch.dtype
    layout: str
    of_dy: str
    weight: bool
    bias: bool
    running: bool
    use_input_stats: bool
    num_groups: int | None
    normalized_shape: tuple[int, ...] | None
    activation: str | None
    eps: float
    backend: str
    context: str
    needs: tuple[bool, bool, bool]
    out: str | None
    weight_kind: str
    device: str

    @property
    def affine_shape(self) -> tuple[int, ...]:
        """Return the shape of weight and bias."""
        return self.normalized_shape or self.shape[1:2]

    @property
    def settings(self) -> dict:
        """The keywords of `normalize` that are no tensors."""
        return {
            "use_input_stats": self.use_input_stats,
            "momentum": 0.3,
            "eps": self.eps,
            "num_groups": self.num_groups,
            "normalized_shape": self.normalized_shape,
            "activation": self.activation,
        }


def _sizes(draw: random.Random, rank: int) -> tuple[int, ...]:
    large = draw.random() < 0.15
    n, c = draw.choice((1, 1, 2, 3, 5)), draw.choice((1, 2, 4, 6, 8, 24 if large else 3))
    places = (1, 1, 2, 3, 4, 7, 33) if large else (1, 1, 2, 3, 4, 5)
    shape = (n, c, *(draw.choice(places) for _ in range(rank - 2)))
    if large and prod(shape) < 20_000 and rank > 2:
        shape = (*shape[:-1], min(8192, shape[-1] * max(1, 20_000 // prod(shape))))
    return shape


def kind(draw: random.Random) -> Kind:
    """Draw one kind of call, most of which the norm takes."""
    # Norms of others, from their folders, have no call of torch to be compared with.
    spec = draw.choice([spec for spec in NORMS.values() if spec.torch_call is not None])
    shape = _sizes(draw, draw.choice((2, 3, 4, 4, 5)))
    running = spec.running != "never" and draw.random() < 0.6
    trailing = None
    if spec.affine == "element":
        trailing = shape[draw.randrange(1, len(shape)) :]
    context = draw.choice(CONTEXTS)
    dtype = draw.choice(DTYPES)
    quiet = context in ("no_grad", "inference_mode")
    groups = None
    if spec.groups == "given":
        groups = draw.choice([g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
    if spec.view(shape, num_groups=groups, normalized_shape=trailing).count == 1 and dtype.itemsize < 4:
        dtype = torch.float32  # of the smallest variance, the third power of 1/√eps is beyond float16, in torch too
    weight_kind = draw.choice(("plain",) * 8 + ("parameter", "expanded", "gapped", "subclass"))
    bias = spec.centred and draw.random() < 0.7
    # What a formula of ours is asked for beside a wrapper subclass is the subclass's own to answer.
    if weight_kind == "subclass" and context not in ("plain", "no_grad", "thread", "hook that raises"):
        weight_kind = "plain"
    # Under vmap nobody can move statistics that all samples share.
    frozen = running and (context == "vmap" or draw.random() < 0.4)
    return Kind(
        spec=spec,
        shape=shape,
        dtype=dtype,
        # Torch's own vmap of mixed types promotes some results and fails an assertion in others.
        of_parameters=dtype if draw.random() < 0.75 or context == "vmap" else draw.choice(DTYPES),
        layout=draw.choice(list(LAYOUTS)),
        of_dy=draw.choice([*LAYOUTS, "expanded"]),
        weight=draw.random() < 0.75,
        bias=bias,
        running=running,
        use_input_stats=not frozen,
        num_groups=groups,
        normalized_shape=trailing,
        activation=draw.choice((None, None, "relu", "silu")),
        eps=draw.choice((1e-5, 1e-3)),
        backend=draw.choice((*_ON_CPU, "auto", "numba")),
        context=context,
        needs=(draw.random() < 0.8, draw.random() < 0.7, draw.random() < 0.7),
        out=draw.choice((None, "new", "input", "overlapping")) if quiet else None,
        weight_kind=weight_kind,
        device="meta" if draw.random() < 0.03 and context == "plain" and weight_kind == "plain" else "cpu",
    )


def operands(of: Kind, seed: int) -> dict[str, torch.Tensor | None]:
    """Return input, weight, bias, running statistics and dy of a call: contiguous, in float64, rounded to its types."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(shape, dtype, scale=1.0, offset=0.0):
        return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale + offset).to(dtype).double()

    channels = of.shape[1:2]
    weight = drawn(of.affine_shape, of.of_parameters, 0.5, 1.0) if of.weight else None
    if weight is not None and of.weight_kind == "expanded":
        weight = weight.flatten()[:1].reshape((1,) * len(of.affine_shape)).expand(of.affine_shape).clone()
    dy = drawn(of.shape, of.dtype)
    if of.of_dy == "expanded":
        dy = dy.flatten()[:1].reshape((1,) * len(of.shape)).expand(of.shape).clone()
    return {
        "input": drawn(of.shape, of.dtype, 2.0, 0.5),
        "weight": weight,
        "bias": drawn(of.affine_shape, of.of_parameters) if of.bias else None,
        "running_mean": drawn(channels, of.of_parameters) if of.running else None,
        "running_var": drawn(channels, of.of_parameters, 0.3).abs().add(0.5).to(of.of_parameters).double()
        if of.running
        else None,
        "dy": dy,
    }
