"""The origin of a result: processor, packages, commit, and the sources that numbers depend on. Imports no torch."""

import hashlib
import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

from ..errors import NormsuiteError
from ..files.git import Git
from ..machine import processor
from ..machine.processor import usable_cores
from . import source_code

# Installed packages that a result can depend on: records have their versions.
_PACKAGES = ("torch", "torchvision", "numpy", "numba", "scipy", "normsuite")

_SOURCES = (
    "spec.py", "norms", "functional.py", "fast_path.py", "validation.py", "tensors", "modules.py", "tracing.py",
    "backends", "tunings", "machine/processor.py",
    "targets/arguments.py", "targets/build.py", "targets/loading.py", "targets/target.py", "targets/wrapped.py",
    "study/augment.py", "study/digits.py", "study/mnist.py", "study/network.py", "study/shift.py",
    "study/target_norms.py", "study/train.py",
)  # fmt: skip
"""Sources that a study's numbers depend on: `study.train` and what it imports. Tables and charts are not among them: a
changed caption must not set hours of training aside."""


@cache
def version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def environment(*, threads: int | None = None, accelerator: str | None = None, driver: str | None = None) -> dict:
    """Return what every record says about where it was made.

    Args:
        threads: threads of one measuring process.
        accelerator: name of the device measured on, where it is not the processor.
        driver: its driver's version.
    """
    return {
        "cpu": processor.this().name,
        "cores": usable_cores(),
        "threads": threads,
        "governor": _governor(),
        "accelerator": accelerator,
        "driver": driver,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := version(name))},
        "allocator": {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")},
    }


_ONLY_FOR_TIMES = ("cores", "governor", "allocator")


def decisive(environment: dict) -> dict:
    """Return the part of an environment that may change what a run computes.

    It lacks what decides only how long the run takes.
    """
    return {name: value for name, value in comparable(environment).items() if name not in _ONLY_FOR_TIMES}


def comparable(environment: dict) -> dict:
    """Return an environment without normsuite's own version, which every commit changes.

    The digest of its sources, which records have beside the environment, changes only with what numbers depend on.
    """
    return {**environment, "packages": libraries(environment)} if "packages" in environment else environment


def libraries(environment: dict) -> dict[str, str]:
    """Return the versions of the packages that an environment has beside normsuite."""
    return {name: version for name, version in environment["packages"].items() if name != "normsuite"}


def _package() -> Path:
    """Return the folder of this package."""
    return Path(__file__).resolve().parent.parent


@cache
def commit() -> str | None:
    """Return the commit of the checkout that this package lies in, or None.

    "+" stands behind it if the package was changed since.
    """
    git = Git(_package(), foreign=True)
    try:
        if not git("ls-files", "--", __file__).strip():  # installed into an environment inside another checkout
            return None
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--", ".").strip() else "")
    except NormsuiteError:
        return None


@cache
def source_digest() -> str:
    """Return a digest of the sources that the numbers depend on: equal digests, equal numbers on equal machines.

    Comments, docstrings and relative imports do not count; a file's place in the package does.
    """
    root = _package()
    digest = hashlib.sha256()
    for name in _SOURCES:
        path = root / name
        files = (f for f in path.rglob("*") if f.suffix in (".py", ".toml")) if path.is_dir() else [path]
        for file in sorted(files):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
            digest.update(source_code.decisive(file) + b"\0")
    return digest.hexdigest()[:16]
