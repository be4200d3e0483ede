"""What is timed: one norm on one case, in one mode, alone or with the activation that follows it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from .. import backends
from .. import device as devices
from ..errors import ArgumentError, UnknownNameError
from ..spec import NORMS, NormSpec, find
from . import cases
from .cases import CASES, Case, Operands

MODES = ("forward", "step", "evaluation")
"""forward: statistics of the input, no gradients. step: the same with the gradients of input, weight and bias.
evaluation: running statistics, no gradients."""

ACTIVATIONS = (None, *backends.ACTIVATIONS)
NO_ACTIVATION = "none"
"""What a user types for no activation."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
MOMENTUM = 0.1
EPS = 1e-5


@dataclass(frozen=True)
class Task:
    """One thing to measure.

    Attributes:
        spec, case: the norm and what it is applied to.
        mode: one of `MODES`.
        activation: one of `ACTIVATIONS`, applied to the norm's output.
        dtype: a key of `DTYPES`, of all tensors.
        device: "cpu" or the accelerator's name.
    """

    spec: NormSpec
    case: Case
    mode: str
    activation: str | None = None
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def training(self) -> bool:
        """Statistics of the input, as in training."""
        return self.mode != "evaluation"

    @property
    def gradients(self) -> bool:
        return self.mode == "step"

    @property
    def num_groups(self) -> int | None:
        """As this norm wants it."""
        return self.case.num_groups if self.spec.groups == "given" else None

    @property
    def normalized_shape(self) -> tuple[int, ...] | None:
        """As this norm wants it."""
        return (self.case.normalized_shape or self.case.shape[1:]) if self.spec.affine == "element" else None

    def operands(self) -> Operands:
        """Seeded; the input takes a gradient only where one is asked for."""
        given = cases.operands(self.spec, self.case, device=self.device, dtype=DTYPES[self.dtype])
        given.input.requires_grad_(self.gradients)
        return given

    def running(self) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """Running statistics of one's own, since training changes them; none for a norm that need not have them."""
        if self.spec.running != "always":
            return None, None
        draw = torch.Generator().manual_seed(cases.SEED)
        mean, noise = 0.1 * torch.randn((2, self.case.shape[1]), generator=draw, dtype=torch.float64)
        return tuple(t.to(self.device, DTYPES[self.dtype]) for t in (mean, 1 + noise.abs()))

    def as_dict(self) -> dict:
        """For a record."""
        shown = {k: v for k, v in asdict(self.case).items() if k not in ("name", "meaning")}
        return {
            "norm": self.spec.name,
            "case": self.case.name,
            "meaning": self.case.meaning,
            **shown,
            "tiny": self.case.tiny,
            "mode": self.mode,
            "activation": self.activation,
            "dtype": self.dtype,
            "device": self.device,
        }

    @classmethod
    def from_dict(cls, found: dict) -> "Task":
        """What `as_dict` says, perhaps after a journey as JSON."""
        sizes = found["normalized_shape"]
        case = Case(
            name=found["case"],
            shape=tuple(found["shape"]),
            num_groups=found["num_groups"],
            meaning=found["meaning"],
            channels_last=found["channels_last"],
            normalized_shape=None if sizes is None else tuple(sizes),
        )
        return cls(find(found["norm"]), case, found["mode"], found["activation"], found["dtype"], found["device"])


def parse_shape(text: str) -> tuple[int, ...]:
    """ "16,64,56,56" as sizes.

    Raises:
        ArgumentError: not two or more positive whole numbers.
    """
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) < 2 or min(shape) < 1:
        raise ArgumentError("shape", text, "must be positive sizes N,C,… such as 16,64,56,56")
    return shape


def shape_case(text: str, *, channels_last: bool = False, num_groups: int | None = None) -> Case:
    """A case of one's own, named like its shape.

    Args:
        text: sizes with commas.
        channels_last: wants four of them.
        num_groups: of GroupNorm; the greatest divisor of the channels up to 32 where left out.

    Raises:
        ArgumentError: no shape, a layout that it cannot have, or groups that do not divide the channels.
    """
    shape = parse_shape(text)
    if channels_last and len(shape) != 4:
        raise ArgumentError("shape", text, "needs four sizes for channels_last")
    channels = shape[1]
    if num_groups is None:
        num_groups = math.gcd(channels, 32)
    elif num_groups < 1 or channels % num_groups:
        raise ArgumentError("groups", num_groups, f"must be positive and divide the {channels} channels")
    return Case("×".join(map(str, shape)), shape, num_groups, "asked for", channels_last=channels_last)


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
    """The tasks of a table.

    What is left out is everything: all norms that torch.nn has, all cases, and forward and step alone and with relu,
    evaluation alone.

    Args:
        norms, names: of norms and of cases.
        own: cases beside those; where there are any and no names, no others.
        modes, activations, dtypes: as a user types them.
        device: "cpu" or the accelerator's name.

    Raises:
        UnknownNameError: a name that does not exist.
        ArgumentError: a device that is not there, a norm without a call in torch.nn, or nothing to measure.
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
    specs = list(dict.fromkeys(find(name) for name in norms)) or [s for s in NORMS.values() if s.torch_call]
    for spec in specs:
        if spec.torch_call is None:
            raise ArgumentError("norm", spec.name, "torch.nn has no such norm to compare with")
    chosen = [*(cases.find(name) for name in dict.fromkeys(names)), *own] or list(CASES.values())
    tasks = []
    for case in chosen:
        for spec in filter(case.suits, specs):
            for mode in dict.fromkeys(modes or MODES):
                if mode == "evaluation" and spec.running != "always":
                    continue  # it computes the same as forward
                usual = (NO_ACTIVATION, "relu") if mode != "evaluation" else (NO_ACTIVATION,)
                for activation in dict.fromkeys(activations or usual):
                    activation = None if activation == NO_ACTIVATION else activation
                    for dtype in dict.fromkeys(dtypes or ("float32",)):
                        tasks.append(Task(spec, case, mode, activation, dtype, device))
    if not tasks:
        asked = ", ".join(spec.name for spec in specs)
        raise ArgumentError("norm", asked, "none of the chosen modes and cases is one of these norms'")
    for task in tasks:  # a shape that the norm does not take is said before anything is measured
        task.spec.view(task.case.shape, num_groups=task.num_groups, normalized_shape=task.normalized_shape)
    return tasks
