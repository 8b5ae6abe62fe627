"""A small store of made codes with runs of two targets, for the tests of the report: no image, no network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.manifest import Manifest
from tests.commandline import guidestore

CASES = 90
CLASSES = {
    "DIAG": ("_melanoma $x$", "nevus <b>bold</b>", "other & </script><svg onload=alert(1)>"),
    "PIG": ("absent", "present"),
}
"""Sorted, as a cohort has them. Names that would break a page or a figure which took them for its own language."""
GUIDE = ("--inferior", "clinical/made", "--superior", "dermoscopy/made", "--guidance", "ridge", "--decoder", "logistic")


def make_store(folder: Path, *, targets: tuple[str, ...] = tuple(CLASSES)) -> Path:
    """A store in which z_S tells the classes and z_I half of that, with runs of two seeds and two permutations."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(CASES, 3))
    z_s = hidden @ rng.normal(size=(3, 7)) + 0.2 * rng.normal(size=(CASES, 7))
    z_s[:, 6] = 1.0  # a dimension that never varies, as dead units do
    z_i = hidden[:, :2] @ rng.normal(size=(2, 5)) + 0.8 * rng.normal(size=(CASES, 5))
    ids = [f"lesion-{case:03d}" for case in range(CASES)]
    store = folder / "store"
    for modality, codes_nd in (("clinical", z_i), ("dermoscopy", z_s)):
        header = ["case_id", *(f"c{d}" for d in range(codes_nd.shape[1]))]
        rows = [[case, *code] for case, code in zip(ids, codes_nd.tolist(), strict=True)]
        import_codes(
            EmbeddingStore.create(store),
            write(folder / "codes.csv", header, rows),
            cohort="skin",
            modality=modality,
            encoder="made",
        )
    labels = {
        target: [names[c] for c in np.digitize(hidden[:, 0] + 0.3 * hidden[:, 2], np.linspace(-0.5, 0.5, k - 1))]
        for target, names in CLASSES.items()
        for k in (len(names),)
    }
    parts = [("train", "train", "test", "test", "val")[case % 5] for case in range(CASES)]
    add_layout(
        EmbeddingStore.open(store),
        "skin",
        Manifest(
            labels=write(folder / "labels.csv", ["case_id", *labels], zip(ids, *labels.values(), strict=True)),
            splits=write(
                folder / "splits.csv",
                ["case_id", "split", "fold", "part"],
                ([case, "official", 0, part] for case, part in zip(ids, parts, strict=True)),
            ),
        ),
    )
    for target in targets:
        done = guidestore(
            *("guide", "skin", *GUIDE, "--target", target, "--permutations", 2, "--store", store),
            *("--seed", 0, "--seed", 1),
        )
        assert done.returncode == 0, done.stderr
    return store


def write(file: Path, header: list[str], rows) -> Path:
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows(rows)
    return file
