"""The command `neighbours`: what it prints in each form, and a sentence for whatever has no answer."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.index import neighbours as index_module
from guidestore.embeddings.interchange.codes import CodeColumns
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import FoldScope
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.warehouse.catalog import query
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from guidestore.warehouse.indexer import build_index
from tests.commandline import Done, guidestore
from tests.report_store import write

CASES = [f"lesion-{case:03d}" for case in range(150)]
SET = "skin/clinical/made"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 cases with codes around their class, a set trained on each of two folds, labels of two targets, a split."""
    folder = tmp_path_factory.mktemp("neighbours")
    store = folder / "store"
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, len(CASES))
    codes_nd = np.eye(3, 6)[classes] + 0.1 * rng.normal(size=(len(CASES), 6))
    header = ["case_id", *(f"c{d}" for d in range(6))]

    to_fill = EmbeddingStore.create(store)

    def add(encoder: str, values_nd: np.ndarray, version: str, trained_on: str) -> None:
        file = write(folder / "codes.csv", header, [[c, *v] for c, v in zip(CASES, values_nd.tolist(), strict=True)])
        scope = FoldScope.parse(trained_on)
        import_codes(
            to_fill,
            file,
            cohort="skin",
            modality="clinical",
            encoder=encoder,
            version=version,
            trained_on=scope,
            how=CodeColumns(nan="median" if encoder == "holes" else "refuse"),
        )

    add("made", codes_nd, "1", "none")
    for fold in (0, 1):
        add("folds", codes_nd + fold, "1", f"skin/official/{fold}")
    with_nan = codes_nd.copy()
    with_nan[7, 0] = np.nan
    add("holes", with_nan, "1", "none")
    labels = [[case, ("NEV", "BCC", "MEL")[c], "x"] for case, c in zip(CASES, classes, strict=True)]
    splits = [
        [case, "official", fold, ("train", "val", "test")[(i + fold) % 3]]
        for fold in (0, 1)
        for i, case in enumerate(CASES)
    ]
    add_layout(
        EmbeddingStore.open(store),
        "skin",
        Manifest(
            labels=write(folder / "labels.csv", ["case_id", "DIAG", "rank"], [*labels[:-1], [CASES[-1], "MEL", "y"]]),
            splits=write(folder / "splits.csv", ["case_id", "split", "fold", "part"], splits),
        ),
    )
    build_index(EmbeddingStore.open(store))
    return store


def ask(store: Path, *arguments: object, case: str = "lesion-000", code_set: str = SET) -> Done:
    return guidestore("neighbours", case, "--code-set", code_set, "--store", store, *arguments)


