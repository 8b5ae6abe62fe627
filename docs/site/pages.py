"""Pages of the site that are made from what they tell of: the README, the commands, the SQL views, the Python names.

A hook of mkdocs (mkdocs.yml): `make docs` builds the site.
"""

# pyright: reportMissingImports=false
# (what is imported here is of .venv-docs)
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import guidestore

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs loads this file alone
import notebooks

ROOT = Path(__file__).parents[2]
FROM_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
NOTEBOOK_LINK = re.compile(r"\]\((\d_\w+)\.py\)")
"""From one notebook to another, as in their folder."""


def on_files(files: Files, config: Any) -> Files:
    """Adds the made pages."""
    made: dict[str, str | bytes] = {
        page: _moved((ROOT / name).read_text(encoding="utf-8")) for name, page in FROM_ROOT.items()
    }
    made |= {"reference/python.md": python_names(), "reference/commands.md": commands(), "reference/sql.md": views()}
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


def python_names() -> str:
    """Every public name of `guidestore`, from its docstring."""
    names = sorted(name for name in guidestore.__all__ if name not in ("datasets", "__version__"))
    sections = [f"## guidestore.{name}\n\n::: {_place(name)}.{name}\n" for name in names]
    made = "\n".join([*sections, "## guidestore.datasets\n\n::: guidestore.flows.library.datasets\n"])
    return f"# Python\n\n`import guidestore as gs`; how they go together: [library](../library.md).\n\n{made}"


def _place(name: str) -> str:
    return getattr(guidestore, name).__module__


def commands() -> str:
    """What `--help` says of each command, as Markdown."""
    asked = [sys.executable, "-m", "typer", "guidestore.flows.cli.main", "utils", "docs", "--name", "guidestore"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return told.replace("# `guidestore`", "# Commands", 1)


def views() -> str:
    """The views of `guidestore sql`, with the comments of their files."""
    told = [
        "# SQL views",
        "",
        "What `guidestore sql` asks, at any snapshot. `SHOW TABLES` lists them, `DESCRIBE cases` the columns of one.",
    ]
    for file in sorted((ROOT / "warehouse" / "sql").glob("*.sql")):
        for block in file.read_text(encoding="utf-8").split("\n\n"):
            comment = [line.removeprefix("--").removeprefix(" ") for line in block.splitlines() if line[:2] == "--"]
            made = [line for line in block.splitlines() if line.startswith("CREATE OR REPLACE VIEW ")]
            if made and comment:
                name = made[0].removeprefix("CREATE OR REPLACE VIEW ").split()[0]
                text = [f"    {line.strip()}" if line.startswith("  ") else line for line in comment]
                told += ["", f"## {name}", "", *_apart(text)]
    return "\n".join(told) + "\n"


def _apart(lines: list[str]) -> list[str]:
    """With an empty line before an indented block, as Markdown wants it."""
    apart: list[str] = []
    for line in lines:
        if line.startswith("    ") and apart and not apart[-1].startswith("    "):
            apart.append("")
        apart.append(line)
    return apart


def _moved(text: str) -> str:
    """Links of a file of the root, from where it stands in the site."""
    text = text.replace("](docs/", "](")
    for name, page in FROM_ROOT.items():
        text = text.replace(f"]({name}", f"]({page}")
    return re.sub(r"\[([^\]]+)\]\((LICENSE|examples/[^)]*)\)", r"\1", text)  # files that the site does not have
