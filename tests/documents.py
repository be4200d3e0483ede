"""README.md and the pages of docs/: their code blocks, their lines of shell and their links."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent
_TOP = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md")
PAGES = [ROOT / name for name in _TOP if (ROOT / name).is_file()]
PAGES += sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)

QUICK = (
    r"normsuite explain.*",
    r"normsuite study.* --dry-run.*",
    r"normsuite doctor --quick",
    r"normsuite history",
    r"normsuite report(?!.*--open).*",
    r"python -m [\w.]+ --help",
)
"""Patterns of lines that are run as they stand, in an empty folder."""


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in that language."""
    return [text for found, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


def calls() -> list[tuple[Path, list[str]]]:
    """Return (page, words) of every command in a block of shell: parts of a pipe and of && each by itself."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words:
                    end = next((n for n, word in enumerate(words) if word in ("|", "&&", ";")), len(words))
                    found.append((page, words[:end]))
                    words = words[end + 1 :]
    return [(page, words) for page, words in found if words]


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and images, code left out."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, flags=re.MULTILINE)
