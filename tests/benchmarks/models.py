"""What a model costs that leaves the store: `export-model`, then `predict --model` of one new case, as processes.

CPU seconds (user and system), medians of 3. Bars: predict under 6 for codes and photographs, 12 for volumes;
export-model under 13. Run: python -m tests.benchmarks.models
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from guidestore.embeddings.store import EmbeddingStore
from guidestore.encoders.inception_multitask import InceptionMultitask
from guidestore.flows.encoding.cohorts import add_files, add_split
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.derm7pt import Derm7pt
from guidestore.warehouse.cohorts.layouts.derm7pt_phantom import generate_derm7pt_phantom
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.benchmarks.measuring import cost, show
from tests.report_store import make_store, write

REPEATS = 3


@dataclass(frozen=True)
class Made:
    """A run of a store, and what to predict from."""

    run: str
    new_case: tuple[str, ...]
    """Arguments of `predict`."""


def _guided(store: EmbeddingStore, new_case: tuple[str, ...], **settings: object) -> Made:
    given = {"guidance": "ridge", "decoder": "logistic", "modes": ("matched",), "permutations": 0, **settings}
    runs = guide(store, GuideSettings.model_validate(given)).runs
    rows = store.snapshot().rows("runs").to_pylist()
    return Made(next(r["run"] for r in rows if r["run"] in runs and r["row"] == "G(I)+I"), new_case)


def volumes(root: Path) -> Made:
    """Four sequences through a DenseNet that was trained for them."""
    generate_phantom(root / "images", cases=24, seed=3)
    store = EmbeddingStore.create(root / "store")
    add_files(store, "phantom", Radpath(source=root / "images", splits=0))
    add_split(store, "phantom", "class", name="cv2", folds=2, seed=0, val_fraction=0.34)
    of = {"cohort": "phantom", "split": "cv2", "folds": (0,), "targets": ("class",)}
    encode(store, EncodeSettings(cohort="phantom", modality="histology", encoder="texture", tile_px=128, mpp=1.0))
    for modality, encoder in (("histology", "attention_pooling"), ("mri_all", "densenet3d")):
        encode(store, EncodeSettings.model_validate({**of, "modality": modality, "encoder": encoder}))
    new_case = (str(root / "images" / "Radiology" / "PHANTOM_0001"),)
    names = {"inferior": "mri_all/densenet3d", "superior": "histology/attention_pooling"}
    return _guided(store, new_case, cohort="phantom", folds=(0,), **names)


def photographs(root: Path) -> Made:
    """A photograph through an Inception network that was trained for it, two epochs."""
    demo = InceptionMultitask.presets["demo"]
    InceptionMultitask.presets["demo"] = replace(demo, training=replace(demo.training, epochs=2), photograph_px=75)
    generate_derm7pt_phantom(root / "images", cases=24, seed=1, image_px=(128, 128))
    store = EmbeddingStore.create(root / "store")
    add_layout(store, "skin", Derm7pt(source=root / "images"))
    for modality in ("clinical", "dermoscopy"):
        given = {"cohort": "skin", "modality": modality, "encoder": "inception_multitask", "targets": ("BWV", "RS")}
        encode(store, EncodeSettings.model_validate(given))
    names = {"inferior": "clinical/inception_multitask", "superior": "dermoscopy/inception_multitask"}
    (image, *_) = sorted((root / "images" / "images").rglob("*.jpg"))
    return _guided(store, (str(image),), cohort="skin", targets=("BWV",), **names)


def codes(root: Path) -> Made:
    """Imported codes of width 5."""
    root.mkdir()
    store = EmbeddingStore.open(make_store(root, targets=("PIG",)))
    table = write(root / "new.csv", ["case_id", *(f"c{d}" for d in range(5))], [["new", 1, 2, 3, 4, 5]])
    rows = store.snapshot().rows("runs").to_pylist()
    run = next(r["run"] for r in rows if (r["row"], r["control"]) == ("G(I)+I", ""))
    return Made(run, ("--codes", str(table), "--encoder", "made"))


def measure(made: Made, folder: Path, name: str, bar_s: int) -> list[list[str]]:
    """Rows of the table: export-model, and predict --model."""
    commands = {"export-model": 13, "predict --model": bar_s}
    costs: dict[str, list[tuple[float, int]]] = {command: [] for command in commands}
    for number in range(REPEATS):
        model = str(folder / f"{name}-model-{number}")
        export = ("export-model", made.run, "--output", model, "--store", str(folder / name / "store"))
        for command, words in zip(commands, (export, ("predict", "--model", model, *made.new_case)), strict=True):
            costs[command].append(cost([sys.executable, "-m", "guidestore", *words]))
    return [
        [
            f"{command}, {name}",
            f"{statistics.median(seconds for seconds, _ in costs[command]):.1f}",
            str(bar),
            str(max(peak_mb for _, peak_mb in costs[command])),
        ]
        for command, bar in commands.items()
    ]


def main() -> None:
    os.environ["PYTHONWARNINGS"] = "ignore"
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for make, bar_s in ((codes, 6), (photographs, 6), (volumes, 12)):
            rows += measure(make(Path(folder) / make.__name__), Path(folder), make.__name__, bar_s)
    show(f"A model that leaves the store, medians of {REPEATS}", ["command", "CPU s", "bar", "peak, MB"], rows)


if __name__ == "__main__":
    main()
