"""The five folders are reached as `guidestore.…` alone: by another name, every class in them would exist twice."""

from __future__ import annotations

import re

import pytest

from tests.packaging.tracked import FOLDERS, ROOT, tracked

BARE = rf"(?:{'|'.join(FOLDERS)})\b"
BANNED = {
    "an import": re.compile(rf"(?:^|[\n;`\"'>]) *(?:from +{BARE}(?:\.\w+)* +import\b|import +{BARE}(?=[.,;\s\"'`]|$))"),
    "module:Class": re.compile(rf"[\"'`]{BARE}(?:\.\w+)*:[A-Za-z_]"),
    "a module to run": re.compile(rf"-m[\"', ]+{BARE}\.\w"),
    "a module to import": re.compile(rf"import_module\(f?[\"']{BARE}"),
    "an entry point": re.compile(rf"entrypoint: *{BARE}"),
}
READ = (".py", ".md", ".yaml", ".toml", "Makefile", ".ci/run")


def bare_names(text: str) -> list[str]:
    return [what for what, pattern in BANNED.items() if pattern.search(text)]


@pytest.mark.parametrize("wrong", [
    "import flows",
    "    from heads.protocol import Head",
    '"import sys; from flows import cli"',
    '"flows.cli.main:main"',
    "`python -m flows.engine.server`",
    '[sys.executable, "-m", "warehouse.indexer"]',
    'import_module(f"encoders.{name}")',
    "entrypoint: flows.serving.encode.encode",
])  # fmt: skip
def test_it_finds(wrong: str) -> None:
    assert bare_names(wrong)


@pytest.mark.parametrize("right", [
    "from guidestore.flows import cli",
    '"guidestore.heads.metrics:Metric"',
    "python -m guidestore.flows.engine.server",
    "codes travel from heads to tables",
    "from flows, encoders and heads",
    "what they import heads for",
])  # fmt: skip
def test_it_passes(right: str) -> None:
    assert bare_names(right) == []


def test_nothing_uses_a_bare_name() -> None:
    files = [name for name in tracked() if name.endswith(READ) and not (ROOT / name).is_symlink()]
    files.remove("tests/packaging/test_names.py")
    wrong = {name: bare_names((ROOT / name).read_text(encoding="utf-8")) for name in files}
    assert {name: what for name, what in wrong.items() if what} == {}
