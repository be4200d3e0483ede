"""What git says of commits, where the repository is at hand; nothing where it is not."""

import re
import subprocess
from functools import cache
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{7,64}")
_LONGEST = 72


class Commits:
    """Of one repository; without git, or without a repository there, nothing is known of any commit."""

    def __init__(self, repository: Path):
        self._repository = repository
        self.subject = cache(self._subject)
        self.between = cache(self._between)

    def _git(self, *arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(self._repository), *arguments],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def _subject(self, commit: str) -> str | None:
        """The commit's first line, without what a terminal would take for a command."""
        if not _HASH.fullmatch(commit):
            return None
        found = self._git("show", "--no-patch", "--format=%s", commit, "--")
        return None if found is None else "".join(c if c.isprintable() else "?" for c in found)[:_LONGEST]

    def _between(self, before: str, after: str) -> int | None:
        """How many commits `after` has that `before` has not: 1 where nothing between them was left unmeasured."""
        if not (_HASH.fullmatch(before) and _HASH.fullmatch(after)):
            return None
        found = self._git("rev-list", "--count", f"{before}..{after}", "--")
        return None if found is None else int(found)
