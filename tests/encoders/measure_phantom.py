"""Prints what the phantom cohort measures: seconds of every step, and balanced accuracy of C_I and C_S on test.

    python -m tests.encoders.measure_phantom --cases 48 --seeds 0 1 2

This is an experiment, not a test; the phantom's constants were chosen so that the slide (S) tells the class clearly
better than the MRI (I), and the MRI better than chance (.333).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, train_test_split

from guidestore.encoders import bags as bag_encoders
from guidestore.encoders import densenet3d
from guidestore.encoders.attention_pooling import AttentionPooling, AttentionPoolingConfig
from guidestore.encoders.densenet3d import DenseNet3d
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.slides.encode import encode_slide
from guidestore.encoders.slides.tiling import TilingSettings
from guidestore.encoders.trainable import Items, TrainableEncoder
from guidestore.encoders.training import train_classifier
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.volumes import DEMO_VOLUMES, load_volume
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom

TILING = TilingSettings(target_mpp=1.0, tile_size_px=128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), arguments.cases, seed)


def measure(folder: Path, cases: int, seed: int) -> None:
    clock = Clock()
    generate_phantom(folder, cases=cases, seed=seed)
    clock.lap("generate")
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    ids = [row["CPM_RadPath_2020_ID"] for row in rows]
    labels = np.array(["GOA".index(row["class"]) for row in rows])
    encoder = build_encoder("texture", preprocessing=TILING.as_dict())
    bags = [encode_slide(folder / "Pathology" / f"{case_id}.tiff", encoder, TILING) for case_id in ids]
    clock.lap("slides")
    volumes_bcdhw = np.stack([load_volume(folder / "Radiology" / case_id, DEMO_VOLUMES) for case_id in ids])
    clock.lap("volumes")
    folds = list(StratifiedKFold(3, shuffle=True, random_state=seed).split(ids, labels))
    accuracies: dict[str, list[float]] = {"I": [], "S": []}
    for rest, test in folds:
        train, val = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=seed)
        accuracies["I"].append(
            score(DenseNet3d(), densenet3d.DEMO_TRAINING, volumes_bcdhw, labels, (train, val, test), seed)
        )
    clock.lap("train I")
    for rest, test in folds:
        train, val = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=seed)
        pooling = AttentionPooling(AttentionPoolingConfig(encoder.spec.code_dim))
        accuracies["S"].append(score(pooling, bag_encoders.DEMO_TRAINING, bags, labels, (train, val, test), seed))
    clock.lap("train S")
    clock.seconds["all"] = np.sum(list(clock.seconds.values()), axis=0)
    seconds = ", ".join(f"{name} {wall:.1f} / {cpu:.1f}" for name, (wall, cpu) in clock.seconds.items())
    print(
        f"seed {seed}, s wall / CPU: {seconds}; {np.mean([len(bag) for bag in bags]):.0f} tiles per slide", flush=True
    )
    for row, values in accuracies.items():
        print(f"  {row} balanced accuracy {np.mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})")


def score(
    module: TrainableEncoder,
    settings: TrainingSettings,
    items: Items,
    labels: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    seed: int,
) -> float:
    """Balanced accuracy on the test part of a classifier trained on train and stopped on val."""

    def select(rows: np.ndarray) -> Items:
        return items[rows] if isinstance(items, np.ndarray) else [items[row] for row in rows]

    train, val, test = parts
    trained = train_classifier(
        module,
        select(train),
        {"class": labels[train]},
        select(val),
        {"class": labels[val]},
        n_classes={"class": 3},
        settings=settings,
        seed=seed,
    )
    encoder = build_encoder(trained.encoder_name, config=trained.config, tensors=trained.tensors)
    predicted = trained.probabilities(encoder.encode(select(test)), "class").argmax(axis=1)
    return float(balanced_accuracy_score(labels[test], predicted))


class Clock:
    """Wall and CPU seconds since the last lap, by name; on a shared machine the wall alone says little."""

    def __init__(self) -> None:
        self.seconds: dict[str, np.ndarray] = {}
        self._start = self._now()

    def lap(self, name: str) -> None:
        now = self._now()
        self.seconds[name], self._start = now - self._start, now

    @staticmethod
    def _now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
