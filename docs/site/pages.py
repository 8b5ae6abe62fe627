"""Pages of the site that are made from what they tell of: the README, the commands, the SQL views, the Python names.

A hook of mkdocs (mkdocs.yml): `make docs` builds the site.
"""

# pyright: reportMissingImports=false
# (what is imported here is of .venv-docs)
from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs loads this file alone
import notebooks
import reference

ROOT = Path(__file__).parents[2]
FROM_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
NOTEBOOK_LINK = re.compile(r"\]\(((?:notebooks/)?\d_\w+)\.py\)")
"""To a notebook, as it lies in docs/."""


def on_files(files: Files, config: Any) -> Files:
    """Adds the made pages."""
    made: dict[str, str | bytes] = {
        page: _moved((ROOT / name).read_text(encoding="utf-8")) for name, page in FROM_ROOT.items()
    }
    made |= {f"reference/{page}.md": made_of() for page, made_of in reference.PAGES.items()}
    for notebook in notebooks.rendered():
        made[f"notebooks/{notebook.name}.md"] = NOTEBOOK_LINK.sub(r"](\1.md)", notebook.markdown)
        made |= {f"notebooks/{name}": content for name, content in notebook.figures.items()}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links out of docs/ lead to the page that the site has of that file."""
    up = "../" * page.file.src_uri.count("/")
    for name, target in FROM_ROOT.items():
        markdown = markdown.replace(f"]({up}../{name}", f"]({up}{target}")
    return markdown


def _moved(text: str) -> str:
    """Links of a file of the root, from where it stands in the site."""
    text = text.replace("](docs/", "](")
    for name, page in FROM_ROOT.items():
        text = text.replace(f"]({name}", f"]({page}")
    text = NOTEBOOK_LINK.sub(r"](\1.md)", text)
    return re.sub(r"\[([^\]]+)\]\((LICENSE|examples/[^)]*)\)", r"\1", text)  # files that the site does not have
