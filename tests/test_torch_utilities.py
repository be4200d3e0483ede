"""Our modules under torch's utilities for modules: as torch.nn's, or refused in a line that says what to do."""

import copy
import multiprocessing
import os
import subprocess
import sys

import pytest
import torch
from outcomes import drawn
from torch import nn
from torch.nn.utils import fusion, parametrize
from torch.testing import assert_close

import normsuite
from normsuite import modules
from normsuite.errors import UnsupportedError

pytest.importorskip("numba", reason="needs numba")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*(deprecated|torch.ao.quantization|torch.jit).*"),
]

SHAPE = (64, 8, 16, 16)
"""Large enough for the kernels, whatever was measured."""

NORMS = {
    "BatchNorm2d": lambda library: library.BatchNorm2d(8, dtype=torch.float64),
    "LayerNorm": lambda library: library.LayerNorm(16, dtype=torch.float64),
    "GroupNorm": lambda library: library.GroupNorm(2, 8, dtype=torch.float64),
    "InstanceNorm2d": lambda library: library.InstanceNorm2d(
        8, affine=True, track_running_stats=True, dtype=torch.float64
    ),
    "RMSNorm": lambda library: library.RMSNorm(16, dtype=torch.float64),
}
EVERY_MODULE = pytest.mark.parametrize("name", NORMS)
EVERY_BACKEND = pytest.mark.parametrize("backend", ["torch", "reference", "numba", "auto"])


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


class Tied(nn.Module):
    """Two norms of one weight."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second
        second.weight = first.weight

    def forward(self, x):
        return self.second(self.first(x).sin())


def differentiated(norm, x, y=None):
    """The output, the gradients of what trains, and what the module keeps."""
    y = norm(x) if y is None else y
    trained = [t for t in norm.parameters() if t.requires_grad]
    return [y.detach(), *torch.autograd.grad(y.pow(3).sum(), trained), *(t.clone() for t in norm.buffers())]


def spectrally_normalised(norm, x, make):
    torch.manual_seed(0)  # of its first vectors
    return differentiated(torch.nn.utils.parametrizations.spectral_norm(norm), x)


def spectrally_normalised_by_a_hook(norm, x, make):
    torch.manual_seed(0)
    return differentiated(torch.nn.utils.spectral_norm(norm), x)


def weight_normalised_by_a_hook(norm, x, make):
    return differentiated(torch.nn.utils.weight_norm(norm), x)


def parametrized_and_cached(norm, x, make):
    parametrize.register_parametrization(norm, "weight", Twice())
    with parametrize.cached():
        norm(x)
        return differentiated(norm, x)


def traced_with_concrete_arguments(norm, x, make):
    class Switched(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, x, wanted):
            return self.norm(x) if wanted else x

    return differentiated(norm, x, torch.fx.symbolic_trace(Switched(), concrete_args={"wanted": True})(x, True))


def copied(norm, x, make):
    other = copy.copy(norm)
    assert other.weight is norm.weight
    return differentiated(other, x) + differentiated(norm, x)


def swapped(norm, x, make):
    with torch.no_grad():
        norm(x)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        weight = norm.weight
        norm.float().double()
        assert norm.weight is weight
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    torch.utils.swap_tensors(norm.weight, nn.Parameter(torch.full_like(norm.weight, 3.0)))
    return differentiated(norm, x)


def made_without_memory(norm, x, make):
    with torch.device("meta"):
        other = make()
    other.load_state_dict(norm.state_dict(), assign=True)
    return differentiated(other, x)


def filled_later(norm, x, make):
    with torch.device("meta"):
        other = make()
    other.to_empty(device="cpu").load_state_dict(norm.state_dict())
    return differentiated(other, x)


def stepped(norm, x, make, **how):
    optimizer = torch.optim.AdamW(norm.parameters(), lr=0.1, **how)
    for _ in range(3):
        optimizer.zero_grad()
        norm(x).pow(3).sum().backward()
        optimizer.step()
    return [t.detach() for t in norm.state_dict().values()]


def stepped_together(norm, x, make):
    return stepped(norm, x, make, foreach=True)


def stepped_by_one_kernel(norm, x, make):
    return stepped(norm, x, make, fused=True)


def called_with_tied_weights(norm, x, make):
    model, weight = Tied(norm, make()), torch.full_like(norm.weight, 2.0).requires_grad_()
    y = torch.func.functional_call(model, {"first.weight": weight}, (x,), tie_weights=True)
    return [y.detach(), *torch.autograd.grad(y.pow(3).sum(), weight)]


def run_in_parallel(norm, x, make):
    return differentiated(norm, x, nn.DataParallel(norm)(x))


UTILITIES = (
    spectrally_normalised,
    spectrally_normalised_by_a_hook,
    weight_normalised_by_a_hook,
    parametrized_and_cached,
    traced_with_concrete_arguments,
    copied,
    swapped,
    made_without_memory,
    filled_later,
    stepped_together,
    stepped_by_one_kernel,
    called_with_tied_weights,
    run_in_parallel,
)


@EVERY_MODULE
@EVERY_BACKEND
@pytest.mark.parametrize("utility", UTILITIES, ids=lambda f: f.__name__)
def test_a_utility_does_the_same_with_torch_s_module_and_ours(utility, name, backend):
    found = []
    for library in (nn, modules):

        def make(library=library):
            norm = NORMS[name](library)
            if library is modules:
                norm.backend = backend
            return norm

        norm = make()
        with torch.no_grad():
            norm.weight.copy_(drawn(*norm.weight.shape, seed=1) + 2)
        found.append(utility(norm, drawn(*SHAPE), make))
    assert_close(found[1], found[0], rtol=1e-6, atol=1e-6)


@EVERY_MODULE
def test_torch_jit_script_is_refused_in_a_line_and_takes_a_reverted_model(name):
    ours = nn.Sequential(NORMS[name](modules))
    for model in (ours, ours[0]):
        with pytest.raises(UnsupportedError, match=r"torch\.jit\.script cannot .*normsuite\.revert\(model\)") as caught:
            torch.jit.script(model)
        assert "\n" not in str(caught.value)
    x = drawn(*SHAPE)
    wanted = ours.eval()(x)
    normsuite.revert(ours)
    assert_close(torch.jit.script(ours)(x), wanted)


@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "RMSNorm"])
def test_torch_fx_traces_a_norm_by_itself_to_its_function(name):
    """Like torch.nn's; those that look at the rank of their input cannot be traced so there either."""
    norm = NORMS[name](modules)
    norm.backend = "numba"
    graph = torch.fx.symbolic_trace(norm)
    assert any(node.op == "call_function" for node in graph.graph.nodes)
    assert_close(graph(drawn(*SHAPE)), norm(drawn(*SHAPE)))


