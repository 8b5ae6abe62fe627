"""Sweep files: grids, and errors that name line and field."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.sweeps.file import read_sweep
from guidestore.heads.choice import Choice

GOOD = """
cohort: skin
targets: [DIAG, PN]
inferior: clinical/x
superior: [dermoscopy/x, dermoscopy/y]
guidance:
  - ridge
  - name: autoencoder
    learning_rate: [0.01, 0.1]
    hidden: [[256], [512, 256]]
decoder: mlp
labelled: [50, all]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "ablation.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_lists_make_a_grid_and_single_values_stand_for_a_list_of_one(tmp_path: Path) -> None:
    sweep = read_sweep(write(tmp_path, GOOD))
    assert (sweep.name, sweep.cohort, sweep.inferior, sweep.seeds) == ("ablation", "skin", ("clinical/x",), (0,))
    assert sweep.superior == ("dermoscopy/x", "dermoscopy/y")
    assert sweep.labelled == (50, "all")
    assert sweep.choices("decoder") == [Choice.of("mlp")]
    assert [str(choice) for choice in sweep.choices("guidance")] == [
        "ridge",
        "autoencoder(hidden=256, learning_rate=0.01)",
        "autoencoder(hidden=512-256, learning_rate=0.01)",
        "autoencoder(hidden=256, learning_rate=0.1)",
        "autoencoder(hidden=512-256, learning_rate=0.1)",
    ]
    assert sweep.choices("guidance")[2].params == {"hidden": (512, 256), "learning_rate": 0.01}


def test_a_choice_that_stands_twice_counts_once(tmp_path: Path) -> None:
    sweep = read_sweep(write(tmp_path, GOOD.replace("decoder: mlp", "decoder: [mlp, {name: mlp}, {name: logistic}]")))
    assert sweep.choices("decoder") == [Choice.of("mlp"), Choice.of("logistic")]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace("cohort: skin\n", ""), r"ablation.yaml, line \d+, cohort: Field required"),
        (
            lambda text: text.replace("targets:", "target:"),
            r"line 3, target: Extra inputs .*; the fields are name, coh",
        ),
        (lambda text: text.replace("[50, all]", "[50, most]"), r"line 12, labelled.1"),
        (lambda text: text.replace("decoder: mlp", "decoder: []"), r"line 11, decoder: .* at least 1 item"),
        (
            lambda text: text.replace("name: autoencoder", "nome: autoencoder"),
            r"line 8, guidance.1.name: Field required",
        ),
        (lambda text: text + "seeds: [0, 1.5]\n", r"line 13, seeds.1: .* integer"),
        (lambda text: text.replace("[0.01, 0.1]", "[0.01, 0.1"), r"ablation.yaml, line \d+: .*this is no YAML"),
        (lambda text: "- a\n- b\n", r"holds no fields"),
        (lambda text: "", r"holds no fields"),
    ],
)
def test_errors_name_line_and_field(tmp_path: Path, change, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        read_sweep(write(tmp_path, change(GOOD)))


def test_a_file_that_is_not_there_or_no_text_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_sweep(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_sweep(tmp_path / "picture.yaml")


def test_yaml_tags_build_no_objects(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="this is no YAML"):
        read_sweep(write(tmp_path, "cohort: !!python/object/apply:os.system ['true']\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: ../../x", "cannot be a name of a sweep"),
        ("folds: [99999999999999]", "less than or equal to"),
        ("targets: " + "[" * 20_000, "lists are more than 20 deep"),
        ("targets: " + "{a: " * 20_000, "lists are more than 20 deep"),
        ("a: &a [x, x]\nb: &b [*a, *a]\ntargets: [*b, *b]", "line 5: aliases (*a) are not read"),
        ("seeds: [" + "1, " * 400_000 + "1]", "more than 1,000,000 characters"),
        ("at: 2020-99-99", "no YAML"),
    ],
    ids=["name", "fold", "lists", "maps", "aliases", "long", "date"],
)
def test_a_hostile_file_is_a_sentence_at_once(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"cohort: c\ninferior: a/b\nsuperior: c/d\n{text}\n")
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        read_sweep(file)


def test_a_pipe_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(InvalidInputError, match="is no file"):
            read_sweep(path)
