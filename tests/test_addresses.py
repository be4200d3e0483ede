"""The gate before raw addresses: tensors that are not what they seem are computed by torch's operations or refused."""

import subprocess
import sys

import pytest
import torch
from addressed import EVERY_WAY, KERNELS, SHAPE, SMALL, STRANGE, affine_of, freed, norm_of
from outcomes import EVERY_NORM, close, drawn, outcome
from strategies import num_groups
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from normsuite import functional, modules
from normsuite.errors import ArgumentError, NormsuiteError, ShapeError, StorageError
from normsuite.tensors import addresses

pytest.importorskip("numba", reason="needs numba")
pytestmark = pytest.mark.usefixtures("kernels_at_every_size")

CPU = torch.device("cpu")

# ---- what passes, and what does not ----


@pytest.mark.parametrize("kind", STRANGE)
def test_the_gate_is_closed_and_says_why(kind):
    x = STRANGE[kind](drawn(4, 6))
    assert not addresses.is_memory_of(x, CPU) and addresses.why_no_memory(x)
    with pytest.raises(StorageError, match="input = "):
        addresses.demand_on(CPU, input=x)


def test_the_gate_is_open_for_memory_of_any_strides():
    x = drawn(4, 6, 5, 3)
    for t in (x, x[1:, ::2], x.movedim(1, -1), x[:, :1].expand_as(x), torch.nn.Parameter(x), x[..., 1]):
        assert addresses.is_memory_of(t, CPU) and addresses.why_no_memory(t) is None
    with torch.inference_mode():
        assert addresses.is_memory_of(x.clone(), CPU)
    gapped = torch.empty(10)[::3]
    gapped.untyped_storage().resize_(9 * 4)
    assert not addresses.is_memory_of(gapped, CPU), "its last number lies behind the end"


@KERNELS
@pytest.mark.parametrize("kind", ["subclass", "negative view", "misaligned"])
@EVERY_NORM
def test_what_is_no_memory_of_its_own_is_computed_all_the_same(spec, kind, backend):
    """The tensor is input or weight, and the call the first of its kind or behind a plain one."""
    x, weight = drawn(*SHAPE), drawn(*affine_of(spec), seed=1)
    wanted = norm_of(spec, x, weight, backend="reference")
    for _ in range(2):
        assert_close(norm_of(spec, x, STRANGE[kind](weight), backend=backend), wanted)
        assert_close(norm_of(spec, STRANGE[kind](x), weight, backend=backend), wanted)
        assert_close(norm_of(spec, x, weight, backend=backend), wanted)


@pytest.mark.parametrize(
    ("backend", "shape"),
    [("numba", SHAPE), ("auto", SHAPE), ("numba", SMALL), ("reference", SMALL)],
    ids=["numba", "auto", "numba, small", "reference"],
)
@pytest.mark.parametrize("kind", ["cut short", "freed"])
@EVERY_NORM
def test_memory_that_is_not_there_is_refused(spec, kind, shape, backend):
    x, weight = drawn(*shape), drawn(*affine_of(spec, shape), seed=1)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"input = .*bytes of its storage"):
            norm_of(spec, STRANGE[kind](x), weight, backend=backend)
        with pytest.raises(StorageError, match=r"weight = .*bytes of its storage"):
            norm_of(spec, x, STRANGE[kind](weight), backend=backend)
        norm_of(spec, x, weight, backend=backend)


@pytest.mark.parametrize("backend", ["torch", "auto"])
@EVERY_NORM
def test_freed_memory_ends_no_process_where_torch_computes(spec, backend):
    """Torch refuses it itself, but for RMSNorm; in the first call of a kind we do."""
    x, weight = drawn(*SMALL), drawn(*affine_of(spec, SMALL), seed=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"bytes of its storage|not allocated"):
            norm_of(spec, freed(x), weight, backend=backend)
        norm_of(spec, x, weight, backend=backend)


def test_running_statistics_that_are_not_there_are_refused_and_nothing_is_counted():
    norm = modules.BatchNorm2d(8, dtype=torch.float64, backend="numba")
    x = drawn(*SHAPE)
    norm(x)
    norm.running_var.untyped_storage().resize_(0)
    with pytest.raises(StorageError, match="running_var = "):
        norm(x)
    assert norm.num_batches_tracked == 1


