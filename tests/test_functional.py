"""Bad input to the functions: a typed error of one line that names the argument and its value."""

import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from strategies import ON_CPU
from torch._subclasses.fake_tensor import FakeTensorMode

import normsuite
from normsuite import NormSpec, backends, functional, spec, validation
from normsuite.backends import auto
from normsuite.errors import ArgumentError, NormsuiteError, ShapeError, UnknownNameError, UnsupportedError

X = torch.ones(2, 8, 3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: functional.group_norm(X, 3), ShapeError, "num_groups = 3: must divide the number of channels, 8"),
        (lambda: functional.group_norm(X, 0), ArgumentError, "num_groups = 0"),
        (lambda: functional.group_norm(X, 2.5), ArgumentError, "num_groups = 2.5"),
        (lambda: functional.group_norm(X, 2, torch.ones(7)), ShapeError, "weight.shape = (7,): must be (8,)"),
        (lambda: functional.group_norm(X, 2, None, torch.ones(8, 3)), ShapeError, "bias.shape = (8, 3)"),
        (lambda: functional.layer_norm(X, (4,)), ShapeError, "input.shape = (2, 8, 3): must end in"),
        (lambda: functional.layer_norm(X, ()), ShapeError, "must end in normalized_shape = ()"),
        (lambda: functional.layer_norm(X, (3,), torch.ones(8)), ShapeError, "weight.shape = (8,): must be (3,)"),
        (lambda: functional.batch_norm(torch.ones(3), None, None), ShapeError, "input.shape = (3,)"),
        (lambda: functional.batch_norm(X, None, None), ArgumentError, "running_mean = None: is needed"),
        (lambda: functional.batch_norm(X, torch.ones(8), None), ArgumentError, "running_var = None"),
        (lambda: functional.batch_norm(X, torch.ones(7), torch.ones(8)), ShapeError, "running_mean.shape = (7,)"),
        (lambda: functional.batch_norm(X[:1, :, :1], None, None, training=True), ShapeError, "more than 1 value"),
        (lambda: functional.instance_norm(X[:, :, :1]), ShapeError, "input.shape = (2, 8, 1)"),
        (lambda: functional.batch_norm(X, None, None, training=True, eps=-1.0), ArgumentError, "eps = -1.0"),
        (lambda: functional.instance_norm(X, eps=float("nan")), ArgumentError, "eps = nan"),
        (lambda: functional.instance_norm([[1.0]]), ArgumentError, "input = 'list'"),
        (lambda: functional.instance_norm(X, backend="numpy"), UnknownNameError, "backend = 'numpy': unknown; "),
        (lambda: functional.instance_norm(X.int(), backend="reference"), UnsupportedError, "torch.int32"),
        (lambda: spec.find("weight norm"), UnknownNameError, "norm = 'weight norm'"),
        (lambda: spec.find(None), UnknownNameError, "norm = None"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, NormsuiteError) and isinstance(caught.value, ValueError)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_shape_errors_are_what_torch_raises():
    with pytest.raises(RuntimeError):
        torch.nn.functional.group_norm(X, 3)
    with pytest.raises(RuntimeError):
        functional.group_norm(X, 3)


@pytest.mark.parametrize("backend", ON_CPU)
def test_no_normalized_shape_is_refused_by_every_backend(backend):
    for norm in (functional.layer_norm, functional.rms_norm):
        with pytest.raises(ArgumentError, match="normalized_shape = None: must be a sequence of sizes"):
            norm(torch.randn(2, 3), None, backend=backend)


def test_an_error_is_one_line_however_its_value_is_written():
    with pytest.raises(ArgumentError) as caught:
        functional.layer_norm(torch.randn(2, 3), torch.ones(50, 50))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_an_error_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(ShapeError("x", 3, "why")))
    assert str(error) == "x = 3: why" and error.argument == "x"


def test_torch_says_which_norm_it_lacks():
    unknown = NormSpec("Other", "one", frozenset({"group"}), "element", True, "never", None, "nowhere")
    with pytest.raises(UnsupportedError, match="has no Other"):
        functional.normalize(unknown, X, backend="torch")
    assert functional.normalize(unknown, X, backend="reference").shape == X.shape


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean"])
def test_torch_is_not_handed_what_it_would_drop(name):
    given = {name: torch.ones(8, 3) if name != "running_mean" else torch.ones(8)}
    if name == "running_mean":
        given |= {"running_var": torch.ones(8), "use_input_stats": False, "num_groups": 2}
    norm = spec.NORMS["RMSNorm" if name != "running_mean" else "GroupNorm"]
    if name == "weight":
        assert functional.normalize(norm, X, backend="torch", **given).shape == X.shape
        return
    with pytest.raises(UnsupportedError, match=f"takes no {name}"):
        functional.normalize(norm, X, backend="torch", **given)


