"""Norms as data: what each of them averages over. Imports no torch.

All of them are one operation. View x (N, C, *S) as (N, G, K, *S) with K = C / G channels in a group; take mean and
variance over some of the axes {batch, group, spatial}; normalise; apply an affine map. A `NormSpec` says which G, which
axes and which affine map, and everything else in the package is written once for any of them.

A norm is a TOML file with the fields of `NormSpec`: those in `norms/`, in the order of their names, then those in the
packages that are announced under the entry point "normsuite.norms", then those in the folders that the environment
variable NORMSUITE_NORMS lists.
"""

import operator
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from .errors import ArgumentError, DataError, ShapeError, UnknownNameError
from .files.reading import Unreadable, read_toml

Axis = Literal["batch", "group", "spatial"]
FOLDERS_VARIABLE = "NORMSUITE_NORMS"
ENTRY_POINTS = "normsuite.norms"
NO_NORM = "none"
"""What stands for a network without a norm."""


@dataclass(frozen=True)
class View:
    """One tensor as one norm sees it.

    Attributes:
        shape: (N, G, K, *S), or the tensor's own shape for a norm over its trailing sizes.
        dims: the dimensions of that view which share a mean.
        affine_shape: the weight's and bias's shape, broadcastable to `shape`.
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    affine_shape: tuple[int, ...]

    def __hash__(self) -> int:
        return hash(self.shape)

    @property
    def count(self) -> int:
        """Return how many elements share one mean."""
        n = 1
        for d in self.dims:  # a loop, since torch.compile cannot trace math.prod over sizes that it does not know
            n *= self.shape[d]
        return n


@dataclass(frozen=True, eq=False)  # comparing and hashing the fields at each call would cost more than a small norm
class NormSpec:
    """A normalization layer as data: the axes that it averages over, its affine map and its running statistics.

    y = (x − mean) / √(var + eps) · weight + bias, with mean and biased variance over `axes` of the view (N, G, K, *S).

    Attributes:
        name: as people write it; lookups ignore case, "-" and "_".
        groups: G from the C channels: "one", "channels" (G = C) or "given" (the user's `num_groups`).
        axes: the axes that share a mean.
        affine: one weight and bias per "channel", or per "element" of what is normalised together.
        affine_by_default: whether torch's module of that name has them unless told otherwise.
        running: running statistics "always" (unless switched off), "optional" or "never".
        torch_call: the function of torch.nn.functional that computes it, or None.
        paper: where it comes from.
        centred: whether the mean is subtracted; torch's norm that does not centre takes no bias.
    """

    name: str
    groups: Literal["one", "channels", "given"]
    axes: frozenset[Axis]
    affine: Literal["channel", "element"]
    affine_by_default: bool
    running: Literal["always", "optional", "never"]
    torch_call: str | None
    paper: str
    centred: bool = True

    def __deepcopy__(self, _: object) -> "NormSpec":
        """Return the spec itself, which does not change: a copy would be another norm to what calls are kept by."""
        return self

    @property
    def shared(self) -> str:
        """Return what the numbers of one group have in common."""
        return "one mean and one variance" if self.centred else "one mean square"

    def num_groups(self, channels: int, requested: int | None = None) -> int:
        """Return the number of groups G for that many channels.

        Raises:
            ArgumentError: the norm wants a number of groups and got none, or one that is no positive integer.
            ShapeError: it does not divide the channels.
        """
        if self.groups == "one":
            return 1
        if self.groups == "channels":
            return channels
        try:
            groups = operator.index(requested)  # type: ignore[arg-type]  # None is refused like any other object
        except TypeError:
            raise ArgumentError("num_groups", requested, "must be a positive integer") from None
        if groups < 1:
            raise ArgumentError("num_groups", requested, "must be a positive integer")
        if channels % groups:
            raise ShapeError("num_groups", groups, f"must divide the number of channels, {channels}")
        return groups

    def view(
        self,
        shape: Sequence[int],
        *,
        num_groups: int | None = None,
        normalized_shape: Sequence[int] | None = None,
    ) -> View:
        """Return how this norm sees a tensor of that shape.

        Args:
            shape: (N, C, *S); with `normalized_shape` any shape that ends in it.
            num_groups: G, for a norm whose groups are given.
            normalized_shape: the trailing sizes to average over, for a norm with one group and an affine map per
                element; all but the batch where it is left out.

        Raises:
            ShapeError: fewer than two dimensions, groups that do not divide C, or an end other than
                `normalized_shape`.
        """
        shape = tuple(shape)
        if normalized_shape is not None:
            tail = tuple(normalized_shape)
            lead = len(shape) - len(tail)
            if not tail or lead < 0 or shape[lead:] != tail:
                raise ShapeError("input.shape", shape, f"must end in normalized_shape = {tail}")
            return View(shape, self._dims(range(lead), lead, len(shape)), tail)
        if len(shape) < 2:
            raise ShapeError("input.shape", shape, f"{self.name} needs at least (N, C)")
        n, c, *s = shape
        g = self.num_groups(c, num_groups)
        k = c // g if g else 0
        return View(
            shape=(n, g, k, *s),
            dims=self._dims(range(1), 2, 3 + len(s)),
            affine_shape=(1, g, k, *(s if self.affine == "element" else (1,) * len(s))),
        )

    def _dims(self, batch: Sequence[int], group: int, end: int) -> tuple[int, ...]:
        """Return the dimensions averaged over, where the group's is that and the spatial ones follow it."""
        places = {"batch": batch, "group": (group,), "spatial": range(group + 1, end)}
        return tuple(sorted(d for axis in self.axes for d in places[axis]))


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


_NAME = re.compile(r"[^\W_][\w .+-]{0,99}")


def load(file: Path) -> NormSpec:
    """Return the norm that a TOML file describes.

    Raises:
        DataError: it cannot be read, or a field is missing, unknown or has a value that it cannot have.
    """
    try:
        found = read_toml(file)
    except Unreadable as error:
        raise DataError(f"{error.file}: cannot be read ({error.reason})") from None
    known = {field.name: field for field in fields(NormSpec)}
    missing = [n for n, f in known.items() if f.default is MISSING and n not in found and n != "torch_call"]
    if missing or found.keys() - known.keys():
        wrong = f"lacks {', '.join(missing)}" if missing else f"does not know {', '.join(found.keys() - known.keys())}"
        raise DataError(f"{file.name}: {wrong}; the fields are {', '.join(known)}")
    if not isinstance(found["name"], str) or _key(found["name"]) in ("", NO_NORM):
        raise DataError(f"{file.name}: name = {found['name']!r} must be a name, and not {NO_NORM}")
    if not _NAME.fullmatch(found["name"]):
        raise DataError(
            f"{file.name}: name = {found['name']!r} must be of letters, digits, spaces and _ . + - alone, and begin "
            "with a letter or digit: records are called after it"
        )
    for name, field in known.items():
        given = found.get(name)
        if name in ("groups", "axes", "affine", "running"):
            choices = get_args(Axis if name == "axes" else field.type)
            values = given if name == "axes" else [given]
            if not (isinstance(values, list) and values and all(value in choices for value in values)):
                some = "a list of some of" if name == "axes" else "among"
                raise DataError(f"{file.name}: {name} = {given!r} must be {some} {', '.join(choices)}")
        if name in ("affine_by_default", "centred") and given is not None and not isinstance(given, bool):
            raise DataError(f"{file.name}: {name} = {given!r} must be true or false")
    for name, only in (("groups", "one"), ("running", "never")):
        if found["affine"] == "element" and found[name] != only:
            raise DataError(f"{file.name}: {name} = {found[name]!r} must be {only!r} where affine = 'element'")
    of_channels = "spatial" in found["axes"] and ("group" not in found["axes"] or found["groups"] == "channels")
    if found["running"] != "never" and not of_channels:
        raise DataError(f"{file.name}: running = {found['running']!r} needs a mean for each channel, over its places")
    if found["running"] != "never" and not found.get("centred", True):
        raise DataError(f"{file.name}: running = {found['running']!r} needs a norm that is centred")
    return NormSpec(**{"torch_call": None, **found, "axes": frozenset(found["axes"])})


_OWN = Path(__file__).parent / "norms"


def _files() -> Iterator[Path]:
    yield from sorted(_OWN.glob("*.toml"))
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        # The package itself is not imported, which might take long, or need this one.
        package, *within = entry.value.split(".")
        found = find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise DataError(f"entry point {entry.name} = {entry.value!r}: is no package")
        yield from sorted(Path(found.submodule_search_locations[0], *within).glob("*.toml"))
    for folder in filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)):
        if not Path(folder).is_dir():
            raise DataError(f"{FOLDERS_VARIABLE} = {folder!r}: is no folder")
        yield from sorted(Path(folder).glob("*.toml"))


