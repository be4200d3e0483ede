"""Users' norms on the command line of what measures: their names, norms and cases."""

from collections.abc import Sequence
from dataclasses import replace

from ..errors import ArgumentError, NormsuiteError
from ..targets.arguments import parse
from ..targets.target import Target
from .output import note

LIMIT_S = 60.0
"""How long the first call of a target may take."""


def planned(
    paths: Sequence[str],
    *,
    args: str,
    like: str | None,
    norms: Sequence[str] | None,
    own: Sequence,
    backends: Sequence[str] | None,
    named: Sequence[str] | None = None,
    groups: int | None = None,
) -> tuple[list[str], list, list[str]]:
    """Return the norms, cases and implementations to measure for targets by path.

    Args:
        paths: import paths, as typed.
        args: arguments of each, as typed.
        like: the norm that each is like; guessed by name where left out.
        norms, own, backends, named: as the user gave them beside: `own` are shapes, `named` the names of cases. Without
            either there is a case that fits the first target.
        groups: of a norm whose groups are given, where the arguments do not say it.

    Raises:
        ArgumentError: targets of different norms, or one whose norm is not known.
        ImportPathError: a path that leads nowhere.
    """
    from ..measure.cases import Case
    from ..targets.build import build

    found = _described(paths, args, like, groups)
    specs = {str(target.like) for target in found.values()}
    if len(specs) > 1:
        shown = ", ".join(f"{name} is a {target.like}" for name, target in found.items())
        raise ArgumentError("like", None, f"they must be of one norm to be compared: {shown}")
    if norms:
        raise ArgumentError("norm", ", ".join(norms), "beside a TARGET the norm is said by --like")
    (norm,) = specs
    cases = []
    first, *_ = found.values()
    for case in own or ([] if named else [None]):
        built = build(first, shape=None if case is None else case.shape)
        settings = built.settings
        if case is None:
            case = Case.of_shape(built.shape, settings.num_groups or 1, "fits it")
        cases.append(
            replace(
                case,
                num_groups=settings.num_groups or case.num_groups,
                normalized_shape=settings.normalized_shape or case.normalized_shape,
            )
        )
    return [norm], cases, [*found, *(backends or ())]


def responding(
    paths: Sequence[str], *, args: str, like: str | None, own: Sequence = (), groups: int | None = None
) -> list[str]:
    """Return the paths of targets whose first call returns; the others, which hang or end their process, are noted.

    Args:
        paths, args, like, own, groups: as of `planned`.

    Raises:
        NormsuiteError: none does, or one cannot be made; the message has its name and reason.
    """
    from ..conformance import check
    from ..conformance.isolated import ENDS

    reasons = {}
    for target in _described(paths, args, like, groups).values():
        target = replace(target, shapes=tuple(case.shape for case in own[:1]))
        for result in check(target, only=("result_kind",), isolated=True, limit_s=LIMIT_S).results:
            if result.finding.text.startswith(ENDS):
                reasons[str(target.make)] = result.finding.text
    if len(reasons) == len(dict.fromkeys(paths)):
        raise NormsuiteError("; ".join(f"{path}: {reason}" for path, reason in reasons.items()))
    for path, reason in reasons.items():
        note(f"{path}: not measured ({reason})")
    return [path for path in paths if path not in reasons]


def _described(paths: Sequence[str], args: str, like: str | None, groups: int | None) -> dict[str, Target]:
    """Return the target of each path, of the norm that it is like, by its implementation's name; raise as `planned`."""
    from ..measure.implementations.target_norms import described, name_of
    from ..targets.inspection import norm_of
    from ..targets.loading import search_here

    search_here()
    by_place, by_key = parse(args)
    found = {}
    for name in (name_of(path, by_place, by_key) for path in dict.fromkeys(paths)):
        target = replace(described(name), like=like, num_groups=groups)
        found[name] = replace(target, like=norm_of(target).name)
    return found
