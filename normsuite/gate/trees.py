"""The two versions that are compared: exported from git into a cache, a folder for each text of the package."""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import ArgumentError, NormsuiteError, OutputError
from ..files import caches, reading
from ..files.git import Failed, Git, titled
from ..records import provenance
from . import export

WORKING_TREE = "working tree"
_LIST = ".normsuite-files.json"
"""Name of the file, in the folder of a built version, that lists what the build made, with sizes; not what Python
compiles, and no links."""

BUILD_S = 1800.0
"""How long a build of one version may take."""


class Part(NamedTuple):
    """A package of a repository.

    Attributes:
        name: as it is imported.
        path: its folder within the repository, such as "src/mynorms".
    """

    name: str
    path: str


@dataclass(frozen=True)
class Source:
    """The packages of a repository whose versions are compared.

    Attributes:
        packages: a version has one of them at least.
        beside: packages of prepared calls, which a version may lack.
        build: a shell command that builds a version into the folder {out}, by the interpreter {python}; or "" where the
            files are all it takes.
    """

    packages: tuple[Part, ...]
    beside: tuple[Part, ...] = ()
    build: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return all packages, those that a version may lack last."""
        return self.packages + self.beside

    @property
    def names(self) -> tuple[str, ...]:
        """Return the packages' names, as they are imported."""
        return tuple(part.name for part in self.parts)

    @property
    def exported(self) -> tuple[str, ...]:
        """Return the folders within the repository whose files make a version: all of it where it is built."""
        return ("",) if self.build else tuple(part.path for part in self.parts)


WHOLE = Part("", "")
"""All of a repository, for what is built."""


@dataclass(frozen=True)
class Tree:
    """One version of the package.

    Attributes:
        name: as the user called it, or "working tree".
        commit: full hash; of a working tree the commit that it was changed from.
        subject: of the commit.
        digest: git's name for the packages' files: equal digests, equal files.
        folder: where the packages lie.
        packages: their names, as they are imported, also of those that this version lacks.
    """

    name: str
    commit: str
    subject: str
    digest: str
    folder: Path
    packages: tuple[str, ...]

    @property
    def title(self) -> str:
        """Return the version's name for people."""
        return titled(self.name, self.commit)

    def as_dict(self) -> dict:
        """Return the version for a record, which names no folder."""
        return {"name": self.name, "commit": self.commit, "subject": self.subject, "digest": self.digest}


def of_commit(name: str, *, argument: str, repository: Path, source: Source) -> Tree:
    """Return the package as it is in that commit.

    Args:
        name: of the commit, as git takes it.
        argument: name of the argument, for the message of an error.
        repository: the folder that the paths of `source` begin in, a repository's or one within it.
        source: the packages.

    Raises:
        ArgumentError: no such commit, or none with this package; says how a clone that lacks it gets it.
        NormsuiteError: git fails, or this is no repository.
    """
    git = _git(repository)
    commit = git.commit(name, argument)
    found = {part: digest for part in source.parts if (digest := _digest(git, commit, part.path)) is not None}
    if not any(part in found for part in source.packages):
        first = source.packages[0]
        raise ArgumentError(argument, name, f"has no folder {_within(git, first.path)}{_elsewhere(git, commit, first)}")
    for part in found:
        _refuse_no_folder(git, commit, part.path, argument, name)
    if source.build:
        found = {WHOLE: git("rev-parse", "--verify", "--quiet", f"{commit}:{_within(git, '')}").strip()}
    return _tree(git, name, commit, found, source)


def commit(name: str, *, argument: str, repository: Path) -> str:
    """Return a commit's hash; the arguments and errors are those of `of_commit`."""
    return _git(repository).commit(name, argument)