def convolution(backend="numba", activation=None):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(8, 8, 1), modules.BatchNorm2d(8, backend=backend, activation=activation), nn.ReLU()
    ).eval()


def test_torch_s_fusion_for_quantisation_does_not_know_our_classes_and_fuses_a_reverted_model():
    model, x = convolution(), drawn(*SHAPE, dtype=torch.float32)
    wanted = model(x)
    with pytest.raises(AssertionError, match="did not find fuser method"):
        torch.ao.quantization.fuse_modules(model, ["0", "1", "2"])
    normsuite.revert(model)
    fused = torch.ao.quantization.fuse_modules(model, ["0", "1", "2"])
    assert type(fused[1]) is nn.Identity
    assert_close(fused(x), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", [None, "silu"], ids=str)
def test_fusion_of_a_graph_drops_no_activation(activation):
    from torch.fx.experimental.optimization import fuse

    model, x = convolution(activation=activation), drawn(*SHAPE, dtype=torch.float32)
    assert_close(fuse(model)(x), model(x), rtol=1e-4, atol=1e-4)
    if activation is None:
        assert_close(fusion.fuse_conv_bn_eval(model[0], model[1])(x).relu(), model(x), rtol=1e-4, atol=1e-4)


def train(norm, x):
    torch.set_num_threads(1)  # OpenMP's threads do not outlive a fork, under torch.nn's norms too
    for _ in range(3):
        norm(x)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", ["torch", "reference", "numba"])
def test_shared_running_statistics_are_moved_by_a_forked_process(backend):
    x, norm = drawn(6, 8, 4, 4), modules.BatchNorm2d(8, dtype=torch.float64, backend=backend)
    wanted = copy.deepcopy(norm)
    norm(x), wanted(x)  # the kernels are there when the process is forked
    norm.share_memory()
    child = multiprocessing.get_context("fork").Process(target=train, args=(norm, x))
    child.start()
    child.join(60)
    ended = child.exitcode
    child.kill()
    assert ended == 0
    train(wanted, x)
    assert_close(dict(norm.state_dict()), dict(wanted.state_dict()))


INTERRUPTED = """
import signal
import torch
from torch import nn
from torch.testing import assert_close
from normsuite import modules

class Late(Exception):
    pass

def raise_late(*_):
    raise Late

signal.signal(signal.SIGALRM, raise_late)
torch.manual_seed(0)
x, interrupted, after = torch.randn(64, 8, 16, 16, dtype=torch.float64), 0, 0.0
norm, theirs = (library.BatchNorm2d(8, dtype=torch.float64) for library in (modules, nn))
norm.backend = "numba"
once = nn.BatchNorm2d(8, dtype=torch.float64)
once(x)
while not norm.running_mean.any():
    after += 0.2
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        norm(x)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Late:
        interrupted += 1
        assert not norm.running_mean.any() or torch.allclose(norm.running_mean, once.running_mean)
signal.setitimer(signal.ITIMER_REAL, 0)
norm.reset_running_stats()
for _ in range(2):
    assert_close(norm(x), theirs(x))
assert_close(dict(norm.state_dict()), dict(theirs.state_dict()))
print(interrupted)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a timer's signal")
def test_a_compilation_that_a_signal_handler_ended_is_made_again(tmp_path):
    """Kernels are compiled in the first call: later ones are right, and statistics have moved once or not at all."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
