"""One word for one thing: pages, messages and new files use the field's terms, not the ones that they replaced."""

import re
from pathlib import Path

import documents
import pytest

INSTEAD = {
    r"witness(es)?": "A/A control",
    r"planted": "injected slowdown",
    r"(written|writing) past the caches?": "non-temporal store",
    r"settl(e|es|ed|ing)": "finalize statistics",
    r"way back": "backward",
    r"turning": "transpose, layout",
    r"lanes?": "channel",
    r"contestants?|who takes part": "implementation, rival",
    r"hinders?": "why it is invalid",
    r"remembered": "cached",
}
"""A pattern of words that are not used, and the word to use."""

ALLOWED = ("--planted-tables", "planted_tables", "PLANTED_TABLES", '.pop("contestant")')
"""Names that others use by now."""

PACKAGE = documents.ROOT / "normsuite"
CHECKED = [*documents.PAGES, documents.ROOT / "mkdocs.yml", documents.ROOT / "Makefile"]
CHECKED += sorted((PACKAGE / "cli").glob("*.py")) + sorted((documents.ROOT / "tools").glob("page*.py"))
CHECKED += [PACKAGE / name for name in ("__init__.py", "__main__.py", "errors.py", "extras.py", "vocabulary.py")]
"""The rest of normsuite/, tools/ and tests/ is exempt until it is brought to these words."""


def found(text):
    """Return the words of a text that have another one in their place."""
    for name in ALLOWED:
        text = text.replace(name, "")
    pattern = "|".join(INSTEAD)
    return [match[0] for match in re.finditer(rf"\b(?:{pattern})\b", text, re.IGNORECASE)]


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: path.name)
def test_words_are_those_of_the_field(path: Path):
    assert not found(path.read_text(encoding="utf-8"))


def test_words_are_noticed():
    assert found("a planted slowdown, whose Witness hinders") == ["planted", "Witness", "hinders"]
    assert not found("`--planted-tables`, planets and planes")