def of_working_tree(*, repository: Path, source: Source) -> Tree:
    """Return the package as it lies there, with what is not committed, but nothing that git ignores.

    Nothing is written into the repository; the arguments are those of `of_commit`.

    Raises:
        NormsuiteError: git fails, this is no repository, or the package is one of its own, or has one in it.
    """
    git = _git(repository)
    try:
        commit = git("rev-parse", "--verify", "--quiet", "HEAD").strip()
    except Failed:
        raise NormsuiteError(f"{str(repository)!r}: a repository without a commit") from None
    there = [part for part in source.parts if (git.folder / part.path).is_dir()]
    for _, path in there:
        if (git.folder / path / ".git").exists():
            raise NormsuiteError(f"{path} is a repository of its own: run the gate within it (cd {path})")
    with tempfile.TemporaryDirectory() as folder:
        index, objects = Path(folder) / "index", Path(folder) / "objects"
        objects.mkdir()
        own = _path_of(git, "index")
        if own.is_file():
            # Git then reads only what has changed. By the copy's time it knows files that changed in the same second.
            shutil.copy2(own, index)
            _copy_shared_index(own.parent, index.parent)
        aside = Git(
            git.folder,
            {
                "GIT_INDEX_FILE": str(index),
                "GIT_OBJECT_DIRECTORY": str(objects),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": _alternate(_path_of(git, "objects")),
            },
        )
        for _, path in there:
            _refuse_repositories(git, aside, path)
        found = {}
        for part in (WHOLE,) if source.build else there:
            aside("add", "--all", "--", part.path or ".")
            if part.path and not aside("ls-files", "--", part.path):
                continue  # what is left of a package that this version lacks, such as __pycache__
            within = _within(git, part.path)
            found[part] = aside("write-tree", *([f"--prefix={within}/"] if within else [])).strip()
        return _tree(aside, WORKING_TREE, commit, found, source)


def _tree(git: Git, name: str, commit: str, found: dict[Part, str], source: Source) -> Tree:
    """Return the version whose packages have those digests, exported."""
    digests = list(found.values())
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()[:40]
    folder = _exported(git, found, digest, source)
    return Tree(name, commit, _subject(git, commit), digest, folder, source.names)


def _digest(git: Git, commit: str, path: str) -> str | None:
    """Return git's digest of a path in that commit, or None where it has no such path."""
    try:
        return git("rev-parse", "--verify", "--quiet", f"{commit}:{_within(git, path)}").strip()
    except Failed:
        return None


def _refuse_no_folder(git: Git, commit: str, path: str, argument: str, name: str) -> None:
    listed = git("ls-tree", "--full-tree", commit, "--", _within(git, path)).split()
    if listed[:2] == ["160000", "commit"]:
        raise ArgumentError(argument, name, f"{path} is a submodule there: run the gate within it (cd {path})")
    if listed[1:2] != ["tree"]:
        raise ArgumentError(argument, name, f"{path} is no folder there")


def root(folder: Path) -> Path:
    """Return the topmost folder of the checkout that a folder lies in.

    Raises:
        NormsuiteError: git is missing, or this is no repository.
    """
    try:
        return Path(Git(folder)("rev-parse", "--show-toplevel").removesuffix("\n"))
    except Failed as error:
        raise NormsuiteError(f"{str(folder)!r}: no git repository ({error})") from None


def _git(repository: Path) -> Git:
    root(repository)  # says that it is none
    return Git(repository)


def _within(git: Git, path: str) -> str:
    """Return a path relative to the folder that git runs in, as the repository has it; "" is that folder."""
    return (git("rev-parse", "--show-prefix").removesuffix("\n") + path).rstrip("/")


def _elsewhere(git: Git, commit: str, part: Part) -> str:
    """Return a hint at another folder of the commit that holds the package, or ""."""
    end = f"/{part.path}/__init__.py"
    names = git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).split("\0")
    found = [name.removesuffix(end) for name in names if name.endswith(end)]
    return f", but {found[0]} has: run the gate within it (cd {found[0]})" if found else ""


def _path_of(git: Git, name: str) -> Path:
    return Path(git("rev-parse", "--path-format=absolute", "--git-path", name).removesuffix("\n"))


