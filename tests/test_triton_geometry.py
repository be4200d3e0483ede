"""Where the elements of a norm's statistics lie, for the Triton kernels: needs no device."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import EVERY_AXES, SMALL_SIZES

pytest.importorskip("triton", reason="needs triton")

from normsuite.backends.triton import geometry


def places(g, of):
    """`of` ("stride" or "channel") summed over the dimensions, (statistics, elements of one)."""
    dims = [getattr(g, field.name) for field in fields(g)[:-1]]
    index = np.indices([d.size for d in dims])
    summed = sum(i * getattr(d, of) for i, d in zip(index, dims, strict=True))
    return summed.reshape(g.statistics, g.count)


def truth(sizes, axes, *, channels_last, per_element):
    """Return by offset the channel of each element, and a number that those of one statistic share."""
    shape = (sizes[0], 1, sizes[1] * sizes[2], sizes[3]) if per_element else sizes
    n, g, k, s = np.indices(shape)
    kept = [
        np.zeros_like(i) if axis in axes else i for axis, i in (("batch", n), ("kept", g), ("group", k), ("spatial", s))
    ]
    statistic = np.ravel_multi_index(kept, shape)
    channel = k * shape[3] + s if per_element else g * shape[2] + k
    order = (0, 3, 1, 2) if channels_last else (0, 1, 2, 3)
    return tuple(of.transpose(order).ravel() for of in (channel, statistic))


@settings(max_examples=300, deadline=None)
@given(
    sizes=SMALL_SIZES,
    axes=EVERY_AXES.map(frozenset),
    channels_last=st.booleans(),
    per_element=st.booleans(),
    affine=st.booleans(),
)
def test_every_element_belongs_to_one_statistic(sizes, axes, channels_last, per_element, affine):
    if per_element:
        axes, channels_last, affine = frozenset({"group", "spatial"}), False, True
    g = geometry.make(sizes, axes, channels_last=channels_last, per_element=per_element, affine=affine)
    channel, statistic = truth(sizes, axes, channels_last=channels_last, per_element=per_element)
    offsets = places(g, "stride")
    assert np.array_equal(np.sort(offsets, axis=None), np.arange(np.prod(sizes)))
    assert g.span == offsets.max() and g.numel == offsets.size
    assert all(len(set(statistic[row])) == 1 for row in offsets)
    assert len({statistic[row[0]] for row in offsets}) == g.statistics
    if affine:
        assert np.array_equal(places(g, "channel"), channel[offsets]) and g.channels == channel.max() + 1


@settings(max_examples=100, deadline=None)
@given(sizes=SMALL_SIZES, channels_last=st.booleans())
def test_statistics_of_channels_are_in_their_order(sizes, channels_last):
    """So that the running statistics have them."""
    axes = frozenset({"batch", "spatial"})
    g = geometry.make(sizes, axes, channels_last=channels_last, per_element=False, affine=True)
    assert np.array_equal(places(g, "channel")[:, 0], np.arange(sizes[1] * sizes[2]))


@settings(max_examples=100, deadline=None)
@given(sizes=SMALL_SIZES, axes=EVERY_AXES.map(frozenset), most=st.integers(1, 8))
def test_statistics_in_pieces_have_the_same_elements(sizes, axes, most):
    whole = geometry.make(sizes, axes, channels_last=True, per_element=False, affine=True)
    cut, pieces = geometry.by_channel(whole, most)
    assert cut.statistics == pieces * whole.statistics and pieces <= max(1, most)
    together = places(cut, "stride").reshape(whole.statistics, -1)
    assert np.array_equal(np.sort(together, axis=1), np.sort(places(whole, "stride"), axis=1))
    by_offset = {}
    for g in (whole, cut):
        by_offset[g] = dict(zip(places(g, "stride").ravel(), places(g, "channel").ravel(), strict=True))
    assert by_offset[whole] == by_offset[cut]
