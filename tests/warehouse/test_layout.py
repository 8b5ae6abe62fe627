"""Layouts are found by their files and by entry points, and each is a command made of its fields."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.layout import LAYOUTS, Layout, add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from tests.commandline import guidestore
from tests.embeddings.test_plugins import install, python

PLUG_IN = '''
from pathlib import Path
from pydantic import Field
from guidestore.warehouse.cohorts.cohort import CohortTables
from guidestore.warehouse.cohorts.layout import Layout, Reading

class Listed(Layout):
    """Cases in a list, one id a line."""

    id_file: Path = Field(description="The list.")
    prefixes: tuple[str, ...] = Field(default=(), description="Before each id; repeat for several.")
    least: int = Field(default=1, ge=1, description="Cases to have at least.")

    def read(self, reading: Reading) -> CohortTables:
        cases = [prefix + line for prefix in self.prefixes or ("",) for line in self.id_file.read_text().split()]
        row = {"layout": "listed", "source": str(self.least), "pseudonymized": False, "note": ""}
        return CohortTables(reading.cohort, cohorts=[row], cases=[{"case_id": case} for case in cases])
'''


def test_every_layout_has_a_sentence_and_options_that_say_what_they_are():
    assert LAYOUTS.names() == ("derm7pt", "derm7pt-phantom", "manifest", "phantom", "radpath")
    for name in LAYOUTS.names():
        layout = LAYOUTS.load(name)
        assert issubclass(layout, Layout)
        assert layout.__doc__ != Layout.__doc__
        assert all(field.description for field in layout.model_fields.values())
        shown = guidestore("cohort", "add", name, "--help").stdout
        assert all(f"--{field.replace('_', '-')}" in shown for field in layout.model_fields)


def test_an_installed_distribution_brings_a_layout_and_its_command(tmp_path: Path):
    install(tmp_path, "lists", "[guidestore.layouts]\nlisted = listed_layout:Listed\n", "listed_layout", PLUG_IN)
    (tmp_path / "ids").write_text("A\nB\n")
    code = f"""
        from guidestore.flows.cli.main import main
        print("pydantic" in sys.modules)
        sys.argv = ["guidestore", "cohort", "add", "listed", "x", "--id-file", "{tmp_path / "ids"}",
                    "--prefixes", "p", "--prefixes", "q", "--least", "3", "--store", "{tmp_path / "store"}"]
        main()
    """
    assert python(dedent(code), tmp_path).split("\n") == ["False", "cohort x: 1 cohort, 4 cases; snapshot 1"]
    snapshot = EmbeddingStore.open(tmp_path / "store").snapshot()
    assert snapshot.rows("cases")["case_id"].to_pylist() == ["pA", "pB", "qA", "qB"]
    assert snapshot.rows("cohorts")["source"].to_pylist() == ["3"]


def test_a_layout_of_the_working_directory_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_layouts.py").write_text(PLUG_IN)
    (tmp_path / "ids").write_text("A\nB\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    options = ("--id-file", "ids", "--store", "store")
    done = guidestore("cohort", "add", "my_layouts:Listed", "x", *options)
    assert done.stdout == "cohort x: 1 cohort, 2 cases; snapshot 1\n", done.stderr
    wrong = guidestore("cohort", "add", "my_layouts:Path", "x", *options)
    assert (wrong.returncode, "cohort layout 'my_layouts:Path' is none" in wrong.stderr) == (2, True)
    del sys.modules["my_layouts"]


def test_wrong_options_give_a_sentence(tmp_path: Path):
    few = guidestore("cohort", "add", "derm7pt-phantom", "x", "--images", tmp_path / "i", "--cases", 3)
    assert few.returncode
    assert "cases" in few.stderr
    assert not (tmp_path / "i").exists()
    assert "no such command 'radpaht'; did you mean 'radpath'?" in guidestore("cohort", "add", "radpaht", "x").stderr
    with pytest.raises(InvalidInputError, match="--classes 'grade': write TARGET=CLASS,CLASS"):
        add_layout(EmbeddingStore.create(tmp_path / "s"), "x", Manifest(labels=tmp_path / "l", classes=("grade",)))
