"""kill -9 in the middle of an encode, and again: what was missing is encoded, and the bags are those of one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.gpu.making import random_weights
from tests.gpu.report import Report, away

CHILD = """
import sys
from pathlib import Path
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
encode(EmbeddingStore.open(sys.argv[1]), EncodeSettings.model_validate_json(sys.argv[2]))
"""


def run(report: Report) -> None:
    cases = 9 if report.small else 40
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate_phantom(folder / "images", cases=cases, seed=0)
        settings = EncodeSettings(
            cohort="c", modality="histology", encoder="test_resnet", weights=random_weights("test_resnet", folder),
            tile_px=64, mpp=1.0, device=report.device,
        )  # fmt: skip
        stores = []
        for which in ("killed", "whole"):
            stores.append(EmbeddingStore.create(folder / which))
            add_layout(stores[-1], "c", Radpath(source=folder / "images", splits=0))
        killed, whole = stores
        encode(whole, settings)
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder / "killed"), settings.model_dump_json()])
        try:
            while child.poll() is None and _bags(killed) < 2:
                time.sleep(0.01)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        before = _bags(killed)
        again = encode(killed, settings)
        report.must("the kill fell into the middle", 0 < before < cases, f"{before} of {cases} bags")
        fair = (again.existing, again.encoded) == (before, cases - before)
        report.must("only what was missing is encoded", fair, f"{again.encoded} anew")
        distances = [away(_features(killed, i), _features(whole, i)) for i in range(cases)]
        report.must("the bags are those of one run", max(distances) <= 1e-3, f"{max(distances):.1e}")
        report.must("fsck finds nothing", fsck(LocalStorage(folder / "killed")).clean, "")


def _entries(store: EmbeddingStore) -> list:
    return sorted(store.snapshot().entries(kind="bag"), key=lambda entry: entry.case_id)


def _bags(store: EmbeddingStore) -> int:
    return len(_entries(store))


def _features(store: EmbeddingStore, i: int):
    return read_bag(store.snapshot().storage, _entries(store)[i]).features_nd