@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize(
    ("norm", "given", "says"),
    [
        ("LayerNorm", {"running_mean": torch.zeros(8), "running_var": torch.ones(8)}, "LayerNorm keeps no running"),
        ("GroupNorm", {"running_mean": torch.zeros(8), "running_var": torch.ones(8)}, "GroupNorm keeps no running"),
        ("GroupNorm", {"normalized_shape": X.shape[1:]}, "normalized_shape = .*: GroupNorm has none"),
        ("BatchNorm", {"normalized_shape": X.shape[1:]}, "normalized_shape = .*: BatchNorm has none"),
    ],
)
def test_what_a_norm_does_not_have_is_refused_by_every_backend(backend, norm, given, says):
    """There are as many samples as channels: kernels took a sample's mean for a channel's."""
    kept = {name: value.clone() for name, value in given.items() if isinstance(value, torch.Tensor)}
    groups = 2 if norm == "GroupNorm" else None
    with pytest.raises(ArgumentError, match=says):
        functional.normalize(spec.NORMS[norm], torch.ones(8, 8, 3), num_groups=groups, backend=backend, **given)
    assert all(torch.equal(given[name], value) for name, value in kept.items())


def test_names_are_found_however_they_are_written():
    for name in ("BatchNorm", "batchnorm", "batch_norm", "Batch-Norm"):
        assert spec.find(name).name == "BatchNorm"


def test_backends_are_found_by_file():
    assert {"reference", "torch"} <= set(backends.NAMES)
    for name in ON_CPU:  # what the others are built on may not be installed
        assert callable(backends.get(name).apply) and callable(backends.get(name).why_not)


def test_a_backend_lacks_what_it_is_built_on():
    """In a process of its own, since a backend is imported once."""
    code = """
import sys
sys.modules["triton"] = None
import torch, normsuite.functional as F
from normsuite.errors import UnsupportedError
try:
    F.layer_norm(torch.zeros(2, 4), (4,), backend="triton")
except UnsupportedError as error:
    print(error)
print(float(F.layer_norm(torch.ones(2, 4), (4,), backend="auto").sum()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    reason, total = done.stdout.splitlines()
    assert reason.startswith("backend = 'triton': cannot be imported") and "triton" in reason[20:] and total == "0.0"


def test_a_type_that_is_not_computed_is_refused_before_anything_has_changed():
    x = torch.randn(4, 8).to(torch.float8_e4m3fn)
    with pytest.raises(UnsupportedError, match="float8_e4m3fn"):
        functional.layer_norm(x, (8,), backend="reference")
    with pytest.raises(UnsupportedError, match="float8_e4m3fn"):
        functional.rms_norm(x, (8,), backend="reference")
    norm = normsuite.BatchNorm1d(8, backend="reference")
    with pytest.raises(UnsupportedError):
        norm(x)
    assert int(norm.num_batches_tracked) == 0


def test_a_norm_over_sizes_that_a_tracer_does_not_know_is_refused():
    with pytest.raises(ArgumentError, match="normalized_shape = None: must be a sequence of sizes"):
        torch.fx.symbolic_trace(lambda x: functional.normalize(normsuite.NORMS["LayerNorm"], x))


def test_a_norm_of_a_constant_is_traced_by_torch_fx():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("places", torch.randn(3, 8))
            self.norm = normsuite.LayerNorm(8)

        def forward(self, x):
            return x + self.norm(self.places)

    model, x = Model(), torch.randn(3, 8)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))


def test_a_fake_tensor_of_a_device_that_is_not_here_is_torch_s():
    if torch.cuda.is_available():
        pytest.skip("is here")
    with FakeTensorMode():
        y = functional.layer_norm(torch.empty(64, 1024, device="cuda"), (1024,), backend="auto")
    assert y.device.type == "cuda"


def test_a_training_batch_norm_of_a_constant_is_not_traced_without_its_count():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("places", torch.randn(3, 8))
            self.norm = normsuite.BatchNorm1d(8, momentum=None)

        def forward(self, x):
            return x + self.norm(self.places)

    with pytest.raises(ArgumentError, match="the trace would not count its batches"):
        torch.fx.symbolic_trace(Model())


def test_where_autocast_widens_it_is_torch_s_call(monkeypatch):
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    monkeypatch.setattr(auto.accelerators, "why_not", lambda call: None)
    monkeypatch.setattr(auto, "why_not_loaded", lambda kernels: None)
    with FakeTensorMode():
        for dtype, name, expected in (
            (torch.bfloat16, "LayerNorm", "torch"),
            (torch.float32, "LayerNorm", "triton"),
            (torch.bfloat16, "BatchNorm", "triton"),
        ):
            x = torch.empty(4, 8, 5, dtype=dtype, device="cuda")
            sizes = (8, 5) if name == "LayerNorm" else None
            call = validation.call(
                spec.find(name), x, None, None, None, None, True, 0.0, 1e-5, None, sizes, None, None, None
            )
            monkeypatch.setattr(auto, "get", lambda name: SimpleNamespace(why_not=lambda call: None))
            assert auto.choose(call).backend == expected


def test_the_eps_of_complex_numbers_is_torch_s():
    x = 1e-4 * torch.randn(4, 8, dtype=torch.complex128)
    torch.testing.assert_close(functional.rms_norm(x, (8,)), torch.nn.functional.rms_norm(x, (8,)))