NORMS: dict[str, NormSpec] = {}
"""Every known norm by name, in the order in which tables and charts show them."""


def _refuse_another_norm_s_call(file: Path, spec: NormSpec) -> None:
    """Raise DataError for a `torch_call` that torch.nn does not have, or that computes something else than the norm."""
    if spec.torch_call is None:
        return
    by_call: dict[str | None, NormSpec] = {}
    for known in NORMS.values():  # torch.nn's come first
        by_call.setdefault(known.torch_call, known)
    if not isinstance(spec.torch_call, str) or spec.torch_call not in by_call:
        calls = ", ".join(filter(None, by_call))
        raise DataError(f"{file.name}: torch_call = {spec.torch_call!r} must be among {calls}, or left out")
    known = by_call[spec.torch_call]
    theirs, own = (_computed(of) for of in (known, spec))
    # One that keeps no running statistics is torch's where those are optional.
    optional = known.running == "optional" and spec.running == "never"
    for name, value in theirs.items():
        if own[name] != value and not (name == "running" and optional):
            given = sorted(spec.axes) if name == "axes" else own[name]
            said = f"computes a norm with {name} = {value!r}, and this file has {given!r}"
            raise DataError(f"{file.name}: torch_call = {spec.torch_call!r} {said}")


def _computed(spec: NormSpec) -> dict[str, object]:
    """Return what two norms that compute the same have in common."""
    alone = {"group"} if spec.groups == "channels" else set()  # a group of one channel: nothing to average over
    same = {name: getattr(spec, name) for name in ("groups", "affine", "running", "centred")}
    return {"axes": sorted(spec.axes - alone), **same}


for _file in _files():
    _spec = load(_file)
    if _key(_spec.name) in map(_key, NORMS):
        raise DataError(f"{_file.name}: there is a norm named {_spec.name} already")
    if _file.parent != _OWN:  # those of torch.nn are this package's own
        _refuse_another_norm_s_call(_file, _spec)
    NORMS[_spec.name] = _spec


def find(name: str, argument: str = "norm") -> NormSpec:
    """Return the norm of that name, whatever its case, hyphens and underscores.

    Raises:
        UnknownNameError: there is none.
    """
    for spec in NORMS.values():
        if isinstance(name, str) and _key(spec.name) == _key(name):
            return spec
    raise UnknownNameError.among(argument, name, NORMS)
