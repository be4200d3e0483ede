"""Git, called in one way: whatever a user's settings say of signatures, pagers, colours, hooks, quoting or language."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import ArgumentError, NormsuiteError

_SETTINGS = {
    "advice.detachedHead": "false",
    "color.ui": "false",
    "core.attributesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "core.quotePath": "false",
    "core.safecrlf": "false",  # what is added here is thrown away: no file of the user's loses its line ends
    "gc.auto": "0",
    "i18n.logOutputEncoding": "utf-8",
    "log.follow": "false",
    "log.mailmap": "false",
    "log.showSignature": "false",
    "tar.umask": "0022",
}

_OF_A_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
"""What git tells a hook of its own repository, and what would lead a call about another one astray."""

_SHUT_OUT = (
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE_SETUP",
    "GIT_LITERAL_PATHSPECS",
)


def titled(name: str, commit: str) -> str:
    """Return what people call a version: its commit, cut off, after a name that is not the commit's beginning."""
    return commit[:9] if commit.startswith(name) else f"{name} ({commit[:9]})"


class Failed(NormsuiteError):
    """Git ended with an error; the message is the first of what it says."""


class Git:
    """Git in one folder.

    Args:
        folder: in which it is called.
        environment: variables in the place of those of this process.
        foreign: the folder may be of another repository than the one that a hook, whose process this is, is for.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, *, foreign: bool = False):
        self.folder = folder
        dropped = {*_SHUT_OUT, *(_OF_A_REPOSITORY if foreign else ())}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in dropped},
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_PAGER": "cat",
            "GIT_TERMINAL_PROMPT": "0",
            "LANGUAGE": "",
            "LC_ALL": "C",
            **(environment or {}),
        }

    def __call__(
        self, *arguments: str, given: Iterable[str] | None = None, settings: Mapping[str, str] | None = None
    ) -> str:
        """Return what that command writes, as text.

        Raises:
            Failed: it ends with an error.
            NormsuiteError: git is not installed, or the folder is gone.
        """
        return self.bytes(*arguments, given=given, settings=settings).decode(errors="replace")

    def bytes(
        self, *arguments: str, given: Iterable[str] | None = None, settings: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the same as bytes.

        Args:
            arguments: the command's; a name that a user gave belongs behind `--end-of-options`.
            given: lines for its standard input.
            settings: of git's, in the place of the user's.
        """
        if strange := next((text for text in (*arguments, str(self.folder)) if "\0" in text), None):
            raise Failed(f"{strange!r} has a character that no name has")
        chosen = [
            text for name, value in {**_SETTINGS, **(settings or {})}.items() for text in ("-c", f"{name}={value}")
        ]
        try:
            done = subprocess.run(
                ["git", "--no-pager", "-C", str(self.folder), *chosen, *arguments],
                env=self._environment,
                input=None if given is None else "".join(f"{line}\n" for line in given).encode(),
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            raise NormsuiteError("git is not installed") from None
        except OSError as error:
            raise NormsuiteError(f"git cannot be run ({error.strerror or error})") from None
        if done.returncode:
            raise Failed(
                " ".join(done.stderr.decode(errors="replace").split())[:400] or f"git ends with {done.returncode}"
            )
        return done.stdout

    def commit(self, name: str, argument: str) -> str:
        """Return the full hash of the commit of that name.

        Raises:
            ArgumentError: the name is empty, looks like an option, or is no commit's; says what gets it, if anything.
        """
        if not name.strip():
            raise ArgumentError(argument, name, "is empty; a commit, branch or tag is meant")
        if name.startswith("-"):
            raise ArgumentError(argument, name, "looks like an option; no commit, branch or tag begins with -")
        try:
            return self("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
        except Failed:
            raise ArgumentError(argument, name, self._why_missing(name)) from None

    def has(self, name: str) -> bool:
        """Return whether there is a commit of that name."""
        try:
            self("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except Failed:
            return False
        return True

    def _why_missing(self, name: str) -> str:
        """Return the reason why there is no such commit here, with the command that fetches it."""
        remotes = self("remote").split()
        for remote in remotes:
            if self.has(f"refs/remotes/{remote}/{name}"):
                return f"no such commit here, but there is {remote}/{name}"
        reason = "no such commit here"
        if not remotes:
            return reason
        remote = "origin" if "origin" in remotes else remotes[0]
        if self("rev-parse", "--is-shallow-repository").strip() != "true":
            return reason + self._of_one_branch(remote, name)
        stem = name.split("~")[0].split("^")[0].split("@")[0]
        if stem and (stem == "HEAD" or self.has(stem)):
            return f"not in this shallow clone; git fetch --unshallow {remote} gets its whole history"
        # A shallow clone is one of a single branch, as a rule: another one's name is not fetched by --unshallow.
        return (
            f"not in this shallow clone; a branch is got by git fetch {remote} {stem}:refs/remotes/{remote}/{stem}, "
            f"and then is {remote}/{stem}; an older commit by git fetch --unshallow {remote}"
        )

    def _of_one_branch(self, remote: str, name: str) -> str:
        """Return the command that gets a branch in a clone that fetches a single one, or nothing."""
        try:
            fetched = self("config", "--get-all", f"remote.{remote}.fetch")
        except Failed:
            return ""
        if "*" in fetched or not re.fullmatch(r"[\w./-]+", name):
            return ""
        return (
            f"; this clone fetches one branch: git fetch {remote} {name}:refs/remotes/{remote}/{name} gets another, "
            f"which is {remote}/{name} then"
        )
