"""A hook of mkdocs: list every page that no section of the navigation names under "Guides".

A new page is one new file in docs/, with its title in its first line.
"""

from pathlib import Path

SECTION = "Guides"


def named(navigation: list) -> set[str]:
    """Return the file names that a navigation has, at any depth."""
    found = set()
    for entry in navigation:
        for value in entry.values() if isinstance(entry, dict) else (entry,):
            found |= {value} if isinstance(value, str) else named(value)
    return found


def on_config(config):
    """Add the pages that are missing, in alphabetical order, titled by their own headings."""
    (section,) = (entry[SECTION] for entry in config["nav"] if SECTION in entry)
    known = named(config["nav"])
    folder = Path(config["docs_dir"])
    section += sorted({path.relative_to(folder).as_posix() for path in folder.rglob("*.md")} - known)
    return config
