"""The right results of a norm in float64, by the oracle: its output, and the gradients of input, weight and bias."""

import numpy as np
import torch
from torch.nn import functional

from .. import oracle
from ..spec import NormSpec

Array = np.ndarray


class RightResults:
    """The right results of one application of a norm.

    Gradients are asked for by g, the gradient of what the activation gets: dy · `slope()`.

    Args:
        spec, num_groups, eps: the norm.
        x: (N, C, *S), or rows of the trailing sizes that a norm is over.
        weight, bias: (C,) or (C, *S), or None.
        running: mean and variance of each channel where these are used, else None.
        activation: of torch.nn.functional's, or None.

    Attributes:
        output: y behind the activation.
    """

    def __init__(
        self,
        spec: NormSpec,
        x: Array,
        *,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        num_groups: int | None = None,
        running: tuple[Array, Array] | None = None,
        activation: str | None = None,
    ):
        self._spec, self._x, self._weight, self._eps = spec, x, weight, eps
        self._num_groups, self._activation = num_groups, activation
        self._running = running and tuple(value.reshape(-1, *(1,) * (x.ndim - 2)) for value in running)
        self.output = _affine(self._normalized(), weight, bias)
        self._before: Array | None = None  # the activation; kept only where its slope needs it
        if activation is not None:
            before = torch.from_numpy(self.output)
            self.output = getattr(functional, activation)(before).numpy()
            self._before = None if activation == "relu" else before.numpy()

    def _normalized(self) -> Array:
        if self._running is None:
            return oracle.normalize(self._x, self._spec, num_groups=self._num_groups, eps=self._eps)
        mean, var = self._running
        return (self._x - mean) / np.sqrt(var + self._eps)

    def slope(self, found: Array | None = None) -> Array | float:
        """Return the derivative of the activation where it is applied.

        That of relu jumps at 0, where a rounded output may lie on either side: the side of the measured output is
        taken. Whether that output is right is another comparison.

        Args:
            found: the measured output, behind the activation; the right one where left out.
        """
        if self._activation is None:
            return 1.0
        if self._before is None:
            return (self.output if found is None else found) > 0
        at = torch.from_numpy(self._before).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(getattr(functional, self._activation)(at).sum(), at)
        return slope.numpy()

    def of_input(self, g: Array) -> Array:
        """Return dx."""
        if self._running is not None:
            return _affine(g, self._weight, None) / np.sqrt(self._running[1] + self._eps)
        return oracle.gradient(self._x, g, self._spec, num_groups=self._num_groups, weight=self._weight, eps=self._eps)

    def of_weight(self, g: Array) -> Array:
        """Return dweight, Σ g·x̂ over what shares a weight."""
        return self.of_bias(g * self._normalized())

    def of_bias(self, g: Array) -> Array:
        """Return dbias, Σ g over what shares a bias."""
        if self._spec.affine == "element":
            return g.sum(axis=0)
        return g.sum(axis=tuple(d for d in range(g.ndim) if d != 1))


def _affine(x: Array, weight: Array | None, bias: Array | None) -> Array:
    for parameter, combine in ((weight, np.multiply), (bias, np.add)):
        if parameter is not None:
            x = combine(x, parameter.reshape(parameter.shape + (1,) * (x.ndim - 1 - parameter.ndim)))
    return x
