"""The tables of stored runs: nothing is a mean across heads, no verdict is lost, the report has the same figures."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
import statistics
from pathlib import Path

import pytest

from guidestore.embeddings.runs import LabelBudget, Run
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetName
from guidestore.flows.report import write_report
from guidestore.flows.results.blocks import blocks_of
from guidestore.flows.results.evaluation import teacher_notes
from guidestore.flows.results.selection import RunSelection
from guidestore.warehouse.runs import all_runs, load_scores
from tests.commandline import guidestore


def make_run(
    row: str,
    guidance: str = "",
    decoder: str = "mlp",
    mode: str = "as-published",
    inferior: str = "i/e@1",
    control: str = "",
    labelled: LabelBudget = "all",
) -> Run:
    return Run(
        f"{row} {guidance} {decoder} {mode} {inferior} {control} {labelled}",
        "c",
        "t",
        "s",
        0,
        row,
        inferior=CodeSetName.parse(inferior, "c"),
        superior=CodeSetName("c", "s", "e", "2"),
        mode=mode,
        guidance=guidance,
        decoder=decoder,
        classes=("a", "b"),
        control=control,
        labelled=labelled,
    )


def test_each_g_and_decoder_has_its_block_with_the_rows_that_it_is_held_against() -> None:
    shared = [make_run("S+I"), make_run("I", decoder="linear"), make_run("S", decoder="linear")]
    ridge = [make_run("G(I)", "ridge", "linear"), make_run("G(I)+I", "ridge")]
    other = [make_run("G(I)", "autoencoder", "linear"), make_run("G(I)+I", "autoencoder")]
    logistic = [make_run("S+I", decoder="logistic"), make_run("G(I)+I", "ridge", "logistic")]
    found = blocks_of([*shared, *ridge, *other, *logistic])
    assert [(one.guidance, one.decoder) for one in found] == [
        ("ridge", "mlp"), ("autoencoder", "mlp"), ("ridge", "logistic"),
    ]  # fmt: skip
    runs = [{run.id for run in one.runs} for one in found]
    plain_rows = {run.id for run in shared}
    assert runs[0] == plain_rows | {run.id for run in ridge}
    assert runs[1] == plain_rows | {run.id for run in other}
    assert runs[2] == {shared[1].id, shared[2].id, ridge[0].id, *(run.id for run in logistic)}
    matched = make_run("I", mode="matched")
    elsewhere = make_run("I", inferior="other/e@1")
    assert len(blocks_of([*shared, matched, elsewhere])) == 3


def test_every_guided_head_is_in_a_block_and_no_block_has_two_decoders_of_a_row() -> None:
    runs = [
        *(make_run(row, decoder=decoder, mode="matched") for row in ("S", "I") for decoder in ("mlp", "ridge")),
        *(make_run("S+I", decoder=decoder, mode="matched") for decoder in ("mlp", "mlp, fusion=gated")),
        make_run("G(I)", "pls", mode="matched"),
        make_run("G(I)+I", "pls, cross_fit=5", "mlp, fusion=gated", "matched"),
        make_run("G(I)+I", "pls, cross_fit=5", "mlp, fusion=gated", "matched", control="shuffled"),
        make_run("G(I)", "cca", "ridge", "matched"),
        make_run("KD(I)", "", "mlp", "matched"),
        make_run("KD(I)", "", "logistic", "matched"),
        make_run("I", decoder="mlp", mode="matched", labelled=20),
        make_run("KD(I)", "", "mlp", "matched", labelled=20),
    ]
    found = blocks_of(runs)
    assert [(one.scope.labelled, one.guidance, one.decoder) for one in found] == [
        ("all", "pls, cross_fit=5", "mlp, fusion=gated"),
        ("all", "cca", "ridge"),
        ("all", "", "logistic"),
        (20, "", "mlp"),
    ]
    held = [sorted((run.row, run.control, run.guidance, run.decoder) for run in one.runs) for one in found]
    assert held[0] == [
        ("G(I)", "", "pls", "mlp"),
        ("G(I)+I", "", "pls, cross_fit=5", "mlp, fusion=gated"),
        ("G(I)+I", "shuffled", "pls, cross_fit=5", "mlp, fusion=gated"),
        ("I", "", "", "mlp"),
        ("KD(I)", "", "", "mlp"),
        ("S", "", "", "mlp"),
        ("S+I", "", "", "mlp, fusion=gated"),
    ]
    # There is no S+I of that decoder, so all there are stand there, each a row of its own.
    assert [row[:2] for row in held[1]] == [("G(I)", ""), ("I", ""), ("S", ""), ("S+I", ""), ("S+I", "")]
    assert [row[0] for row in held[3]] == ["I", "KD(I)"]
    keys = found[0].keys()
    assert (keys["guidance"], keys["decoder"], keys["fusion"]) == ("pls, cross_fit=5", "mlp", "gated")
    assert "20 labels" in found[3].title


@pytest.fixture(scope="module")
def several(report_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two superior code sets, two G and two decoders."""
    import shutil

    store = tmp_path_factory.mktemp("several") / "store"
    shutil.copytree(report_store, store)
    opened = EmbeddingStore.open(store)
    codes = [[*row] for row in opened.snapshot().rows("cases")["case_id"].to_pylist()]
    file = store.parent / "codes.csv"
    ids = ["".join(case) for case in codes]
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows([["case_id", "a", "b"], *([case, n % 7, n % 3] for n, case in enumerate(ids))])
    for words in (
        ("import", file, "--cohort", "skin", "--modality", "histology", "--encoder", "made"),
        ("guide", "skin", "--inferior", "clinical/made", "--superior", "histology/made", "--guidance", "ridge",
         "--decoder", "logistic", "--target", "PIG", "--permutations", 1),
        ("guide", "skin", "--inferior", "clinical/made", "--superior", "dermoscopy/made", "--guidance", "pls",
         "--decoder", "prototype", "--target", "PIG", "--permutations", 1),
    ):  # fmt: skip
        done = guidestore(*words, "--store", store)
        assert done.returncode == 0, done.stderr
    return store


