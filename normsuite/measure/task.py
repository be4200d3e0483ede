"""Tasks: one norm on one case, in one mode, alone or with the activation that follows it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from .. import backends, vocabulary
from ..errors import ArgumentError, UnknownNameError
from ..machine import device as devices
from ..spec import NORMS, NormSpec, find
from ..vocabulary import MODES, NO_ACTIVATION
from . import cases, operands
from .cases import ACCELERATOR_CASES, CASES, Case
from .operands import Operands

USUAL_MODES = ("forward", "step", "evaluation")
"""Measured on the processor where none is named."""

ACCELERATOR_MODES = ("forward", "backward", "evaluation", "step")
ACCELERATOR_DTYPES = ("bfloat16", "float32")

SMALL_BYTES = 4 * 2**20
"""Below this an accelerator's launch costs more than the arithmetic."""

ACTIVATIONS = (None, *backends.ACTIVATIONS)
DTYPES = {name: getattr(torch, name) for name in vocabulary.DTYPES}
MOMENTUM = 0.1
EPS = 1e-5


_RECORDED = ("shape", "num_groups", "channels_last", "normalized_shape")
"""Fields of a case in a record, beside its name and meaning."""


@dataclass(frozen=True)
class Task:
    """One thing to measure.

    Attributes:
        spec, case: the norm and what it is applied to.
        mode: one of `MODES`.
        activation: one of `ACTIVATIONS`, applied to the norm's output.
        dtype: a key of `DTYPES`, of all tensors.
        device: "cpu" or the accelerator's name.
        host_time: on an accelerator, whether the time counts for which a call keeps the host, instead of the device's.
    """

    spec: NormSpec
    case: Case
    mode: str
    activation: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    host_time: bool = False

    @property
    def training(self) -> bool:
        """Return whether the statistics are those of the input, as in training."""
        return self.mode != "evaluation"

    @property
    def gradients(self) -> bool:
        """Return whether the task computes gradients."""
        return self.mode in ("step", "backward")

    @property
    def on_accelerator(self) -> bool:
        """Return whether the task runs on an accelerator."""
        return self.device != "cpu"

    @property
    def bytes(self) -> int:
        """Return the bytes of the input."""
        return math.prod(self.case.shape) * DTYPES[self.dtype].itemsize

    @property
    def tiny(self) -> bool:
        """Return whether the call costs more than the arithmetic."""
        return self.bytes < SMALL_BYTES if self.on_accelerator else self.case.tiny

    @property
    def parameter_dtype(self) -> torch.dtype:
        """Return the type of weight, bias and running statistics.

        On an accelerator a norm with running statistics keeps them in float32 beside a narrower input, with the weight
        and bias that torch wants of the same type, as in training with mixed precision.
        """
        own = DTYPES[self.dtype]
        keeps = self.on_accelerator and self.spec.running == "always"
        return torch.promote_types(own, torch.float32) if keeps else own

    @property
    def num_groups(self) -> int | None:
        """Return the number of groups, or None for a norm that does not take one."""
        return self.case.num_groups if self.spec.groups == "given" else None

    @property
    def normalized_shape(self) -> tuple[int, ...] | None:
        """Return the trailing sizes that share statistics, or None for a norm that does not take them."""
        return (self.case.normalized_shape or self.case.shape[1:]) if self.spec.affine == "element" else None

    def operands(self, number: int = 0) -> Operands:
        """Return seeded operands; the input takes a gradient only where one is asked for.

        Args:
            number: on an accelerator, of the set of operands: each has its own numbers.
        """
        if self.on_accelerator:
            given = operands.drawn_there(
                self.spec,
                self.case,
                device=self.device,
                dtype=DTYPES[self.dtype],
                parameters=self.parameter_dtype,
                number=number,
            )
        else:
            given = operands.operands(self.spec, self.case, device=self.device, dtype=DTYPES[self.dtype])
        given.input.requires_grad_(self.gradients)
        return given

    def running(self) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """Return new running statistics, since training changes them; none for a norm without them."""
        if self.spec.running != "always":
            return None, None
        draw = torch.Generator().manual_seed(operands.SEED)
        mean, noise = 0.1 * torch.randn((2, self.case.shape[1]), generator=draw, dtype=torch.float64)
        return tuple(t.to(self.device, self.parameter_dtype) for t in (mean, 1 + noise.abs()))

    def as_dict(self) -> dict:
        """Return the task for a record."""
        shown = {k: v for k, v in asdict(self.case).items() if k in _RECORDED}
        return {
            "norm": self.spec.name,
            "case": self.case.name,
            "meaning": self.case.meaning,
            **shown,
            "tiny": self.tiny,
            "mode": self.mode,
            "activation": self.activation,
            "dtype": self.dtype,
            "device": self.device,
            **({"host_time": True} if self.host_time else {}),
        }

    @classmethod
    def from_dict(cls, found: dict) -> "Task":
        """Return the task that `as_dict` describes, also when it was stored as JSON."""
        sizes = found["normalized_shape"]
        case = Case(
            name=found["case"],
            shape=tuple(found["shape"]),
            num_groups=found["num_groups"],
            meaning=found["meaning"],
            channels_last=found["channels_last"],
            normalized_shape=None if sizes is None else tuple(sizes),
        )
        named = {name: found[name] for name in ("mode", "activation", "dtype", "device")}
        return cls(find(found["norm"]), case, **named, host_time=found.get("host_time", False))


