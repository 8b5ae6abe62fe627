"""A command made from a settings model: each field is one option, with its help, default and bounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, DirectoryPath, Field
from typer.testing import CliRunner

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.cli.from_settings import command
from guidestore.flows.work.settings import Environment, Folds


class Options(BaseModel):
    cohort: str = Field(description="Name of the cohort.")
    folds: Folds = ()
    seeds: tuple[int, ...] = Field(default=(0, 1), description="Of the heads.")
    modes: tuple[Literal["matched", "as-published"], ...] = Field(default=("matched",), description="Which.")
    preset: Literal["demo", "paper"] = Field(default="demo", description="Sizes.")
    tile_px: int | None = Field(default=None, ge=8, le=512, description="Edge of a tile; empty: the encoder's own.")
    mpp: float | None = Field(default=None, gt=0, description="um per pixel.")
    shape_vox: tuple[int, int, int] | None = Field(default=None, description="Depth, height, width.")
    source: DirectoryPath | None = Field(default=None, description="A folder.")
    exact: bool = Field(default=False, description="Compare all.")
    shuffled: bool = Field(default=True, description="With controls.")
    address: Annotated[str, Environment("OPTIONS_ADDRESS")] = Field(default="", description="host:port.")


app = typer.Typer()
called: list[tuple[Options, bool]] = []


@command(app, options=f"{__name__}:Options", arguments=("cohort",))
def work(options: Options, dry: Annotated[bool, typer.Option("--dry", help="Do nothing.")] = False) -> None:
    """Works on a cohort."""
    called.append((options, dry))


@app.command()
def other() -> None:
    """Does something else."""


def run(*arguments: object, **environment: str) -> Any:
    called.clear()
    sys.modules.setdefault(__name__, sys.modules[work.__module__])
    return CliRunner().invoke(app, ["work", *map(str, arguments)], env=environment)


def made(*arguments: object, **environment: str) -> Options:
    done = run(*arguments, **environment)
    assert done.exit_code == 0, done.output
    ((options, _),) = called
    return options


def test_what_is_not_given_is_the_models_default() -> None:
    assert made("skin") == Options(cohort="skin")


def test_every_kind_of_field_is_an_option(tmp_path: Path) -> None:
    given = made(
        *("skin", "--fold", 0, "--fold", 2, "--seed", 7, "--mode", "as-published", "--mode", "matched"),
        *("--preset", "paper", "--tile-px", 8, "--mpp", 0.5, "--shape-vox", 4, 5, 6, "--source", tmp_path),
        *("--exact", "--no-shuffled", "--address", "h:1"),
    )
    assert given == Options(
        cohort="skin", folds=(0, 2), seeds=(7,), modes=("as-published", "matched"), preset="paper", tile_px=8, mpp=0.5,
        shape_vox=(4, 5, 6), source=tmp_path, exact=True, shuffled=False, address="h:1",
    )  # fmt: skip


def test_a_field_can_come_from_the_environment() -> None:
    assert made("skin", OPTIONS_ADDRESS="h:2").address == "h:2"
    assert made("skin", "--address", "h:3", OPTIONS_ADDRESS="h:2").address == "h:3"


def test_the_functions_own_parameters_stay() -> None:
    run("skin", "--dry")
    assert called == [(Options(cohort="skin"), True)]


@pytest.mark.parametrize("wrong", [("--tile-px", 7), ("--fold", -1), ("--preset", "big"), ("--shape-vox", 1, 2)])
def test_bounds_and_choices_are_those_of_the_field(wrong: tuple[object, ...]) -> None:
    done = run("skin", *wrong)
    assert done.exit_code == 2
    assert not called


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("--mpp", 0), "mpp = 0.0: it should be greater than 0"),
        (("--mode", "best"), "modes = 'best': it should be 'matched' or 'as-published'"),
        (("--source", "nowhere"), "does not point to a directory"),
    ],
)
def test_what_pydantic_refuses_is_one_sentence(wrong: tuple[object, ...], sentence: str) -> None:
    done = run("skin", *wrong)
    assert isinstance(done.exception, InvalidInputError)
    assert sentence in str(done.exception)
    assert "\n" not in str(done.exception)


def test_help_tells_descriptions_defaults_and_choices() -> None:
    text = " ".join(CliRunner().invoke(app, ["work", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output.split())
    for told in (
        "Works on a cohort.", "Edge of a tile; default: the encoder's own.", "[8 to 512]", "demo|paper",
        "matched|as-published", "repeat for several", "OPTIONS_ADDRESS", "--dry",
    ):  # fmt: skip
        assert told in text, told


def test_the_list_of_commands_loads_no_model() -> None:
    code = (
        "import sys, typer; from guidestore.flows.cli.main import app; root = typer.main.get_command(app)\n"
        "context = typer.Context(root)\n"
        "names = [command.get_short_help_str() for command in root.commands.values()]\n"
        "print('pydantic' in sys.modules)\n"
        "root.commands['encode'].params\n"
        "print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
