"""The one place that reaches into torch's own, private test suites: its samples, its error inputs, its modules.

Torch may move them at any release; then importing this fails, and with it every test that rests on it.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's test helpers import what they can
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
    from torch.testing._internal.composite_compliance import check_backward_formula, check_with_mode
    from torch.testing._internal.optests import aot_autograd_check, make_fx_check

_OPS = {op.name: op for op in op_db if not op.variant_test_name}
_MODULES = {info.module_cls.__name__: info for info in module_db}


@dataclass(frozen=True)
class Sample:
    """Arguments of one call."""

    args: tuple
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class ModuleSample:
    """Arguments of a module's constructor and of its forward pass."""

    construct: Sample
    forward: Sample


@dataclass(frozen=True)
class Refusal:
    """A call that torch refuses, the type of the error, and a pattern of what it says."""

    call: Sample
    error: type[Exception]
    says: str


def call(op: str, sample: Sample):
    """Torch's own result."""
    return _OPS[op](*sample.args, **sample.kwargs)


def samples(op: str, dtype: torch.dtype) -> Iterator[Sample]:
    """Torch's sample inputs for one of its functions."""
    for found in _OPS[op].sample_inputs("cpu", dtype, requires_grad=True):
        yield Sample((found.input, *found.args), found.kwargs)


def refusals(op: str) -> Iterator[Refusal]:
    """Torch's error inputs for one of its functions."""
    if _OPS[op].error_inputs_func is not None:
        for found in _OPS[op].error_inputs("cpu"):
            given = found.sample_input
            yield Refusal(Sample((given.input, *given.args), given.kwargs), found.error_type, found.error_regex)


def module_samples(name: str, dtype: torch.dtype, training: bool) -> Iterator[ModuleSample]:
    """Torch's inputs for one of its modules."""
    info = _MODULES[name]
    for found in info.module_inputs_func(info, "cpu", dtype, True, training):
        construct, forward = found.constructor_input, found.forward_input
        yield ModuleSample(Sample(construct.args, construct.kwargs), Sample(forward.args, forward.kwargs))


def module_refusals(name: str) -> Iterator[tuple[ModuleSample, type[Exception], bool]]:
    """Torch's error inputs for one of its modules; the last value says whether the constructor refuses."""
    info = _MODULES[name]
    if info.module_error_inputs_func is not None:
        for found in info.module_error_inputs_func(info, "cpu", torch.float32, False, True):
            construct, forward = found.module_error_input.constructor_input, found.module_error_input.forward_input
            sample = ModuleSample(
                Sample(construct.args, construct.kwargs),
                Sample(forward.args, forward.kwargs) if forward else Sample((), {}),
            )
            yield sample, found.error_type, found.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR


def check_operations(call: Callable, sample: Sample, ways: tuple[str, ...]) -> None:
    """Run torch's checks of a function that is made of operations; raises what they find.

    Args:
        ways: of "mode", "backward", "make_fx" and "aot_autograd": with tensor subclasses that are mixed with plain
            tensors, forward and backward; traced by make_fx; compiled ahead of time with its gradients.
    """
    args, kwargs = sample.args, sample.kwargs
    run = {
        "mode": lambda: check_with_mode(call, args, kwargs, torch.testing.assert_close),
        "backward": lambda: check_backward_formula(call, args, kwargs, assert_equal_fn=torch.testing.assert_close),
        "make_fx": lambda: make_fx_check(call, args, kwargs, "fake"),
        "aot_autograd": lambda: aot_autograd_check(call, args, kwargs, dynamic=False),
    }
    for way in ways:
        run[way]()
