"""Every notebook runs, cell by cell, as jupytext reads it, all in one folder; what it would show can be shown."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from guidestore.flows.cli.main import app

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.py"))
COMMAND = re.compile(r"^# !(?:PYTHONPATH=\S+ )?guidestore (.+)$", re.MULTILINE)
"""As jupytext writes a line that begins with an exclamation mark."""


def cells(notebook: Path) -> list[str]:
    """The code of a notebook in jupytext's percent format."""
    parts = re.split(r"^# %%(.*)$", notebook.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [code for kind, code in zip(parts[1::2], parts[2::2], strict=True) if "[markdown]" not in kind]


def shown(code: str, names: dict[str, Any]) -> Any:
    """Runs a cell, its commands in this process; what its last expression is, as a notebook would show it."""
    for line in COMMAND.findall(code):
        app(shlex.split(line.format(**names)), standalone_mode=False)
    tree = ast.parse(code)
    match tree.body:
        case [*_, ast.Expr(last)]:
            tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], last)
    names["_"] = None
    exec(compile(ast.fix_missing_locations(tree), "cell", "exec"), names)
    return names["_"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where they all run."""
    place = tmp_path_factory.mktemp("notebooks")
    backend = mpl.get_backend()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        patch.setenv("TMPDIR", str(place))
        patch.setattr("tempfile.tempdir", None)
        plt.switch_backend("agg")
        yield place
        plt.close("all")
        plt.switch_backend(backend)
    sys.modules.pop("my_models", None)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs(notebook: Path, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for code in cells(notebook):
        value = shown(code, names)
        ways = [getattr(value, name) for name in ("_repr_html_", "_repr_svg_") if hasattr(value, name)]
        assert next(filter(None, (of() for of in ways)), repr(value))