def test_running_statistics_that_share_memory_with_what_is_read():
    """The values from before are read, whatever is moved meanwhile."""
    x = drawn(*SHAPE)
    for places in ((0, 0), (0, 4), (8, 2), (8, 0)):  # of running_mean and running_var, beside a weight at 0
        found = []
        for name in ("reference", "numba"):
            room = drawn(24, seed=3).abs() + 0.5
            weight = room[:8].clone() if name == "reference" else room[:8]
            mean, var = (room[place : place + 8] for place in places)
            found.append(functional.batch_norm(x, mean, var, weight, training=True, backend=name))
        assert_close(found[1], found[0])


# ---- other devices by default ----


@EVERY_WAY
@EVERY_NORM
def test_another_default_device_changes_nothing(spec, backend):
    x, weight = drawn(*SHAPE, dtype=torch.float32), drawn(*affine_of(spec), dtype=torch.float32, seed=1)
    dy = drawn(*SHAPE, dtype=torch.float32, seed=9)
    for activation in (None, "silu"):
        for layout in (lambda t: t, lambda t: t.to(memory_format=torch.channels_last)):
            wanted = outcome(spec, layout(x), weight, num_groups=num_groups(spec), activation=activation)
            with torch.device("meta"):
                given = [t.detach().requires_grad_() for t in (layout(x), weight)]
                y = norm_of(spec, *given, activation=activation, backend=backend)
                found = [y.detach(), *torch.autograd.grad(y, given, dy)]
            assert all(t.device.type == "cpu" for t in found)
            assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_a_script_under_a_default_device_ends_as_it_should():
    """In a process of its own, which an address of nothing would end."""
    script = """
import torch
from normsuite import functional as F
torch.set_default_device("meta")
x = torch.randn(64, 8, 16, 16, device="cpu")
for backend in ("numba", "auto"):
    print(F.group_norm(x, 2, backend=backend).std().item() > 0.9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr


# ---- outputs that exist ----


@EVERY_WAY
@EVERY_NORM
def test_autograd_is_told_that_an_output_was_written(spec, backend):
    x, buffer = drawn(*SHAPE), torch.empty(SHAPE, dtype=torch.float64)
    other = torch.ones(SHAPE, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        norm_of(spec, x, out=buffer, backend=backend)
    product = (other * buffer).sum()
    with torch.no_grad():
        norm_of(spec, x, out=buffer, backend=backend)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


@EVERY_WAY
@EVERY_NORM
@pytest.mark.parametrize("ahead", [0, 1, 5, 4096])
def test_an_output_that_overlaps_the_input_gets_what_the_input_was(spec, ahead, backend):
    n = drawn(*SHAPE).numel()
    room = drawn(n + ahead)
    x, out = room[:n].view(SHAPE), room[ahead:].view(SHAPE)
    wanted = norm_of(spec, x.clone(), backend="reference")
    assert norm_of(spec, x, out=out, backend=backend) is out
    close([out], [wanted])


@EVERY_WAY
def test_an_output_that_overlaps_the_weight_gets_what_the_weight_was(backend):
    room = drawn(512 * 256 + 256)
    x, weight, out = drawn(512, 256, seed=1), room[:256], room[128 : 128 + 512 * 256].view(512, 256)
    wanted = functional.layer_norm(x, (256,), weight.clone(), backend="reference")
    close([functional.layer_norm(x, (256,), weight, out=out, backend=backend)], [wanted])


@EVERY_WAY
def test_an_output_that_cannot_be_written_is_refused(backend):
    x = drawn(8, 16)
    with torch.inference_mode():
        inference = torch.empty_like(x)
        assert functional.layer_norm(x, (16,), out=inference, backend=backend) is inference
    with pytest.raises(ArgumentError, match="inference mode"):
        functional.layer_norm(x, (16,), out=inference, backend=backend)
    one = x[:1].expand(8, 16)
    with pytest.raises(ShapeError, match="a place of its own"):
        functional.layer_norm(one, (16,), out=one, backend=backend)
    with pytest.raises(NormsuiteError, match="out"):
        functional.layer_norm(drawn(*SHAPE), (16,), out=freed(drawn(*SHAPE)), backend=backend)


# ---- other kinds of tensors ----


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("backend", ["torch", "numba", "auto"])
def test_jagged_tensors_are_torch_s(backend):
    parts = [drawn(2, 8, dtype=torch.float32), drawn(3, 8, dtype=torch.float32)]
    jagged = torch.nested.nested_tensor(parts, layout=torch.jagged)
    y = functional.layer_norm(jagged, (8,), backend=backend)
    assert_close(y.unbind()[1], functional.layer_norm(parts[1], (8,)))
    with pytest.raises(ArgumentError, match="nested"):
        functional.layer_norm(torch.nested.nested_tensor(parts), (8,), backend=backend)
    with pytest.raises(NormsuiteError, match="nested"):
        functional.layer_norm(jagged, (8,), backend="reference")


def test_statistics_stay_where_an_input_is_no_memory_under_a_dispatch_mode():
    """An address between two numbers: torch's operations compute it, with a mode and without."""
    x = torch.frombuffer(bytearray(4 * 512 + 1), dtype=torch.float32, offset=1, count=512).view(8, 8, 8)
    x.copy_(drawn(8, 8, 8, dtype=torch.float32))
    norms = [modules.BatchNorm1d(8, backend="numba") for _ in range(2)]
    with FlopCounterMode(display=False):
        watched = norms[0](x)
    assert_close(watched, norms[1](x))
    assert_close(norms[0].state_dict(), norms[1].state_dict())