def test_evaluate_has_a_block_for_each_pair_g_and_decoder(several: Path) -> None:
    told = {
        format_: guidestore("evaluate", "skin", "--store", several, "--format", format_)
        for format_ in ("csv", "json", "table")
    }
    rows = list(csv.DictReader(io.StringIO(told["csv"].stdout)))
    keys = ("target", "mode", "split", "inferior", "superior", "labelled", "guidance", "decoder", "fusion")
    assert [
        (row["target"], row["superior"], row["guidance"], row["decoder"])
        for row in rows
        if row["row"] == "G(I)+I" and not row["control"]
    ] == [
        ("DIAG", "dermoscopy/made", "ridge", "logistic"),
        ("PIG", "dermoscopy/made", "ridge", "logistic"),
        ("PIG", "dermoscopy/made", "pls", "prototype"),
        ("PIG", "histology/made", "ridge", "logistic"),
    ]
    assert len({tuple(row[key] for key in (*keys, "label")) for row in rows}) == len(rows)
    assert all(row["verdict"] for row in rows if row["row"].startswith("G") and not row["control"])
    assert tuple(json.loads(told["json"].stdout)[0])[1 : 1 + len(keys)] == keys
    for words in ("PIG; clinical/made guided by histology/made; G ridge", "dermoscopy/made; G pls; D_c prototype"):
        assert words in " ".join(told["table"].stdout.split())
    # Each mean is over the seeds of one head alone.
    snapshot = EmbeddingStore.open(several).snapshot()
    runs = all_runs(snapshot)
    scores = load_scores(snapshot, runs)
    for row in rows:
        if row["control"] == "self":  # its runs are of two kinds
            continue
        mine = [
            scores[run.id, "balanced_accuracy"]
            for run in runs
            if (run.target, run.row, run.control, run.decoder)
            == tuple(row[n] for n in ("target", "row", "control", "row_decoder"))
            and run.superior is not None
            and run.superior.within.startswith(row["superior"])
            and run.guidance in ("", row["guidance"])
        ]
        assert int(row["n"]) == len(mine)
        assert float(row["balanced_accuracy_mean"]) == pytest.approx(statistics.fmean(mine), abs=1e-12)


def test_the_report_has_the_figures_of_evaluate(several: Path, tmp_path: Path) -> None:
    done = guidestore("evaluate", "skin", "--store", several, "--format", "csv")
    write_report(EmbeddingStore.open(several), RunSelection("skin"), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    sections = page.split('<section id="section-')[1:]
    plain = [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", section)).split()) for section in sections]
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {int(row["block"]) for row in rows} == set(range(1, len(plain) + 1))
    for row in rows:
        told = plain[int(row["block"]) - 1]
        assert f"{row['superior']}; {row['guidance']}, {row['decoder']}, {row['mode']}; split {row['split']};" in told
        label = row["label"]
        cells = []
        for metric in ("balanced_accuracy", "f1_micro", "auroc"):
            mean, sd = float(row[f"{metric}_mean"]), float(row[f"{metric}_sd"])
            cells.append(f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}")
        assert f"{label} {' '.join(cells)} {row['n']} " in told
        if row["verdict"]:
            ends = (float(row[f"gain_over_i{end}"]) for end in ("", "_low", "_high"))
            value, low, high = (f"{end:+.3f}" for end in ends)
            assert f"{row['verdict']} {label} {value} [{low}, {high}] " in told


def test_a_closed_gate_and_a_teacher_that_saw_the_labels_are_said_in_words() -> None:
    def run(row: str, fold: int, **more: object) -> Run:
        return Run(f"{row}{fold}{len(more)}", "skin", "PIG", "cv", fold, row, **more)  # pyright: ignore

    gates = [run("M(I)", fold, training={"guidance_gate": float(fold > 0)}) for fold in range(3)]
    (closed,) = teacher_notes(gates)
    assert closed == "PIG, M(I): the teacher was not allowed to teach in 1 of 3 runs, which are therefore I"
    assert teacher_notes(gates[1:]) == []
    (in_sample,) = teacher_notes([run("KD(I)", 0, mode="as-published"), run("GD(I)", 0)])
    assert in_sample.startswith("KD(I) as-published: taught in-sample")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--metric", "aurok"), "metric 'aurok' is unknown: did you mean 'auroc'"),
        (("--smallest-effect", "nan"), "smallest effect is nan; it must be a number of at least 0"),
    ],
)
def test_how_verdicts_are_asked_for_is_checked_first(several: Path, options: tuple[str, ...], sentence: str) -> None:
    """Before a look at test is counted or a head is trained."""
    before = EmbeddingStore.open(several).snapshot().version
    pair = ("--inferior", "clinical/made", "--superior", "dermoscopy/made")
    for command in (("evaluate", "skin"), ("guide", "skin", *pair, "--guidance", "cca", "--decoder", "logistic")):
        done = guidestore(*command, *options, "--store", several)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert EmbeddingStore.open(several).snapshot().version == before
