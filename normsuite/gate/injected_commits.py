"""Commits of the package that measures with injected slowdowns in them, for a rival that compares commits."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ..errors import NormsuiteError
from ..files.git import Git
from ..measure.implementations import ours
from ..measure.workload import Workload
from . import trees
from .cells import Cell
from .sides import MEASURING
from .slowdowns import key, slow_down
from .trees import Part, Source, Tree

SOURCE = Source((Part(MEASURING, MEASURING),))
FUNCTIONS, MODULES = ("normalize", *ours.FUNCTIONS), ours.MODULES
"""Names that can be made slower."""

_AUTHOR = {"user.name": MEASURING, "user.email": f"{MEASURING}@localhost", "commit.gpgsign": "false"}


def call_key(cell: Cell) -> tuple:
    """Return the key that tells the cell's calls from others, as `slowdowns.key` has it.

    Raises:
        NormsuiteError: the cell calls no function or module of the package that measures.
    """
    if not isinstance(cell, Workload) or not isinstance(cell.implementation, (ours.Function, ours.Module)):
        raise NormsuiteError(f"{cell.name}: a slowdown cannot be committed into what it calls")
    task, implementation = cell.task, cell.implementation
    return key(implementation.entry(task), implementation.backend, task.case.shape, task.gradients)


def inject(package: ModuleType) -> dict[tuple, int]:
    """Return the numbers of additions, by `call_key`, that this version's functions and modules make from now on."""
    additions: dict[tuple, int] = {}
    slow_down(vars(package.functional), FUNCTIONS, (), additions)
    slow_down(vars(package.modules), (), MODULES, additions)
    return additions


@contextmanager
def clone(base: Tree, repository: Path) -> Iterator[Path]:
    """Yield a clone at that version, to commit into, which is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "clone"
        _git(Path(folder))("clone", "--quiet", "--shared", "--no-checkout", str(trees.root(repository)), str(made))
        _git(made)("checkout", "--quiet", "--detach", base.commit)
        yield made


def commit(clone: Path, additions: Mapping[Cell, int], said: str = "") -> Tree:
    """Commit those slowdowns on top of the clone's version; equal slowdowns give equal packages.

    Args:
        clone: where.
        additions: of each cell that is to be slower.
        said: goes into the message, so that two commits of one package are two.
    """
    package, git = clone / MEASURING, _git(clone)
    git("checkout", "--quiet", "--", ".")
    keys = {call_key(c): count for c, count in sorted(additions.items(), key=lambda item: item[0].name)}
    for file, functions, modules in (("functional", FUNCTIONS, ()), ("modules", (), MODULES)):
        path = package / f"{file}.py"
        text = path.read_text(encoding="utf-8")
        change = f"slow_down(globals(), {functions!r}, {modules!r}, {keys!r})"
        path.write_text(f"{text}\n\nfrom .slowdowns import slow_down  # noqa: E402\n\n{change}\n", encoding="utf-8")
    shutil.copy(Path(__file__).parent / "slowdowns.py", package / "slowdowns.py")
    git("add", "--all", "--", MEASURING)
    said = " ".join([f"{len(additions)} slowdowns", said]).strip()
    before = git("rev-parse", "HEAD").strip()
    git("commit", "--quiet", "--allow-empty", "-m", said, settings=_AUTHOR)
    made = git("rev-parse", "HEAD").strip()
    git("tag", "--force", f"slowdowns-{made[:12]}", made)  # clones take what has a name
    git("reset", "--quiet", "--hard", before)
    return trees.of_commit(made, argument="head", repository=clone, source=SOURCE)


def _git(folder: Path) -> Git:
    """Return git in a folder that is no repository of the user's, whatever repository a hook runs this for."""
    return Git(folder, foreign=True)
