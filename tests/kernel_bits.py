"""Prints a digest of what each kernel gives: `python kernel_bits.py [promised|plain]`.

`plain` compiles the kernels without the promise that what a loop writes is not what it reads.
"""

import hashlib
import sys

import torch

from normsuite import functional, tunings
from normsuite.backends.numba import elements, outputs
from normsuite.spec import NORMS

CHANNELS = ((4, 32, 14, 14), (3, 96, 7, 7), (2, 8, 5, 3), (64, 256, 4, 4), (6, 4, 40, 40))
ROWS = ((64, 768), (3, 5000), (1, 70_000), (33, 2048), (19, 2600))


def inputs(shape):
    """Yield a tensor of that shape in each layout."""
    x = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(1)) + 3
    yield x
    if x.dim() == 4:
        yield x.contiguous(memory_format=torch.channels_last)


def outcome(spec, x, activation):
    """Return the output, the gradients and the running statistics of one call."""
    draw = torch.Generator().manual_seed(2)
    affine = x.shape[1:] if spec.affine == "element" else x.shape[1:2]
    weight = torch.randn(affine, generator=draw).requires_grad_()
    bias = torch.randn(affine, generator=draw).requires_grad_() if spec.centred else None
    running = [torch.zeros(affine), torch.ones(affine)] if spec.running == "always" else [None, None]
    x = x.detach().requires_grad_()
    y = functional.normalize(
        spec, x, weight, bias, running_mean=running[0], running_var=running[1], activation=activation, backend="numba",
        num_groups=2 if spec.groups == "given" else None, normalized_shape=affine if spec.affine == "element" else None,
    )  # fmt: skip
    wanted = [t for t in (x, weight, bias) if t is not None]
    return [y, *torch.autograd.grad(y, wanted, y.detach()), *(t for t in running if t is not None)]


def main() -> None:
    if sys.argv[1] == "plain":
        elements._promise = lambda builder, instruction, mine: None
    for least in (tunings.NEVER, 0):
        outputs.STREAMED.update(dict.fromkeys(outputs.STREAMED, least))
        for name, spec in NORMS.items():
            for shape in ROWS if spec.affine == "element" else CHANNELS:
                for x in inputs(shape):
                    for activation in (None, "silu"):
                        digest = hashlib.sha256()
                        for t in outcome(spec, x, activation):
                            digest.update(t.detach().contiguous().numpy().tobytes())
                        print(name, *shape, x.is_contiguous(), activation, least, digest.hexdigest())


if __name__ == "__main__":
    main()