def _alternate(path: Path) -> str:
    """Return a folder as an entry of git's list of alternates, quoted if its name needs that."""
    text = str(path)
    if not any(character in text for character in ':"\n\\'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _copy_shared_index(source: Path, target: Path) -> None:
    """Copy the files that a split index leads to."""
    for shared in source.glob("sharedindex.*"):
        shutil.copy2(shared, target / shared.name)


def _refuse_repositories(git: Git, aside: Git, path: str) -> None:
    """Refuse a repository within the package: it is not in its commits, and git would take it for a submodule.

    Raises:
        NormsuiteError: there is one; names it.
    """
    others = git("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--", path).split("\0")
    found = [name for name in others if name.endswith("/") and (git.folder / name / ".git").exists()]
    staged = (entry.partition("\t") for entry in aside("ls-files", "-z", "--stage", "--", path).split("\0") if entry)
    found += [name for mode, _, name in staged if mode.startswith("160000 ")]
    if found:
        raise NormsuiteError(
            f"{found[0].rstrip('/')!r} is a repository of its own within the package, whose files no commit here has: "
            "move it elsewhere, or name it in .git/info/exclude"
        )


def _subject(git: Git, commit: str) -> str:
    return reading.printable(git("log", "-1", "--format=%s", commit).strip())


def _exported(git: Git, found: dict[Part, str], digest: str, source: Source) -> Path:
    """Return the folder that holds those packages, written whole or not at all, and looked at before it is used."""
    trees = caches.folder_or_temporary() / "trees"
    if source.build:
        return _built(git, export.listed(git, digest), trees, digest, source)
    entries = {part.name: export.listed(git, of_part) for part, of_part in found.items()}
    folder = trees / f"{digest}-{'-'.join(entries)}"

    def is_whole() -> bool:
        return all(export.is_whole(place_of(folder, name), of) for name, of in entries.items())

    def make(to: Path) -> None:
        for name, of in entries.items():
            export.write(git, of, place_of(to, name))

    return _kept(folder, is_whole, make)


def place_of(folder: Path, package: str) -> Path:
    """Return where a package lies in a version's folder."""
    return folder.joinpath(*package.split("."))


def _built(git: Git, entries: list[export.Entry], trees: Path, digest: str, source: Source) -> Path:
    """Return the folder that the build command filled, cached by sources, command, Python and torch."""
    using = sys.executable, sys.version, provenance.version("torch")
    command = hashlib.sha256(repr((source.build, source.parts, *using)).encode()).hexdigest()[:16]
    folder = trees / f"{digest}-built-{command}"
    names = [part.name for part in source.packages]

    def make(to: Path) -> None:
        files = to.parent / "files"
        export.write(git, entries, files)
        to.mkdir()
        text = source.build.replace("{out}", shlex.quote(str(to))).replace("{python}", shlex.quote(sys.executable))
        try:
            done = _run(text, files)
        except subprocess.TimeoutExpired:
            raise NormsuiteError(f"build = {source.build!r}: takes longer than {BUILD_S:.0f} s") from None
        if done.returncode:
            last = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()][-1:]
            raise NormsuiteError(f"build = {source.build!r}: ends with {done.returncode}: {' '.join(last)[:300]}")
        if not any(place_of(to, name).is_dir() for name in names):
            raise NormsuiteError(f"build = {source.build!r}: made no folder {' or '.join(names)} in {{out}}")
        for part in source.beside:  # which a build seldom takes along
            if (files / part.path).is_dir() and not place_of(to, part.name).exists():
                shutil.copytree(files / part.path, place_of(to, part.name))
        plain = (path for path in to.rglob("*") if path.is_file() and not path.is_symlink())
        kept = (path for path in plain if "__pycache__" not in path.parts)
        made = {path.relative_to(to).as_posix(): path.stat().st_size for path in kept}
        (to / _LIST).write_text(json.dumps(made), encoding="utf-8")

    def is_whole() -> bool:
        """Return whether every file is there that the build made; what an import added does not count."""
        try:
            made = json.loads((folder / _LIST).read_text(encoding="utf-8"))
            return all((folder / name).stat().st_size == size for name, size in made.items())
        except (OSError, ValueError, AttributeError):  # the last of a list that is none
            return False

    return _kept(folder, is_whole, make)


def _run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell command in a folder; after `BUILD_S` it is ended, on POSIX with all processes that it started.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    with subprocess.Popen(
        command,
        shell=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=os.name == "posix",
    ) as running:
        try:
            out, err = running.communicate(timeout=BUILD_S)
        except BaseException:  # too long, or Ctrl-C; raised again
            if os.name == "posix":
                with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
                    os.killpg(running.pid, signal.SIGKILL)
            running.kill()
            raise
    return subprocess.CompletedProcess(command, running.returncode, out, err)


def _kept(folder: Path, is_whole: Callable[[], bool], make: Callable[[Path], None]) -> Path:
    """Return the folder of the cache, made where it is not whole."""
    try:
        caches.filled(folder, is_whole, make)
        caches.mark_as_used(folder)
        caches.forget(folder.parent)  # those that were not used for long
    except OSError as error:
        raise OutputError(f"cannot export to {str(folder)!r} ({error.strerror or error})") from None
    return folder
