"""Every notebook runs, cell by cell, as jupytext reads it; what it would show can be shown."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.py"))


def cells(notebook: Path) -> list[str]:
    """The code of a notebook in jupytext's percent format."""
    parts = re.split(r"^# %%(.*)$", notebook.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [code for kind, code in zip(parts[1::2], parts[2::2], strict=True) if "[markdown]" not in kind]


def shown(code: str, names: dict[str, Any]) -> Any:
    """Runs a cell; what its last expression is, as a notebook would show it."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None  # noqa: S307


def _ways(value: Any) -> list[Any]:
    return [getattr(value, name) for name in ("_repr_html_", "_repr_svg_") if hasattr(value, name)]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    names: dict[str, Any] = {"__name__": "__main__"}
    for code in cells(notebook):
        value = shown(code, names)
        text = next(filter(None, (of() for of in _ways(value))), repr(value))
        assert text
        assert "digit-0" not in text or "predict" in code
