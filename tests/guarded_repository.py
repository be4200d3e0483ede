"""Repositories of small packages with a norm each, for tests of the gate in a user's repository."""

import os
import subprocess
from pathlib import Path

from normsuite.gate import guarded, trees
from normsuite.targets.configuration import find_project

ROOT = Path(__file__).parent.parent

NORM = """
import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return scaled(x, self.eps) * self.weight


class GroupNorm(nn.GroupNorm):
    def forward(self, x):
        return grouped(x, self.num_groups, self.weight, self.bias, self.eps)
"""
CALLS = """
import torch
{imported}


def attention():
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    return lambda: scaled(x, 1e-6)


def printing():
    return lambda: print("x")


def not_callable():
    return 3


def failing():
    raise RuntimeError("not today")
"""
PARTS = """
import torch
from torch.nn import functional as F


def scaled(x, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def grouped(x, groups, weight, bias, eps):
    return F.group_norm(x, groups, weight, bias, eps)
"""
CHANGES = {
    "slower": ("return x * torch.rsqrt(", "for _ in range(300):\n        x.square()\n    return x * torch.rsqrt("),
    "inexact": (
        "return F.group_norm(x, groups, weight, bias, eps)",
        "v = x.reshape(len(x), groups, -1)\n    m = v.mean(-1, keepdim=True)\n"
        "    s = (v * v).mean(-1, keepdim=True) - m * m\n    y = ((v - m) * (s + eps).rsqrt()).view_as(x)\n"
        "    return y * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)",
    ),
    "heavier": ("return x * torch.rsqrt(x.square()", "return torch.mul(x.exp().log(), 1.0) * torch.rsqrt(x.square()"),
    "clean": ("import torch\n", "import torch  # the same\n"),
}
TABLE = """
[tool.normsuite]
package = "{package}"
{further}
[[tool.normsuite.target]]
make = "{package}:RMSNorm"
args = [64]
like = "RMSNorm"
shapes = [[32, 16, 64]]
[[tool.normsuite.target]]
make = "{package}:GroupNorm"
args = [4, 8]
like = "GroupNorm"
shapes = [[4, 8, 14, 14]]
[[tool.normsuite.target]]
name = "attention"
prepare = "{calls}:attention"
[tool.normsuite.gate]
undecided = "pass"
"""


EXTENSION = """
#include <Python.h>
#define PASSES 2
#define EXTRA 0
#define SLEEP_MS 0

static PyObject *settings(PyObject *self, PyObject *args) {
    return Py_BuildValue("(iii)", PASSES, EXTRA, SLEEP_MS);
}
static PyMethodDef methods[] = {{"settings", settings, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", "", -1, methods};
PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&module); }
"""
SETUP = """
from setuptools import Extension, setup

setup(
    name="cnorms",
    package_dir={"": "src"},
    packages=["cnorms"],
    ext_modules=[Extension("cnorms._core", ["src/cnorms/core.c"])],
)
"""
COMPILED = """
import time

import torch
from torch import nn

from cnorms import _core


class GroupNorm(nn.GroupNorm):
    def forward(self, x):
        passes, extra, sleep_ms = _core.settings()
        if sleep_ms:
            time.sleep(sleep_ms / 1000)
        v = x.reshape(len(x), self.num_groups, -1)
        m = v.mean(-1, keepdim=True)
        variance = v.var(-1, keepdim=True, correction=0) if passes == 2 else (v * v).mean(-1, keepdim=True) - m * m
        y = ((v - m) * (variance + self.eps).rsqrt()).view_as(x)
        if extra:
            y = y.exp().log()
        return y * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
"""
IN_C = {"inexact": ("PASSES 2", "PASSES 1"), "heavier": ("EXTRA 0", "EXTRA 1"), "slower": ("SLEEP_MS 0", "SLEEP_MS 40")}
BUILD = """
[tool.normsuite]
package = "cnorms"
build = "{python} setup.py --quiet build --build-base {out}/../base --build-lib {out}"
[[tool.normsuite.target]]
make = "cnorms:GroupNorm"
args = [4, 8]
like = "GroupNorm"
shapes = [[4, 8, 14, 14]]
[tool.normsuite.gate]
undecided = "pass"
"""


class CompiledRepository:
    """A repository whose package has a part in C, which says what its norm does."""

    def __init__(self, folder: Path):
        self.folder, self.core = folder, folder / "src" / "cnorms" / "core.c"
        self.core.parent.mkdir(parents=True)
        self.core.write_text(EXTENSION)
        (self.core.parent / "__init__.py").write_text(COMPILED)
        (folder / "setup.py").write_text(SETUP)
        (folder / "pyproject.toml").write_text(BUILD)
        (folder / ".gitignore").write_text("*.egg-info\n")
        git(folder, "init", "--quiet", "--initial-branch=main")
        commit(folder, "First")

    def change(self, name):
        """Change the part in C; any other name changes a comment."""
        before, after = IN_C.get(name, ("#include", "/* the same */\n#include"))
        text = self.core.read_text()
        assert before in text
        self.core.write_text(text.replace(before, after, 1))
        commit(self.folder, name)


def git(folder: Path, *arguments):
    """Run git there, as somebody."""
    names = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **names}, check=True, capture_output=True)


def commit(folder: Path, subject):
    """Commit all that lies there."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", subject)


class Repository:
    """A repository whose first commit has two norms.

    Args:
        folder: where it is made.
        package: its name.
        under: the folder that the package lies in.
        absolute: the package imports itself by its own name.
        further: lines of its table.
        calls: the module of the prepared calls; in a package of its own it imports the norms by their full name.
    """

    def __init__(self, folder: Path, package="ownnorms", *, under="src", absolute=False, further="", calls=None):
        self.folder, self.package = folder, package
        self.path = folder / under / package
        self.path.mkdir(parents=True)
        home = package if absolute else ""
        (self.path / "__init__.py").write_text(f"from {home}.norms import GroupNorm, RMSNorm\n")
        (self.path / "norms.py").write_text(f"from {home}.parts import grouped, scaled\n{NORM}")
        (self.path / "parts.py").write_text(PARTS)
        calls = calls or f"{package}.calls"
        home, module = calls.split(".")
        place = self.path if home == package else folder / home
        place.mkdir(exist_ok=True)
        within = "." if home == package and not absolute else f"{package}."
        (place / f"{module}.py").write_text(CALLS.format(imported=f"from {within}parts import scaled"))
        (folder / "pyproject.toml").write_text(TABLE.format(package=package, further=further, calls=calls))
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("First")

    def git(self, *arguments):
        git(self.folder, *arguments)

    def commit(self, subject):
        commit(self.folder, subject)

    def change(self, name):
        """Change the package in one of the known ways."""
        before, after = CHANGES[name]
        text = (self.path / "parts.py").read_text()
        assert before in text
        (self.path / "parts.py").write_text(text.replace(before, after, 1))


def exported(repository, name="HEAD"):
    """Return the version of a repository's package at that commit."""
    source = guarded.source_of(find_project(repository.folder))
    return trees.of_commit(name, argument="base", repository=repository.folder, source=source)
