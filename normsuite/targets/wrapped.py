"""Functions as modules: of torch.nn.functional's kind, of the input alone, and with an activation behind them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from . import arguments


class FunctionNorm(nn.Module):
    """A function in torch.nn.functional's signature with the tensors that it takes."""

    def __init__(self, function: Callable, taken: Sequence[str], settings: Mapping[str, object], sizes: Mapping):
        super().__init__()
        self.function, self.taken, self.settings = function, tuple(taken), dict(settings)
        for name, start in (("weight", torch.ones), ("bias", torch.zeros)):
            size = sizes.get(name)
            self.register_parameter(name, nn.Parameter(start(size)) if name in taken and size else None)
        for name in ("running_mean", "running_var"):
            size = sizes.get(name)
            start = torch.zeros if name == "running_mean" else torch.ones
            self.register_buffer(name, start(size) if name in taken and size else None)

    def forward(self, input: Tensor) -> Tensor:
        """Call the function on the input with the tensors and settings that it takes."""
        return self.function(input, **self.keywords())

    def keywords(self) -> dict[str, object]:
        """Return what the function is given beside the input: tensors, settings, and whether it trains.

        Without running statistics it uses those of the input in evaluation too.
        """
        given = {name: self.training if name in arguments.MODE_FLAGS else getattr(self, name) for name in self.taken}
        if not self.training and self.running_mean is None:
            given |= dict.fromkeys(given.keys() & set(arguments.MODE_FLAGS), True)
        return given | self.settings


class CallableNorm(nn.Module):
    """A function of the input alone, as an adapter returns it."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, input: Tensor) -> Tensor:
        """Call the function on the input."""
        return self.function(input)


class Activated:
    """A norm's function with an activation after it."""

    def __init__(self, function: Callable[..., Tensor], activation: Callable[[Tensor], Tensor]):
        self.function, self.activation = function, activation

    def __call__(self, *args, **kwargs) -> Tensor:
        """Call the norm's function, and apply the activation to its output."""
        return self.activation(self.function(*args, **kwargs))
