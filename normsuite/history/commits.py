"""Git's data on commits, where the repository is at hand; nothing where it is not."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ..errors import NormsuiteError
from ..files.git import Git
from ..files.reading import printable

_HASH = re.compile(r"[0-9a-f]{7,64}")
_LONGEST = 72


class Commits:
    """Commits of one repository; without git, or without a repository there, nothing is known of any."""

    def __init__(self, repository: Path):
        self._git = Git(repository, foreign=repository.resolve() != Path.cwd())
        self.subject = cache(self._subject)
        self.between = cache(self._between)

    def said(self, *arguments: str, given: Iterable[str] | None = None) -> str | None:
        """Return what git writes; None where it cannot say."""
        try:
            return self._git(*arguments, given=given).strip()
        except NormsuiteError:
            return None

    def _subject(self, commit: str) -> str | None:
        """Return the commit's first line, without what a terminal would take for a command."""
        if not _HASH.fullmatch(commit):
            return None
        found = self.said("show", "--no-patch", "--format=%s", commit, "--")
        return None if found is None else printable(found)[:_LONGEST]

    def _between(self, before: str, after: str) -> int | None:
        """Return how many commits the branch of `after` has that `before` has not, or None where git knows none.

        It is 1 where `after` directly follows `before`.
        """
        if not (_HASH.fullmatch(before) and _HASH.fullmatch(after)):
            return None
        found = self.said("rev-list", "--count", "--first-parent", f"{before}..{after}", "--")
        return None if found is None else int(found)
