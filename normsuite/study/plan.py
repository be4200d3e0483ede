"""Runs that follow from settings: presets and other TOML files, single values and lists of them.

A setting is a field of `Run`, or one of

    norms                   names, "none" among them; where left out "none" and every norm that the backends compute
    seeds                   how many: 0, 1, …
    scale_learning_rate     multiply the rate by √(batch size / 128)

A list stands for a run with each of its values; `learning_rate` may be a table with a rate for each norm.
"""

import itertools
import math
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, UnknownNameError
from ..spec import NO_NORM, NORMS, find
from ..targets.target import Target
from . import target_norms, trial
from .train import Run

DEFAULT_PRESET = "quick"
_PRESETS = resources.files(__package__) / "presets"
PRESETS = tuple(sorted(Path(file.name).stem for file in _PRESETS.iterdir() if file.name.endswith(".toml")))
"""Every preset, found by its file."""

_RUN = {field.name: field for field in fields(Run) if field.name not in ("norm", "seed", "target")}
_KINDS: dict[str, Any] = {name: field.type for name, field in _RUN.items()}
_OWN = {"norms": list, "seeds": int, "scale_learning_rate": bool}
_REFERENCE_BATCH = _RUN["batch_size"].default


def preset(name: str) -> dict:
    """Return the settings of a preset.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in PRESETS:
        raise UnknownNameError.among("preset", name, PRESETS)
    return tomllib.loads((_PRESETS / f"{name}.toml").read_text(encoding="utf-8"))


def plan(preset_name: str = DEFAULT_PRESET, *, targets: Sequence[Target] = (), **settings) -> list[Run]:
    """Return the runs of a study, seed by seed, so that a study cut short has all norms of the seeds it finished.

    Args:
        preset_name: one of `PRESETS`.
        targets: users' norms, which are trained like the others.
        settings: what is not as in the preset; None leaves it as it is there.

    Raises:
        UnknownNameError: no such preset, norm or setting.
        ArgumentError: a value out of range or of a wrong type, or two targets of one name.
        NormsuiteError: a target that cannot be made, or does not take the network's maps.
    """
    given = {**preset(preset_name), **{name: value for name, value in settings.items() if value is not None}}
    for name in given:
        if name not in {**_RUN, **_OWN}:
            raise UnknownNameError.among("setting", name, [*_OWN, *_RUN])
    for name, kind in _OWN.items():
        _check(name, given.get(name, kind()), kind)
    seeds = given.get("seeds", 1)
    if seeds < 1:
        raise ArgumentError("seeds", seeds, "must be at least 1")
    usual = [name for name in (NO_NORM, *NORMS) if name not in left_out(given.get("backend"))]
    norms = [name if name == NO_NORM else find(name).name for name in given.get("norms") or usual]
    of_title = _by_title(targets)
    listed = {name: _values(name, given[name], of_title) for name in _RUN if name in given}
    missing = [name for name, field in _RUN.items() if name not in given and field.default is MISSING]
    if missing:
        raise ArgumentError(missing[0], None, "is needed")
    conditions = [dict(zip(listed, values, strict=True)) for values in itertools.product(*listed.values())]
    runs = (
        Run(norm, seed, target=of_title.get(norm), **_of_norm(norm, condition, given.get("scale_learning_rate", False)))
        for seed in range(seeds)
        for condition in conditions
        for norm in (*norms, *of_title)
    )
    for num_groups in dict.fromkeys(
        condition.get("num_groups", _RUN["num_groups"].default) for condition in conditions
    ):
        for target in of_title.values():  # before a run makes its network in this process
            trial.of(target, num_groups)
    return list(dict.fromkeys(runs))  # two tables of rates may give a norm the same one


def left_out(backend: str | Sequence[str] | None) -> list[str]:
    """Return the norms that are left out unless they are named: where torch computes, those it has no call for."""
    chosen = _RUN["backend"].default if backend is None else backend
    by_torch = "torch" in (chosen if isinstance(chosen, list) else [chosen])
    return [name for name, spec in NORMS.items() if by_torch and spec.torch_call is None]


def _by_title(targets: Sequence[Target]) -> dict[str, Target]:
    """Return the targets by the names that they have in records and tables."""
    found: dict[str, Target] = {}
    for target in targets:
        target_norms.check(target)
        if target.title in found:
            raise ArgumentError("with", target.title, "is there twice: give one of them a name")
        found[target.title] = target
    return found


def _values(name: str, value: Any, titles: Collection[str]) -> list:
    """Return the list of a setting's values, each of the type that the run wants."""
    values = value if isinstance(value, list) else [value]
    for each in values:
        if name == "learning_rate" and isinstance(each, Mapping):
            for norm, rate in each.items():
                if norm != NO_NORM and norm not in titles:
                    find(norm)
                _check(name, rate, float)
        else:
            _check(name, each, _KINDS[name])
    if not values:
        raise ArgumentError(name, value, "has no value")
    if _KINDS[name] is float:  # 0 and 0.0 are one setting, with one record
        values = [value if isinstance(value, Mapping) else float(value) for value in values]
    return list(dict.fromkeys(values)) if not any(isinstance(v, Mapping) for v in values) else values


def _check(name: str, value: object, kind: type) -> None:
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ArgumentError(name, value, f"must be {getattr(kind, '__name__', kind)}")


def _known(name: str) -> str | None:
    """Return the norm of that name, however it is written; None for a target or no norm."""
    try:
        return find(name).name
    except UnknownNameError:
        return None


def _of_norm(norm: str, condition: dict, scaled: bool) -> dict:
    """Return the condition with the norm's own learning rate.

    A norm without one gets the rate of a run without settings.
    """
    rate = condition.get("learning_rate", _RUN["learning_rate"].default)
    if isinstance(rate, Mapping):
        rate = next((of for name, of in rate.items() if norm in (name, _known(name))), _RUN["learning_rate"].default)
    if scaled:
        rate *= math.sqrt(condition.get("batch_size", _REFERENCE_BATCH) / _REFERENCE_BATCH)
    return {**condition, "learning_rate": float(rate)}
