"""Our norms under the checks that torch has for its own operators."""

import functools

import pytest
import torch
import torch_private as theirs
from strategies import ON_CPU

from normsuite import functional

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

OPS = {
    "nn.functional.batch_norm": functional.batch_norm,
    "nn.functional.layer_norm": functional.layer_norm,
    "nn.functional.group_norm": functional.group_norm,
    "nn.functional.instance_norm": functional.instance_norm,
    "nn.functional.rms_norm": functional.rms_norm,
}


def moves(op, sample):
    """Return whether the call moves running statistics.

    Beside a subclass only an operator of torch can move plain ones, and what make_fx records is replayed without the
    mode in which ours are moved.
    """
    mean = sample.kwargs.get("running_mean", sample.args[1] if op.endswith("batch_norm") else None)
    by_default = {"nn.functional.batch_norm": False, "nn.functional.instance_norm": True}.get(op, False)
    return mean is not None and sample.kwargs.get("training", sample.kwargs.get("use_input_stats", by_default))


@pytest.mark.parametrize("way", ["mode", "backward", "make_fx", "aot_autograd"])
@pytest.mark.parametrize("backend", ON_CPU)
@pytest.mark.parametrize("op", OPS)
def test_torch_s_checks_of_functions(op, backend, way):
    count = 0
    for sample in theirs.samples(op, torch.float64):
        x = sample.args[0]
        if x.dim() < 2 and "batch_norm" in op:
            continue  # refused, with a reason of our own
        if way != "aot_autograd" and backend != "torch" and moves(op, sample):
            continue
        theirs.check_operations(functools.partial(OPS[op], backend=backend), sample, (way,))
        count += 1
    assert count >= 1
