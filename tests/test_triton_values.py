"""The Triton kernels under the interpreter, which computes on the CPU, against float64.

The processes that compute are apart, since the interpreter is chosen when Triton is imported. All memory around tensors
and all that was not written is NaN there.
"""

import itertools
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import interpreted
import pytest
from interpreted import Case

from normsuite.spec import NORMS

pytest.importorskip("triton", reason="needs triton")

AXES = [axes for n in (1, 2, 3) for axes in itertools.combinations(("batch", "group", "spatial"), n)]
SOURCES = ("registers", "program", "memory")
ACTIVATIONS = (None, "relu", "silu")
AFFINE = ("both", "weight", "none")
EXACT = 2e-6
FEW = 1e-5
"""The bound of gradients where a statistic has few elements, which may lie close together by chance."""

ROUNDED = {"float32": None, "float16": 0.51, "bfloat16": 1.01}
"""Units in the last place: the interpreter cuts bfloat16 off where devices round."""


@pytest.fixture(scope="module")
def pool():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=interpreted.begin) as pool:
        yield pool


def check(pool: ProcessPoolExecutor, cases: Sequence[Case], bound: float = EXACT) -> list[tuple[str, str]]:
    """Compute the cases; returns where the statistics were."""
    sources = []
    for case, found in zip(cases, pool.map(interpreted.errors, cases), strict=True):
        sources.append(found.pop("sources"))
        for name, error in found.items():
            narrow = ROUNDED[case.dtype] if name in ("y", "dx") else None
            assert error <= (narrow or (EXACT if name == "y" else bound)), (case, found)
    return sources


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("axes", AXES, ids="-".join)
def test_every_combination_of_axes_in_both_layouts(pool, axes, source):
    turn = AXES.index(axes) + SOURCES.index(source)
    cases = [
        Case(
            (7, 2, 3, 9), axes, last, source=source, activation=ACTIVATIONS[(turn + last) % 3], affine=AFFINE[turn % 3]
        )
        for last in (False, True)
    ]
    sources = check(pool, cases, FEW)
    if source == "registers":
        assert sources == [(source, source)] * 2


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_types(pool, dtype, source):
    settings = {"dtype": dtype, "source": source}
    check(
        pool,
        [
            Case((2, 2, 4, 21), activation="silu", **settings),
            Case((2, 2, 4, 21), channels_last=True, **settings),
            Case((2, 1, 257, 1), per_element=True, centred=False, **settings),
        ],
    )


@pytest.mark.parametrize("affine", AFFINE)
def test_frozen_statistics(pool, affine):
    kinds = [("float32", "relu"), ("bfloat16", None)]
    cases = [
        Case((3, 2, 4, 37), channels_last=last, frozen=True, dtype=dtype, activation=activation, affine=affine)
        for last in (False, True)
        for dtype, activation in kinds
    ]
    assert set(check(pool, cases)) == {("running", "running")}


@pytest.mark.parametrize("centred", [True, False], ids=["centred", "uncentred"])
def test_lengths_of_rows(pool, centred):
    cases = [
        Case((3, 1, length, 1), per_element=True, centred=centred, source=source, shift=shift)
        for length, shift in ((1, 16), (37, 1), (769, 3))[not centred :]
        for source in ("registers", "memory")
    ]
    cases.append(Case((2, 1, 4096, 1), per_element=True, centred=centred, affine="weight"))
    cases += [Case((1, 1, 16384, 1), per_element=True, centred=centred, source=s, affine="none") for s in SOURCES]
    sources = check(pool, cases)
    assert sources[-3:] == [(source, source) for source in SOURCES]


@pytest.mark.parametrize("source", ("registers", "memory"))
def test_rows_of_one_number_over_their_root_mean_square(pool, source):
    """Their gradient is what eps leaves of it, a difference of nearly equal numbers: no digits can be asked for."""
    found = pool.submit(interpreted.errors, Case((3, 1, 1, 1), per_element=True, centred=False, source=source)).result()
    assert found["y"] <= EXACT and found["dweight"] <= EXACT and found["dx"] <= 1e-2


@pytest.mark.parametrize("mean", [1e3, 1e6])
def test_numbers_far_from_zero(pool, mean):
    """The deviation is 1, and the type float32, where torch loses 5 % of the root mean square."""
    cases = [Case((2, 1, 769, 1), per_element=True, mean=mean, source=source) for source in SOURCES]
    cases += [Case((2, 2, 4, 65), channels_last=last, mean=mean, source="memory") for last in (False, True)]
    cases.append(Case((3, 2, 4, 37), ("batch", "spatial"), mean=mean))
    cases.append(Case((1, 1, 16384, 1), per_element=True, mean=mean, affine="none"))
    check(pool, cases)


