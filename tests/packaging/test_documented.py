"""Everything public says what it is: names of Python, contracts of plug-ins, commands, fields of a sweep, SQL views."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from typer.main import get_command

import guidestore
import guidestore.testing
from guidestore.flows.cli.main import app
from guidestore.flows.library import datasets
from guidestore.flows.sweeps.file import SweepFile

ROOT = Path(__file__).parents[2]
TEXT = "".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))])


def _reference() -> Any:
    spec = importlib.util.spec_from_file_location("site_reference", ROOT / "docs/site/reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = _reference()


def public() -> Iterator[tuple[str, Any]]:
    """Names that the reference has, and what of them is public."""
    yield from ((f"datasets.{name}", getattr(datasets, name)) for name in ("digits", "diabetes"))
    named = [(name, getattr(guidestore, name)) for name in guidestore.__all__ if name != "datasets"]
    named += [(f"testing.{name}", getattr(guidestore.testing, name)) for name in guidestore.testing.__all__]
    for module, names in REFERENCE.PROTOCOLS.items():
        named += [(name, getattr(importlib.import_module(module), name)) for name in names]
    for name, value in named:
        yield name, value
        if inspect.isclass(value):
            yield from (
                (f"{name}.{inner}", of)
                for inner, of in vars(value).items()
                if not inner.startswith("_") and not (name.startswith("testing.") and inner.startswith("test_"))
                if isinstance(of, FunctionType | property | classmethod | staticmethod)
            )


def function_of(value: Any) -> Callable[..., Any] | None:
    if isinstance(value, property):
        return value.fget
    return getattr(value, "__func__", value) if not inspect.isclass(value) else None


def doc_of(value: Any) -> str:
    return inspect.getdoc(value if inspect.isclass(value) else function_of(value)) or ""


PUBLIC = dict(public())


def _with_class(name: str) -> str:
    """Its docstring, and that of the class and of its module, where contracts are stated once for all methods."""
    of_class = PUBLIC.get(name.rpartition(".")[0])
    module = inspect.getdoc(inspect.getmodule(of_class)) if of_class else ""
    return "\n".join([doc_of(PUBLIC[name]), doc_of(of_class) if of_class else "", module or ""])


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented(name: str) -> None:
    """With what its arguments are, the dtype and shape of arrays that it returns, and the errors that it raises."""
    value = PUBLIC[name]
    assert len(doc_of(value)) > 20
    function = function_of(value)
    if function is None:
        return
    said = _with_class(name)
    missing = [
        argument
        for argument in inspect.signature(function).parameters
        if argument not in ("self", "cls", "progress") and not re.search(rf"\b{argument}\b", said)
    ]
    assert not missing, f"not in the docstring: {missing}"
    if "ndarray" in str(inspect.signature(function).return_annotation):
        assert re.search(r"\((n|m|b|,)[^)]*\)|_[bcdhkmn]+\b", said), "no shape"
        assert re.search(r"float|int|bool|str", said), "no dtype"
    raised = {
        node.exc.func.id
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    assert not {error for error in raised if error not in said and "GuidestoreError" not in said}


def commands(command: Any, name: str = "guidestore") -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", {})
    if not inner:
        yield name, command
    for word, of in inner.items():
        yield from commands(of, f"{name} {word}")


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_documented(name: str) -> None:
    """It says what it does and takes, and a page tells of it."""
    command = COMMANDS[name]
    assert command.help
    silent = [of.name for of in command.params if not getattr(of, "help", None) and of.name != "help"]
    assert not silent, f"without help: {silent}"
    assert re.search(rf"\b{re.escape(name.removeprefix('guidestore '))}\b", TEXT), "no page tells of it"


def test_every_field_of_a_sweep_says_what_it_is() -> None:
    page = REFERENCE.sweep_file()
    for name, field in SweepFile.model_fields.items():
        assert field.description, name
        assert f"| `{name}` | " in page
    assert "| `permutations` | number | `5` | " in page
    assert "| `guidance` | list of model | `autoencoder` | " in page


def test_every_view_of_sql_says_what_it_is() -> None:
    commented = REFERENCE.commented()
    made = re.findall(
        r"^CREATE OR REPLACE (?:VIEW (\S+)|MACRO (\w+)\(.*AS TABLE)",
        "".join(file.read_text(encoding="utf-8") for file in ROOT.glob("warehouse/sql/*.sql")),
        re.MULTILINE,
    )
    assert {"neighbours", "codes", "metrics", "looks"} <= set(commented)
    assert {(view or function).replace("$d", "WIDTH") for view, function in made} == set(commented)
    assert not [name for name, comment in commented.items() if not comment]
