"""Every command of the tree: what it prints fits a terminal, verdicts whole; its formats are one; its help has examples
that parse. A command without a case here fails."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from guidestore.flows.cli import doctor
from guidestore.flows.cli.app import examples_of
from guidestore.flows.cli.main import app
from tests.commandline import guidestore
from tests.report_store import GUIDE, write
from tests.terminal import WIDTHS, on_screen

ELSEWHERE = {
    "demo": "tests/flows/cli/test_demo.py",
    "experiment radpath": "tests/flows/paper/test_table1.py",
    "experiment derm7pt": "tests/flows/paper/test_table1.py",
    "export-model": "tests/flows/models/test_export.py",
    "report": "tests/flows/report/test_report.py",
    "attention": "tests/flows/encoding/test_attention.py",
    "cohort add derm7pt": "prints as cohort add manifest",
    "cohort add radpath": "prints as cohort add manifest",
    "cohort add phantom": "prints as cohort add manifest",
    "cohort add derm7pt-phantom": "prints as cohort add manifest",
}
SERVERS = {"serve", "explore", "mcp"}
"""They print an address, and end by Ctrl-C."""
NO_ROWS = {"demo", "serve", "explore", "mcp"}
"""Without --format: reports for the eye, and servers."""
OUT = "{out}"
RUNS = "SELECT run FROM runs WHERE row = 'G(I)+I' AND control = '' AND target = 'DIAG' ORDER BY seed"
SWEEP = """
name: grid
cohort: skin
targets: DIAG
inferior: clinical/made
superior: dermoscopy/made
guidance: ridge
decoder: logistic
split: official
seeds: 0
labelled: [20, all]
permutations: 1
"""
CASES: dict[str, tuple[str, str]] = {
    "cohort add manifest": ("other --images {images}", "cohort other"),
    "cohort split": ("skin --folds 3 --target PIG", "split cv3"),
    "cohort list": ("", "skin"),
    "cohort show": ("skin", "split"),
    "cohort rename": ("other another", "another"),
    "cohort remove": ("another --yes", "removed"),
    "import": ("{out}/codes.csv --cohort skin --modality blood --encoder lab", "1 dimension"),
    "encode": ("scans --modality clinical --encoder colour_texture", "encoded 3"),
    "encoders": ("", "colour_texture"),
    "neighbours": ("lesion-003 --code-set skin/clinical/made", "similarity"),
    "guide": (f"skin {shlex.join(GUIDE)} --target PIG --permutations 2 --seed 0 --seed 1 --split official", "verdict"),
    "evaluate": ("skin --target PIG", "verdict"),
    "compare": ("{run} {run2}", "McNemar"),
    "predict": ("--run {run} --case lesion-001 --case lesion-002", "predicted"),
    "alias": ("champion {run}", "champion -> run"),
    "heads": ("", "ridge"),
    "export": ("skin --code-set clinical/made --layout npz --output {out}/npz", "90 cases"),
    "publish": ("1 --output {out}/published --cohort skin", "MB"),
    "sweep plan": ("{out}/grid.yaml", "there already"),
    "sweep run": ("{out}/grid.yaml", "trained"),
    "sweep show": ("{out}/grid.yaml", "verdict"),
    "sweep curve": ("{out}/grid.yaml --output {out}/curve.svg", "labelled"),
    "sql": ('"FROM code_sets"', "skin/clinical/made"),
    "index": ("", "index at snapshot"),
    "tag": ("here", "here -> snapshot"),
    "diff": ("1", "labels"),
    "fsck": ("", ""),
    "gc": ("", ""),
    "purge": ("lesion-089 --cohort skin --yes", "lesion-089"),
    "compact": ("", ""),
    "doctor": ("", "guidestore"),
    "example digits": ("--dir {out}/digits", "guidestore guide digits"),
}
"""Command -> its arguments, in this order on one store; and what must be on the terminal."""
NEEDS_NO_STORE = {"encoders", "heads", "example digits"}


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Path, command and context of every command that is no group."""

    def below(command: Any, path: tuple[str, ...], parent: Any) -> Iterator[tuple[str, Any, Any]]:
        ctx = command.make_context(path[-1] if path else "guidestore", [], parent=parent, resilient_parsing=True)
        if not hasattr(command, "list_commands"):
            yield " ".join(path), command, ctx
            return
        for name in command.list_commands(ctx):
            yield from below(command.get_command(ctx, name), (*path, name), ctx)

    yield from below(get_command(app), (), None)


