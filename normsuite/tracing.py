"""Record a norm's module in torch.fx, which takes modules for leaves only if torch.nn has them."""

from typing import Any

import torch
from torch import nn
from torch.fx import Proxy
from torch.overrides import has_torch_function

from .errors import ArgumentError

_OURS = f"{__package__}.modules"


def is_part(module: nn.Module, input: object) -> bool:
    """Return whether torch.fx traces a model that has the module; traced by itself, its function is recorded.

    Raises:
        ArgumentError: the input is neither a tensor nor an object that stands for one.
    """
    if isinstance(input, Proxy):
        return getattr(input.tracer, "root", module) is not module
    if not isinstance(input, torch.Tensor) and not has_torch_function((input,)):
        raise ArgumentError("input", type(input).__name__, "must be a torch.Tensor")
    return False


def node(module: nn.Module, input: Any) -> torch.Tensor:
    """Record the call as one of torch.nn's modules: as one node, without tracing its inside.

    The node is the module, or this package's forward pass alone where calling the module would do more than that: hooks
    and a user's own forward pass are recorded around the node, and would be applied again within it.
    """
    tracer, path = input.tracer, input.tracer.path_of_module(module)
    has_more = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    if has_more or type(module).forward.__module__ != _OURS:
        itself = tracer.create_proxy("get_attr", path, (), {})
        made: torch.Tensor = tracer.create_proxy("call_function", forward, (itself, input), {})
    else:
        made = tracer.create_proxy("call_module", path, (input,), {})
    return made  # torch.fx's stand-in for one


def forward(module: nn.Module, input: torch.Tensor) -> torch.Tensor:
    """Apply a norm's forward pass as this package defines it, without hooks and what a subclass adds."""
    ours = next(each for each in type(module).__mro__ if each.__module__ == _OURS)
    return ours.forward(module, input)  # type: ignore[no-any-return, attr-defined]
