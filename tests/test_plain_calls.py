"""A plain call: nothing that ends it is caught, and its effects come once or not at all.

What is cached of it holds for calls of its kind only.
"""

import ast
import itertools
import signal

import imports
import numpy as np
import pytest
import torch
from outcomes import EVERY_NORM, drawn
from strategies import ON_CPU, num_groups
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

import normsuite
from normsuite import backends, functional, modules
from normsuite.errors import ArgumentError, NormsuiteError, ShapeError, UnsupportedError
from normsuite.spec import NORMS

EVERY_BACKEND = pytest.mark.parametrize("backend", ON_CPU)
LARGE = (64, 8, 16, 16)
"""Large enough for the kernels, whatever was measured."""


def norm_of(spec, x, backend, **options):
    return functional.normalize(spec, x, num_groups=num_groups(spec), backend=backend, **options)


# ---- nothing is caught ----

OFF_THE_PATH = {
    "normsuite.backends": "loads a backend once, and says why it cannot",
    "normsuite.files.reading": "reads the files of norms when the package is imported",
    "normsuite.spec": "reads the files of norms when the package is imported",
}
"""Modules that a call's modules import and that catch exceptions, and why no call meets that."""

OF_BACKENDS = (
    *(f"normsuite.backends.{name}" for name in ("auto", "torch", "reference", "_kernels", "numba")),
    *(f"normsuite.backends._kernels.{name}" for name in ("differentiable", "registered", "routes")),
    *(f"normsuite.backends.numba.{name}" for name in ("operator", "launch", "planning", "arguments")),
    *(f"normsuite.backends.triton.{name}" for name in ("operator", "launch", "work", "geometry")),
)
"""Backends are loaded by their names, which no import says."""


def reached(*starts):
    """Return the modules that some modules import, directly or through others, and these themselves."""
    found, waiting = set(), list(starts)
    while waiting:
        module = waiting.pop()
        waiting += imports.imports(module) - found
        found.add(module)
    return found


PATH = sorted({*reached("normsuite.functional", "normsuite.modules"), *OF_BACKENDS} - OFF_THE_PATH.keys())


@pytest.mark.parametrize("module", PATH)
def test_no_exception_is_caught_and_no_text_evaluated_on_the_path_of_a_call(module):
    tree = ast.parse(imports.MODULES[module].read_text())
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert not {"eval", "exec", "compile"} & set(calls)


@EVERY_BACKEND
@EVERY_NORM
@pytest.mark.parametrize("shape", [(2, 8, 5, 5), LARGE], ids=["small", "large"])
def test_a_checkpointed_norm_is_recomputed_and_differentiated(spec, shape, backend):
    """Torch ends the recomputation by an exception, as soon as all is saved again."""
    x = drawn(*shape).requires_grad_()
    dy = drawn(*shape, seed=1)
    (wanted,) = torch.autograd.grad(norm_of(spec, x.sin(), backend), x, dy)
    for _ in range(2):
        y = checkpoint(lambda t: norm_of(spec, t.sin(), backend), x, use_reentrant=False)
        assert_close(torch.autograd.grad(y, x, dy)[0], wanted)


@EVERY_BACKEND
def test_a_checkpointed_transformer_layer_trains_as_torch_s(backend):
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, dtype=torch.float64)
    x = drawn(2, 5, 16).requires_grad_()
    theirs(x).square().sum().backward()
    wanted = [p.grad.clone() for p in theirs.parameters()]
    normsuite.convert(theirs, backend=backend)
    theirs.zero_grad()
    checkpoint(theirs, x, use_reentrant=False).square().sum().backward()
    for parameter, gradient in zip(theirs.parameters(), wanted, strict=True):
        assert_close(parameter.grad, gradient)


