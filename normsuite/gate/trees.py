"""The two versions that are compared: exported from git into a cache, a folder for each text of the package."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import caches
from ..errors import ArgumentError, NormsuiteError, OutputError
from ..git import Failed, Git
from . import export

PACKAGE = "normsuite"
WORKING_TREE = "working tree"


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
    """Return the package as it is in that commit.

    Raises:
        ArgumentError: no such commit, or none with this package; says how a clone that lacks it gets it.
        NormsuiteError: git fails, or this is no repository.
    """
    git = Git(root(repository))
    commit = git.commit(name, argument)
    package = _package(git)
    try:
        digest = git("rev-parse", "--verify", "--quiet", f"{commit}:{package}").strip()
    except Failed:
        raise ArgumentError(argument, name, f"has no folder {package}{_elsewhere(git, commit)}") from None
    listed = git("ls-tree", "--full-tree", commit, "--", package).split()
    if listed[:2] == ["160000", "commit"]:
        raise ArgumentError(argument, name, f"{PACKAGE} is a submodule there: run the gate within it (cd {PACKAGE})")
    if listed[1:2] != ["tree"]:
        raise ArgumentError(argument, name, f"{PACKAGE} is no folder there")
    return Tree(name, commit, _subject(git, commit), digest, _exported(git, digest))


def of_working_tree(*, repository: Path) -> Tree:
    """Return the package as it lies there, with what is not committed, but nothing that git ignores.

    Nothing is written into the repository.

    Raises:
        NormsuiteError: git fails, this is no repository, or the package is one of its own, or has one in it.
    """
    git = Git(root(repository))
    try:
        commit = git("rev-parse", "--verify", "--quiet", "HEAD").strip()
    except Failed:
        raise NormsuiteError(f"{str(repository)!r}: a repository without a commit") from None
    if (git.folder / PACKAGE / ".git").exists():
        raise NormsuiteError(f"{PACKAGE} is a repository of its own: run the gate within it (cd {PACKAGE})")
    with tempfile.TemporaryDirectory() as folder:
        index, objects = Path(folder) / "index", Path(folder) / "objects"
        objects.mkdir()
        own = _path_of(git, "index")
        if own.is_file():
            shutil.copyfile(own, index)  # so that only what has changed is read
            _copy_shared_index(own.parent, index.parent)
        aside = Git(
            git.folder,
            {
                "GIT_INDEX_FILE": str(index),
                "GIT_OBJECT_DIRECTORY": str(objects),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": _alternate(_path_of(git, "objects")),
            },
        )
        _refuse_repositories(git, aside)
        aside("add", "--all", "--", PACKAGE)
        digest = aside("write-tree", f"--prefix={_package(git)}/").strip()
        return Tree(WORKING_TREE, commit, _subject(git, commit), digest, _exported(aside, digest))


def root(repository: Path) -> Path:
    """Return the folder that holds the package: that one or the nearest above it, within the repository.

    That is the topmost folder of the checkout, also where none holds it, or a folder of a repository of several.

    Raises:
        NormsuiteError: git is missing, or this is no repository.
    """
    try:
        top = Path(Git(repository)("rev-parse", "--show-toplevel").removesuffix("\n"))
    except Failed as error:
        raise NormsuiteError(f"{str(repository)!r}: no git repository ({error})") from None
    here = repository.resolve()
    above = [here, *here.parents] if here.is_relative_to(top) else []
    within = [folder for folder in above if folder.is_relative_to(top) and (folder / PACKAGE / "__init__.py").is_file()]
    return next(iter(within), top)


def _package(git: Git) -> str:
    """The package's path within the repository."""
    return git("rev-parse", "--show-prefix").removesuffix("\n") + PACKAGE


def _elsewhere(git: Git, commit: str) -> str:
    """A word on where else in that commit the package lies."""
    names = git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).split("\0")
    found = [name.removesuffix(f"/{PACKAGE}/__init__.py") for name in names if name.endswith(f"/{PACKAGE}/__init__.py")]
    return f", but {found[0]} has: run the gate within it (cd {found[0]})" if found else ""


def _path_of(git: Git, name: str) -> Path:
    return Path(git("rev-parse", "--path-format=absolute", "--git-path", name).removesuffix("\n"))


def _alternate(path: Path) -> str:
    """For a list of folders, where a name with a colon, or in quotes, is quoted."""
    text = str(path)
    if not any(character in text for character in ':"\n\\'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _copy_shared_index(source: Path, target: Path) -> None:
    """Copy the files that a split index leads to."""
    for shared in source.glob("sharedindex.*"):
        shutil.copyfile(shared, target / shared.name)


def _refuse_repositories(git: Git, aside: Git) -> None:
    """A repository within the package is not in its commits, and git would take it for a submodule.

    Raises:
        NormsuiteError: there is one; names it.
    """
    others = git("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--", PACKAGE).split("\0")
    found = [name for name in others if name.endswith("/") and (git.folder / name / ".git").exists()]
    staged = (entry.partition("\t") for entry in aside("ls-files", "-z", "--stage", "--", PACKAGE).split("\0") if entry)
    found += [name for mode, _, name in staged if mode.startswith("160000 ")]
    if found:
        raise NormsuiteError(
            f"{found[0].rstrip('/')!r} is a repository of its own within the package, whose files no commit here has: "
            "move it elsewhere, or name it in .git/info/exclude"
        )


def _subject(git: Git, commit: str) -> str:
    return git("log", "-1", "--format=%s", commit).strip()


def _exported(git: Git, digest: str) -> Path:
    """The folder that holds the package of that text, written whole or not at all, and looked at before it is used."""
    trees = caches.temporary_if_none(caches.folder()) / "trees"
    folder = trees / digest
    entries = export.listed(git, digest)
    try:
        trees.mkdir(parents=True, exist_ok=True)
        caches.forget(trees)
        if not export.is_whole(folder / PACKAGE, entries):
            with tempfile.TemporaryDirectory(dir=trees, prefix=".part-", ignore_cleanup_errors=True) as part:
                export.write(git, entries, Path(part) / "tree" / PACKAGE)
                if folder.exists():  # something of it is gone, or changed, since it was written
                    folder.rename(Path(part) / "before")
                try:
                    (Path(part) / "tree").rename(folder)
                except OSError:
                    if not export.is_whole(folder / PACKAGE, entries):  # else another gate was faster
                        raise
        caches.mark_as_used(folder)
    except OSError as error:
        raise OutputError(f"cannot export to {str(folder)!r} ({error.strerror or error})") from None
    return folder
