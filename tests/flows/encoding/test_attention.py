"""Attention: stored with the codes, over several slides of a case, as rows and as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guidestore.embeddings.errors import AmbiguousNameError, NotFoundInStoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.attention import attention_of, draw_attention
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from tests.flows.conftest import SLIDES, Phantom


@pytest.fixture(scope="module")
def two_slides(encoded: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 cases of two slides each, with CLAM-MB trained on one fold of them."""
    folder = tmp_path_factory.mktemp("two-slides")
    images, labels, splits = ["case_id,modality,path,image_id"], ["case_id,class"], ["case_id,split,fold,part"]
    parts = ("train", "train", "val", "train", "test", "train")
    for case in range(12):
        for slide in (1, 2):
            path = encoded.images / "Pathology" / f"PHANTOM_{2 * case + slide:04d}.tiff"
            images.append(f"case-{case},histology,{path},slide-{slide}")
        labels.append(f"case-{case},{'GOA'[case % 3]}")
        splits.append(f"case-{case},s,0,{parts[case % 6]}")
    for name, lines in (("images", images), ("labels", labels), ("splits", splits)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    store = EmbeddingStore.create(folder / "store")
    files = {"images": folder / "images.csv", "labels": folder / "labels.csv", "splits": folder / "splits.csv"}
    add_layout(store, "phantom", Manifest(**files, classes=("class=G,O,A",)))
    encode(store, EncodeSettings(cohort="phantom", **{**SLIDES, "mpp": 2.0}))
    encode(store, EncodeSettings(cohort="phantom", modality="histology", encoder="clam_mb"))
    return folder / "store"


def test_attention_is_stored_for_every_case_and_sums_to_one(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    key = snapshot.code_set("phantom/histology/attention_pooling")
    for case_id in snapshot.codes(key).case_ids[:5]:
        (one,) = attention_of(snapshot, "phantom", case_id, encoder="attention_pooling")
        (bag,) = snapshot.bags(snapshot.code_set("phantom/histology/texture"), case_id)
        assert one.attention_jn.shape == (1, len(bag))
        assert np.array_equal(one.coords_n2, bag.coords_n2)
        assert one.attention_jn.min() >= 0
        assert one.attention_jn.sum() == pytest.approx(1, abs=1e-4)
        assert one.branches == ("",)


def test_slides_of_a_case_share_one_attention_and_keep_their_image_id(two_slides: Path) -> None:
    maps = attention_of(EmbeddingStore.open(two_slides).snapshot(), "phantom", "case-3", encoder="clam_mb")
    assert [one.image_id for one in maps] == ["slide-1", "slide-2"]
    assert all(one.branches == ("G", "O", "A") for one in maps)
    total_j = sum(one.attention_jn.sum(axis=1) for one in maps)
    assert np.allclose(total_j, 1, atol=1e-4)
    assert all(0 < one.attention_jn[0].sum() < 1 for one in maps)
    snapshot = EmbeddingStore.open(two_slides).snapshot()
    for one, bag in zip(maps, snapshot.bags(snapshot.code_set("phantom/histology/texture"), "case-3"), strict=True):
        assert np.array_equal(one.coords_n2, bag.coords_n2)
    rows = maps[1].as_rows()
    assert len(rows) == 3 * len(maps[1].coords_n2)
    assert rows[0].keys() == {"image_id", "branch", "tile", "x", "y", "attention"}


def test_it_is_drawn_over_each_slide(two_slides: Path, tmp_path: Path) -> None:
    maps = attention_of(EmbeddingStore.open(two_slides).snapshot(), "phantom", "case-3", encoder="clam_mb")
    files = draw_attention(EmbeddingStore.open(two_slides).snapshot(), "phantom", maps, tmp_path / "maps")
    assert [file.name for file in files] == ["case-3_slide-1_attention.png", "case-3_slide-2_attention.png"]
    picture_hwc = np.asarray(Image.open(files[0]).convert("RGB"))
    assert picture_hwc.shape[1] > 3 * picture_hwc.shape[0] / 1.6  # four panels side by side
    assert len(np.unique(picture_hwc.reshape(-1, 3), axis=0)) > 1000


def test_what_there_is_no_attention_of_is_said(encoded: Phantom, two_slides: Path) -> None:
    with pytest.raises(NotFoundInStoreError, match="holds no attention of case NOBODY"):
        attention_of(encoded.opened.snapshot(), "phantom", "NOBODY", encoder="attention_pooling")
    with pytest.raises(NotFoundInStoreError, match="pools without attention"):
        attention_of(
            encoded.opened.snapshot(),
            "phantom",
            "PHANTOM_0001",
            encoder="densenet3d",
            modality="mri_all",
        )
    with pytest.raises(NotFoundInStoreError, match="no code set"):
        attention_of(encoded.opened.snapshot(), "phantom", "PHANTOM_0001")
    settings = EncodeSettings(cohort="phantom", modality="histology", encoder="clam_mb", seed=1)
    encode(EmbeddingStore.open(two_slides), settings)
    with pytest.raises(AmbiguousNameError, match="@"):
        attention_of(EmbeddingStore.open(two_slides).snapshot(), "phantom", "case-3", encoder="clam_mb")
