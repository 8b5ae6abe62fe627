"""Derm7pt's layout from photographs to predictions, on its phantom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.predict import predict
from tests.commandline import guidestore


def test_clinical_photographs_guided_by_dermoscopy(tmp_path: Path) -> None:
    root, images = tmp_path / "store", tmp_path / "release_v0"
    made = guidestore(
        *("cohort", "add", "derm7pt-phantom", "phantom", "--images", images, "--cases", 90, "--seed", 1),
        *("--store", root),
    )
    assert made.returncode == 0, made.stderr
    assert "1 case left out, whose two photographs are one file: PHANTOM_0009" in made.stderr
    cases = EmbeddingStore.open(root).snapshot().rows("cases").num_rows
    for modality in ("clinical", "dermoscopy"):
        settings = EncodeSettings(cohort="phantom", modality=modality, encoder="colour_texture")
        report = encode(EmbeddingStore.open(root), settings)
        assert (report.encoded, report.images_read, report.failed) == (cases, cases, {})
        assert encode(EmbeddingStore.open(root), settings).images_read == 0
    report = guide(
        EmbeddingStore.open(root),
        GuideSettings(
            cohort="phantom",
            inferior="clinical/colour_texture",
            superior="dermoscopy/colour_texture",
            targets=("BWV",),
            guidance="ridge",
            decoder="logistic",
            permutations=1,
        ),
    )
    snapshot = EmbeddingStore.open(root).snapshot()
    rows = {row["run"]: (row["row"], row["control"]) for row in snapshot.rows("runs").to_pylist()}
    accuracy = {
        rows[row["run"]]: row["value"]
        for row in snapshot.rows("metrics").to_pylist()
        if (row["part"], row["metric"]) == ("test", "balanced_accuracy")
    }
    assert accuracy["S", ""] > 0.75 > accuracy["G(I)", "shuffled"]
    run = next(run for run in report.runs if rows[run] == ("G(I)+I", ""))
    image = next(row for row in snapshot.rows("images").to_pylist() if row["modality"] == "clinical")
    from_pixels = predict(EmbeddingStore.open(root), run, files=[Path(image["path"])])
    stored = predict(EmbeddingStore.open(root), run, cases=[image["case_id"]])
    assert np.array_equal(from_pixels.probabilities_nk, stored.probabilities_nk)
    assert from_pixels.probabilities_nk.sum() == pytest.approx(1)
