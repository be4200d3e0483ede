"""What PyTorch does with a module: compile, export, transform, cast, store. Every norm with every backend."""

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch
from strategies import ON_CPU, num_groups
from torch.testing import assert_close

from normsuite import functional, modules
from normsuite.spec import NORMS

EVERY = pytest.mark.parametrize(
    ("spec", "backend"),
    [(spec, backend) for spec in NORMS.values() for backend in ON_CPU],
    ids=lambda value: getattr(value, "name", value),
)
X = torch.randn(4, 8, 6, 5, generator=torch.Generator().manual_seed(0))


def module(spec, backend):
    made = modules.make(spec, 8, (6, 5), num_groups=2, backend=backend)
    with torch.no_grad():
        made.weight.add_(torch.linspace(-0.5, 0.5, made.weight.numel()).reshape(made.weight.shape))
    return made


def function(spec, backend):
    return lambda x: functional.normalize(spec, x, num_groups=num_groups(spec), backend=backend)


@EVERY
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiles_without_a_break(spec, backend, dynamic):
    torch._dynamo.reset()
    plain = module(spec, backend)
    compiled = torch.compile(copy.deepcopy(plain), fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for x in (X, X[:3]):
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, expected = compiled(mine), plain(theirs)
        assert_close(y, expected)
        y.square().sum().backward()
        expected.square().sum().backward()
        assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4)
    assert_close(dict(compiled._orig_mod.state_dict()), dict(plain.state_dict()))


FIRST = """
import torch
from normsuite import functional, modules

x = torch.randn(4, 8, 5, 5)
for backend in {backends!r}:
    torch._dynamo.reset()
    call = torch.compile(lambda x: functional.group_norm(x, 2, backend=backend), fullgraph=True, backend="eager")
    torch.testing.assert_close(call(x), torch.nn.functional.group_norm(x, 2))
    module = torch.compile(modules.BatchNorm2d(8, backend=backend), fullgraph=True, backend="eager")
    torch.testing.assert_close(module(x), torch.nn.BatchNorm2d(8)(x))
"""


