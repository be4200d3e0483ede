"""BatchNorm over several processes equals one process on the joined batch: real processes, gloo, uneven shards."""

import pickle
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from normsuite import modules
from normsuite.errors import UnsupportedError

WORKER = """
import pickle, sys
import torch, torch.distributed as dist
from normsuite.modules import BatchNorm2d

rank, world, folder, steps = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], 2
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
shards = pickle.load(open(f"{folder}/shards", "rb"))
module = BatchNorm2d(4, backend="reference", process_group=dist.group.WORLD)
for _ in range(steps):
    x = shards[rank][0].clone().requires_grad_()
    y = module(x)
    module.zero_grad()
    y.backward(shards[rank][1])
found = y.detach(), x.grad, module.weight.grad, module.bias.grad, module.running_mean, module.running_var
pickle.dump(found, open(f"{folder}/found{rank}", "wb"))
dist.barrier()
dist.destroy_process_group()
"""


def test_evaluation_asks_no_other_process(monkeypatch):
    """A model is often evaluated on one process alone."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *given, **options: pytest.fail("asked the others"))
    module = modules.BatchNorm2d(4, track_running_stats=False, backend="reference", process_group=object()).eval()
    x = torch.randn(3, 4, 2, 2)
    assert_close(module(x), modules.BatchNorm2d(4, track_running_stats=False)(x))


@pytest.mark.parametrize(
    ("sizes", "mean"), [((3, 5), 0.0), ((4, 1, 2), 1e4), ((6, 0, 1), 0.0), ((6, 0, 1), 1e4)], ids=str
)
def test_shards_equal_the_joined_batch(sizes, mean, tmp_path):
    draw = torch.Generator().manual_seed(0)
    shards = [(torch.randn(n, 4, 3, 3, generator=draw) + mean, torch.randn(n, 4, 3, 3, generator=draw)) for n in sizes]
    (tmp_path / "shards").write_bytes(pickle.dumps(shards))
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(len(sizes)), str(tmp_path)])
        for rank in range(len(sizes))
    ]
    for worker in workers:
        worker.wait(timeout=300)
    # What a process found counts, not how it left: gloo may abort when a peer is gone first.
    found = [pickle.loads((tmp_path / f"found{rank}").read_bytes()) for rank in range(len(sizes))]

    module = modules.BatchNorm2d(4, dtype=torch.float64)  # float64: what one process should find
    x, dy = (torch.cat(parts).double() for parts in zip(*shards, strict=True))
    for _ in range(2):
        x = x.detach().requires_grad_()
        y = module(x)
        module.zero_grad()
        y.backward(dy)
    close = {"rtol": 1e-6, "atol": 1e-6, "check_dtype": False}
    assert_close(torch.cat([f[0] for f in found]), y.detach(), **close)
    assert_close(torch.cat([f[1] for f in found]), x.grad, **close)
    # a process's parameters get its own shard's gradient, which DistributedDataParallel adds up
    assert_close(sum(f[2] for f in found), module.weight.grad, **close)
    assert_close(sum(f[3] for f in found), module.bias.grad, **close)
    for f in found:
        assert_close(f[4], module.running_mean, **close)
        assert_close(f[5], module.running_var, **close)


def test_a_backend_that_knows_one_process_says_so():
    module = modules.BatchNorm2d(4, process_group=object())
    with pytest.raises(UnsupportedError, match="backend = 'torch': torch's calls know one process"):
        module(torch.ones(2, 4, 3, 3))