@EVERY_BACKEND
@pytest.mark.parametrize("shape", [(2, 8, 5, 5), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("activation", [None, "relu", "silu"], ids=str)
@pytest.mark.parametrize("name", ["BatchNorm2d", "InstanceNorm2d"])
def test_running_statistics_move_as_often_as_torch_s_under_every_kind_of_checkpoint(name, activation, shape, backend):
    """Torch ends the recomputation once the last tensor is saved, and its InstanceNorm moves its statistics after that.

    `debug` looks at every operation.
    """
    x, options = drawn(*shape).requires_grad_(), {"affine": True, "track_running_stats": True, "dtype": torch.float64}

    def moved(norm, behind, early, debug):
        with set_checkpoint_early_stop(early):
            y = checkpoint(lambda t: behind(norm(t.sin())), x, use_reentrant=False, debug=debug)
        y.square().sum().backward()
        return dict(norm.named_buffers())

    follows = getattr(nn.functional, activation) if activation else nn.Identity()
    for early, debug, behind in itertools.product((True, False), (False, True), (nn.Identity(), torch.sin)):
        theirs = moved(getattr(nn, name)(8, **options), lambda t, f=behind: f(follows(t)), early, debug)
        ours = getattr(modules, name)(8, activation=activation, backend=backend, **options)
        assert_close(moved(ours, behind, early, debug), theirs)


class Stop(BaseException):
    """What nobody expects."""


@EVERY_BACKEND
@EVERY_NORM
@pytest.mark.parametrize("shape", [(2, 8, 5, 5), LARGE], ids=["small", "large"])
def test_what_a_hook_raises_comes_through_and_the_call_is_not_made_again(spec, shape, backend):
    x, given = drawn(*shape).requires_grad_(), {}
    if spec.running != "never":
        given = {"running_mean": drawn(8, seed=2), "running_var": torch.ones(8, dtype=x.dtype)}
    norm_of(spec, x, backend, **given)
    for error in (ValueError("own"), RuntimeError("own"), Stop()):
        before, asked = {name: t.clone() for name, t in given.items()}, []
        after = {name: t.clone() for name, t in given.items()}
        norm_of(spec, x, backend, **after)

        def pack(t, error=error, asked=asked):
            asked.append(1)
            raise error

        with pytest.raises(type(error)) as caught, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            norm_of(spec, x, backend, **given)
        assert caught.value is error and len(asked) == 1
        for name, t in given.items():
            assert torch.equal(t, before[name]) or torch.equal(t, after[name]), "moved once or not at all"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer's signal")
@pytest.mark.parametrize("backend", ["torch", "numba", "auto"])
def test_what_a_signal_handler_raises_is_not_lost(backend):
    x = drawn(4, 16, dtype=torch.float32)
    functional.layer_norm(
        x, (16,), backend=backend
    )  # a kernel that is loaded meanwhile would lose files, not the error

    def handler(*_):
        raise ValueError("time is up")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(20):
            with pytest.raises(ValueError, match="time is up"):
                signal.setitimer(signal.ITIMER_REAL, 0.003)
                while True:
                    functional.layer_norm(x, (16,), backend=backend)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- refused before anything has changed ----


@EVERY_BACKEND
@pytest.mark.parametrize("momentum", [0.1, None], ids=str)
def test_a_refused_batch_is_neither_counted_nor_averaged(backend, momentum):
    norm = modules.BatchNorm2d(4, momentum=momentum, backend=backend)
    norm(torch.randn(2, 4, 3, 3))
    before = {name: t.clone() for name, t in norm.state_dict().items()}
    for x in (torch.randn(2, 5, 3, 3), torch.randn(1, 4, 1, 1), torch.randn(2, 4, 3)):
        with pytest.raises(ValueError):
            norm(x)
    norm.eps = "small"
    with pytest.raises(ArgumentError, match="eps = 'small'"):
        norm(torch.randn(2, 4, 3, 3))
    assert_close(dict(norm.state_dict()), before, rtol=0, atol=0)


X = torch.ones(2, 8, 3)
EIGHT = torch.ones(8)
HUGE = 10**400
STRANGE = {
    "weight that is a list": (lambda b: functional.group_norm(X, 2, [1.0] * 8, backend=b), "weight = 'list'"),
    "weight that is a list, and a gradient": (
        lambda b: functional.layer_norm(X, (3,), None, [0.0] * 3, backend=b),
        "bias = 'list'",
    ),
    "running_mean that is a number": (
        lambda b: functional.batch_norm(X, 0.0, 1.0, backend=b),
        "running_mean = 'float'",
    ),
    "running_var that is an array": (
        lambda b: functional.batch_norm(X, EIGHT, np.ones(8), backend=b),
        "running_var = 'ndarray'",
    ),
    "complex weight": (lambda b: functional.group_norm(X, 2, EIGHT * 1j, backend=b), "weight.dtype = torch.complex64"),
    "integer bias": (lambda b: functional.group_norm(X, 2, None, EIGHT.int(), backend=b), "bias.dtype = torch.int32"),
    "eps in words": (lambda b: functional.layer_norm(X, (3,), eps="1e-5", backend=b), "eps = '1e-5'"),
    "eps of None": (lambda b: functional.layer_norm(X, (3,), eps=None, backend=b), "eps = None"),
    "complex eps": (lambda b: functional.group_norm(X, 2, eps=1j, backend=b), "eps = 1j"),
    "eps beyond all floats": (lambda b: functional.instance_norm(X, eps=HUGE, backend=b), "eps = "),
    "momentum in words": (
        lambda b: functional.batch_norm(X, EIGHT, EIGHT, training=True, momentum="0.1", backend=b),
        "momentum = '0.1'",
    ),
    "momentum beyond all floats": (
        lambda b: functional.batch_norm(X, EIGHT, EIGHT, training=True, momentum=HUGE, backend=b),
        "momentum = ",
    ),
    "momentum of two numbers": (
        lambda b: functional.batch_norm(X, EIGHT, EIGHT, training=True, momentum=torch.ones(2), backend=b),
        "momentum = 'a tensor of shape (2,)",
    ),
    "normalized_shape of a float": (lambda b: functional.layer_norm(X, 3.0, backend=b), "normalized_shape = 3.0"),
    "normalized_shape of floats": (lambda b: functional.layer_norm(X, (3.0,), backend=b), "normalized_shape = 3.0"),
    "normalized_shape in words": (lambda b: functional.rms_norm(X, "3", backend=b), "normalized_shape = '3'"),
    "num_groups of a float": (lambda b: functional.group_norm(X, 2.0, backend=b), "num_groups = 2.0"),
    "training in words": (
        lambda b: functional.batch_norm(X, EIGHT, EIGHT, training="no", backend=b),
        "training = 'no'",
    ),
    "training of a number": (lambda b: functional.batch_norm(X, EIGHT, EIGHT, training=1, backend=b), "training = 1"),
    "an input that is none": (lambda b: functional.rms_norm([1.0], (1,), backend=b), "input = 'list'"),
    "a spec that is none": (lambda b: functional.normalize("LayerNorm", X, backend=b), "spec = 'LayerNorm'"),
    "a backend that is a list": (lambda b: functional.layer_norm(X, (3,), backend=[b]), "backend = ["),
}


@EVERY_BACKEND
@pytest.mark.parametrize("what", STRANGE)
def test_strange_arguments_are_named_before_and_after_a_call_of_right_ones(what, backend):
    call, says = STRANGE[what]
    for _ in range(2):
        with pytest.raises(NormsuiteError) as caught:
            call(backend)
        assert says in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300
        for right in (
            lambda: functional.group_norm(X, 2, EIGHT, EIGHT, backend=backend),
            lambda: functional.layer_norm(X, (3,), backend=backend),
            lambda: functional.rms_norm(X, (3,), backend=backend),
            lambda: functional.batch_norm(X, EIGHT.clone(), EIGHT.clone(), training=True, backend=backend),
        ):
            assert right().shape == X.shape


@EVERY_BACKEND
def test_numbers_of_other_kinds_are_numbers(backend):
    wanted = functional.layer_norm(X, (3,), eps=1.0, backend=backend)
    for eps in (1, np.float64(1), np.float32(1), True):
        assert torch.equal(functional.layer_norm(X, (3,), eps=eps, backend=backend), wanted)
    for shape in ([3], X.shape[-1:], (np.int64(3),), (torch.tensor(3),)):
        assert torch.equal(functional.layer_norm(X, shape, eps=1.0, backend=backend), wanted)


@EVERY_BACKEND
def test_an_empty_tensor_of_one_dimension_is_refused_every_time(backend):
    one = torch.ones(1)
    with torch.no_grad():
        for _ in range(3):
            with pytest.raises(ShapeError, match=r"input\.shape = \(0,\)"):
                functional.batch_norm(torch.ones(0), one, one, backend=backend)
            functional.batch_norm(torch.ones(2, 1), one, one, backend=backend)


@EVERY_BACKEND
@pytest.mark.parametrize(
    ("shape", "groups", "refused"),
    [((1, 3, 1, 1), 3, True), ((1, 4), 4, True), ((2, 3, 1, 1), 3, False), ((1, 4, 1), 2, False)],
)
def test_one_value_in_each_group_is_refused_where_torch_refuses_it(shape, groups, refused, backend):
    x = drawn(*shape)
    for compute in (torch.nn.functional.group_norm, lambda *a: functional.group_norm(*a, backend=backend)):
        if refused:
            with pytest.raises(ValueError, match="more than 1 value per"):
                compute(x, groups)
        else:
            assert compute(x, groups).shape == shape


@pytest.mark.parametrize("shape", [(1, 64, 4, 4), (64, 64, 32, 32)], ids=["small", "large"])
@pytest.mark.parametrize("input_type", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("of_parameters", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_auto_takes_the_same_types_at_any_size(shape, input_type, of_parameters):
    norm = modules.GroupNorm(2, 64, dtype=of_parameters, backend="auto")
    x = drawn(*shape, dtype=input_type)
    for _ in range(2):
        y = norm(x)
        assert y.dtype == input_type
    assert_close(y, functional.group_norm(x, 2, norm.weight, norm.bias, backend="reference"), rtol=0.02, atol=0.02)


def test_torch_s_own_refusal_of_mixed_types_is_named():
    with pytest.raises(UnsupportedError, match=r"takes no weight of torch\.bfloat16 beside torch\.float32 input"):
        functional.group_norm(X, 2, EIGHT.bfloat16(), backend="torch")
    with pytest.raises(RuntimeError):
        torch.nn.functional.group_norm(X, 2, EIGHT.bfloat16())


# ---- backends ----


def test_a_backend_is_checked_when_it_is_loaded(monkeypatch, tmp_path):
    (tmp_path / "half.py").write_text("def why_not(call): ...\ndef apply(): ...\n")
    (tmp_path / "gone.py").write_text("import no_such_module\n")
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    monkeypatch.setattr(backends, "NAMES", (*backends.NAMES, "half", "gone"))
    monkeypatch.setattr(backends, "_broken", {})
    for _ in range(2):
        with pytest.raises(
            UnsupportedError, match=r"backend = 'half': is no backend: lacks apply\(call\), again\(call\)"
        ):
            functional.layer_norm(X, (3,), backend="half")
        with pytest.raises(UnsupportedError, match="backend = 'gone': cannot be imported"):
            functional.layer_norm(X, (3,), backend="gone")
    assert all(isinstance(backends.get(name), backends.Backend) for name in ON_CPU)


@pytest.mark.parametrize("error", ["ValueError('numpy.dtype size changed')", "SystemError('initialization failed')"])
def test_a_library_that_cannot_be_imported_is_a_reason(error, monkeypatch, tmp_path):
    """As one that was built for another version of NumPy."""
    (tmp_path / "built.py").write_text(f"raise {error}\n")
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    monkeypatch.setattr(backends, "NAMES", (*backends.NAMES, "built"))
    monkeypatch.setattr(backends, "_broken", {})
    with pytest.raises(UnsupportedError, match=r"backend = 'built': cannot be imported \(.*(changed|failed)"):
        functional.layer_norm(X, (3,), backend="built")


def test_an_exception_of_a_signal_s_handler_is_not_taken_for_a_missing_library(monkeypatch, tmp_path):
    (tmp_path / "late.py").write_text("raise TimeoutError('the time is over')\n")
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    monkeypatch.setattr(backends, "NAMES", (*backends.NAMES, "late"))
    monkeypatch.setattr(backends, "_broken", {})
    with pytest.raises(TimeoutError):
        functional.layer_norm(X, (3,), backend="late")
    assert "late" not in backends._broken


@EVERY_BACKEND
def test_layout_and_activation_come_in_the_same_order_in_every_call(backend):
    """The first call of a kind and later ones give the same bits and strides, and save as much."""
    x = drawn(2, 6, 5, 4, dtype=torch.float32).to(memory_format=torch.channels_last).requires_grad_()
    for spec in (NORMS["InstanceNorm"], NORMS["LayerNorm"]):
        seen = []
        for _ in range(3):
            saved = []
            with torch.autograd.graph.saved_tensors_hooks(lambda t, s=saved: s.append(t.stride()) or t, lambda t: t):
                y = norm_of(spec, x, backend, activation="silu")
            seen.append((y.stride(), saved, y.detach()))
        assert all(a[:2] == seen[0][:2] and torch.equal(a[2], seen[0][2]) for a in seen[1:])
