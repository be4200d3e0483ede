"""Kernels that were queued before are queued again with the arguments of this call, not with those of the first one."""

import itertools
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton", reason="needs triton")

from normsuite.backends.triton import geometry, launch, tiles

GEOMETRIES = {
    "rows": ((512, 1, 4096, 1), ("group", "spatial"), True),
    "long rows": ((8, 1, 200704, 1), ("group", "spatial"), True),
    "groups": ((16, 8, 8, 196), ("group", "spatial"), False),
    "channels": ((64, 32, 1, 784), ("batch", "spatial"), False),
}
FAMILIES = {
    "registers": tiles.HOPPER,
    "program": replace(tiles.HOPPER, resident=0, resident_backward=0, split=256, cached_bytes=2**40),
    "memory": replace(tiles.HOPPER, resident=0, resident_backward=0, split=256, cached_bytes=0),
}


def launch_of(name, family, queued):
    """A launch that queues nothing and binds what a real one binds: the grid and all arguments by name."""

    def run(kernel, grid, *arguments, **named):
        def queue(*given):
            found = [(t.dtype, tuple(t.shape)) if isinstance(t, torch.Tensor) else t for t in given]
            queued.append((kernel.__name__, grid, found, named))

        queue(*arguments)
        return queue

    sizes, axes, per_element = GEOMETRIES[name]
    lies = geometry.make(sizes, frozenset(axes), channels_last=False, per_element=per_element, affine=True)
    return launch.Launch(lies, True, None, False, 1e-5, 4, 4, family, run)


def call(made, way):
    """A step in which some of the results are asked for."""
    saves, has_bias, runs, dx, dweight, dbias = way
    channels, meta = made.geometry.channels, {"device": "meta"}
    x, parameter = torch.empty(made.geometry.statistics * made.geometry.count, **meta), torch.empty(channels, **meta)
    statistics = torch.empty((launch.ROWS, made.statistics), **meta)
    running = (torch.empty(made.statistics, **meta),) * 2 if runs else None
    bias = parameter if has_bias else None
    made.forward(x, x, statistics if saves else None, parameter, bias, running, 0.1)
    made.backward(
        x, x, statistics, parameter, bias, x if dx else None,
        parameter if dweight else None, parameter if dweight and dbias else None,
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_call_queues_the_same_whatever_was_queued_before(name, family):
    ways = [way for way in itertools.product((True, False), repeat=6) if way[3] or way[4]]
    alone = []
    for way in ways:
        alone.append([])
        call(launch_of(name, FAMILIES[family], alone[-1]), way)
    for order in (range(len(ways)), reversed(range(len(ways)))):
        queued = []
        made = launch_of(name, FAMILIES[family], queued)
        for place in order:
            queued.clear()
            call(made, ways[place])
            assert queued == alone[place], ways[place]


def test_sums_of_gradients_take_no_more_memory_than_the_tensor():
    """Two programs could keep such long rows in bfloat16 in a cache, but their sums would be two numbers each."""
    queued = []

    def run(kernel, grid, *arguments, **named):
        queued.extend(t.nbytes for t in arguments if isinstance(t, torch.Tensor) and t.dtype == torch.float32)

    for length in (16_385, 32_768, 35_000, 65_536):
        lies = geometry.make(
            (8192, 1, length, 1), frozenset({"group", "spatial"}), channels_last=False, per_element=True, affine=True
        )
        made = launch.Launch(lies, True, None, False, 1e-5, 2, 132, tiles.HOPPER, run)
        x = torch.empty(8192 * length, dtype=torch.bfloat16, device="meta")
        parameter = torch.empty(length, dtype=torch.bfloat16, device="meta")
        statistics = torch.empty((launch.ROWS, 8192), device="meta")
        queued.clear()
        made.backward(x, x, statistics, parameter, None, x, parameter, parameter)
        assert queued and max(queued) < x.nbytes / 4, length