def shape_case(text: str, *, channels_last: bool = False, num_groups: int | None = None) -> Case:
    """Return a case of that shape, named like it.

    Args:
        text: sizes with commas.
        channels_last: wants four or five of them.
        num_groups: of GroupNorm; the largest power of two up to 32 that divides the channels where left out.

    Raises:
        ArgumentError: no shape, a layout that it cannot have, or groups that do not divide the channels.
    """
    shape = cases.parse_shape(text, least=2)
    if channels_last and len(shape) not in (4, 5):
        raise ArgumentError("shape", text, "needs four sizes or five for channels_last")
    channels = shape[1]
    if num_groups is None:
        num_groups = math.gcd(channels, 32)
    elif num_groups < 1 or channels % num_groups:
        raise ArgumentError("groups", num_groups, f"must be positive and divide the {channels} channels")
    return Case.of_shape(shape, num_groups, "asked for", channels_last=channels_last)


def has_mode(spec: NormSpec, mode: str) -> bool:
    """Return whether a norm has that mode: without running statistics, an evaluation computes the same as forward."""
    return mode != "evaluation" or spec.running == "always"


def plan(
    *,
    norms: Sequence[str] = (),
    names: Sequence[str] = (),
    own: Sequence[Case] = (),
    modes: Sequence[str] = (),
    activations: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    device: str = "cpu",
) -> list[Task]:
    """Return the tasks of a table.

    An argument that is left out stands for its defaults. On the processor these are all norms on all cases, forward and
    step without an activation and with relu, and evaluation without one, in float32. On an accelerator they are its own
    cases, each with its norms and activations, in bfloat16 and float32, with the backward pass alone as a further mode;
    the most important cases come first, and steps, which are forward and backward, last.

    Args:
        norms, names: of norms and of cases.
        own: further cases; where they are given and no names are, the only ones.
        modes, activations, dtypes: as a user types them.
        device: "cpu" or the accelerator's name.

    Raises:
        UnknownNameError: a name that does not exist.
        ArgumentError: a device that is not there, or nothing to measure.
    """
    devices.check(device)
    for argument, given, known in (
        ("mode", modes, MODES),
        ("activation", activations, [a or NO_ACTIVATION for a in ACTIVATIONS]),
        ("dtype", dtypes, DTYPES),
    ):
        for value in given:
            if value not in known:
                raise UnknownNameError.among(argument, value, known)
    specs = list(dict.fromkeys(find(name) for name in norms)) or list(NORMS.values())
    there = device != "cpu"
    named = [cases.find(name) for name in dict.fromkeys(names)]
    chosen = [*named, *own] or list((ACCELERATOR_CASES if there else CASES).values())
    tasks = []
    for case in chosen:
        for spec in filter(case.suits, specs):
            if case.norms and spec.name not in case.norms and case not in named:
                continue
            for mode in dict.fromkeys(modes or (ACCELERATOR_MODES if there else USUAL_MODES)):
                if not has_mode(spec, mode):
                    continue
                usual = (None, "relu") if mode != "evaluation" else (None,)
                asked = [None if a == NO_ACTIVATION else a for a in activations]
                for activation in dict.fromkeys(asked or case.activations or usual):
                    for dtype in dict.fromkeys(dtypes or (ACCELERATOR_DTYPES if there else ("float32",))):
                        tasks.append(Task(spec, case, mode, activation, dtype, device))
    if there:
        tasks.sort(key=lambda task: task.mode == "step")
    if not tasks:
        wanted = ", ".join(spec.name for spec in specs)
        raise ArgumentError("norm", wanted, "none of the chosen cases and modes applies to these norms")
    for task in tasks:  # a shape that the norm does not take is said before anything is measured
        task.spec.view(task.case.shape, num_groups=task.num_groups, normalized_shape=task.normalized_shape)
    return tasks
