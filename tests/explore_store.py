"""A store for the page: the report's cohort of codes and heads, and cohorts of images, one of them pseudonymized."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CodeSetKey, EncoderSpec
from guidestore.flows.explore.run import prepared
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from guidestore.warehouse.cohorts.layouts.phantom import GRIDS, draw_mri, draw_slide, write_slide
from guidestore.warehouse.indexer import build_index
from tests.report_store import write

CASES = ("P_1", "P_2", "P_3")
EVIL = "<img src=x onerror=\"document.title='owned'\"> & 'quotes'"
TILE = 128
CORNERS = np.array([[128 * x, 128 * y] for y in range(2, 6) for x in range(2, 6)], np.int32)
ATTENTION = np.random.default_rng(1).dirichlet(np.ones(16)).astype(np.float32)
SLIDE_PX = 1024


def make_images(folder: Path) -> None:
    """A volume whose first axis runs to the left, a pyramidal slide and a photograph of each case."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for case in CASES:
        hidden = rng.normal(size=3)
        grid = GRIDS["t2"]
        nib.Nifti1Image(draw_mri(hidden, rng)["t2"], grid.affine).to_filename(folder / f"{case}.nii.gz")
        slide_hwc = draw_slide(hidden, rng, SLIDE_PX)
        write_slide(folder / f"{case}.tiff", slide_hwc)
        Image.fromarray(slide_hwc[200:600, 300:600]).save(folder / f"{case}.png")


def make_store(report_store: Path, folder: Path) -> Path:
    """A copy of the report's store with cohorts `scans` and `secret` beside `skin`."""
    store = folder / "store"
    shutil.copytree(report_store, store)
    make_images(folder / "images")
    rows = [
        [case, modality, folder / "images" / f"{case}{suffix}"]
        for case in CASES
        for modality, suffix in (("mri_t2", ".nii.gz"), ("histology", ".tiff"), ("clinical", ".png"))
    ]
    images = write(folder / "images.csv", ["case_id", "modality", "path"], rows)
    labels = write(folder / "grades.csv", ["case_id", "grade"], zip(CASES, "GOG", strict=True))
    opened = EmbeddingStore.open(store)
    add_layout(opened, "scans", Manifest(images=images, labels=labels))
    add_layout(opened, "secret", Manifest(images=images, labels=labels, pseudonymize=folder / "key"))
    key = CodeSetKey.of("scans", "histology", EncoderSpec("patches", "1", "tiles", 4))
    network = CodeSetKey.of("scans", "histology", EncoderSpec("clam", "1", "bags", 4))
    with opened.begin("bags") as transaction:
        bag = Bag(np.ones((16, 4), np.float32), CORNERS, tile_size_px=TILE, tile_size_level0_px=TILE, mpp=0.5)
        artifact = transaction.write_bag(key, "P_1", "P_1", bag, input_digests=["0" * 64])
        of_image = {"cohort": "scans", "case_id": "P_1", "image_id": "P_1", "modality": "histology"}
        looked = {"encoder": "clam", "encoder_digest": network.encoder_digest, "bag": artifact, "branch": 0}
        transaction.write_rows("attention", [of_image | looked | {"attention": ATTENTION.tolist()}], cohort="scans")
        refused = {"cohort": "scans", "case_id": "P_3", "image_id": "P_3", "modality": "histology", "reason": EVIL}
        encoder = {"encoder": "patches", "encoder_digest": key.encoder_digest, "at": "2026-01-01T00:00:00+00:00"}
        transaction.write_rows("quarantine", [refused | encoder], cohort="scans")
    build_index(opened)
    return store


@contextmanager
def served(store: Path, **asked) -> Iterator[str]:
    """The address of the page over a store, served by a thread of this process."""
    server, listener, url = prepared(str(store), **asked)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(20)
