"""The norms in NumPy float64, implemented separately from the reference backend and importing no torch.

The reference reshapes a tensor and averages over dimensions; the oracle gives every element the number of the group
that it belongs to, and averages over equal numbers. A mistake in the axes of one does not repeat itself in the other,
and the numbers are at once the drawing of what shares a mean.
"""

from collections.abc import Sequence

import numpy as np

from .errors import ShapeError
from .spec import NormSpec


def group_labels(spec: NormSpec, shape: Sequence[int], num_groups: int | None = None) -> np.ndarray:
    """Return for every element of (N, C, *S) the number of the group whose mean it shares.

    Groups are counted from 0 in reading order.

    Args:
        spec: the norm.
        shape: (N, C, *S).
        num_groups: G, for a norm whose groups are given.

    Returns:
        Integers of that shape.

    Raises:
        ShapeError: a rank below 2, or groups that do not divide C.
    """
    shape = tuple(shape)
    if len(shape) < 2:
        raise ShapeError("shape", shape, f"{spec.name} needs at least (N, C)")
    groups = spec.num_groups(shape[1], num_groups)
    channel = np.arange(shape[1])
    per_group = shape[1] // groups if groups else 0
    # Where an element stands on each axis that is not averaged over, with the size of that axis: the digits of its
    # label, the batch's first.
    digits = [(channel // per_group if groups else channel, groups, 1)]
    if "batch" not in spec.axes:
        digits.insert(0, (np.arange(shape[0]), shape[0], 0))
    if "group" not in spec.axes:
        digits.append((channel % per_group if groups else channel, per_group, 1))
    if "spatial" not in spec.axes:
        digits += [(np.arange(size), size, axis) for axis, size in enumerate(shape[2:], start=2)]
    label = np.zeros(shape, dtype=np.int64)
    for place, size, axis in digits:
        label = label * size + place.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return label


def statistics(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of every group.

    mean_g = Σx/n, var_g = Σ(x − mean_g)²/n over the elements labelled g.

    Args:
        x: any shape and type; computed in float64.
        labels: integers of that shape from 0.

    Returns:
        Two float64 vectors, one value a label.
    """
    x, label = np.asarray(x, dtype=np.float64).ravel(), labels.ravel()
    n = np.bincount(label)
    mean = np.bincount(label, weights=x) / n
    mean = mean + np.bincount(label, weights=x - mean[label]) / n  # what rounding took from the first pass
    var = np.bincount(label, weights=(x - mean[label]) ** 2) / n
    return mean, var


def normalize(
    x: np.ndarray,
    spec: NormSpec,
    *,
    num_groups: int | None = None,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    eps: float = 1e-5,
) -> np.ndarray:
    """Return (x − mean) / √(var + eps) · weight + bias in float64, with the statistics of the input.

    Args:
        x: (N, C, *S).
        spec, num_groups: the norm.
        weight, bias: (C,) or (C, *S), or None.
        eps: added to the variance, inside the root.

    Returns:
        float64, of the shape of x.
    """
    x = np.asarray(x, dtype=np.float64)
    labels = group_labels(spec, x.shape, num_groups)
    mean, var = statistics(x, labels)
    if not spec.centred:
        mean, var = np.zeros_like(mean), var + mean**2
    y = (x - mean[labels]) / np.sqrt(var[labels] + eps)
    for parameter, combine in ((weight, np.multiply), (bias, np.add)):
        if parameter is not None:
            parameter = np.asarray(parameter, dtype=np.float64)
            y = combine(y, parameter.reshape(parameter.shape + (1,) * (x.ndim - 1 - parameter.ndim)))
    return y


def gradient(
    x: np.ndarray,
    dy: np.ndarray,
    spec: NormSpec,
    *,
    num_groups: int | None = None,
    weight: np.ndarray | None = None,
    eps: float = 1e-5,
) -> np.ndarray:
    """Return dx of `normalize` for the output gradient dy, in float64.

    dx = rstd · (g − mean(g) − x_hat · mean(g · x_hat)) with g = dy · weight and the means over each group; without the
    mean(g) where the norm does not centre.

    Args:
        x, dy: (N, C, *S).
        spec, num_groups, weight, eps: as in `normalize`.

    Returns:
        float64, of the shape of x.
    """
    x, g = np.asarray(x, dtype=np.float64), np.asarray(dy, dtype=np.float64)
    if weight is not None:
        weight = np.asarray(weight, dtype=np.float64)
        g = g * weight.reshape(weight.shape + (1,) * (x.ndim - 1 - weight.ndim))
    labels = group_labels(spec, x.shape, num_groups)
    mean, var = statistics(x, labels)
    if not spec.centred:
        mean, var = np.zeros_like(mean), var + mean**2
    rstd = 1 / np.sqrt(var + eps)
    x_hat = (x - mean[labels]) * rstd[labels]
    mean_g = statistics(g, labels)[0] if spec.centred else np.zeros_like(rstd)
    return rstd[labels] * (g - mean_g[labels] - x_hat * statistics(g * x_hat, labels)[0][labels])
