"""Reference pages, made from what they tell of: Python names, plug-ins, commands, the sweep file, the SQL views."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import guidestore
import guidestore.testing
from guidestore.flows.sweeps.file import SweepFile

ROOT = Path(__file__).parents[2]
MADE = re.compile(r"CREATE OR REPLACE (?:VIEW (?P<view>\S+)|MACRO (?P<function>\w+)\(.*AS TABLE)")
"""A view or a table function; other macros are of use to views alone."""
PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "guidestore.heads.protocol": ("GuidanceModel", "DecoderGuidedModel", "Decoder", "Foreteller"),
    "guidestore.heads.fusion.common.protocol": ("Fusion",),
    "guidestore.heads.metrics": ("Metric",),
    "guidestore.encoders.protocol": ("Encoder",),
    "guidestore.encoders.info": ("EncoderInfo",),
    "guidestore.warehouse.cohorts.layout": ("Layout",),
    "guidestore.embeddings.storage": ("Storage",),
}
"""Module -> what plug-ins follow."""


def python_names() -> str:
    """Every public name of `guidestore`, from its docstring."""
    names = sorted(name for name in guidestore.__all__ if name != "datasets")
    sections = [f"## guidestore.{name}\n\n::: {_place(name)}.{name}\n" for name in names]
    made = "\n".join([*sections, "## guidestore.datasets\n\n::: guidestore.flows.library.datasets\n"])
    return f"# Python\n\n`import guidestore as gs`; how they go together: [library](../library.md).\n\n{made}"


def plug_ins() -> str:
    """What a model, encoder, layout or metric of others has to be, and the tests that hold it to that."""
    sections = [f"## {name}\n\n::: {module}.{name}\n" for module, names in PROTOCOLS.items() for name in names]
    sections += [f"## testing.{name}\n\n::: guidestore.testing.{name}\n" for name in guidestore.testing.__all__]
    told = "How to write one, and how it is named: [models of one's own](../decisions/own-models.md)."
    return "\n".join(["# Plug-ins\n", f"{told}\n", *sections])


def sweep_file() -> str:
    """The fields of a sweep file."""
    told = [
        "# Sweep file",
        "",
        "What `guidestore sweep` reads: a YAML file of these fields. Where a list is taken, one value will do. "
        "What they are for, with examples: [sweeps](../sweeps.md).",
        "",
        "| field | takes | default | |",
        "|---|---|---|---|",
    ]
    for name, field in SweepFile.model_fields.items():
        default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
        takes = _type(SweepFile.model_json_schema()["properties"][name])
        told.append(f"| `{name}` | {takes} | {default} | {(field.description or '').replace('|', chr(92) + '|')} |")
    told += [
        "",
        "A model is a name (`guidestore heads` lists them), `module:Class`, or a mapping of `name` and parameters,",
    ]
    told += ["each of which may be a list, for a grid; of a parameter that is a list itself, a list of lists.", ""]
    return "\n".join(told)


def _type(schema: dict[str, Any]) -> str:
    """In words, of a JSON schema."""
    if "$ref" in schema:
        return "model"
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(of) for of in schema["anyOf"] if of.get("type") != "null"))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    names = {"string": "text", "integer": "number", "number": "number", "boolean": "`true` or `false`"}
    return names[schema["type"]]


def _default(value: Any) -> str:
    if value in (None, "", ()):
        return "empty"
    values = value if isinstance(value, tuple) else (value,)
    words = (getattr(of, "name", str(of).lower() if isinstance(of, bool) else of) for of in values)
    return ", ".join(f"`{word}`" for word in words)


def _place(name: str) -> str:
    return getattr(guidestore, name).__module__


def commands() -> str:
    """What `--help` says of each command, as Markdown."""
    asked = [sys.executable, "-m", "typer", "guidestore.flows.cli.main", "utils", "docs", "--name", "guidestore"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return told.replace("# `guidestore`", "# Commands", 1)


def views() -> str:
    """The views and table functions of `guidestore sql`, with the comments of their files."""
    told = [
        "# SQL views",
        "",
        "What `guidestore sql` asks, at any snapshot. `SHOW TABLES` lists them, `DESCRIBE cases` the columns of one.",
    ]
    for name, comment in sorted(commented().items()):
        told += ["", f"## {name}", "", *_apart(comment)]
    return "\n".join(told) + "\n"


def commented() -> dict[str, list[str]]:
    """View or table function -> the lines of the comment above it; [] for none."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "warehouse" / "sql").glob("*.sql")):
        comment: list[str] = []
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("--"):
                said = line.removeprefix("--").removeprefix(" ")
                comment.append(f"    {said.strip()}" if said.startswith("  ") else said)
            elif made := MADE.match(line):
                found[made["view"] or made["function"]] = comment
                comment = []
            elif line and not line.startswith("CREATE"):
                comment = []
    return {name.replace("$d", "WIDTH"): comment for name, comment in found.items()}


def _apart(lines: list[str]) -> list[str]:
    """With an empty line before an indented block, as Markdown wants it."""
    apart: list[str] = []
    for line in lines:
        if line.startswith("    ") and apart and not apart[-1].startswith("    "):
            apart.append("")
        apart.append(line)
    return apart


PAGES: Mapping[str, Callable[[], str]] = {
    "python": python_names,
    "plug-ins": plug_ins,
    "commands": commands,
    "sweep-file": sweep_file,
    "sql": views,
}
"""Page of reference/ -> what makes it."""
