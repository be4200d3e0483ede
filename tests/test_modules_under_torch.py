"""Our modules under what torch does with modules: as torch.nn's, or refused in a line that says what to do."""

import copy
import inspect
import io
import pickle
import warnings

import pytest
import torch
import torch.fx
from outcomes import drawn
from torch import nn
from torch.nn.utils import fusion, parametrize
from torch.nn.utils.parametrizations import weight_norm
from torch.testing import assert_close
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

import normsuite
from normsuite import functional, modules
from normsuite.errors import UnknownNameError, UnsupportedError

NORMS = {
    "BatchNorm1d": (lambda library: library.BatchNorm1d(4), (3, 4, 5)),
    "BatchNorm2d": (lambda library: library.BatchNorm2d(4), (3, 4, 5, 6)),
    "BatchNorm3d": (lambda library: library.BatchNorm3d(4), (3, 4, 2, 3, 2)),
    "InstanceNorm1d": (lambda library: library.InstanceNorm1d(4, affine=True), (3, 4, 5)),
    "InstanceNorm2d": (lambda library: library.InstanceNorm2d(4, affine=True), (3, 4, 5, 6)),
    "InstanceNorm3d": (lambda library: library.InstanceNorm3d(4, affine=True), (3, 4, 2, 3, 2)),
    "LayerNorm": (lambda library: library.LayerNorm((5, 6)), (3, 4, 5, 6)),
    "GroupNorm": (lambda library: library.GroupNorm(2, 4), (3, 4, 5, 6)),
    "RMSNorm": (lambda library: library.RMSNorm((5, 6)), (3, 4, 5, 6)),
}
EVERY_MODULE = pytest.mark.parametrize("name", NORMS)
EVERY_BACKEND = pytest.mark.parametrize("backend", ["torch", "reference", "numba", "auto"])


def pair(name, backend="torch"):
    """Torch's module and ours with the same parameters, and an input."""
    make, shape = NORMS[name]
    theirs, ours = make(nn).double(), make(modules).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(drawn(*parameter.shape, seed=1))
    ours.load_state_dict(theirs.state_dict())
    normsuite.convert(ours, backend=backend)
    return theirs, ours, drawn(*shape)


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


@EVERY_MODULE
@EVERY_BACKEND
def test_parametrizations_are_registered_and_removed(name, backend):
    theirs, ours, x = pair(name, backend)
    for norm in (theirs, ours):
        parametrize.register_parametrization(norm, "weight", Twice())
    assert_close(ours(x), theirs(x))
    assert_close(copy.deepcopy(ours)(x), theirs(x))
    for norm in (theirs, ours):
        parametrize.remove_parametrizations(norm, "weight")
    assert type(ours) is getattr(modules, name)
    assert_close(ours(x), theirs(x))


@EVERY_MODULE
def test_weight_norm(name):
    theirs, ours, x = pair(name, "numba")
    assert_close(weight_norm(ours)(x), weight_norm(theirs)(x))
    (gradient,) = torch.autograd.grad(ours(x).square().sum(), ours.parametrizations.weight.original1)
    (wanted,) = torch.autograd.grad(theirs(x).square().sum(), theirs.parametrizations.weight.original1)
    assert_close(gradient, wanted)


@EVERY_MODULE
def test_torch_fx_takes_them_for_leaves_and_refers_to_them(name):
    theirs, ours, x = pair(name, "auto")
    net = nn.Sequential(nn.Identity(), ours)
    graph = torch.fx.symbolic_trace(net)
    assert [(n.op, n.target) for n in graph.graph.nodes][1:-1] == [("call_module", "0"), ("call_module", "1")]
    assert graph.get_submodule("1") is ours
    assert_close(graph(x), theirs(x))


class Residual(normsuite.LayerNorm):
    """A user's norm."""

    def forward(self, input):
        """Add the norm to its input."""
        return super().forward(input) + input


def test_torch_fx_applies_a_forward_pass_of_a_user_s_own_once():
    net, x = nn.Sequential(nn.Identity(), Residual(6)), drawn(3, 6, dtype=torch.float32)
    assert_close(torch.fx.symbolic_trace(net)(x), net(x))
    plain = nn.Sequential(nn.Identity(), normsuite.LayerNorm(6))
    plain[1].forward = lambda input, whole=plain[1].forward: 3 * whole(input)
    assert_close(torch.fx.symbolic_trace(plain)(x), plain(x))


@EVERY_MODULE
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_torch_fx_applies_hooks_once(name, register):
    _, norm, x = pair(name, "auto")
    getattr(norm, register)(lambda module, given, *y: 2 * y[0] if y else (given[0] ** 3,))
    net = nn.Sequential(nn.Identity(), norm)
    traced = torch.fx.symbolic_trace(net)
    traced.graph.lint()
    assert_close(traced(x), net(x))


@pytest.mark.parametrize("value", [nn.ReLU(), nn.ReLU, torch.relu, nn.Parameter(torch.ones(1))])
def test_what_is_no_name_of_an_activation_or_a_backend_is_refused(value):
    """torch.nn.Module makes a module or a parameter that is assigned a part of itself, past any property."""
    norm = normsuite.BatchNorm2d(6)
    for name in ("activation", "backend"):
        with pytest.raises(UnknownNameError, match=name):
            setattr(norm, name, value)
        with pytest.raises(UnknownNameError, match=name):
            normsuite.BatchNorm2d(6, **{name: value})
    assert norm.activation is None and norm.backend == "torch" and not list(norm.children())


