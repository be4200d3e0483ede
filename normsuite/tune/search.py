"""Choose the sizes to measure, to find the one at which the faster implementation changes: a checked bisection."""

from collections.abc import Callable, Generator, Mapping, Sequence

FASTER_BELOW = 1.0
"""A ratio of the kernels' time to torch's."""

Search = Generator[int, float, None]


def search(sizes: Sequence[int], slower_above: float, *, largest_is_faster: bool = False) -> Search:
    """Yield the sizes to measure, and take the ratio at each.

    The largest size comes first, unless it is known: where the kernels are slower there, no size is theirs. Then the
    sizes are bisected for the smallest at which the kernels are faster, and one size more is checked: the middle one of
    those above it that were not measured. Where the kernels are slower there, the bisection goes on above it.

    Args:
        sizes: in ascending order.
        slower_above: the ratio above which the kernels count as slower.
        largest_is_faster: the kernels are known to be faster at the largest size, which is not measured then.
    """
    if not sizes:
        return
    largest = len(sizes) - 1
    if not largest_is_faster and (yield sizes[largest]) > slower_above:
        return
    known = {largest}
    below = -1
    while True:
        above = largest
        while above - below > 1:
            middle = (above + below) // 2
            known.add(middle)
            if (yield sizes[middle]) < FASTER_BELOW:
                above = middle
            else:
                below = middle
        left = [place for place in range(above + 1, largest) if place not in known]
        if not left:
            return
        place = left[len(left) // 2]
        known.add(place)
        if (yield sizes[place]) <= slower_above:
            return
        below = place


def together(searches: Mapping[str, Search], ratio: Callable[[str, int], float]) -> dict[str, dict[int, float]]:
    """Return the ratios that several searches ask for, by name and size.

    Whatever is wanted of the largest size comes first, so that operands of one size serve many searches.
    """
    found: dict[str, dict[int, float]] = {name: {} for name in searches}
    wanted = {name: size for name, one in searches.items() if (size := next(one, None)) is not None}
    while wanted:
        size = max(wanted.values())
        for name in [name for name, other in wanted.items() if other == size]:
            found[name][size] = value = ratio(name, size)
            try:
                wanted[name] = searches[name].send(value)
            except StopIteration:
                del wanted[name]
    return found