ALL = {path: (command, ctx) for path, command, ctx in commands()}


@pytest.fixture(scope="module")
def prepared(page_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store that commands may change, files they read, and two runs."""
    out = tmp_path_factory.mktemp("out")
    shutil.copytree(page_store, out / "store")

    write(out / "codes.csv", ["case_id", "iron"], [[f"lesion-{case:03d}", case**0.5] for case in range(90)])
    (out / "grid.yaml").write_text(SWEEP)
    rows = json.loads(guidestore("sql", RUNS, "--store", out / "store", "--format", "json").stdout)
    return {
        "out": str(out),
        "run": rows[0]["run"],
        "run2": rows[1]["run"],
        "store": str(out / "store"),
        "images": str(page_store.parent / "images.csv"),
    }


def asked(path: str, prepared: dict[str, str]) -> list[str]:
    arguments = [part.format(**prepared) for part in shlex.split(CASES[path][0])]
    return [*path.split(), *arguments, *([] if path in NEEDS_NO_STORE else ["--store", prepared["store"]])]


def test_every_command_has_a_case_and_a_format() -> None:
    assert set(ALL) == {*CASES, *ELSEWHERE, *SERVERS}
    for path, (command, _) in ALL.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--format" in options) == (path not in NO_ROWS), path


@pytest.mark.parametrize("path", CASES)
def test_what_it_prints_fits_a_terminal_and_its_verdicts_are_whole(
    path: str, prepared: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "doctor":  # its subprocesses load torch and Prefect: tests/flows/cli/test_doctor.py
        monkeypatch.setattr(doctor, "_DEVICES", "print('cpu')")
        monkeypatch.setattr(doctor, "_PREFECT_API", "print()")
    shown = on_screen(*asked(path, prepared))
    assert shown.returncode == 0, shown.stderr
    assert CASES[path][1] in shown.text
    shown.check_tables()
    if path in ("guide", "evaluate", "sweep show"):
        assert shown.verdicts()


@pytest.mark.parametrize("path", ["predict", "cohort show", "sql"])
@pytest.mark.parametrize("width", WIDTHS[1:])
def test_those_that_choose_by_the_width_fit_others(path: str, width: int, prepared: dict[str, str]) -> None:
    shown = on_screen(*asked(path, prepared), width=width)
    assert max(map(len, shown.text.splitlines())) <= width
    shown.check_tables()


@pytest.mark.parametrize("path", ["cohort show", "tag", "predict", "evaluate", "gc", "encode"])
def test_in_a_pipe_it_is_plain_and_as_json_nothing_else(path: str, prepared: dict[str, str]) -> None:
    arguments = asked(path, prepared)
    arguments = ["tag", "there", *arguments[2:]] if path == "tag" else arguments
    plain = guidestore(*arguments)
    assert "\x1b" not in plain.stdout
    arguments = ["tag", "now", *arguments[2:]] if path == "tag" else arguments
    rows = json.loads(guidestore(*arguments, "--format", "json").stdout)
    assert isinstance(rows, list)
    if path == "cohort show":
        assert "| what | name | count | detail |" in guidestore(*arguments, "--format", "markdown").stdout
    if path == "evaluate":
        as_csv = list(csv.DictReader(io.StringIO(guidestore(*arguments, "--format", "csv").stdout)))
        assert [[text and float(text) for text in row.values() if _is_number(text)] for row in as_csv] == [
            [value for value in row.values() if isinstance(value, int | float) and not isinstance(value, bool)]
            for row in rows
        ]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text) is not None


@pytest.mark.parametrize("path", ALL)
def test_help_fits_and_has_examples_that_parse(path: str) -> None:
    command, ctx = ALL[path]
    shown = on_screen(*path.split(), "--help")
    assert shown.returncode == 0
    assert max(map(len, shown.text.splitlines())) <= WIDTHS[0]
    for fact in re.findall(r"\[(?:default|env|required|at least)[^\],]*", shown.text):
        assert "\n" not in fact
    examples = examples_of(command.help)
    assert examples
    for example in examples:
        name, *words = shlex.split(example)
        assert name == "guidestore"
        assert words[: len(path.split())] == path.split()
        command.make_context(path, words[len(path.split()) :], parent=ctx.parent)
