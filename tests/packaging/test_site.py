"""The site of docs/: built without a warning, and it asks no other host (`make slow`)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import guidestore

ROOT = Path(__file__).parents[2]
ASKED = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=\"?(https?:)?//", re.IGNORECASE)


@pytest.mark.slow
def test_make_docs_builds_it_without_a_warning_and_it_asks_no_other_host() -> None:
    done = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING -" not in done.stdout + done.stderr
    pages = {page: page.read_text(encoding="utf-8") for page in (ROOT / "build" / "site").rglob("*.html")}
    assert len(pages) > 30
    outside = {str(page): found[0] for page, text in pages.items() if (found := ASKED.search(text))}
    assert not outside
    names = pages[ROOT / "build" / "site" / "reference" / "python" / "index.html"]
    assert not [name for name in guidestore.__all__ if f"guidestore.{name}" not in names and name != "__version__"]
    commands = pages[ROOT / "build" / "site" / "reference" / "commands" / "index.html"]
    assert "guidestore guide" in commands
    for notebook in (ROOT / "docs/notebooks").glob("*.py"):
        page = pages[ROOT / "build/site/notebooks" / notebook.stem / "index.html"]
        assert "To conclude" in page or "to conclude" in page
        figures = re.findall(r'<img[^>]* src="\.\./(figures/[^"]+)"', page)
        assert figures
        assert all((ROOT / "build/site/notebooks" / figure).stat().st_size > 1000 for figure in figures)
