"""`guide --advise` on a store: it trains nothing, and the command that it names is one that runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.guiding.advise import MODELS, advise
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.heads.advice.advise import CANDIDATES
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from tests.commandline import guidestore
from tests.heads.test_references import weak

ASKED = ("guide", "toy", "--inferior", "photo/made", "--superior", "scan/made", "--target", "y")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulation whose z_S knows the odds of y."""
    folder, paired = tmp_path_factory.mktemp("advised"), weak(0)
    root = folder / "store"
    store = EmbeddingStore.create(root)
    labels, splits = folder / "labels.csv", folder / "splits.csv"
    rows = list(zip(paired.case_ids, paired.labels, paired.parts, strict=True))
    for modality, codes_nd in (("photo", paired.inferior_nd), ("scan", paired.superior_nd)):
        file = folder / f"{modality}.npz"
        np.savez(file, case_id=np.array(paired.case_ids), codes=codes_nd)
        import_codes(store, file, cohort="toy", modality=modality, encoder="made")
    labels.write_text("\n".join(["case_id,y", *(f"{case},{paired.classes[y]}" for case, y, _ in rows)]))
    splits.write_text("\n".join(["case_id,split,fold,part", *(f"{case},drawn,0,{part}" for case, _, part in rows)]))
    add_layout(store, "toy", Manifest(labels=labels, splits=splits))
    return root


def test_it_says_what_to_expect_and_trains_nothing(root: Path) -> None:
    done = guidestore(*ASKED, "--advise", "--store", root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("y: Train has 100 labelled cases")
    (row,) = json.loads(guidestore(*ASKED, "--advise", "--store", root, "--format", "json").stdout)
    assert (row["folds"], row["n_labelled"], row["n_pairs"], row["n_unlabelled_pairs"]) == (1, 100, 100, 0)
    assert row["n_test"] == 135
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    assert row["advice"] in done.stdout
    assert row["command"] in done.stdout
    assert row["command"].startswith("guidestore guide toy --inferior photo/made --superior scan/made --target y")
    assert not EmbeddingStore.open(root).snapshot().rows("runs", cohort="toy").num_rows


def test_a_budget_hides_labels_and_its_command_is_a_sweep(root: Path, tmp_path: Path) -> None:
    settings = GuideSettings(cohort="toy", inferior="photo/made", superior="scan/made", targets=("y",))
    (row,) = advise(EmbeddingStore.open(root).snapshot(), settings, labelled=30)
    assert (row["n_labelled"], row["n_pairs"], row["n_unlabelled_pairs"]) == (30, 100, 70)
    assert row["row"]
    written, _, _ = row["command"].partition(" && ")
    subprocess.run(["sh", "-c", written], cwd=tmp_path, check=True)
    done = guidestore("sweep", "plan", tmp_path / "advised.yaml", "--store", root)
    assert done.returncode == 0, done.stderr
    refused = guidestore(*ASKED, "--advise", "--labelled", "99", "--store", root)
    assert refused.returncode != 0
    assert "99 labels are asked for, but inner cross-validation leaves 80" in refused.stderr
    alone = guidestore(*ASKED, "--labelled", "9", "--store", root)
    assert alone.returncode != 0
    assert "--labelled is a question to --advise" in alone.stderr


def test_every_row_that_may_be_advised_has_a_command() -> None:
    assert set(MODELS) == set(CANDIDATES)


def test_the_same_codes_are_said_first(root: Path) -> None:
    flags = ("--inferior", "photo/made", "--superior", "photo/made", "--target", "y", "--advise")
    done = guidestore("guide", "toy", *flags, "--store", root)
    assert done.returncode == 0, done.stderr
    assert "photo/made stands on both sides" in done.stderr
    assert "Expect no guidance to help since z_S is z_I again" in done.stdout
