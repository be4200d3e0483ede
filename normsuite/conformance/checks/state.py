"""Parameters and buffers: saved, loaded, copied, exchanged with torch.nn."""

import copy
import pickle

import torch
from torch import nn

from ...targets.build import Built
from ..result import DIFFERS, Finding
from ..subject import NotApplicable, Subject
from ..truth import tensors_of_state
from . import check


def _module(subject: Subject) -> Built:
    built = subject.built()
    if built.is_function:
        raise NotApplicable("is a function, which has no state")
    return built


def _torchs(subject: Subject, built: Built) -> nn.Module:
    """Return torch.nn's module of the norm that the target is like, with the target's settings."""
    settings, rank = built.settings, len(built.shape)
    spec = settings.spec
    if spec is None or spec.torch_call is None:
        raise NotApplicable("torch.nn has no module like it")
    has = built.tensors
    channels = built.shape[1] if rank > 1 else 1
    affine = "weight" in has
    kind = spec.torch_call
    if kind in ("batch_norm", "instance_norm"):
        if rank > 5:
            raise NotApplicable(f"torch.nn has no {spec.name} for {rank} axes")
        made = getattr(nn, f"{'BatchNorm' if kind == 'batch_norm' else 'InstanceNorm'}{max(1, rank - 2)}d")
        module = made(channels, affine=affine, track_running_stats=built.has_running, eps=settings.eps)
    elif kind == "group_norm":
        assert settings.num_groups is not None and settings.eps is not None  # or it would not have been made
        module = nn.GroupNorm(settings.num_groups, channels, affine=affine, eps=settings.eps)
    elif kind == "layer_norm":
        assert settings.eps is not None  # as of any norm that centres
        module = nn.LayerNorm(
            settings.normalized_shape, elementwise_affine=affine, bias="bias" in has, eps=settings.eps
        )
    else:
        module = nn.RMSNorm(settings.normalized_shape, elementwise_affine=affine, eps=settings.eps)
    return module.to(device=subject.device, dtype=subject.dtype)


def _loads(into: nn.Module, state: dict) -> Finding | None:
    mine, theirs = sorted(state), sorted(into.state_dict())
    if mine != theirs:
        return Finding(
            DIFFERS, f"has {', '.join(mine) or 'nothing'} where the other has {', '.join(theirs) or 'nothing'}"
        )
    own = tensors_of_state(into)
    try:
        into.load_state_dict(state)
    except RuntimeError:
        shapes = {name: (state[name].shape, t.shape) for name, t in own.items() if state[name].shape != t.shape}
        if not shapes:
            raise
        name, (given, wanted) = next(iter(shapes.items()))
        return Finding(DIFFERS, f"{name} has the shape {tuple(given)} in the state and {tuple(wanted)} in the module")
    return None


@check()
def state_to_torch(subject: Subject) -> Finding | None:
    """torch.nn's module loads its state_dict, strictly, and computes the same."""
    built = _module(subject)
    theirs = _torchs(subject, built)
    return _loads(theirs, built.module.state_dict()) or _equal(subject, built, theirs)


@check()
def state_from_torch(subject: Subject) -> Finding | None:
    """It loads the state_dict of torch.nn's module, strictly, and computes the same."""
    built = _module(subject)
    theirs = _torchs(subject, built)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.linspace(0.5, 1.5, parameter.numel()).view_as(parameter))
    return _loads(built.module, theirs.state_dict()) or _equal(subject, built, theirs)


def _equal(subject: Subject, built: Built, theirs: nn.Module) -> Finding | None:
    activation = built.settings.activation
    x = subject.input()
    built.module.eval()
    theirs.eval()
    with torch.no_grad():
        y = theirs(x)
        y = y if activation is None else getattr(nn.functional, activation)(y)
        found = built(x)
    rounding = 8 * torch.finfo(found.dtype).eps  # of both, in narrow types
    same = torch.allclose(found, y.to(found.dtype), rtol=max(1e-4, rounding), atol=max(1e-5, rounding))
    return None if same else subject.fails("computes something else with the same state")


def _same_calls(subject: Subject, built: Built, other: nn.Module, what: str) -> Finding | None:
    """Compare two modules in training and, since running statistics are used there alone, in evaluation."""
    x = subject.input()
    with torch.no_grad():
        if not torch.equal(other(x), built(x)):
            return subject.fails(f"{what} computes something else")
        built.module.eval()
        other.eval()
        same = torch.equal(other(x), built(x))
    if not same:
        return subject.fails(f"{what} computes something else in evaluation")
    shared = _places(other) & _places(built.module)
    return subject.fails(f"{what} shares tensors with the first") if shared else None


def _places(module: nn.Module) -> set[int]:
    """Return the addresses of a module's tensors that have numbers."""
    return {t.data_ptr() for t in tensors_of_state(module).values() if t.numel()}


@check()
def own_state(subject: Subject) -> Finding | None:
    """A new one that loads its state_dict computes the same."""
    built, other = _module(subject), _module(subject)
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.zero_()
    built(subject.input())
    other.module.load_state_dict(built.module.state_dict())
    return _same_calls(subject, built, other.module, "the one that loaded")


@check()
def strict_loading(subject: Subject) -> Finding | None:
    """load_state_dict refuses a state with a key too many and one too few."""
    built = _module(subject)
    state = built.module.state_dict()
    wrong = {"a key too many": {**state, "no_such_key": torch.zeros(1)}}
    if state:
        wrong["one too few"] = {name: t for name, t in list(state.items())[1:]}
    for what, changed in wrong.items():
        try:
            subject.built().module.load_state_dict(changed)
        except RuntimeError:
            continue
        return subject.fails(f"load_state_dict takes a state with {what}")
    return None


@check(optional=True)
def deep_copy(subject: Subject) -> Finding | None:
    """copy.deepcopy gives another one that computes the same."""
    built = _module(subject)
    return _same_calls(subject, built, copy.deepcopy(built.module), "the copy")


@check(optional=True)
def pickled(subject: Subject) -> Finding | None:
    """pickle and back gives another one that computes the same."""
    built = _module(subject)
    return _same_calls(subject, built, pickle.loads(pickle.dumps(built.module)), "the one from pickle")


@check()
def casting(subject: Subject) -> Finding | None:
    """module.to(float64) casts every floating-point tensor."""
    built = _module(subject)
    built.module.to(torch.float64)
    left = [n for n, t in tensors_of_state(built.module).items() if t.is_floating_point() and t.dtype != torch.float64]
    return subject.fails(f"leaves {', '.join(left)}") if left else None
