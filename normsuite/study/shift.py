"""Internal covariate shift, measured in the two senses that the literature has given it.

The lesson's sense (Ioffe and Szegedy 2015): the distribution of a layer's inputs changes while the layers before it
learn. For a fixed set of digits, with mean μ and deviation σ of each channel c of the layer's inputs, before and after,

    shift = √( Σ_c ((μ'_c − μ_c)² + (σ'_c − σ_c)²) / Σ_c σ_c² ),

the 2-Wasserstein distance of two normal distributions over the deviation that there was.

Santurkar et al.'s (2018, arXiv:1805.11604): how much a layer's gradient G changes when the layers before it take their
step and it does not, as ‖G' − G‖ / ‖G‖ and as the cosine of the angle between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from .network import LEARNING

PROBE = 500
"""Number of training digits, the first ones, whose activations are recorded."""

_DIGITS = 5
"""Significant digits of recorded numbers."""


@dataclass(frozen=True)
class Layer:
    """Measurements of one layer's inputs and gradient about one step.

    Attributes:
        mean, std: of all its inputs.
        shift: since the last time, None the first time.
        gradient_change, gradient_cosine: of its weights' gradient, when the layers before it take this step.
    """

    mean: float
    std: float
    shift: float | None
    gradient_change: float
    gradient_cosine: float


@dataclass(frozen=True)
class Watched:
    """All layers but the first, whose inputs are the digits themselves, right after a training step, counted from 0."""

    step: int
    layers: list[Layer]


class Watch:
    """The shift of a network in training, measured without changing what it learns.

    No random numbers are drawn, and running statistics and gradients are copies.

    Args:
        network: a sequence of layers.
        probe: digits that are sent through it.
    """

    def __init__(self, network: nn.Sequential, probe: torch.Tensor):
        self._network, self._probe = network, probe
        self._layers = [name for name, module in network.named_children() if isinstance(module, LEARNING)]
        self._last: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        self.seen: list[Watched] = []

    def before(self, images: torch.Tensor, target: torch.Tensor) -> None:
        """Measure parameters and gradients right before a training step on that batch."""
        self._batch = images, target
        self._old = self._parameters()
        self._gradients_before = self._gradients(self._old, self._layers[1:])

    def after(self, step: int) -> None:
        """Measure again right after training step `step`, counted from 0.

        How much each layer's inputs and gradients changed is appended to `seen`.
        """
        new, moments = self._parameters(), self._moments()
        layers = []
        for place, name in enumerate(self._layers[1:]):
            old_gradient = self._gradients_before[name]
            new_gradient = self._gradients(self._mixed(self._old, new, name), [name])[name]
            mean, std = moments[place]
            layers.append(
                Layer(
                    mean=_rounded(mean.mean()),
                    std=_rounded((std.square().mean() + mean.var(unbiased=False)).sqrt()),
                    shift=None if self._last is None else _rounded(distance(self._last[place], moments[place])),
                    gradient_change=_rounded((new_gradient - old_gradient).norm() / old_gradient.norm()),
                    gradient_cosine=_rounded(F.cosine_similarity(new_gradient.ravel(), old_gradient.ravel(), dim=0)),
                )
            )
        self._last = moments
        self.seen.append(Watched(step, layers))

    def _parameters(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self._network.named_parameters()}

    def _mixed(self, before: dict, after: dict, layer: str) -> dict[str, torch.Tensor]:
        """Return all parameters in front of that layer after the step, the others before it."""
        names = [name for name, _ in self._network.named_children()]
        moved = set(names[: names.index(layer)])
        return {name: after[name] if name.partition(".")[0] in moved else before[name] for name in before}

    def _buffers(self) -> dict[str, torch.Tensor]:
        return {name: buffer.clone() for name, buffer in self._network.named_buffers()}

    def _gradients(self, parameters: dict[str, torch.Tensor], layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return the gradients of those layers' weights, on the step's batch."""
        images, target = self._batch
        wanted = {f"{name}.weight": parameters[f"{name}.weight"].clone().requires_grad_() for name in layers}
        with torch.enable_grad():
            output = functional_call(self._network, {**parameters, **wanted, **self._buffers()}, (images,))
            found = torch.autograd.grad(F.cross_entropy(output, target), list(wanted.values()))
        return dict(zip(layers, found, strict=True))

    @torch.no_grad()
    def _moments(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return mean and deviation of each channel of every layer's inputs but the first's."""
        found = []

        def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            channels = inputs[0].double().movedim(1, 0).flatten(1)
            found.append((channels.mean(1), channels.std(1, unbiased=False)))

        hooks = [getattr(self._network, name).register_forward_pre_hook(look) for name in self._layers[1:]]
        try:
            functional_call(self._network, self._buffers(), (self._probe,))
        finally:
            for hook in hooks:
                hook.remove()
        return found


def distance(old: tuple[torch.Tensor, torch.Tensor], new: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the shift from old to new means and deviations of the channels; NaN where nothing varied."""
    (mean, std), (new_mean, new_std) = old, new
    return (((new_mean - mean).square() + (new_std - std).square()).sum() / std.square().sum()).sqrt()


def _rounded(value: torch.Tensor) -> float:
    return float(f"{value.item():.{_DIGITS}g}")
