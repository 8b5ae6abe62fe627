"""Real paired views of 2,000 handwritten digits: mor is the inferior modality, fou the superior one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.types import PairedCodes
from tests.heads.training import train_one

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("GUIDESTORE_TEST_DATA", ROOT / "../shared/data")) / "mfeat"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data at {DATA}; set GUIDESTORE_TEST_DATA")


def view(name: str) -> np.ndarray:
    with (DATA / f"{name}.csv").open() as file:
        columns = range(1, len(file.readline().split(",")))
        return np.loadtxt(file, delimiter=",", usecols=columns, dtype=np.float32, ndmin=2)


@pytest.fixture(scope="module")
def digits() -> PairedCodes:
    """1,280 train, 320 val and 400 test cases, each part with every class equally often."""
    labels = view("labels")[:, 0].astype(np.int64)
    place = np.zeros(2000, dtype=int)
    for c in range(10):
        place[labels == c] = np.random.default_rng(c).permutation(200)
    yes = np.ones(2000, dtype=bool)
    return PairedCodes(
        cohort="mfeat", split="drawn", fold=0, target="digit", classes=tuple("0123456789"),
        case_ids=tuple(f"digit-{i:04}" for i in range(2000)), inferior_nd=view("mor"), superior_nd=view("fou"),
        has_inferior=yes, has_superior=yes, labels=labels,
        parts=np.where(place < 128, "train", np.where(place < 160, "val", "test")),
    )  # fmt: skip


def test_published_accuracies_of_the_views(digits):
    heads = train_one(
        digits, guidance="ridge", decoder="logistic", mode="matched", seed=0, permutations=0, rows=("I", "S", "S+I")
    )
    accuracy = {head.row: head.metrics["test"]["balanced_accuracy"] for head in heads}
    assert accuracy["I"] == pytest.approx(0.740, abs=0.05)
    assert accuracy["S"] == pytest.approx(0.815, abs=0.05)
    assert accuracy["S+I"] == pytest.approx(0.871, abs=0.05)


def test_guidance_says_nothing_beyond_its_control_where_all_pairs_are_labelled(digits):
    """The design's own finding: all pairs labelled, a G that reconstructs z_S gains what its shuffled twin gains."""
    heads = train_one(digits, guidance="ridge", decoder="logistic", mode="matched", seed=0, permutations=2)
    accuracy = {(head.row, head.permutation): head.metrics["test"]["balanced_accuracy"] for head in heads}
    shuffled = np.mean([accuracy["G(I)+I", p] for p in (0, 1)])
    assert abs(accuracy["G(I)+I", -1] - shuffled) < 0.03
    assert accuracy["G(I)", -1] > 0.35
    assert max(accuracy["G(I)", p] for p in (0, 1)) < 0.3


def test_the_mlp_is_as_good_as_logistic_regression(digits):
    rows = {"guidance": "ridge", "mode": "matched", "seed": 0, "permutations": 0, "rows": ("S",)}
    mlp, logistic = (
        train_one(digits, decoder=name, decoder_params=params, **rows)[0].metrics["test"]["balanced_accuracy"]
        for name, params in (("mlp", {"epochs": 60}), ("logistic", {}))
    )
    assert mlp > logistic - 0.02