def rows_of(done: Done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_nearest_cases_with_their_labels_agree_with_sql(shared: Path) -> None:
    done = ask(shared, "-k", 5, "--format", "json")
    rows = rows_of(done)
    assert list(rows[0]) == ["rank", "case_id", "image_id", "similarity", "DIAG", "label_rank"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    by_sql = query(shared, f"FROM neighbours('lesion-000', '{SET}', k := 5)").table.to_pylist()
    assert [row["case_id"] for row in rows] == [row["case_id"] for row in by_sql]
    assert [row["similarity"] for row in rows] == pytest.approx([row["similarity"] for row in by_sql], abs=1e-6)
    assert [row["DIAG"] for row in rows] == [row["labels"].split("=")[1].split(",")[0] for row in by_sql]
    assert done.stderr == "exact: compared with all 150 codes\n"


def test_it_is_a_table_or_csv_too(shared: Path) -> None:
    table = ask(shared, "-k", 3, "--metric", "euclidean", "--target", "DIAG")
    assert "nearest to lesion-000 (DIAG" in table.stdout
    assert "distance" in table.stdout
    assert "label_rank" not in table.stdout
    rows = list(csv.DictReader(io.StringIO(ask(shared, "-k", 3, "--target", "DIAG", "--format", "csv").stdout)))
    assert list(rows[0]) == ["rank", "case_id", "image_id", "similarity", "DIAG"]
    assert len(rows) == 3


def test_the_set_of_a_fold_is_chosen_by_the_fold_and_shows_its_parts(shared: Path) -> None:
    several = ask(shared, code_set="skin/clinical/folds")
    assert several.returncode == 3
    assert several.stderr.startswith("error: 'skin/clinical/folds' matches several code sets:")
    assert "(trained on skin/official/0)" in several.stderr
    assert "add @DIGEST" in several.stderr
    rows = rows_of(ask(shared, "--split", "official", "--fold", 1, "--format", "json", code_set="skin/clinical/folds"))
    assert [row["part"] for row in rows] == [
        ("train", "val", "test")[(CASES.index(row["case_id"]) + 1) % 3] for row in rows
    ]
    digest = several.stderr.split("folds@")[1][:12]
    unasked = rows_of(ask(shared, "--format", "json", code_set=f"skin/clinical/folds@{digest}"))
    assert {row["part"] for row in unasked} <= {"train", "val", "test"}
    alone = ask(shared, "--fold", 1)
    assert (alone.returncode, alone.stderr) == (
        2,
        "error: --split and --fold name one fold together; give both or neither\n",
    )


def test_a_large_set_gets_an_index_once_and_says_its_recall(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(shared, store)
    monkeypatch.setattr(index_module, "EXACT_UP_TO", 100)
    before = EmbeddingStore.open(store).log.head
    first, again = (ask(store, "--format", "json", "-k", 5) for _ in range(2))
    assert first.stderr.startswith("building the index of 150 codes of skin/clinical/made@")
    assert "recall@10 0.9" in again.stderr or "recall@10 1.000" in again.stderr
    assert again.stderr.startswith("approximate: an index of 150 codes")
    assert rows_of(first) == rows_of(again)
    assert EmbeddingStore.open(store).log.head == before + 1
    exact = ask(store, "--format", "json", "-k", 5, "--exact")
    assert exact.stderr == "exact: compared with all 150 codes\n"
    shared_cases = {row["case_id"] for row in rows_of(first)} & {row["case_id"] for row in rows_of(exact)}
    assert len(shared_cases) >= 4

    made_from = query(store, "SELECT input_kind, input, code_set FROM lineage WHERE kind = 'index' ORDER BY 1").table
    (digest, encoder) = made_from.to_pylist()
    assert (digest["input_kind"], encoder["input_kind"]) == ("code set", "encoder")
    (known,) = query(store, "SELECT encoder_digest, name FROM code_sets WHERE encoder = 'made'").table.to_pylist()
    assert (encoder["input"], encoder["code_set"]) == (known["encoder_digest"], known["name"])

    # An old snapshot uses the index of its codes; it was committed later.
    assert rows_of(ask(store, "--format", "json", "-k", 5, "--at", before)) == rows_of(first)
    assert EmbeddingStore.open(store).log.head == before + 1

    done = guidestore("purge", "lesion-001", "--cohort", "skin", "--yes", "--store", store)
    assert done.returncode == 0, done.stderr
    assert list((store / "objects" / "index").iterdir()) == []
    done = ask(store, "--format", "json", "-k", 1000)
    assert done.stderr.startswith("building the index of 149 codes")
    assert "1,000 were asked for, and skin/clinical/made@" in done.stderr
    assert len(rows_of(done)) == 148

    (file,) = (store / "objects" / "index").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    damaged = ask(store)
    assert (damaged.returncode, damaged.stderr.count("\n")) == (4, 1)
    assert damaged.stderr.startswith(f"error: objects/index/{file.name} is damaged")
    assert guidestore("fsck", "--drop-damaged", "--store", store).returncode == 4
    assert ask(store).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "case", "code_set", "code", "sentence"),
    [
        (["-k", "0"], CASES[0], SET, 2, "0 neighbours were asked for; ask for 1 or more"),
        ([], "lesion-0000", SET, 3, "did you mean lesion-000?"),
        ([], CASES[0], "skin/clinical/mad", 3, "no code set 'skin/clinical/mad' at snapshot"),
        ([], CASES[7], "skin/clinical/holes", 2, "the code of case lesion-007 in skin/clinical/holes@"),
        (["--target", "DIAGNOSIS"], CASES[0], SET, 3, "has no target 'DIAGNOSIS'; it has DIAG, rank"),
        (["--image", "x"], CASES[0], SET, 3, "case lesion-000 has no image x in"),
        (["--at", "0"], CASES[0], SET, 3, "there are none yet"),
        ([], "../x", SET, 2, "cannot be a case id"),
    ],
)
def test_what_has_no_answer_is_said_in_one_sentence(shared, arguments, case, code_set, code, sentence) -> None:
    done = ask(shared, *arguments, case=case, code_set=code_set)
    assert done.returncode == code
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert sentence in done.stderr


def test_codes_with_nan_are_left_out_and_counted(shared: Path) -> None:
    done = ask(shared, "-k", "200", "--format", "json", code_set="skin/clinical/holes")
    assert "lesion-007" not in {row["case_id"] for row in rows_of(done)}
    assert "1 code with NaN or infinity left out" in done.stderr
