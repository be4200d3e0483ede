"""The bytes that the Triton kernels are planned to move are those that they read and write."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import interpreted
import interpreted_traffic
import pytest
from interpreted import Case

pytest.importorskip("triton", reason="needs triton")

SOURCES = ("registers", "program", "memory")
LAYOUTS = {
    "groups, narrow": Case((2, 2, 4, 37), dtype="bfloat16"),
    "groups of few places": Case((3, 2, 8, 5)),
    "groups, channels last": Case((2, 2, 5, 37), channels_last=True),
    "channels": Case((3, 3, 1, 70), ("batch", "spatial")),
    "channels, channels last": Case((3, 12, 1, 70), ("batch", "spatial"), channels_last=True),
    "rows": Case((3, 1, 300, 1), per_element=True),
    "rows, uncentred": Case((3, 1, 300, 1), per_element=True, centred=False),
}


@pytest.fixture(scope="module")
def pool():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=interpreted.begin) as pool:
        yield pool


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_read_and_written_is_what_is_planned(pool, name, source):
    case = Case(**vars(LAYOUTS[name]) | {"source": source})
    counted, planned = pool.submit(interpreted_traffic.counted_and_planned, case).result()
    assert counted == planned
    assert planned[1] == 2 * interpreted.operands(case)["x"].nbytes  # y and dx are written once, wherever it is


def test_frozen_statistics_are_read_and_the_tensor_once_a_pass(pool):
    case = Case((3, 8, 1, 70), frozen=True)
    counted, planned = pool.submit(interpreted_traffic.counted_and_planned, case).result()
    size = interpreted.operands(case)["x"].nbytes
    assert counted == planned and planned[:2] == (3 * size, 2 * size)