def test_the_first_call_of_a_process_may_be_compiled():
    """A backend is imported when it is first asked for, which a compiler cannot trace."""
    backends = sorted(ON_CPU, key="auto".__eq__)  # which loads others, comes last
    done = subprocess.run([sys.executable, "-c", FIRST.format(backends=backends)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]


@pytest.mark.parametrize("backend", ON_CPU)
def test_compiles_a_cumulative_average_without_a_break(backend):
    torch._dynamo.reset()
    plain = modules.BatchNorm2d(8, momentum=None, backend=backend)
    compiled = torch.compile(copy.deepcopy(plain), fullgraph=True, backend="aot_eager")
    for shift in (0, 1, 2):
        compiled(X + shift), plain(X + shift)
    assert_close(dict(compiled._orig_mod.state_dict()), dict(plain.state_dict()))
    assert plain.num_batches_tracked == 3


@EVERY
def test_exports(spec, backend):
    made = module(spec, backend).eval()
    assert_close(torch.export.export(made, (X,)).module()(X), made(X))


@EVERY
@pytest.mark.filterwarnings("ignore")  # of the exporter's own
def test_exports_to_onnx_and_onnxruntime_agrees(spec, backend):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("onnxscript", reason="torch exports to ONNX with onnxscript")
    made = module(spec, backend).eval()
    buffer = io.BytesIO()
    torch.onnx.export(made, (X,), dynamo=True, verbose=False).save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    assert_close(torch.from_numpy(found), made(X).detach(), rtol=1e-5, atol=1e-5)


@EVERY
def test_vmap_equals_a_loop(spec, backend):
    xs = torch.stack([X, 2 * X + 1, X.flip(0)])
    call = function(spec, backend)
    assert_close(torch.vmap(call)(xs), torch.stack([call(x) for x in xs]))


@EVERY
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # torch's own decompositions
def test_forward_mode_equals_reverse_mode(spec, backend):
    x, v = X.double(), X.flip(1).double()
    y, tangent = torch.func.jvp(function(spec, backend), (x,), (v,))
    _, pull = torch.func.vjp(function(spec, backend), x)
    dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    assert_close((tangent * dy).sum(), (pull(dy)[0] * v).sum(), rtol=1e-9, atol=1e-9)
    assert tangent.abs().max() > 0.1


TRANSFORMED = {
    "jvp": lambda f: lambda x: torch.func.jvp(f, (x,), (x.flip(1),)),
    "grad": lambda f: torch.func.grad(lambda x: f(x).pow(3).sum()),
    "vmap": lambda f: lambda x: torch.vmap(f)(torch.stack([x, 2 * x.flip(0)])),
}


@EVERY
@pytest.mark.parametrize("transform", TRANSFORMED)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # torch's own decompositions
def test_a_compiled_transform_is_what_it_is_alone(spec, backend, transform):
    """An operator of ours has no tangents, which torch would take for zero."""
    torch._dynamo.reset()
    call = TRANSFORMED[transform](function(spec, backend))
    assert_close(torch.compile(call, backend="aot_eager")(X), call(X), rtol=1e-4, atol=1e-4)


@EVERY
def test_gradcheck_twice(spec, backend):
    x = X[:2, :4, :2, :2].double().requires_grad_()
    assert torch.autograd.gradcheck(function(spec, backend), (x,))
    assert torch.autograd.gradgradcheck(function(spec, backend), (x,))


@EVERY
def test_layouts_are_kept_and_do_not_matter(spec, backend):
    made = module(spec, backend)
    expected = made(X)
    last = X.contiguous(memory_format=torch.channels_last)
    assert made(last).is_contiguous(memory_format=torch.channels_last)
    strided = torch.zeros(8, 8, 6, 10)[::2, :, :, ::2]
    strided.copy_(X)
    volume = X.unsqueeze(2).contiguous(memory_format=torch.channels_last_3d)
    assert function(spec, backend)(volume).is_contiguous(memory_format=torch.channels_last_3d)
    for x in (last, strided, X.transpose(2, 3).contiguous().transpose(2, 3)):
        assert_close(made(x), expected, rtol=1e-5, atol=1e-5)


@EVERY
def test_meta_and_fake_tensors(spec, backend):
    from torch._subclasses.fake_tensor import FakeTensorMode

    assert module(spec, backend).to("meta")(X.to("meta")).shape == X.shape
    with FakeTensorMode():
        y = module(spec, backend)(torch.empty(X.shape, dtype=torch.float32))
        assert y.shape == X.shape and y.dtype == torch.float32


@EVERY
@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # torch's rms_norm, of its own doing
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_autocast_gives_the_type_that_torch_gives(spec, backend, dtype):
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (module(spec, name)(X.to(dtype)) for name in (backend, "torch"))
    assert found.dtype == expected.dtype
    assert_close(found, expected, rtol=2e-2, atol=5e-2)


@EVERY
def test_low_precision_input_with_float32_parameters(spec, backend):
    made = module(spec, backend)
    for dtype in (torch.bfloat16, torch.float16):
        y = made(X.to(dtype))
        assert y.dtype == dtype
        assert_close(y.float(), made(X.to(dtype).float()), rtol=2 * torch.finfo(dtype).eps, atol=1e-2)


@EVERY
def test_copies_pickles_and_safetensors(spec, backend, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="needs safetensors")
    made = module(spec, backend)
    made(X)
    expected = made.eval()(X)
    assert_close(copy.deepcopy(made)(X), expected, rtol=0, atol=0)
    assert_close(pickle.loads(pickle.dumps(made))(X), expected, rtol=0, atol=0)
    safetensors.save_file(made.state_dict(), tmp_path / "norm.safetensors")
    fresh = modules.make(spec, 8, (6, 5), num_groups=2, backend=backend).eval()
    fresh.load_state_dict(safetensors.load_file(tmp_path / "norm.safetensors"), strict=True)
    assert_close(fresh(X), expected, rtol=0, atol=0)


@EVERY
def test_an_empty_batch_gives_an_empty_batch_and_moves_nothing(spec, backend):
    made = module(spec, backend)
    before = copy.deepcopy(made.state_dict())
    x = X[:0].clone().requires_grad_()
    y = made(x)
    y.sum().backward()
    assert y.shape == x.shape == x.grad.shape
    for name, value in made.state_dict().items():
        assert name == "num_batches_tracked" or torch.equal(value, before[name])


@pytest.mark.parametrize("spec", NORMS.values(), ids=lambda spec: spec.name)
@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_values_from_1e_15_to_1e15_keep_their_digits(spec, scale):
    """Output and gradient in float32 agree with float64.

    The numbers are so far from 1 that their squares nearly leave float32's range.
    """
    dy = X.flip(0, 1)

    def outcome(x):
        x = x.detach().requires_grad_()
        y = functional.normalize(spec, x, num_groups=num_groups(spec), eps=1e-37, backend="reference")
        (dx,) = torch.autograd.grad(y, x, dy.to(x.dtype))
        return y.double(), dx.double() * scale

    found, true = outcome(X * scale), outcome((X * scale).double())
    assert_close(found, true, rtol=1e-5, atol=1e-5)
    assert true[1].abs().max() > 0.1


def test_float32_input_with_bfloat16_parameters_is_taken_where_torch_raises():
    norm = modules.LayerNorm(5, dtype=torch.bfloat16)
    with pytest.raises(RuntimeError, match="takes no weight"):
        norm(X)
    norm.backend = "reference"
    assert norm(X).dtype == torch.float32
