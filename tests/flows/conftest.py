"""One small phantom store, encoded once for the whole run; tests that write work on a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.cohorts import add_files, add_split
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.work.stores import opened
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.flows.short_training import shorten

CASES = 24


@dataclass(frozen=True)
class Phantom:
    """A store with both trained encoders on fold 0 and their heads."""

    store: Path
    images: Path
    runs: tuple[str, ...]

    @property
    def opened(self) -> EmbeddingStore:
        return EmbeddingStore.open(self.store)

    def encode_settings(self, **values: object) -> EncodeSettings:
        given = {"cohort": "phantom", "folds": (0,), "targets": ("class",), "split": "cv2", **values}
        return EncodeSettings.model_validate(given)


SLIDES = {"modality": "histology", "encoder": "texture", "tile_px": 128, "mpp": 1.0}
GUIDE = {
    "inferior": "mri_all/densenet3d",
    "superior": "histology/attention_pooling",
    "modes": ("as-published", "matched"),
    "permutations": 1,
    "folds": (0,),
}


@pytest.fixture(scope="session", autouse=True)
def short_training() -> Iterator[None]:
    """The encoders of slides and volumes."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        yield


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory, worker_id: str, short_training: None) -> Phantom:
    """Made once, by the worker that needs it first."""
    own = tmp_path_factory.getbasetemp()
    root = (own if worker_id == "master" else own.parent) / "phantom"
    made = root / "runs.json"  # written last
    with FileLock(f"{root}.lock"):
        if not made.exists():
            root.mkdir()
            made.write_text(json.dumps(_make(root / "store", root / "images")))
    return Phantom(root / "store", root / "images", tuple(json.loads(made.read_text())))


def _make(store: Path, images: Path) -> list[str]:
    """The runs of its heads."""
    generate_phantom(images, cases=CASES, seed=3)
    phantom = Phantom(store, images, ())
    with opened(store, create=True) as to_fill:
        add_files(to_fill, "phantom", Radpath(source=images, splits=0))
        add_split(to_fill, "phantom", "class", name="cv2", folds=2, seed=0, val_fraction=0.34)
        encode(to_fill, EncodeSettings(cohort="phantom", **SLIDES))
        encode(to_fill, phantom.encode_settings(modality="histology", encoder="attention_pooling"))
        encode(to_fill, phantom.encode_settings(modality="mri_all", encoder="densenet3d"))
        return guide(to_fill, GuideSettings(cohort="phantom", **GUIDE)).runs


@pytest.fixture
def phantom(encoded: Phantom, tmp_path: Path) -> Phantom:
    """A copy to write to; the images stay where they are."""
    shutil.copytree(encoded.store, tmp_path / "store")
    return Phantom(tmp_path / "store", encoded.images, encoded.runs)
