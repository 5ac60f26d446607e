"""The documentation as a site: every page is there, no link leads nowhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
FETCHED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href|srcset)=["'](?:https?:)?//""")
"""What a browser asks for by itself; a link that a reader clicks may lead anywhere."""


@pytest.mark.setup
def test_every_page_is_there_without_the_internet(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--conf-dir", "docs", "."]
    done = subprocess.run([*command, str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    for page in pages:
        made = tmp_path / "site" / page.relative_to(ROOT).with_suffix(".html")
        assert FETCHED.search(made.read_text()) is None, made


def test_the_recording_is_small_and_fetches_nothing() -> None:
    """`docs/run.svg`: a browser shows it as a picture, where nothing else is loaded and no script runs."""
    text = (ROOT / "docs" / "run.svg").read_text()
    assert len(text.encode()) < 1e6
    for element in ElementTree.fromstring(text).iter():
        assert not element.tag.endswith("script")
        assert all(value.startswith("#") for name, value in element.attrib.items() if name.endswith("href"))
    assert "url(http" not in text and "@import" not in text
    assert all(f"http://10.77.0.{blade}:8080" in text for blade in (11, 12, 13)), "it ends with the pages"
