"""One target on one shape, type and device, as checks get it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..errors import one_line
from ..targets.build import Built, Settings, build, draw, torch_beside
from ..targets.target import Target
from .result import DIFFERS, FAILS, NOT_APPLICABLE, OK, Finding
from .truth import INPUT, OUTPUT, Arrays, copied, outcome, precision, truth

ULPS = "ULP"
BOUND = 32.0
"""Bound in units in the last place of the root mean square: two passes stay below it for inputs near 0."""
AS_TORCH = 2.0
"""How many times torch's own error still counts as torch's."""
_FEW = 16


class NotApplicable(Exception):
    """A check that has nothing to look at in this target, with the reason."""


class Wrong(Exception):
    """A target that does something wrong, as a finding."""

    def __init__(self, finding: Finding):
        self.finding = finding
        super().__init__(finding.text)


@dataclass
class Subject:
    """The target, shape, type and device that a check is given.

    Attributes:
        target: the user's.
        dtype: of its tensors.
        shape: of its inputs; the target's first where left out.
        device: where.
        last: the last input that was drawn, for the report of a failure.
        torch_fails: the error of torch's own function beside the target, or None.
    """

    target: Target
    dtype: torch.dtype = torch.float32
    shape: tuple[int, ...] = ()
    device: str = "cpu"
    last: dict[str, object] = field(default_factory=dict)
    torch_fails: str | None = None

    def __post_init__(self):
        if not self.shape:
            self.shape = self.built().shape

    def built(self, *, dtype: torch.dtype | None = None, shape: Sequence[int] | None = None) -> Built:
        """Return a new instance of the target, so that no check sees what another one did to it."""
        return build(self.target, shape=shape or self.shape or None, dtype=dtype or self.dtype, device=self.device)

    @property
    def settings(self) -> Settings:
        """Return the settings of the norm that the target is like, on this shape."""
        return self.built().settings

    def input(self, *, mean: float = 0.0, scale: float = 1.0, seed: int = 10, dtype=None, shape=None) -> Tensor:
        """Return a seeded input, and store it as the last one."""
        shape, dtype = tuple(shape if shape is not None else self.shape), dtype or self.dtype
        x = draw(shape, dtype=dtype, device=self.device, mean=mean, scale=scale, seed=seed)
        self.remember(x, **({"mean": mean} if mean else {}), **({"scale": scale} if scale != 1 else {}))
        return x

    def remember(self, x: Tensor, **how: float) -> None:
        """Store an input as the last one, for the report of a failure."""
        self.last = {"shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch."), **how}
        if x.numel() <= _FEW:
            self.last["values"] = x.detach().double().flatten().tolist()

    def gradient(self, x: Tensor) -> Tensor:
        """Return a seeded gradient of the output for that input, with its strides unless elements share a place."""
        dy = draw(x.shape, dtype=x.dtype, device=self.device, seed=20)
        share = any(size > 1 and stride == 0 for size, stride in zip(x.shape, x.stride(), strict=True))
        return dy if share else copied(x).copy_(dy)

    def ulps(self, found: np.ndarray, true: np.ndarray, dtype: torch.dtype | None = None, name: str = OUTPUT) -> float:
        """Return the largest error in units in the last place of the truth's root mean square.

        Args:
            found, true: the values.
            dtype: whose last place counts; the subject's where left out.
            name: of the output or gradient, since of gradients a user's oracle tells less.
        """
        if not np.array_equal(np.isfinite(found), np.isfinite(true)):
            return float("inf")
        finite = np.isfinite(true)
        if not finite.any():
            return 0.0
        error = np.abs(found[finite] - true[finite]).max()
        scale = np.sqrt(np.mean(np.square(true[finite])))
        unit = precision(self.target, dtype or self.dtype, name) * (scale or 1.0)
        return float(error / unit)

    def errors(
        self, built: Built, x: Tensor, names: Sequence[str] | None = None
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the errors of the target and of torch's own function, by the names of outputs and gradients.

        Torch's are empty where it has no such function, or raises an error, which `judged` then names.
        """
        dy = None if names is not None and set(names) == {OUTPUT} else self.gradient(x)
        # Where the user says what is right, torch computes something else.
        other = torch_beside(built) if self.target.oracle is None else None
        mine = self._errors(built, built, x, dy, names)
        try:
            theirs = {} if other is None else self._errors(built, other, x, dy, names)
        except Exception as error:  # torch's own, which then has no figure
            theirs, self.torch_fails = {}, one_line(error)
        return mine, theirs

    def _errors(
        self, built: Built, by: Built, x: Tensor, dy: Tensor | None, names: Sequence[str] | None
    ) -> dict[str, float]:
        found: Arrays = outcome(by, by, x, dy)
        self.same_kind(x, found[OUTPUT])
        wanted = set(found if names is None else names)
        # The output is needed for an activation's slope.
        true = truth(self.target, built, x, dy, {n: v for n, v in found.items() if n in {*wanted, OUTPUT}})
        judged = [name for name in found if name in wanted & true.keys()]
        # Some have a weight for each channel of shape (1, C, 1, 1), which torch's functions do not take.
        return {n: self.ulps(found[n].reshape(true[n].shape), true[n], x.dtype, n) for n in judged}

    def same_kind(self, x: Tensor, y: Tensor | np.ndarray) -> None:
        """Raise `Wrong` where an output has not the shape of its input."""
        if tuple(y.shape) != tuple(x.shape):
            raise Wrong(self.fails(f"returns shape {tuple(y.shape)} for an input of shape {tuple(x.shape)}"))

    def fails(self, text: str, figure: float | None = None, beside: float | None = None, unit: str = "") -> Finding:
        """Return a failure on the last input."""
        return Finding(FAILS, text, figure, beside, unit, self.last or None)

    def compared(
        self, built: Built, x: Tensor, names: Sequence[str] = (OUTPUT, INPUT), *, sound: float = BOUND
    ) -> Finding:
        """Return a finding on the largest error among those outputs and gradients; `sound` as `judged` takes it."""
        mine, theirs = self.errors(built, x, names)
        name = max(mine, key=lambda name: mine[name])
        return self.judged(mine[name], theirs.get(name), sound=sound)

    def judged(self, figure: float, beside: float | None, *, sound: float = BOUND) -> Finding:
        """Return a finding on an error in ULP.

        Args:
            figure: of the target.
            beside: of torch's own function, or None.
            sound: up to it no computation in this type is to blame.
        """
        also = "" if self.torch_fails is None or beside is not None else f"torch's own call fails: {self.torch_fails}"
        if figure <= BOUND:
            return Finding(OK, also, figure, beside, ULPS)
        if figure <= sound:
            text = "; ".join(filter(None, ["loses digits, as two passes in this type do", also]))
            return Finding(DIFFERS, text, figure, beside, ULPS)
        if beside is not None and figure <= AS_TORCH * beside:
            return Finding(DIFFERS, "off, but at most twice as far as torch", figure, beside, ULPS)
        said = filter(None, ["is not what float64 gives", also, _assumed(self.settings)])
        return self.fails("; ".join(said), figure, beside, ULPS)


def _assumed(settings: Settings) -> str:
    """Return which eps is assumed, where nothing says it, and how to say it."""
    if settings.spec is None or not settings.assumes_eps:
        return ""
    eps = "torch's" if settings.eps is None else f"{settings.eps:g}"
    return f"eps is taken to be {eps}: give the module an attribute eps, or write an adapter, def make(eps=…)"


def not_applicable(reason: str) -> Finding:
    """Return the finding that a check does not apply, with the reason."""
    return Finding(NOT_APPLICABLE, reason)


CheckFunction = Callable[[Subject], Finding | None]
