"""Materializing: resume, quarantine, fold scope, and the reading of images."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from guidestore.embeddings.errors import AmbiguousNameError, FoldLeakageError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.fsck import drop_damaged, fsck
from guidestore.embeddings.pairing import pair, parts_of
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import FoldScope
from guidestore.encoders.checkpoints import load_checkpoint
from guidestore.encoders.kinds.bags import BagSource
from guidestore.flows.encoding.cohorts import add_split
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.predict import predict
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.flows.conftest import CASES, SLIDES, Phantom


def test_every_case_has_its_codes_and_the_store_is_clean(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    by_encoder = {key.encoder: key for key in snapshot.code_sets}
    assert set(by_encoder) == {"texture", "attention_pooling", "densenet3d"}
    for key in by_encoder.values():
        assert len({entry.case_id for entry in snapshot.code_set_entries(key)}) == CASES
    assert by_encoder["texture"].trained_on.kind == "none"
    assert by_encoder["densenet3d"].trained_on == FoldScope.of("phantom", "cv2", 0)
    assert fsck(LocalStorage(encoded.store)).findings == ()


def test_a_second_run_reads_no_image_and_commits_nothing(phantom: Phantom) -> None:
    before = phantom.opened.snapshot().version
    reports = [
        encode(phantom.opened, EncodeSettings(cohort="phantom", **SLIDES)),
        encode(
            phantom.opened,
            phantom.encode_settings(modality="histology", encoder="attention_pooling"),
        ),
        encode(phantom.opened, phantom.encode_settings(modality="mri_all", encoder="densenet3d")),
    ]
    assert [(r.encoded, r.existing, r.images_read, r.trained) for r in reports] == [(0, CASES, 0, 0)] * 3
    assert phantom.opened.snapshot().version == before


def test_other_tiling_is_another_code_set(phantom: Phantom) -> None:
    report = encode(phantom.opened, EncodeSettings(cohort="phantom", **{**SLIDES, "mpp": 2.0}))
    assert report.encoded == CASES
    keys = [k for k in phantom.opened.snapshot().code_sets if k.encoder == "texture"]
    assert len({key.encoder_digest for key in keys}) == 2


def test_fold_trained_codes_do_not_feed_another_fold(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    with pytest.raises(FoldLeakageError, match="phantom/cv2/0"):
        pair(
            snapshot,
            cohort="phantom",
            target="class",
            inferior="mri_all/densenet3d",
            superior="histology/attention_pooling",
            split="cv2",
            fold=1,
        )


def test_the_encoder_saw_train_and_val_alone(encoded: Phantom) -> None:
    snapshot = encoded.opened.snapshot()
    parts = parts_of(snapshot, "phantom", "cv2", 0)
    for entry in snapshot.entries(kind="weights", encoder="densenet3d"):
        rows = entry.meta["recipe"]["rows"]
        assert {case for part in rows for case in rows[part]} == {c for c, part in parts.items() if part != "test"}


def test_unreadable_cases_go_into_quarantine_and_are_tried_again(encoded: Phantom, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(encoded.images, images)
    store = EmbeddingStore.create(tmp_path / "store")
    bad = images / "Pathology" / "PHANTOM_0002.tiff"
    good_bytes = bad.read_bytes()
    bad.write_bytes(good_bytes[:2000])
    add_layout(store, "phantom", Radpath(source=images, splits=0))
    settings = EncodeSettings(cohort="phantom", **{**SLIDES, "mpp": 4.0})
    report = encode(EmbeddingStore.open(tmp_path / "store"), settings)
    assert set(report.failed) == {"PHANTOM_0002"}
    assert report.encoded == CASES - 1
    quarantine = store.snapshot().rows("quarantine").to_pylist()
    assert [row["case_id"] for row in quarantine] == ["PHANTOM_0002"]
    assert str(bad) in quarantine[0]["reason"]
    again = encode(EmbeddingStore.open(tmp_path / "store"), settings)
    assert (again.encoded, again.existing, set(again.failed)) == (0, CASES - 1, {"PHANTOM_0002"})
    assert store.snapshot().rows("quarantine").num_rows == 1


def test_an_image_changed_since_the_cohort_was_added_is_refused(encoded: Phantom, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(encoded.images, images)
    store = EmbeddingStore.create(tmp_path / "store")
    add_layout(store, "phantom", Radpath(source=images, splits=0))
    slide = images / "Pathology" / "PHANTOM_0001.tiff"
    slide.write_bytes(slide.read_bytes() + b"x")
    report = encode(store, EncodeSettings(cohort="phantom", **{**SLIDES, "mpp": 4.0}))
    assert "changed since cohort add" in report.failed["PHANTOM_0001"]


def test_unknown_names_say_what_there_is(encoded: Phantom) -> None:
    with pytest.raises(NotFoundInStoreError, match="histology"):
        encode(encoded.opened, EncodeSettings(cohort="phantom", modality="ct", encoder="texture"))
    with pytest.raises(InvalidInputError, match=r"device 'tpu:9' cannot be used here .*; give --device cpu"):
        encode(
            encoded.opened,
            EncodeSettings(cohort="phantom", modality="histology", encoder="texture", device="tpu:9"),
        )
    with pytest.raises(InvalidInputError, match="did you mean texture"):
        encode(encoded.opened, EncodeSettings(cohort="phantom", modality="histology", encoder="textur"))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_in_the_middle_and_run_again_gives_the_same_codes(encoded: Phantom, tmp_path: Path, seed: int) -> None:
    """kill -9 after some bags: the rest follow, and every bag equals that of the uninterrupted run bit for bit."""
    store = EmbeddingStore.create(tmp_path / "store")
    add_layout(store, "phantom", Radpath(source=encoded.images, splits=0))
    code = (
        "from guidestore.embeddings.store import EmbeddingStore\n"
        "from guidestore.flows.encoding.encode import encode\n"
        "from guidestore.flows.encoding.settings import EncodeSettings\n"
        f"store = EmbeddingStore.open({str(tmp_path / 'store')!r})\n"
        f"encode(store, EncodeSettings(cohort='phantom', **{SLIDES!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    wanted = store.snapshot().version + 2 + 3 * seed
    while store.log.refresh() < wanted and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = store.snapshot()
    bags = len(done.entries(kind="bag"))
    assert 0 < bags < CASES
    report = encode(EmbeddingStore.open(tmp_path / "store"), EncodeSettings(cohort="phantom", **SLIDES))
    assert (report.encoded, report.existing) == (CASES - bags, bags)
    snapshot, reference = store.snapshot(), encoded.opened.snapshot()
    (key,) = snapshot.code_sets
    for entry in snapshot.code_set_entries(key):
        (bag,), (expected,) = snapshot.bags(key, entry.case_id), reference.bags(key, entry.case_id)
        assert bag.features_nd.tobytes() == expected.features_nd.tobytes()
        assert np.array_equal(np.asarray(bag.coords_n2), np.asarray(expected.coords_n2))
    assert fsck(LocalStorage(tmp_path / "store")).clean


def test_killed_while_training_and_run_again_gives_the_same_weights_and_codes(encoded: Phantom, tmp_path: Path) -> None:
    """kill -9 after some epochs: training goes on from its checkpoint, to the weights of the uninterrupted run."""
    store = EmbeddingStore.create(tmp_path / "store")
    add_layout(store, "phantom", Radpath(source=encoded.images, splits=0))
    add_split(store, "phantom", "class", name="cv2", folds=2, seed=0, val_fraction=0.34)
    settings = Phantom(tmp_path / "store", encoded.images, ()).encode_settings(modality="mri_all", encoder="densenet3d")
    code = (
        "import os, pytest\n"
        "from guidestore.embeddings.store import EmbeddingStore\n"
        "from guidestore.flows.encoding.encode import encode\n"
        "from guidestore.flows.encoding.settings import EncodeSettings\n"
        "from tests.flows.short_training import shorten\n"
        "def kill(what, done, _):\n"
        "    if 'training' in what and done == 5: os.kill(os.getpid(), 9)\n"
        "shorten(pytest.MonkeyPatch())\n"
        f"store = EmbeddingStore.open({str(tmp_path / 'store')!r})\n"
        f"encode(store, EncodeSettings.model_validate_json({settings.model_dump_json()!r}), kill)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL
    checkpoints = list((tmp_path / "store" / "staging").glob("scratch-*/checkpoint.pt"))
    assert not store.snapshot().entries(kind="weights")
    kept = load_checkpoint(checkpoints[0])
    assert kept is not None
    epochs = len(kept["history"])
    assert epochs >= 3
    seen_epochs: list[int] = []
    report = encode(store, settings, lambda what, done, _: seen_epochs.append(done) if "training" in what else None)
    assert min(seen_epochs) == epochs + 1
    assert (report.trained, report.encoded) == (1, CASES)
    assert not checkpoints[0].exists()
    (mine,), (theirs,) = (
        EmbeddingStore.open(root).snapshot().entries(kind="weights", encoder="densenet3d")
        for root in (tmp_path / "store", encoded.store)
    )
    assert mine.files[0].sha256 == theirs.files[0].sha256
    snapshot, reference = store.snapshot(), encoded.opened.snapshot()
    mine, theirs = (some.codes(some.code_set("phantom/mri_all/densenet3d")) for some in (snapshot, reference))
    assert mine.case_ids == theirs.case_ids
    assert mine.codes_nd.tobytes() == theirs.codes_nd.tobytes()


def test_other_weights_are_another_code_set_and_never_mix(encoded: Phantom, tmp_path: Path) -> None:
    """A timm model by name, with weights from a file, from slides to predictions."""
    files = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = timm.create_model("test_resnet", pretrained=False)
        files.append(tmp_path / f"weights-{seed}.pth")
        torch.save(network.state_dict(), files[-1])
    root = tmp_path / "store"
    store = EmbeddingStore.create(root)
    add_layout(store, "phantom", Radpath(source=encoded.images, splits=0))
    add_split(store, "phantom", "class", name="cv2", folds=2, seed=0, val_fraction=0.34)
    settings = {"cohort": "phantom", **SLIDES, "encoder": "test_resnet", "mpp": 4.0, "tile_px": 64}
    reports = [encode(store, EncodeSettings(**settings, weights=files[0]))]
    reports.append(encode(store, EncodeSettings(**settings, weights=files[1], pretrained_on="unknown")))
    assert [report.encoded for report in reports] == [CASES, CASES]
    assert encode(store, EncodeSettings(**settings, weights=files[0])).existing == CASES
    keys = [report.code_sets[0] for report in reports]
    assert len({key.encoder_digest for key in keys}) == 2
    pool = {"cohort": "phantom", "modality": "histology", "encoder": "mean_pooling", "split": "cv2", "folds": (0,)}
    with pytest.raises(AmbiguousNameError, match="matches several code sets"):
        encode(store, EncodeSettings(**pool, patch_encoder="test_resnet"))
    pooled = encode(store, EncodeSettings(**pool, patch_encoder=f"test_resnet@{keys[1].encoder_digest[:12]}"))
    assert pooled.encoded == CASES
    with pytest.raises(InvalidInputError, match="has no weights"):
        encode(store, EncodeSettings(**{**settings, "encoder": "texture"}, weights=files[0]))
    key = f"histology/mean_pooling@{pooled.code_sets[0].encoder_digest[:12]}"
    heads = {"guidance": "ridge", "decoder": "logistic", "permutations": 0}
    asked = GuideSettings(cohort="phantom", inferior=key, superior=key, split="cv2", folds=(0,), **heads)
    run = guide(store, asked).runs[2]
    slide = encoded.images / "Pathology" / "PHANTOM_0004.tiff"
    with pytest.raises(InvalidInputError, match="give that file with --weights"):
        predict(store, run, files=[slide], weights=files[0])
    from_pixels = predict(store, run, files=[slide], weights=files[1])
    stored = predict(store, run, cases=["PHANTOM_0004"])
    assert np.array_equal(from_pixels.probabilities_nk, stored.probabilities_nk)


def test_bags_beyond_the_memory_for_them_are_read_again(encoded: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = encoded.opened.snapshot()
    whole = BagSource(snapshot, "phantom", "histology", "texture")
    for item in whole.items:
        assert whole.load(item) is whole.load(item)
    monkeypatch.setattr("guidestore.encoders.kinds.bags.KEPT_BYTES", 3 * whole.load(whole.items[0]).features_nd.nbytes)
    bounded = BagSource(snapshot, "phantom", "histology", "texture")
    for item in whole.items:
        assert bounded.load(item).features_nd.tobytes() == whole.load(item).features_nd.tobytes()
    kept = sum(bounded.load(item) is bounded.load(item) for item in bounded.items)
    assert 0 < kept < CASES


def test_a_pseudonymized_cohort_leaves_no_patient_id_in_the_store(encoded: Phantom, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(encoded.images, images)
    (images / "Pathology" / "PHANTOM_0002.tiff").write_bytes(b"no slide")
    root, key = tmp_path / "store", tmp_path / "key"
    store = EmbeddingStore.create(root)
    add_layout(store, "phantom", Radpath(source=images, splits=0, pseudonymize=key))
    settings = {"cohort": "phantom", **SLIDES, "mpp": 4.0}
    with pytest.raises(InvalidInputError, match="--key"):
        encode(store, EncodeSettings(**settings))
    report = encode(store, EncodeSettings(**settings, key=key))
    assert report.encoded == CASES - 1
    (reason,) = report.failed.values()
    assert "PHANTOM" not in reason
    for file in root.rglob("*"):
        assert "PHANTOM" not in str(file.relative_to(root))
        assert not file.is_file() or b"PHANTOM_" not in file.read_bytes()
    rows = store.snapshot().rows("quarantine").to_pylist()
    assert "PHANTOM" not in json.dumps(rows)


def test_a_damaged_bag_can_be_dropped_and_encoded_again(phantom: Phantom) -> None:
    store = phantom.opened
    key = next(key for key in store.snapshot().code_sets if key.encoder == "texture")
    (whole,) = store.snapshot().bags(key, "PHANTOM_0003")
    entry = next(entry for entry in store.snapshot().code_set_entries(key) if entry.case_id == "PHANTOM_0003")
    chunk = phantom.store / next(file.path for file in entry.files if "features/c/" in file.path)
    damaged = bytearray(chunk.read_bytes())
    damaged[50] ^= 1
    chunk.write_bytes(damaged)
    report = fsck(LocalStorage(phantom.store))
    assert [(f.problem, f.case_id) for f in report.findings] == [("damaged", "PHANTOM_0003")]
    assert drop_damaged(store, report) == 1
    again = encode(phantom.opened, EncodeSettings(cohort="phantom", **SLIDES))
    assert (again.encoded, again.existing) == (1, CASES - 1)
    (mended,) = store.snapshot().bags(key, "PHANTOM_0003")
    assert mended.features_nd.tobytes() == whole.features_nd.tobytes()
