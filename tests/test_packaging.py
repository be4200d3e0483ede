"""What is installed with which extra, what a command says without its own, and what the wheel and the sdist hold."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from normsuite.machine import extras

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def required(extra):
    """Return the modules that an extra requires, with those of extras that it includes."""
    found = set()
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == "normsuite":
            found |= {name for other in requirement.extras for name in required(other)}
        else:
            found.add(requirement.name.replace("-", "_"))
    return found


BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
{code}
"""


def without(missing, code, cwd=None):
    """Run code in a process in which these modules cannot be imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BLOCK.format(missing=set(missing), code=code)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


def command(*arguments):
    """Return code that runs the command."""
    return f"sys.argv = ['normsuite', *{list(arguments)!r}]\nfrom normsuite.__main__ import main\nmain()"


SUITE = required("suite")
ONLY_SUITE = SUITE - required("gate")


@pytest.mark.parametrize("backend", ["torch", "reference", "numba", "auto"])
def test_the_core_computes_with_nothing_but_its_own_dependencies(backend):
    core = {Requirement(text).name for text in PROJECT["dependencies"]}
    code = (
        "import torch, normsuite\n"
        "x = torch.randn(2, 4, 6, 6, requires_grad=True)\n"
        f"for norm in (normsuite.BatchNorm(4, backend={backend!r}), normsuite.GroupNorm(2, 4, backend={backend!r})):\n"
        "    norm(x).square().sum().backward()\n"
    )
    done = without((SUITE | required("peers") | required("cluster")) - core, code)
    assert done.returncode == 0, done.stderr


def test_importing_the_layers_loads_little_beside_torch():
    code = (
        "import sys, torch\nbefore = set(sys.modules)\nimport normsuite.modules, normsuite.functional\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"'([\w.]+)'", done.stdout)) <= {"normsuite", *sys.stdlib_module_names}, done.stdout


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        (required("gate"), ["explain"], "gate"),
        ({"rich"}, ["explain"], "gate"),
        ({"scipy"}, ["gate", "HEAD"], "gate"),
        ({"filelock"}, ["gate", "HEAD"], "gate"),
        ({"jinja2"}, ["report"], "suite"),
        ({"matplotlib"}, ["report", "--from", str(ROOT / "reports" / "reference")], "suite"),
        ({"distributed"}, ["study", "--scheduler", "tcp://127.0.0.1:1"], "cluster"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(sorted(value)[:3]),
)
def test_a_command_without_its_extra_says_what_to_install(missing, arguments, extra, tmp_path, monkeypatch):
    in_repository = arguments[0] == "gate"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # a drawing that is stored needs no matplotlib
    done = without(missing, command(*arguments), cwd=ROOT if in_repository else tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    said = rf"normsuite: .* is not installed: pip install '?normsuite\[{extra}\]'?\n"
    assert re.fullmatch(said, done.stderr), done.stderr


def test_reading_digits_without_torchvision_says_what_to_install():
    code = "from normsuite.study import digits\nfrom normsuite.machine import extras\n"
    code += "try:\n    digits.load()\nexcept ModuleNotFoundError as error:\n    print(extras.advice(error.name))"
    done = without({"torchvision"}, code)
    assert done.stdout == "torchvision is not installed: pip install 'normsuite[suite]'\n", done.stderr


def test_the_gate_needs_neither_asv_nor_matplotlib_nor_torchvision(tmp_path):
    modules = sorted(path.stem for path in (ROOT / "normsuite" / "gate").glob("*.py"))
    imports = "\n".join(f"import normsuite.gate.{name}" for name in modules if name != "__init__")
    done = without(ONLY_SUITE, imports + "\nimport normsuite.cli")
    assert done.returncode == 0, done.stderr


def test_advice_is_the_smallest_extra():
    assert extras.advice("typer") == "typer is not installed: pip install 'normsuite[gate]'"
    assert extras.advice("matplotlib.figure") == "matplotlib is not installed: pip install 'normsuite[suite]'"
    assert extras.advice("pynvml") == "pynvml is not installed: pip install 'normsuite[accelerator]'"
    assert extras.advice("no_such_library") == "no_such_library is not installed: pip install no_such_library"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist, built twice from copies with other times of change, without the network."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds")
    pytest.importorskip("build", reason="needs build")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", ".", ":!reports"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("no repository says which files are the project's")
    found = []
    for n in (1, 2):
        folder = tmp_path_factory.mktemp(f"build-{n}")
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
                os.utime(folder / name, (1e9 * n, 1e9 * n))
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        done = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "out"), str(folder)],
            env=environment, cwd=folder, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found.append({path.suffix: path for path in (folder / "out").iterdir()})
    return found


def test_the_version_is_that_of_the_last_tag(tmp_path):
    pytest.importorskip("hatch_vcs", reason="needs hatch-vcs, which asks git")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")

    def version():
        done = subprocess.run(
            [sys.executable, "-m", "hatchling", "version"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def git(*arguments):
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, check=True)

    assert version() == "0.0", "a folder without git"
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    assert re.fullmatch(r"0\.1\.dev1\+g[0-9a-f]+", version())
    git("tag", "v4.5.6")
    assert version() == "4.5.6"
    git("commit", "--allow-empty", "-m", "two")
    assert re.fullmatch(r"4\.5\.7\.dev1\+g[0-9a-f]+", version())


@pytest.mark.parametrize("kind", [".whl", ".gz"])
def test_a_build_has_the_same_bytes_each_time(built, kind):
    first, again = (of[kind].read_bytes() for of in built)
    assert first == again


def test_the_wheel_has_every_file_of_the_package(built):
    names = {name for name in zipfile.ZipFile(built[0][".whl"]).namelist() if ".dist-info/" not in name}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "normsuite").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == here and "normsuite/py.typed" in names


def test_the_sdist_has_what_tests_and_pages_need(built):
    with tarfile.open(built[0][".gz"]) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    assert {"normsuite", "tests", "docs", "tools", "benchmarks", "pyproject.toml", "README.md", "LICENSE"} <= tops
    assert "reports" not in tops, "records stay in the repository"


def test_the_changelog_has_what_is_not_released_first():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections, kinds = (re.findall(rf"^{level} (.+)$", text, re.MULTILINE) for level in ("##", "###"))
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert all(re.search(rf"^{re.escape(name.split()[0])}: https://", text, re.MULTILINE) for name in sections)
    assert sections[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", section) for section in sections[1:])


def test_types_of_the_public_api_are_checked_strictly():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    strict = next(of["module"] for of in settings if of.get("disallow_untyped_defs"))
    ignored = next(of["module"] for of in settings if of.get("ignore_errors"))
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: (normsuite[\w.]*)$", text, re.MULTILINE)
    public = {name for name in named if (ROOT / f"{name.replace('.', '/')}.py").is_file()}
    public |= {name for name in named if (ROOT / name.replace(".", "/") / "__init__.py").is_file()}
    assert len(public) > 5 and public <= set(strict), public - set(strict)
    assert not set(strict) & set(ignored)
