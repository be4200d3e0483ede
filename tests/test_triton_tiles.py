"""Elements that the Triton kernels read or write, by the arguments of their launches: needs no device.

A kernel walks over tiles and masks what lies outside, unless it is told that nothing does. What it then takes is
computed here from its arguments, for sizes that take the interpreter too long.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import EVERY_AXES, NORMS_AXES

pytest.importorskip("triton", reason="needs triton")

from normsuite.backends.triton import geometry, launch, resident, tiles
from tools.kernel_compiler import Recorder

LENGTHS = (1, 2, 3, 5, 7, 12, 32, 37, 49, 130, 196, 769, 1000, 3136, 4096, 4097, 5120, 8192, 8193, 10000, 10240, 12288,
           14336, 16384, 16385, 20480, 32768, 40000, 65535, 65536, 70000, 200704)  # fmt: skip


def places(kernel, grid, named) -> Iterator[tuple[int, int]]:
    """(row, column) at which each tile that is taken begins, over the programs of one statistic."""
    height, width = named["R"], named["L"]
    if kernel in (resident.forward_resident, resident.backward_resident):
        own = named.get("OWN", named.get("TILES"))
        for tile in (part * own + tile for part in range(grid[1]) for tile in range(own)):
            yield (tile * height, 0) if named["ALONG_ROWS"] else (0, tile * width)
    elif "tiles_per_part" in named:
        col_tiles = -(-named["cols"] // width)
        for part in range(grid[1]):
            begin = part * named["tiles_per_part"]
            for tile in range(begin, min(begin + named["tiles_per_part"], named["tiles"])):
                yield tile // col_tiles * height, tile % col_tiles * width
    else:
        yield from _walked(grid, named)


def _walked(grid, named) -> Iterator[tuple[int, int]]:
    height, width, walk = named["R"], named["L"], named["WALK"]
    row_tiles, col_tiles = named["row_tiles"], named["col_tiles"]
    walked = {"both": row_tiles * col_tiles, "cols": col_tiles, "rows": row_tiles}[walk]
    for part in range(grid[1]):
        here = part % named["walks"] * named["tiles_per_walk"]
        across = range(named["fixed_tiles"]) if named["SOURCE"] == "program" else [part // named["walks"]]
        for fixed in across:
            for tile in range(here, min(here + named["tiles_per_walk"], walked)):
                row = {"both": tile // col_tiles, "cols": fixed, "rows": tile}[walk]
                yield row * height, {"both": tile % col_tiles, "cols": tile, "rows": fixed}[walk] * width


def wrong(kernel, grid, named) -> str | None:
    """Return what is wrong with the elements that are taken, of one statistic and along the statistics."""
    rows, cols, even = named["rows"], named["cols"], named["EVEN"]
    begun, taken = set(), 0
    for row, col in places(kernel, grid, named):
        if (row, col) in begun:
            return f"the tile at {row}, {col} is taken twice"
        begun.add((row, col))
        bottom = row + named["R"] if even & 2 else min(row + named["R"], rows)
        right = col + named["L"] if even & 1 else min(col + named["L"], cols)
        if bottom > rows or right > cols:
            return f"the tile at {row}, {col} ends at {bottom}, {right} of {rows}, {cols}"
        taken += max(0, bottom - row) * max(0, right - col)
    if taken != rows * cols:
        return f"{taken} of {rows * cols} elements are taken"
    if even & 4 and named["blocks"] * named["A"] != named["inner"]:
        return f"{named['blocks']} blocks of {named['A']} are not {named['inner']} statistics"
    return None


def shared_bytes(kernel, named, itemsize) -> int:
    """Return what a program that keeps whole statistics loads for the next rounds, where it loads ahead."""
    if kernel not in (resident.forward_resident, resident.backward_resident):
        return 0
    is_backward = kernel is resident.backward_resident
    tensors = 1 + is_backward
    if named["C_COL"] and named.get("OWN", named["TILES"]) == named["TILES"]:
        tensors += 1 + (not is_backward or named["ACTIVATION"] is not None)  # the bias is needed for an activation
    elements = named["A"] * named["R"] * named["L"] * named["TILES"]
    return (named["STAGES"] - 1) * tensors * elements * itemsize


@settings(max_examples=400, deadline=None)
@given(
    sizes=st.tuples(
        st.integers(1, 5), st.sampled_from((1, 2, 32)), st.sampled_from((1, 2, 3, 10)), st.sampled_from(LENGTHS)
    ),
    axes=NORMS_AXES,
    layout=st.sampled_from(("contiguous", "channels_last", "per_element")),
    itemsize=st.sampled_from((2, 4)),
    activation=st.sampled_from((None, "silu")),
    family=st.sampled_from((tiles.HOPPER, tiles.BLACKWELL)),
    processors=st.sampled_from((4, 132)),
)
@example((1, 2, 2, 16384), ("group", "spatial"), "contiguous", 4, None, tiles.HOPPER, 4)  # could be cut both ways
@example((64, 1, 12288, 1), ("group", "spatial"), "per_element", 4, None, tiles.HOPPER, 132)  # more tiles than it needs
@example((64, 1, 12288, 1), ("group", "spatial"), "per_element", 2, None, tiles.BLACKWELL, 132)
@example((4096, 1, 20480, 1), ("group", "spatial"), "per_element", 4, None, tiles.HOPPER, 132)  # more than is shared
def test_each_element_is_taken_once_and_none_outside(sizes, axes, layout, itemsize, activation, family, processors):
    n, groups, k, s = sizes
    per_element = layout == "per_element"
    if per_element:
        sizes, axes = (n, 1, groups * k, s), ("group", "spatial")
    lies = geometry.make(
        sizes, frozenset(axes), channels_last=layout == "channels_last", per_element=per_element, affine=True
    )
    recorder = Recorder()
    dtype = {2: torch.bfloat16, 4: torch.float32}[itemsize]
    x, statistics = torch.empty(1, dtype=dtype, device="meta"), torch.empty((4, lies.statistics), device="meta")
    made = launch.Launch(lies, True, activation, False, 1e-5, itemsize, processors, family, recorder)
    made.forward(x, x, statistics, x, x, None, 0.1)
    made.backward(x, x, statistics, x, x, x, x, x)
    walking = [one for one in recorder.launches if "R" in one[2]]
    assert sum(one[2].get("y") is not None or one[2].get("dx") is not None for one in walking) == 2
    for kernel, grid, named, _ in walking:
        assert wrong(kernel, grid, named) is None, kernel.__name__
        assert shared_bytes(kernel, named, itemsize) <= family.shared_bytes, kernel.__name__


def test_what_is_wrong_is_seen():
    named = {"rows": 2, "cols": 100, "R": 2, "L": 64, "TILES": 2, "ALONG_ROWS": False, "EVEN": 6, "inner": 4, "A": 4,
             "blocks": 1}  # fmt: skip
    kernel = resident.forward_resident
    assert wrong(kernel, (4, 1), named) is None
    assert "ends at 2, 128 of 2, 100" in wrong(kernel, (4, 1), named | {"EVEN": 7})
    assert "128 of 200" in wrong(kernel, (4, 1), named | {"TILES": 1})
    assert "blocks" in wrong(kernel, (4, 1), named | {"inner": 5})
    assert "twice" in wrong(kernel, (4, 1), named | {"ALONG_ROWS": True, "R": 0})


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.tuples(
        st.integers(1, 2048), st.sampled_from((1, 2, 32, 512)), st.sampled_from((1, 2, 16)), st.integers(1, 9)
    ),
    axes=st.sampled_from([("group", "spatial"), ("spatial",)]),
    last=st.booleans(),
    itemsize=st.sampled_from((2, 4)),
)
@example(sizes=(4096, 32, 16, 1), axes=("group", "spatial"), last=False, itemsize=2)
@example(sizes=(4096, 512, 1, 4), axes=("spatial",), last=True, itemsize=2)
def test_sums_of_few_places_are_bounded_by_the_tensor_or_the_device(sizes, axes, last, itemsize):
    """Either they take a sixteenth of the tensor at most, or there are a few for each multiprocessor and channel."""
    lies = geometry.make(sizes, frozenset(axes), channels_last=last, per_element=False, affine=True)
    made = launch.Launch(lies, True, None, False, 1e-5, itemsize, 132, tiles.HOPPER, Recorder())
    shares, work = made._backward_shares, made._backward_work
    sums = 8 * shares.slots * lies.channels
    assert sums * 16 <= lies.numel * itemsize or shares.slots <= 132 * tiles.HOPPER.most_programs or work.tiles > 1
    assert shares.programs <= work.units


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.tuples(
        st.integers(1, 300), st.sampled_from((1, 2, 32)), st.sampled_from((1, 3, 16)), st.sampled_from((1, 2, 9, 1100))
    ),
    axes=EVERY_AXES,
    last=st.booleans(),
    itemsize=st.sampled_from((2, 4)),
    family=st.sampled_from((tiles.HOPPER, replace(tiles.HOPPER, resident_backward=0, cached_bytes=0))),
    processors=st.sampled_from((4, 132)),
)
@example((2, 2, 3, 1100), ("group",), False, 4, tiles.HOPPER, 4)  # a channel's places are several blocks
@example((8, 64, 1, 3136), ("batch",), False, 4, tiles.HOPPER, 132)
def test_each_sum_of_a_channel_is_stored_once(sizes, axes, last, itemsize, family, processors):
    lies = geometry.make(sizes, frozenset(axes), channels_last=last, per_element=False, affine=True)
    recorder = Recorder()
    x, statistics = torch.empty(1, device="meta"), torch.empty((4, lies.statistics), device="meta")
    made = launch.Launch(lies, True, None, False, 1e-5, itemsize, processors, family, recorder)
    made.backward(x, x, statistics, x, x, x, x, x)
    (named, grid), *_ = [(n, g) for kernel, g, n, _ in recorder.launches if n.get("dx") is not None]
    assert grid[1] <= 65535
    programs, blocks, middle = grid[0], named["blocks"], named["middle"]
    moved = [named[f"C_{name}"] != 0 for name in ("OUTER", "MIDDLE", "INNER")]

    def places(unit):
        return unit // blocks // middle, unit // blocks % middle, unit % blocks

    def channels(unit):
        return np.ravel_multi_index([place * of for place, of in zip(places(unit), moved, strict=True)], sides)

    units = np.arange(named["units"])
    sides = [int(place.max()) + 1 for place in places(units)]
    own = channels(units)
    assert (own == own[units % programs]).all(), "a program has the sums of one set of channels"
    first = np.arange(programs)
    slot = np.zeros(programs, np.int64)
    for place, size, of in zip(places(first), (0, middle, blocks), moved, strict=True):
        slot = slot if of else slot * size + place
    slots = named["partial"].shape[0] // (named.get("walks", 1) * named["slots_row"])
    stored = set(zip(slot.tolist(), own[:programs].tolist(), strict=True))
    assert len(stored) == programs and {slot for slot, _ in stored} == set(range(slots))
    assert programs == slots * len(set(own.tolist())), "every sum that is added up has been stored"
