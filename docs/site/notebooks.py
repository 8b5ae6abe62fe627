"""Notebooks as pages: run one after the other in one folder, and written as Markdown with what they showed."""

# pyright: reportMissingImports=false
# (what is imported here is of .venv-docs)
from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jupytext
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 1200
"""That a cell may take."""
PANDAS = '<table border="1" class="dataframe">'
"""How it begins a table: the theme styles those that name no class, and lets them scroll."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A notebook as it is shown."""

    name: str
    markdown: str
    figures: dict[str, bytes]
    """File name -> content, named in the Markdown as it is."""


@cache
def rendered() -> tuple[Rendered, ...]:
    """All of docs/notebooks in the order of their names. Raises CellExecutionError of a cell that fails."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(_run(Path(folder)))


def _run(folder: Path) -> Iterator[Rendered]:
    binaries = ROOT / ".venv" / "bin"  # has the command `guidestore`
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    where = {"metadata": {"path": folder}}
    for file in sorted((ROOT / "docs/notebooks").glob("*.py")):
        notebook = jupytext.read(file)
        kernel = AsyncKernelManager(transport="ipc", ip=str(folder / "kernel"))  # without a port
        NotebookClient(
            notebook, km=kernel, timeout=MOST_SECONDS, startup_timeout=MOST_SECONDS, resources=where
        ).execute(env=environment)
        for cell in notebook.cells:  # a command that fails stops no notebook
            for output in cell.get("outputs", ()):
                if any(line.startswith("error:") for line in output.get("text", "").splitlines()):
                    raise RuntimeError(f"{file.name}: {cell.source}: {output.text}")
        text, resources = MarkdownExporter().from_notebook_node(
            notebook, resources={"unique_key": file.stem, "output_files_dir": "figures"}
        )
        text = text.replace(str(folder), "…").replace(PANDAS, "<table>")
        yield Rendered(file.stem, text, dict(resources["outputs"]))
