"""Write the parts of README.md and docs/ that are made of records and of the commands themselves: `make pages`.

Such a part stands between `<!-- generated: NAME -->` and `<!-- end -->`, where NAME is one of `PARTS`.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from . import page_benches, page_commands, page_processors, page_records, page_self_checks, page_simulations

ROOT = Path(__file__).parent.parent
PARTS: dict[str, Callable[[], list[str]]] = {
    **page_records.PARTS,
    **page_benches.PARTS,
    **page_processors.PARTS,
    **page_self_checks.PARTS,
    **page_simulations.PARTS,
    **page_commands.PARTS,
}
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return the files that may hold generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def made(text: str) -> str:
    """Return the text of a page with its parts generated again.

    Raises:
        KeyError: a part has a name that is not in `PARTS`.
    """
    return PART.sub(lambda part: part[1] + "\n" + "\n".join(PARTS[part[2]]()).strip() + "\n\n" + part[4], text)


def main() -> None:
    """Write the pages, or with --check name those that differ and end with 1."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a page differs")
    check = parser.parse_args().check
    stale = [page for page in pages() if made(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    for page in stale:
        print(f"{'differs from' if check else 'made of'} its records or commands: {page.relative_to(ROOT)}")
        if not check:
            page.write_text(made(page.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(bool(stale and check))


if __name__ == "__main__":
    main()
