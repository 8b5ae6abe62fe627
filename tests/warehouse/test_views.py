"""Every view and macro gives what was committed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from guidestore.warehouse import tables
from guidestore.warehouse.catalog import query
from guidestore.warehouse.indexer import build_index
from tests.warehouse.making import (
    CASES,
    COHORT,
    MRI,
    SLIDES,
    TILES,
    codes_of,
    commit_codes,
    commit_cohort,
    image_digest,
)


def rows(root: Path, sql: str, at: int | str | None = None) -> list[dict[str, Any]]:
    return query(root, sql, at).table.to_pylist()


def one(root: Path, sql: str, at: int | str | None = None) -> dict[str, Any]:
    (row,) = rows(root, sql, at)
    return row


def test_every_view_has_rows(indexed_root: Path):
    views = [row["name"] for row in rows(indexed_root, "SHOW TABLES")]
    assert {
        *("cohorts", "cases", "targets", "labels", "splits", "images", "encoders", "code_sets", "bags", "codes"),
        *("codes_8", "codes_6", "runs", "metrics", "predictions", "snapshots", "aliases", "tags", "lineage", "weights"),
        *("quarantine", "attention", "looks", "sweeps", "maps"),
    } == set(views)
    counts = {view: one(indexed_root, f"SELECT count(*) AS n FROM {view}")["n"] for view in views}
    assert min(counts.values()) > 0, counts
    assert (counts["codes"], counts["codes_8"], counts["labels"], counts["metrics"]) == (24, 12, 12, 12)


def test_cohorts_and_cases(indexed_root: Path):
    cohort = one(indexed_root, "FROM cohorts")
    assert (cohort["cohort"], cohort["cases"], cohort["images"], cohort["layout"]) == ("phantom", 12, 12, "manifest")
    first = one(indexed_root, f"FROM cases WHERE case_id = '{CASES[0]}'")
    assert first["modalities"] == ["mri_all"]
    assert first["coded"] == ["histology", "mri_all"]
    assert (first["images"], first["codes"], first["bags"], first["labels"]) == (1, 2, 1, 1)
    assert len(rows(indexed_root, "FROM cases WHERE bags = 0")) == 11


def test_labels_targets_splits_images(indexed_root: Path):
    assert rows(indexed_root, "SELECT class FROM targets ORDER BY class_index") == [{"class": "G"}, {"class": "A"}]
    assert one(indexed_root, "SELECT count(*) AS n FROM labels WHERE class = 'G'")["n"] == 6
    assert one(indexed_root, "SELECT count(*) AS n FROM splits WHERE part = 'test' AND fold = 0")["n"] == 4
    assert one(indexed_root, f"FROM images WHERE case_id = '{CASES[3]}'")["sha256"] == image_digest(CASES[3])


def test_code_sets_and_bags(indexed_root: Path):
    sets = {row["name"]: row for row in rows(indexed_root, "FROM code_sets")}
    assert set(sets) == {str(MRI), str(SLIDES), str(TILES)}
    assert (sets[str(MRI)]["d"], sets[str(MRI)]["cases"], sets[str(MRI)]["kind"]) == (8, 12, "codes")
    assert (sets[str(TILES)]["d"], sets[str(TILES)]["cases"], sets[str(TILES)]["dtype"]) == (4, 1, "float16")
    bag = one(indexed_root, "FROM bags")
    assert (bag["code_set"], bag["case_id"], bag["tiles"], bag["d"]) == (str(TILES), CASES[0], 7, 4)


def test_codes_are_those_committed(indexed_root: Path):
    table = query(indexed_root, f"FROM codes_8 WHERE code_set = '{MRI}' ORDER BY case_id").table
    committed = codes_of(MRI, 0).codes_nd
    assert np.array_equal(np.array(table["code"].to_pylist(), dtype=np.float32), committed)
    units = np.array(table["unit"].to_pylist())
    assert np.allclose(units, committed / np.linalg.norm(committed, axis=1, keepdims=True), atol=1e-6)
    both = rows(indexed_root, "SELECT code_set, any_value(len(code)) AS d FROM codes GROUP BY code_set ORDER BY d")
    assert both == [{"code_set": str(SLIDES), "d": 6}, {"code_set": str(MRI), "d": 8}]


def test_units_of_zeros_nan_and_extremes(store: EmbeddingStore, root: Path):
    codes_nd = np.zeros((5, 8), dtype=np.float32)
    codes_nd[1, 0], codes_nd[2, 0], codes_nd[3], codes_nd[4, 1] = np.nan, np.inf, 3e38, 1e-42
    commit_codes(store, CaseCodes(CASES[:5], codes_nd, key=MRI))
    build_index(store)
    units = [row["unit"] for row in rows(root, "SELECT unit FROM codes_8 ORDER BY case_id")]
    assert units[0] == [0.0] * 8
    assert units[1] is None
    assert units[2] is None
    assert np.allclose(units[3], 8**-0.5)
    assert units[4] == [0, 1, 0, 0, 0, 0, 0, 0]


def test_runs_metrics_predictions(indexed_root: Path):
    found = rows(indexed_root, "FROM metrics WHERE metric = 'balanced_accuracy' AND part = 'test' ORDER BY value")
    assert [(row["run"], row["value"], row["row"], row["seed"]) for row in found] == [
        ("run_b", 0.5, "I", 1),
        ("run_c", 0.7, "G(I)+I", 2),
        ("run_a", 0.8, "G(I)+I", 0),
    ]
    prediction = one(indexed_root, "FROM predictions")
    assert (prediction["case_id"], prediction["probabilities"], prediction["guidance"]) == (
        CASES[-1],
        [0.25, 0.75],
        "ridge",
    )


def test_snapshots_names_lineage_weights_quarantine(indexed_root: Path):
    commits = rows(indexed_root, "SELECT version, message, artifacts FROM snapshots ORDER BY version")
    assert [row["version"] for row in commits] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (commits[0]["message"], commits[1]["artifacts"], commits[7]["artifacts"]) == ("the cohort", 12, 0)
    tag = one(indexed_root, "FROM tags")
    created_at = one(indexed_root, "SELECT created_at FROM snapshots WHERE version = 7")["created_at"]
    assert tag == {"name": "baseline", "snapshot": 2, "created_at": created_at}
    assert one(indexed_root, "FROM aliases") == {"name": "champion", "snapshot": 7, "run": "run_a"}
    edge = one(indexed_root, f"FROM lineage WHERE kind = 'bag' AND case_id = '{CASES[0]}'")
    assert (edge["input"], edge["input_kind"]) == (image_digest(CASES[0]), "image")
    weights = one(indexed_root, "FROM weights")
    assert (weights["role"], weights["name"], weights["split"], weights["fold"]) == ("guidance", "ridge", "s", 0)
    assert (indexed_root / "objects" / "weights" / f"{weights['sha256']}.safetensors").exists()
    assert one(indexed_root, "FROM quarantine")["reason"] == "no tissue"
    assert one(indexed_root, "FROM encoders")["encoder_digest"] == TILES.encoder_digest
    assert one(indexed_root, "SELECT case_id, attention FROM attention") == {
        "case_id": CASES[0],
        "attention": [0.25, 0.75],
    }


def test_an_image_that_could_be_read_in_the_end_is_out_of_quarantine(store: EmbeddingStore, root: Path):
    commit_codes(store, codes_of(MRI, 0))
    quarantined = {"cohort": COHORT, "case_id": CASES[0], "image_id": CASES[0], "reason": "truncated"}
    for digest in (MRI.encoder_digest, "another"):
        with store.begin() as transaction:
            transaction.write_rows("quarantine", [{**quarantined, "encoder_digest": digest}], cohort=COHORT)
    build_index(store)
    left = rows(root, f"FROM quarantine WHERE case_id = '{CASES[0]}'")
    assert [row["encoder_digest"] for row in left] == ["another"]


@pytest.mark.parametrize(("key", "seed"), [(MRI, 0), (SLIDES, 1)])
def test_neighbours_are_those_of_numpy(indexed_root: Path, key, seed: int):
    codes_nd = codes_of(key, seed).codes_nd
    units_nd = codes_nd / np.linalg.norm(codes_nd, axis=1, keepdims=True)
    similarity = units_nd @ units_nd[4]
    expected = [row for row in np.argsort(-similarity) if row != 4][:3]
    prefix = f"{key.cohort}/{key.modality}/{key.encoder}"
    found = rows(indexed_root, f"FROM neighbours('{CASES[4]}', '{prefix}', k := 3)")
    assert [row["case_id"] for row in found] == [CASES[row] for row in expected]
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert np.allclose([row["similarity"] for row in found], similarity[expected], atol=1e-6)
    assert [row["labels"] for row in found] == [f"grade={'GA'[row % 2]}" for row in expected]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("neighbours('case_04', 'phantom/')", "beginning of several code sets"),
        ("neighbours('case_04', 'nothing')", "no set of case codes begins with nothing"),
        ("neighbours('nobody', 'phantom/mri')", "case nobody has no code in phantom/mri"),
    ],
)
def test_neighbours_says_what_is_wrong(indexed_root: Path, call: str, sentence: str):
    with pytest.raises(InvalidInputError, match=sentence):
        query(indexed_root, f"FROM {call}")


def test_neighbours_skip_codes_that_are_not_finite(store: EmbeddingStore, root: Path):
    codes = codes_of(MRI, 0)
    codes.codes_nd[3, 2] = np.nan
    commit_codes(store, codes)
    build_index(store)
    assert CASES[3] not in [row["case_id"] for row in rows(root, f"FROM neighbours('{CASES[0]}', '{MRI}', k := 50)")]
    with pytest.raises(InvalidInputError, match=f"the code of case {CASES[3]} .* is not finite"):
        query(root, f"FROM neighbours('{CASES[3]}', '{MRI}')")


def test_best_runs_look_at_val_only(indexed_root: Path):
    found = rows(indexed_root, "FROM best_runs('grade')")
    assert [(row["rank"], row["run"], row["val_score"]) for row in found] == [
        (1, "run_b", 0.7),
        (2, "run_a", 0.6),
        (3, "run_c", 0.5),
    ]
    assert rows(indexed_root, "FROM best_runs('nothing')") == []


def test_paper_table(indexed_root: Path):
    found = rows(indexed_root, "FROM paper_table()")
    assert [(row["row"], row["runs"], row["inferior"]) for row in found] == [
        ("I", 1, "phantom/mri_all/densenet3d"),
        ("G(I)+I", 2, "phantom/mri_all/densenet3d"),
    ]
    assert np.allclose([found[1]["mean"], found[1]["sd"]], [0.75, 0.1 / 2**0.5])
    assert found[0]["sd"] is None


def test_a_store_without_codes_has_all_views(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    build_index(store)
    assert rows(root, "FROM codes") == []
    assert len(rows(root, "FROM cases")) == 12


def examples() -> list[str]:
    """The queries in the comments of the SQL files: what is indented there, and what stands in backquotes."""
    queries = []
    for file in sorted((Path(tables.__file__).parent / "sql").glob("*.sql")):
        comments = [line.removeprefix("--") for line in file.read_text().splitlines() if line.startswith("--")]
        queries += [line.strip() for line in comments if line.startswith("   ")]
        queries += [quoted for line in comments for quoted in re.findall("`(FROM .*?|WHERE .*?)`", line)]
    return queries


def test_the_examples_are_found():
    assert len(examples()) >= 6
    assert sum("paper_table" in query for query in examples()) == 2


@pytest.mark.parametrize("example", examples())
def test_an_example_of_the_sql_files_gives_rows(indexed_root: Path, example: str):
    for written, here in (("case_007", CASES[7]), ("phantom/mri_all/densenet3d", str(MRI.name.stem))):
        example = example.replace(written, here)
    assert rows(indexed_root, f"FROM cases {example}" if example.startswith("WHERE") else example)