def test_a_copy_is_joined_with_the_same_processes():
    class Group:
        def __reduce_ex__(self, protocol):
            raise TypeError("cannot pickle 'ProcessGroup' object")

    norm = normsuite.BatchNorm2d(6, backend="reference", process_group=Group(), activation="relu")
    again = copy.deepcopy(nn.Sequential(norm, norm))
    assert again[0].process_group is norm.process_group and again[0] is again[1] is not norm
    assert again[0].weight is not norm.weight and again[0].activation == "relu" and again[0].eps == norm.eps
    assert_close(again[0].weight, norm.weight)


def test_torch_fx_records_the_functions_whole():
    graph = torch.fx.symbolic_trace(lambda x: functional.layer_norm(x, (6,), eps=1e-3, backend="numba"))
    node = next(n for n in graph.graph.nodes if n.op == "call_function")
    assert node.target is functional.layer_norm
    x = drawn(3, 6)
    assert_close(graph(x), functional.layer_norm(x, (6,), eps=1e-3))


def test_features_of_a_converted_model_are_extracted():
    torch.manual_seed(0)
    model = resnet18(num_classes=10).eval()
    x = torch.randn(2, 3, 32, 32)
    wanted = create_feature_extractor(copy.deepcopy(model), ["layer2"])(x)["layer2"]
    normsuite.convert(model, backend="auto")
    assert_close(create_feature_extractor(model, ["layer2"])(x)["layer2"], wanted, rtol=1e-3, atol=1e-3)


@EVERY_MODULE
@EVERY_BACKEND
def test_functional_call_per_sample_gradients_and_copies(name, backend):
    theirs, ours, x = pair(name, backend)
    theirs.eval(), ours.eval()

    def gradients(norm):
        buffers = dict(norm.named_buffers())

        def loss(parameters, one):
            return torch.func.functional_call(norm, (parameters, buffers), (one[None],)).square().sum()

        return torch.vmap(torch.func.grad(loss), (None, 0))(dict(norm.named_parameters()), x)

    assert_close(gradients(ours), gradients(theirs))
    wanted = theirs(x)
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(again) is type(ours) and again.backend == backend
        assert_close(again(x), wanted)
    stored = io.BytesIO()
    torch.save(ours, stored)
    stored.seek(0)
    assert_close(torch.load(stored, weights_only=False)(x), wanted)


@EVERY_MODULE
def test_hooks_see_what_torch_s_see(name):
    seen = []
    for norm in pair(name)[:2]:
        own = []
        norm.register_forward_pre_hook(lambda module, given, own=own: own.append(given[0].shape))
        norm.register_forward_hook(lambda module, given, y, own=own: own.append(y.detach()))
        norm.register_full_backward_hook(lambda module, dx, dy, own=own: own.append(dx[0]))
        norm(pair(name)[2].requires_grad_()).square().sum().backward()
        seen.append(own)
    assert len(seen[0]) == 3
    assert_close(seen[1][1:], seen[0][1:])


def test_a_norm_whose_forward_was_replaced_is_left_alone():
    norm = nn.LayerNorm(8)
    before = norm.forward
    norm.forward = lambda x: before(x)
    model = nn.Sequential(norm, nn.LayerNorm(8))
    conversion = normsuite.convert(model, backend="numba")
    assert conversion.changed == ("1",) and "forward of its own" in conversion.left["0"]
    assert type(norm) is nn.LayerNorm


def to_mkldnn(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit, by which its file makes classes
        from torch.utils.mkldnn import to_mkldnn
    return to_mkldnn(model)


@pytest.mark.parametrize(
    "convert",
    [
        nn.SyncBatchNorm.convert_sync_batchnorm,
        lambda norm: nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(norm)),
        lambda norm: fusion.fuse_conv_bn_eval(nn.Conv2d(3, 3, 1).eval(), norm),
        lambda norm: fusion.fuse_linear_bn_eval(nn.Linear(3, 3).eval(), norm),
        lambda norm: to_mkldnn(nn.Sequential(norm).eval()),
    ],
    ids=["SyncBatchNorm", "SyncBatchNorm of a model", "convolution", "linear", "mkldnn"],
)
def test_torch_s_conversions_refuse_an_activation_and_take_a_plain_norm(convert):
    norm = modules.BatchNorm2d(3, activation="relu").eval()
    with pytest.raises(UnsupportedError, match=r"activation = 'relu': .* would drop it: set it to None"):
        convert(norm)
    assert norm.eps == 1e-5 and "eps=1e-05" in repr(norm)
    norm.activation = None
    assert convert(norm) is not None


@EVERY_MODULE
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_compiled_module_is_torch_s(name, backend):
    torch._dynamo.reset()
    theirs, ours, x = pair(name, backend)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), theirs(x))
    assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


@pytest.mark.parametrize("name", ["BatchNorm2d", "LayerNorm", "GroupNorm", "InstanceNorm2d", "RMSNorm"])
def test_what_is_called_by_keyword_is_called_as_in_torch(name):
    ours, theirs = getattr(modules, name), getattr(nn, name)
    assert list(inspect.signature(ours.forward).parameters) == list(inspect.signature(theirs.forward).parameters)
    parameters = list(inspect.signature(ours).parameters)
    further = ["process_group"] if name.startswith("Batch") else []
    assert parameters == [*inspect.signature(theirs).parameters, *further, "backend", "activation"]
    options = {"affine": True} if name.startswith("Instance") else {}
    made = nn.utils.skip_init(ours, *((4, 8) if name == "GroupNorm" else (8,)), backend="numba", **options)
    assert made.backend == "numba" and made.weight.shape == (8,)


def test_an_own_subclass_has_its_own_signature():
    class Wide(modules.LayerNorm):
        def __init__(self, factor: int, **options):
            super().__init__(4 * factor, **options)

    assert list(inspect.signature(Wide).parameters) == ["factor", "options"]
    assert Wide(2, backend="numba").normalized_shape == (8,)
