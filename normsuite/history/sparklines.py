"""A small picture of each series, drawn as SVG without matplotlib, which takes as long for one as this for all."""

import math
from collections.abc import Callable

import numpy as np

from ..presentation.charts import colour
from ..presentation.table import Picture
from ..spec import NORMS
from .steps import Trend

_WIDTH, _HEIGHT = 120, 24


def picture(of: Trend, show: Callable[[float], str]) -> Picture:
    """Return a line through a segment's values, with a band for each level.

    Args:
        of: the segment.
        show: writes a value.
    """
    values = of.segment.values
    there = np.array(values)
    there = there[np.isfinite(there)]
    low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 0.0)
    wide, tall = _WIDTH / max(1, len(values) - 1), (_HEIGHT - 2) / ((high - low) or 1.0)

    def at(place: float, value: float) -> str:
        return f"{place * wide:.1f},{1 + (high - min(max(value, low), high)) * tall:.1f}"

    bands = "".join(
        f'<path d="M{at(level.places[0], level.value.value)}H{level.places[-1] * wide:.1f}" class="level"/>'
        for level in of.levels
    )
    parameters = of.segment.parameters.values()
    tint = next((colour(norm) for norm in NORMS if norm in parameters), "currentColor")
    line = " ".join(at(place, value) for place, value in _thinned(values))
    return Picture(
        f"{show(values[0])} → {show(values[-1])}",
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="series" aria-hidden="true">{bands}'
        f'<polyline points="{line}" stroke="{tint}"/></svg>',
    )


def _thinned(values: list[float]) -> list[tuple[int, float]]:
    """Return at most two points for each that the picture is wide: the least and the most of its share of commits."""
    share = math.ceil(len(values) / (_WIDTH / 2))
    shares = np.full((math.ceil(len(values) / share), share), math.nan)
    shares.flat[: len(values)] = values
    finite, first = np.isfinite(shares), share * np.arange(len(shares))
    least = first + np.where(finite, shares, math.inf).argmin(axis=1)
    most = first + np.where(finite, shares, -math.inf).argmax(axis=1)
    kept = np.unique([least, most]).tolist()
    return [(place, values[place]) for place in kept if math.isfinite(values[place])]
