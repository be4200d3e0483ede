"""Commits of the package that measures with injected slowdowns in them, for a rival that compares commits."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from normsuite.errors import NormsuiteError
from normsuite.files.git import Git
from normsuite.gate import calibrate, slowdowns, trees
from normsuite.gate.cells import Cell
from normsuite.gate.sides import MEASURING
from normsuite.gate.trees import Part, Source, Tree
from normsuite.measure.implementations import ours
from normsuite.measure.workload import Workload

from . import slower_calls

SOURCE = Source((Part(MEASURING, MEASURING),))
FUNCTIONS, MODULES = ("normalize", *ours.FUNCTIONS), ours.MODULES
"""Names that can be made slower."""

_AUTHOR = {"user.name": MEASURING, "user.email": f"{MEASURING}@localhost", "commit.gpgsign": "false"}


def call_key(cell: Cell) -> tuple:
    """Return the key that tells the cell's calls from others, as `slower_calls.key` has it.

    Raises:
        NormsuiteError: the cell calls no function or module of the package that measures.
    """
    if not isinstance(cell, Workload) or not isinstance(cell.implementation, (ours.Function, ours.Module)):
        raise NormsuiteError(f"{cell.name}: a slowdown cannot be committed into what it calls")
    task, implementation = cell.task, cell.implementation
    return slower_calls.key(implementation.entry(task), implementation.backend, task.case.shape, task.gradients)


def within(packages: Mapping[str, ModuleType]) -> calibrate.SlowedCalls:
    """Return how calls are slowed in the functions and modules of that version, for `calibrate.additions`."""
    package, additions = packages[MEASURING], {}
    slower_calls.slow_down(vars(package.functional), FUNCTIONS, (), additions, slowdowns.add)
    slower_calls.slow_down(vars(package.modules), (), MODULES, additions, slowdowns.add)

    def slowed(call: Callable[[], object], cell: Cell) -> Callable[[int], object]:
        def with_so_many(count: int) -> None:
            additions[call_key(cell)] = count
            call()

        return with_so_many

    return slowed


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
        imports = "from .slowdowns import add  # noqa: E402\nfrom .slower_calls import slow_down  # noqa: E402"
        change = f"slow_down(globals(), {functions!r}, {modules!r}, {keys!r}, add)"
        path.write_text(f"{text}\n\n{imports}\n\n{change}\n", encoding="utf-8")
    for source in (slowdowns, slower_calls):
        shutil.copy(str(source.__file__), package)
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
