"""The documentation as a site: every page has a place, and the rendered pages ask for nothing from the network."""

import os
import re
import subprocess
import sys

import documents
import pytest
import yaml

from tools import navigation

CONFIGURATION = documents.ROOT / "mkdocs.yml"


def configuration():
    return yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))


def test_every_page_that_is_named_exists():
    for name in navigation.named(configuration()["nav"]):
        assert (documents.ROOT / "docs" / name).is_file(), name


def test_a_page_that_no_section_names_is_a_guide(tmp_path):
    for name in ("index.md", "b.md", "a.md"):
        (tmp_path / name).write_text("# Page\n", encoding="utf-8")
    config = {"docs_dir": str(tmp_path), "nav": [{"Home": "index.md"}, {"Guides": [{"B": "b.md"}]}]}
    navigation.on_config(config)
    assert config["nav"] == [{"Home": "index.md"}, {"Guides": [{"B": "b.md"}, "a.md"]}]


@pytest.mark.slow
def test_the_site_is_built_strictly_and_asks_for_nothing(tmp_path):
    pytest.importorskip("mkdocs", reason="needs mkdocs-material and mkdocstrings: pip install 'normsuite[docs]'")
    pytest.importorskip("mkdocstrings", reason="needs mkdocstrings: pip install 'normsuite[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=documents.ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?([^\"\s>]+)", text)
        asked += re.findall(
            r"<link\b[^>]*\brel=\"?(?:stylesheet|preconnect|preload)\"?[^>]*\bhref=\"?([^\"\s>]+)", text
        )
        asked += re.findall(r"<link\b[^>]*\bhref=\"?([^\"\s>]+)[^>]*\brel=\"?(?:stylesheet|preconnect)", text)
        assert not [target for target in asked if re.match(r"(https?:)?//", target)], page
