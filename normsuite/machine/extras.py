"""Find the optional part of this package that a missing library belongs to. Imports nothing that may be missing."""

import re
from importlib import metadata

_MODULES = {"nvidia-ml-py": "pynvml", "pyyaml": "yaml"}
"""Distributions whose module has another name."""


def advice(module: str) -> str:
    """Return what to install so that this module can be imported: the smallest extra that requires it.

    >>> advice("asv")
    "asv is not installed: pip install 'normsuite[suite]'"
    """
    package = module.partition(".")[0]
    if package == __name__.partition(".")[0]:  # a file that is gone, or was written for another version
        return f"there is no module {module}"
    sizes = _extras()
    found = min(
        (extra for extra, modules in sizes.items() if package in modules), key=lambda e: len(sizes[e]), default=None
    )
    wanted = f"'normsuite[{found}]'" if found else package
    return f"{package} is not installed: pip install {wanted}"


def _extras() -> dict[str, set[str]]:
    """Return the modules that each extra requires, its own and those of extras that it includes."""
    found: dict[str, set[str]] = {}
    # None where the package is a folder on the path that nothing has installed.
    installed = next(iter(metadata.distributions(name="normsuite")), None)
    for text in (installed.requires if installed is not None else None) or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", text)
        name = re.match(r"[\w.-]+", text)
        if extra is not None and name is not None:
            included = re.match(r"normsuite\[([\w,-]+)\]", text)
            names = {f"[{other}]" for other in included[1].split(",")} if included else {_module(name[0])}
            found.setdefault(extra[1], set()).update(names)
    return {extra: _resolved(extra, found) for extra in found}


def _resolved(extra: str, found: dict[str, set[str]]) -> set[str]:
    names = set()
    for name in found[extra]:
        names |= _resolved(name[1:-1], found) if name.startswith("[") else {name}
    return names


def _module(distribution: str) -> str:
    return _MODULES.get(distribution.lower(), distribution.lower().replace("-", "_"))
