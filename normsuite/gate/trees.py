"""The two versions that are compared: exported from git into a cache, a folder for each text of the package."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from ..errors import ArgumentError, NormsuiteError, OutputError

PACKAGE = "normsuite"
WORKING_TREE = "working tree"
KEPT_DAYS = 30
"""A tree that nobody has compared for so long is removed."""


@dataclass(frozen=True)
class Tree:
    """One version of the package.

    Attributes:
        name: as the user called it, or "working tree".
        commit: full hash; of a working tree the commit that it was changed from.
        subject: of the commit.
        digest: git's name for the package's files: equal digests, equal files.
        folder: where the package lies.
    """

    name: str
    commit: str
    subject: str
    digest: str
    folder: Path

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name} ({self.commit[:9]})" if self.name != self.commit else self.commit[:9]

    def as_dict(self) -> dict:
        """For a record, which names no folder."""
        return {"name": self.name, "commit": self.commit, "subject": self.subject, "digest": self.digest}


def of_commit(name: str, *, argument: str, repository: Path) -> Tree:
    """The package as it is in that commit.

    Raises:
        ArgumentError: no such commit, or none with this package; says how a shallow clone gets it.
        NormsuiteError: git fails, or this is no repository.
    """
    git = _Git(repository)
    try:
        commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
    except _Failed:
        if git("rev-parse", "--is-shallow-repository").strip() == "true":
            reason = "not in this shallow clone; git fetch --unshallow gets its whole history"
        else:
            reason = "no such commit here"
        raise ArgumentError(argument, name, reason) from None
    try:
        digest = git("rev-parse", "--verify", "--quiet", f"{commit}:{PACKAGE}").strip()
    except _Failed:
        raise ArgumentError(argument, name, f"has no folder {PACKAGE}") from None
    return Tree(name, commit, _subject(git, commit), digest, _exported(git, digest))


def of_working_tree(*, repository: Path) -> Tree:
    """The package as it lies there, with what is not committed: changed and new files, but none that git ignores.

    Nothing is written into the repository.

    Raises:
        NormsuiteError: git fails, or this is no repository.
    """
    git = _Git(repository)
    try:
        commit = git("rev-parse", "--verify", "--quiet", "HEAD").strip()
    except _Failed:
        raise NormsuiteError(f"{str(repository)!r}: a repository without a commit") from None
    with tempfile.TemporaryDirectory() as folder:
        index, objects = Path(folder) / "index", Path(folder) / "objects"
        objects.mkdir()
        own = Path(git("rev-parse", "--path-format=absolute", "--git-path", "index").strip())
        if own.is_file():
            shutil.copy(own, index)  # so that only what has changed is read
        aside = _Git(
            git.root,
            {
                "GIT_INDEX_FILE": str(index),
                "GIT_OBJECT_DIRECTORY": str(objects),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": git(
                    "rev-parse", "--path-format=absolute", "--git-path", "objects"
                ).strip(),
            },
        )
        aside("add", "--all", "--", PACKAGE)
        digest = aside("write-tree", f"--prefix={PACKAGE}/").strip()
        return Tree(WORKING_TREE, commit, _subject(git, commit), digest, _exported(aside, digest))


def root(repository: Path) -> Path:
    """The topmost folder of that checkout.

    Raises:
        NormsuiteError: git is missing, or this is no repository.
    """
    return _Git(repository).root


class _Failed(NormsuiteError):
    """Git ended with an error."""


class _Git:
    """Git in one repository, with the changes of its environment that are given."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None):
        self._environment = {**os.environ, **(environment or {}), "LC_ALL": "C"}
        self.root = folder
        try:
            self.root = Path(self("rev-parse", "--show-toplevel").rstrip("\n"))
        except _Failed as error:
            raise NormsuiteError(f"{str(folder)!r}: no git repository ({error})") from None

    def __call__(self, *arguments: str) -> str:
        return self.bytes(*arguments).decode(errors="replace")

    def bytes(self, *arguments: str) -> bytes:
        try:
            done = subprocess.run(
                ["git", "-C", str(self.root), *arguments], env=self._environment, capture_output=True, check=False
            )
        except FileNotFoundError:
            raise NormsuiteError("git is not installed") from None
        if done.returncode:
            raise _Failed(" ".join(done.stderr.decode(errors="replace").split())[:200])
        return done.stdout


def _subject(git: _Git, commit: str) -> str:
    return git("log", "-1", "--format=%s", commit).strip()


def _exported(git: _Git, digest: str) -> Path:
    """The folder that holds the package of that text, written whole or not at all."""
    trees = user_cache_path("normsuite") / "trees"
    folder = trees / digest
    try:
        trees.mkdir(parents=True, exist_ok=True)
        _forget(trees)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=trees, prefix=".part-") as part:
                with tarfile.open(fileobj=io.BytesIO(git.bytes("archive", f"--prefix={PACKAGE}/", digest))) as archive:
                    archive.extractall(Path(part) / "tree", filter="data")
                try:
                    (Path(part) / "tree").rename(folder)
                except OSError:
                    if not folder.is_dir():  # else another gate was faster
                        raise
        os.utime(folder)
    except OSError as error:
        raise OutputError(f"cannot export to {str(folder)!r} ({error.strerror or error})") from None
    return folder


def _forget(trees: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in trees.iterdir():
        with suppress(FileNotFoundError):  # another gate's, which has its name by now
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
