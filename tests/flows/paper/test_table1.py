"""The paper's table from hand-made runs: means, deviations, Δ %, published numbers, divergence, formats, the figure."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.types import UNKNOWN_TRAINING, CodeSetName, FoldScope
from guidestore.flows.cli.paper_table import show_table
from guidestore.flows.paper.figures import draw
from guidestore.flows.paper.table import PaperTable, as_rows, to_csv, to_markdown
from guidestore.flows.paper.table1 import FORM, PUBLISHED, build_table1
from guidestore.flows.results.evaluation import EFFECT_COLUMNS
from tests.terminal import WIDTHS, terminal

CONTROL = FORM.control

SCORES = {
    "S+I": (0.80, 0.90),
    "S": (0.70, 0.80),
    "I": (0.40, 0.60),
    "G(I)": (0.30, 0.50),
    "G(I)+I": (0.60, 0.65),
}


def make_run(modality: str, row: str, fold: int, control: str = "", permutation: int = -1) -> Run:
    """modality: '' for a run without an inferior code set."""
    return Run(
        f"{modality}/{row}/{fold}/{control}/{permutation}",
        "glioma",
        "class",
        "radpath",
        fold,
        row,
        inferior=CodeSetName("glioma", modality, "densenet3d", f"{fold:012d}") if modality else None,
        superior=CodeSetName("glioma", "histology", "attention_pooling", f"{fold:012d}"),
        trained_on=(FoldScope.of("glioma", "radpath", fold),),
        mode="as-published",
        guidance="autoencoder" if row.startswith("G") else "",
        decoder="mlp",
        control=control,
        permutation=permutation,
    )


def make_runs(*modalities: str) -> tuple[list[Run], dict[tuple[str, str], float]]:
    """Two folds of every row, and two permutations of the control in each."""
    runs, values = [], {}
    for modality in modalities:
        for fold in (0, 1):
            for row, scores in SCORES.items():
                run = make_run(modality, row, fold)
                runs.append(run)
                values[run.id, "balanced_accuracy"] = scores[fold]
                values[run.id, "f1_micro"] = scores[fold] + 0.05
            for permutation, score in enumerate((0.5, 0.6)):
                run = make_run(modality, "G(I)+I", fold, "shuffled", permutation)
                runs.append(run)
                values[run.id, "balanced_accuracy"] = score + fold / 10
                values[run.id, "f1_micro"] = score + fold / 10
    return runs, values


@pytest.fixture
def table() -> PaperTable:
    """T1w and T1; of T1w, G(R)+R diverged in both folds and G(R) in one."""
    runs, values = make_runs("mri_t1ce", "mri_t1")
    gone = [("G(I)+I", 0), ("G(I)+I", 1), ("G(I)", 1)]
    for i, run in enumerate(runs):
        if "mri_t1ce" in str(run.inferior) and (run.row, run.fold) in gone and not run.control:
            runs[i] = replace(run, status="diverged")
            del values[run.id, "balanced_accuracy"], values[run.id, "f1_micro"]
    return build_table1(runs, values, cohort="glioma", layout="manifest")


def test_means_deviations_and_deltas_are_exact(table: PaperTable):
    assert [(column.key, column.title) for column in table.columns] == [("mri_t1", "T1"), ("mri_t1ce", "T1w")]
    assert table.mode == "as-published"
    assert list(table.rows) == [
        "P+R",
        "P",
        "R",
        "G(R)",
        "G(R)+R",
        "G(R)+R, shuffled pairs",
        "Δ %",
        "Δ %, shuffled pairs",
    ]
    t1 = {name: cells[0] for name, cells in table.rows.items()}
    assert {name: (cell.mean, cell.n) for name, cell in t1.items() if cell} == {
        "P+R": (pytest.approx((0.85, 0.90)), 2),
        "P": (pytest.approx((0.75, 0.80)), 2),
        "R": (pytest.approx((0.50, 0.55)), 2),
        "G(R)": (pytest.approx((0.40, 0.45)), 2),
        "G(R)+R": (pytest.approx((0.625, 0.675)), 2),
        "G(R)+R, shuffled pairs": (pytest.approx((0.6, 0.6)), 4),
        "Δ %": (pytest.approx((25.0, 100 * 0.125 / 0.55)), 2),
        "Δ %, shuffled pairs": (pytest.approx((20.0, 100 * 0.05 / 0.55)), 4),
    }
    assert t1["R"] is not None
    assert t1["R"].sd == pytest.approx((math.sqrt(0.02), math.sqrt(0.02)))
    control = t1[CONTROL]
    assert control is not None
    assert control.sd[0] == pytest.approx(np.std([0.5, 0.6, 0.6, 0.7], ddof=1))


def test_published_numbers_stand_beside_ours_and_nothing_else_does(table: PaperTable):
    cells = {name: [cell.published if cell else None for cell in row] for name, row in table.rows.items()}
    assert cells["R"] == [(0.506, 0.578), (0.641, 0.735)]
    assert cells["G(R)+R"] == [(0.587, 0.585), (0.654, 0.742)]
    assert cells["Δ %"][0] == pytest.approx((100 * 0.081 / 0.506, 100 * 0.007 / 0.578))
    for name in ("P+R", "P", CONTROL, "Δ %, shuffled pairs"):
        assert cells[name] == [None, None]
    assert len(PUBLISHED) == 17
    assert {row for row, modality in PUBLISHED if modality == "mri_all"} == {"P+R", "P", "R", "G(R)", "G(R)+R"}


def test_diverged_runs_are_left_out_and_counted(table: PaperTable):
    guided, delta, through = (table.rows[name][1] for name in ("G(R)+R", "Δ %", "G(R)"))
    assert guided is not None
    assert (guided.n, guided.diverged) == (0, 2)
    assert delta is not None
    assert math.isnan(delta.mean[0])
    assert through is not None
    assert (through.mean[0], through.n, through.diverged) == (pytest.approx(0.3), 1, 1)
    assert math.isnan(through.sd[0])
    assert "3 runs diverged and left out; lower the learning rate, or standardise the codes" in table.notes


def test_markdown(table: PaperTable):
    lines = to_markdown(table).splitlines()
    assert lines[:2] == ["| Table 1 | T1 | T1w |", "| --- | ---: | ---: |"]
    by_row = {line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ")[1:] for line in lines[2:10]}
    assert by_row["P"][0] == "0.750 ± 0.071 [–]<br>0.800 ± 0.071 [–]<br>n 2"
    assert by_row["R"][0] == "0.500 ± 0.141 [0.506]<br>0.550 ± 0.141 [0.578]<br>n 2"
    assert by_row["G(R)"][1] == "0.300 [0.564]<br>0.350 [0.692]<br>n 1 (1 diverged)"
    assert by_row["G(R)+R"][1] == "diverged [0.654]<br>diverged [0.742]<br>n 0"
    assert by_row["Δ %"] == ["+25.0 [+16.0]<br>+22.7 [+1.2]", "diverged [+2.0]<br>diverged [+1.0]"]
    assert by_row["Δ %, shuffled pairs"][0] == "+20.0 [–]<br>+9.1 [–]"
    assert [line for line in lines[11:] if not line.startswith("- ")] == []
    notes = "\n".join(lines[11:])
    assert "mean ± standard deviation over 2 splits x 1 seed" in notes
    assert "R: densenet3d; P: attention_pooling; G: autoencoder; decoders: mlp; mode as-published" in notes
    assert "cohort glioma is other data, so compare only the form" in notes


def test_notes_know_radpath_and_unknown_encoders():
    runs, values = make_runs("mri_all", "mri_t2")
    for i, run in enumerate(runs):
        assert run.inferior is not None
        encoder = "resnet3d" if run.inferior.modality == "mri_t2" else run.inferior.encoder
        runs[i] = replace(run, trained_on=(UNKNOWN_TRAINING,), inferior=replace(run.inferior, encoder=encoder))
    notes = "\n".join(build_table1(runs, values, cohort="glioma", layout="radpath").notes)
    assert "mean of five splits of RadPath 2020" in notes
    assert "other data" not in notes
    assert "R: mri_all/densenet3d, mri_t2/resnet3d; P" in notes
    assert "what the encoders were trained on is unknown" in notes
    assert "diverged" not in notes


def test_flat_rows_and_csv_agree(table: PaperTable):
    rows = as_rows(table)
    json.dumps(rows, allow_nan=False)
    assert len(rows) == 8 * 2
    read = list(csv.DictReader(io.StringIO(to_csv(as_rows(table)))))
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows] == read
    row = next(row for row in rows if (row["row"], row["column"]) == ("R", "mri_t1ce"))
    assert row == {
        "cohort": "glioma",
        "mode": "as-published",
        "row": "R",
        "column": "mri_t1ce",
        "title": "T1w",
        "unit": "share",
        "n": 2,
        "diverged": 0,
        "balanced_accuracy_mean": pytest.approx(0.5),
        "balanced_accuracy_sd": pytest.approx(math.sqrt(0.02)),
        "balanced_accuracy_published": 0.641,
        "f1_micro_mean": pytest.approx(0.55),
        "f1_micro_sd": pytest.approx(math.sqrt(0.02)),
        "f1_micro_published": 0.735,
        **dict.fromkeys((*EFFECT_COLUMNS, "p_holm")),
    }
    assert {row["unit"] for row in rows if row["row"].startswith("Δ")} == {"percent"}
    gone = next(row for row in rows if (row["row"], row["column"]) == ("G(R)+R", "mri_t1ce"))
    assert (gone["n"], gone["diverged"], gone["balanced_accuracy_mean"]) == (0, 2, None)


def test_rows_without_runs_print_a_dash_and_one_run_has_no_deviation():
    runs = [make_run("mri_flair", "I", 0), make_run("", "S", 0)]
    values = {(run.id, metric): 0.5 for run in runs for metric in ("balanced_accuracy", "f1_micro")}
    table = build_table1(runs, values, cohort="glioma")
    text = to_markdown(table)
    assert [column.key for column in table.columns] == ["mri_flair"]
    assert "| P+R | – |" in text
    assert "| P | 0.500 [–]<br>0.500 [–]<br>n 1 |" in text
    assert "| R | 0.500 [0.534]<br>0.500 [0.621]<br>n 1 |" in text
    assert "| Δ % | – |" in text
    assert "shuffled pairs |" not in text
    assert [row["row"] for row in as_rows(table)] == ["P", "R"]


def test_the_terminal_shows_the_same(table: PaperTable, capsys: pytest.CaptureFixture[str]):
    show_table(table, "table")
    text = capsys.readouterr().out
    for part in ("Table 1, cohort glioma, as-published", "[in the paper]", "0.500 ± 0.141 [0.506]", "diverged [0.654]"):
        assert part in text
    assert table.notes[0] in text


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_a_terminal(table: PaperTable, width: int):
    with terminal(width) as shown:
        show_table(table, "table")
    assert max(map(cell_len, shown.text.splitlines())) <= width
    assert shown.text.count("0.500 ± 0.141 [0.506]") == 1
    shown.check_tables()


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda runs: [], {}, "there is no run of an MRI input"),
        (lambda runs: runs, {"mode": "matched"}, r"there is no run of an MRI input .* in mode matched among 14 runs"),
        (lambda runs: runs, {"cohort": "other"}, "cohort other cannot hold runs of glioma"),
        (
            lambda runs: [replace(runs[0], mode="matched"), *runs[1:]],
            {},
            "of the modes as-published and matched; make a table of one",
        ),
        (lambda runs: [*runs, replace(runs[2], id="again")], {}, "R of T1: 2 runs are of fold 0 and seed 0"),
        (
            lambda runs: [replace(run, decoder="linear") if run.fold else run for run in runs],
            {},
            r"P\+R of T1: the runs are of the decoders linear and mlp",
        ),
    ],
)
def test_runs_that_make_no_one_table_give_a_sentence(change, options: dict, sentence: str):
    runs, values = make_runs("mri_t1")
    with pytest.raises(InvalidInputError, match=sentence):
        build_table1(change(runs), values, **{"cohort": "glioma", **options})


def test_a_mode_is_chosen_among_several():
    runs, values = make_runs("mri_t1")
    twice = [*runs, *(replace(run, id=f"m{run.id}", mode="matched") for run in runs)]
    assert build_table1(twice, values, cohort="glioma", mode="as-published").rows["R"][0].n == 2  # pyright: ignore[reportOptionalMemberAccess]


def test_the_figure_has_the_bars_in_their_colours(table: PaperTable, tmp_path: Path):
    draw(table, tmp_path / "figures" / "table1.png")
    with Image.open(tmp_path / "figures" / "table1.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (1200, 2100, 3)  # 300 dpi
    for colour in ("0072B2", "E69F00", "009E73", "D55E00"):
        rgb = [int(colour[place : place + 2], 16) for place in (0, 2, 4)]
        assert (np.abs(pixels.astype(int) - rgb).max(axis=2) < 8).sum() > 100, colour
    draw(table, tmp_path / "table1.svg")
    assert ElementTree.parse(tmp_path / "table1.svg").getroot().tag.endswith("svg")
    with pytest.raises(InvalidInputError, match=r"table1.jpg is no name for a figure"):
        draw(table, tmp_path / "table1.jpg")