@pytest.mark.slow
def test_jagged_tensors_are_torch_s_where_they_are_compiled():
    parts = [drawn(2, 8, dtype=torch.float32), drawn(3, 8, dtype=torch.float32)]
    jagged = torch.nested.nested_tensor(parts, layout=torch.jagged)
    compiled = torch.compile(lambda x: functional.layer_norm(x, (8,), backend="numba"), backend="aot_eager")
    assert_close(compiled(jagged).unbind()[1], functional.layer_norm(parts[1], (8,)))


@EVERY_WAY
def test_silu_of_minus_infinity_is_torch_s(backend):
    bias = torch.tensor([-torch.inf, torch.inf, -1e4, 1e4, -90.0, 90.0, -88.5, 0.0])
    for x in (torch.zeros(2, 8, 4, 4), torch.zeros(*SHAPE)):
        y = functional.group_norm(x, 2, None, bias, activation="silu", backend=backend)
        wanted = torch.nn.functional.silu(bias).reshape(1, 8, 1, 1).expand(x.shape)
        assert_close(y, wanted, equal_nan=True, rtol=1e-5, atol=1e-30)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@EVERY_WAY
@EVERY_NORM
def test_a_trace_holds_operations_and_serves_other_batches(spec, backend):
    x, other = drawn(*SHAPE), drawn(3, *SHAPE[1:], seed=1)
    compute = lambda t: norm_of(spec, t, backend=backend)  # noqa: E731
    compute(x)  # now cached
    traced = torch.jit.trace(compute, (x,))
    for t in (x, other):
        assert_close(traced(t), compute(t))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
@pytest.mark.parametrize("backend", ["torch", "numba", "auto"])
def test_distributed_tensors_are_torch_s(backend, tmp_path):
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        x, weight = drawn(512, 256, dtype=torch.float32), drawn(256, dtype=torch.float32, seed=1)
        ours = distribute_tensor(x, mesh, [Shard(0)]), distribute_tensor(weight, mesh, [Replicate()])
        wanted = functional.rms_norm(x, (256,), weight, 1e-5)
        for _ in range(2):
            y = functional.rms_norm(ours[0], (256,), ours[1], 1e-5, backend=backend)
            assert_close(y.full_tensor(), wanted)
            functional.rms_norm(x, (256,), weight, 1e-5, backend=backend)
            with pytest.raises(RuntimeError, match="mixed"):
                functional.rms_norm(x, (256,), ours[1], 1e-5, backend=backend)
    finally:
        torch.distributed.destroy_process_group()
