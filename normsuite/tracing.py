"""Record a norm's module in torch.fx, which takes modules for leaves only if torch.nn has them."""

from typing import Any

import torch
from torch import nn
from torch.fx import Proxy

_OURS = f"{__package__}.modules"


def is_leaf(module: nn.Module, input: object) -> bool:
    """Return whether torch.fx traces a model in which the module is to be one node.

    It is not where the node would do more than the forward pass that asks: a user's own, which calls this one, and
    hooks, which torch.fx has recorded or is about to. The norm's function is recorded then, as of a module that is
    traced by itself.
    """
    return (
        isinstance(input, Proxy)
        and getattr(input.tracer, "root", module) is not module
        and "forward" not in vars(module)
        and type(module).forward.__module__ == _OURS
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


def as_leaf(module: nn.Module, input: Any) -> torch.Tensor:
    """Record the call as one of torch.nn's modules: as one node, without tracing its inside."""
    node: torch.Tensor = input.tracer.create_proxy("call_module", input.tracer.path_of_module(module), (input,), {})
    return node  # torch.fx's stand-in for one
