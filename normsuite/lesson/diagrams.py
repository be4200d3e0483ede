"""Drawings of the axes that each norm averages over: the tensor as a block, and the worked example by number."""

import numpy as np

from ..presentation.charts import INK, Chart, figure
from ..spec import NormSpec
from . import explain
from .tables import COMMAND


def _tints(groups: int):
    """Return a colour for each group, the same in the cube and in the tiles."""
    import matplotlib

    return matplotlib.colormaps["tab20" if groups > 10 else "tab10"]


_SLANT = 0.55, 0.42
"""How far to the right and up each image behind the first is drawn."""


def cube(spec: NormSpec) -> Chart:
    """Draw the worked example's tensor as a block of images × channels × places.

    It is seen from the front, from above and from the right.
    """
    labels = explain.labels(spec)
    images, channels = labels.shape[:2]
    labels = labels.reshape(images, channels, -1)
    places = labels.shape[2]
    groups = int(labels.max()) + 1
    extents = "; ".join(_extent(explain.letter(g + 1), labels == g) for g in range(groups))
    return Chart(
        _cube,
        (spec.name, labels.tolist()),
        f"The tensor as a block of {images} images by {channels} channels by {places} places. {spec.name} averages "
        f"over {', '.join(sorted(spec.axes))}: {groups} groups, each with a colour and a letter. {extents}",
        f"{spec.name}: the tensor (N, C, H × W), cut into what shares {spec.shared}.",
        f"{COMMAND} {spec.name}",
    )


def _cube(name: str, groups: list) -> str:
    from matplotlib.patches import Polygon

    labels = np.array(groups)
    images, channels, places = labels.shape
    tint = _tints(int(labels.max()) + 1)

    def at(c: float, p: float, n: float) -> tuple[float, float]:
        return c + _SLANT[0] * n, _SLANT[1] * n - p

    def face(label: int, corners: list[tuple[float, float, float]]) -> None:
        points = [at(*corner) for corner in corners]
        axis.add_patch(Polygon(points, facecolor=tint(label), alpha=0.55, edgecolor=INK, linewidth=0.8))
        middle = [sum(part) / len(points) for part in zip(*points, strict=True)]
        axis.text(*middle, explain.letter(label + 1), ha="center", va="center", fontsize=10)

    with figure(f"cube-{name}", 4.3, 2.4) as (finish, (axis,)):
        for c in range(channels):
            for p in range(places):
                face(labels[0, c, p], [(c, p, 0), (c + 1, p, 0), (c + 1, p + 1, 0), (c, p + 1, 0)])
            for n in range(images):
                face(labels[n, c, 0], [(c, 0, n), (c + 1, 0, n), (c + 1, 0, n + 1), (c, 0, n + 1)])
        for n in range(images):
            for p in range(places):
                right = channels
                face(labels[n, -1, p], [(right, p, n), (right, p, n + 1), (right, p + 1, n + 1), (right, p + 1, n)])
        axis.text(*at(channels / 2, places + 0.15, 0), f"C: {channels} channels", ha="center", va="top")
        axis.text(*at(-0.15, places / 2, 0), f"H × W: {places} places", ha="right", va="center")
        axis.text(*at(-0.15, 0, images / 2), f"N: {images} images", ha="right", va="bottom")
        axis.set_xlim(-2.9, channels + _SLANT[0] * images + 0.1)
        axis.set_ylim(-places - 0.6, _SLANT[1] * images + 0.1)
        axis.set_aspect("equal")
        axis.axis("off")
        return finish()


def _extent(letter: str, inside) -> str:
    """Return the images, channels and places of a group in words; an axis that the group has all of is left out."""
    spans = []
    for name, size, index in zip(("image", "channel", "place"), inside.shape, inside.nonzero(), strict=True):
        of = sorted({int(i) + 1 for i in index})
        if len(of) < size:
            spans.append(f"{name} {of[0]}" if len(of) == 1 else f"{name}s {of[0]} to {of[-1]}")
    return f"{letter}: {', '.join(spans) or 'everything'}"


def shared_means(spec: NormSpec) -> Chart:
    """Draw the worked example, one tile a number, one colour for each group that shares a mean."""
    x, labels = explain.values(), explain.labels(spec)
    groups = int(labels.max()) + 1
    each = x.size // groups
    return Chart(
        _shared_means,
        (spec.name, x.tolist(), labels.tolist()),
        f"{spec.name} on the worked example: {groups} groups of {each} numbers share {spec.shared}. "
        + "; ".join(f"{explain.letter(g + 1)}: {', '.join(f'{v:g}' for v in x[labels == g])}" for g in range(groups)),
        f"{spec.name}: numbers of one colour and letter share {spec.shared} "
        f"(averaged over {', '.join(sorted(spec.axes))}).",
        f"{COMMAND} {spec.name}",
    )


def _shared_means(name: str, values: list, groups: list) -> str:
    from matplotlib.patches import Rectangle

    x, labels = np.array(values), np.array(groups)
    images, channels, height, width = x.shape
    tint = _tints(int(labels.max()) + 1)
    with figure(f"shared-{name}", 4.3, 2.2) as (finish, (axis,)):
        for n in range(images):
            for c in range(channels):
                for i, (value, group) in enumerate(zip(x[n, c].flat, labels[n, c].flat, strict=True)):
                    left, bottom = c * (height * width + 0.35) + i, -n * 1.25
                    axis.add_patch(Rectangle((left, bottom), 1, 1, facecolor=tint(group), alpha=0.55, edgecolor=INK))
                    axis.text(left + 0.1, bottom + 0.42, f"{value:g}", ha="left", va="center", fontsize=11)
                    letter = explain.letter(group + 1)
                    axis.text(left + 0.93, bottom + 0.88, letter, ha="right", va="top", fontsize=9)
            axis.text(-0.2, -n * 1.25 + 0.5, f"image {n + 1}", ha="right", va="center")
        for c in range(channels):
            axis.text(c * (height * width + 0.35) + 1, 1.15, f"channel {c + 1}", ha="center", va="bottom")
        axis.set_xlim(-1.9, channels * (height * width + 0.35))
        axis.set_ylim(-(images - 1) * 1.25 - 0.1, 1.7)
        axis.set_aspect("equal")
        axis.axis("off")
        return finish()