@pytest.mark.parametrize("channels", [3, 5, 10])
def test_groups_of_channels_that_lie_side_by_side(pool, channels):
    """Sizes are no powers of two, in one sample."""
    check(
        pool, [Case((1, 4, channels, 37), channels_last=True, source=source, activation="silu") for source in SOURCES]
    )


@pytest.mark.parametrize("source", ("registers", "memory"))
@pytest.mark.parametrize("axes", [("group", "spatial"), ("spatial",), ("batch", "spatial")], ids="-".join)
def test_variances_far_below_eps_are_kept_with_their_digits(pool, axes, source):
    """They move running statistics, and 1/rstd² − eps has lost them."""
    case = Case((3, 2, 4, 37), axes, source=source, affine="none", deviation=1e-6)
    assert pool.submit(interpreted.kept_variances, case).result() < EXACT


def test_a_gradient_of_the_bias_is_not_rounded_to_the_weight_s_type(pool):
    assert pool.submit(interpreted.bias_gradient).result() == [360_000.0] * 2


def test_indices_beyond_32_bits(pool):
    """Tensors have more than 2³¹ elements, which no test can hold."""
    assert pool.submit(interpreted.wide_indices).result() == [2**32, 5, 2**44]


@pytest.mark.parametrize("source", SOURCES)
def test_64_bit_kernels_compute_the_same(pool, source):
    cases = [
        Case((3, 2, 3, 65), source=source, wide=True),
        Case((3, 2, 3, 65), ("batch", "spatial"), channels_last=True, source=source, wide=True),
        Case((5, 1, 129, 1), per_element=True, source=source, wide=True),
    ]
    check(pool, cases, FEW)


@pytest.mark.parametrize("source", SOURCES)
def test_two_runs_give_the_same_bits(pool, source):
    cases = [
        Case((3, 2, 3, 65), source=source),
        Case((3, 2, 3, 65), ("batch", "spatial"), channels_last=True, source=source),
        Case((5, 1, 129, 1), per_element=True, source=source),
    ]
    assert all(pool.map(interpreted.same_bits, cases))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
def test_a_nan_reaches_the_running_statistics(pool, source, last):
    case = Case((3, 2, 3, 65), ("batch", "spatial"), last, source=source)
    assert pool.submit(interpreted.wrongly_numbers, case).result() == []


def test_a_wrong_value_is_found(pool):
    """The bounds are not wide enough for anything."""
    case = Case((2, 2, 4, 37))
    given = interpreted.operands(case)
    right = interpreted.exact(case, given)
    wrong = interpreted.exact(case, given | {"x": given["x"] * (1 + 1e-5)})
    assert (right["dx"] - wrong["dx"]).abs().max() > 2 * EXACT * right["dx"].square().mean().sqrt()


@pytest.mark.parametrize("name", NORMS)
def test_every_norm_as_users_call_it(pool, name):
    """Calls are with and without weight, bias and activation, with running statistics that move or are given."""
    layouts = [pool.submit(partial(interpreted.public, name, "float32", last=last)) for last in (False, True)]
    for found in layouts:
        assert len(found.result()) >= 10 and max(found.result()) < FEW


def test_tensors_without_elements(pool):
    assert pool.submit(interpreted.empty).result() == [(0, 4), (0, 4, 3), (2, 0, 4)]


@pytest.mark.parametrize("axes", [("group", "spatial"), ("spatial",)], ids="-".join)
def test_few_places_of_many_samples(pool, axes):
    """Programs take several samples, and add up for their channels, of one block of groups or of several."""
    settings = {"activation": "relu", "affine": "both"}
    cases = [
        Case(sizes, axes, last, source=source, **settings)
        for sizes, source in (((24, 3, 4, 4), "registers"), ((10, 300, 1, 16), "registers"), ((12, 3, 4, 4), "memory"))
        for last in (False, True)
    ]
    check(pool, cases, FEW)


def test_places_of_one_channel_in_several_blocks(pool):
    """Programs that take several units have those of the same channels, which are not neighbours here."""
    check(
        pool, [Case((2, 2, 3, 1100), ("group",), affine="both"), Case((5, 4, 1, 1100), ("batch",), affine="both")], FEW
    )


def test_long_groups_of_a_sample_without_places(pool):
    """Each group has a weight of its own, and is as long as the rows that several programs share."""
    check(pool, [Case((2, 2, 16384, 1), activation=activation, affine="both") for activation in (None, "relu")])
