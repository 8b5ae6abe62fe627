"""Networks and training settings by name: small ones for two CPU cores, and the paper's."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.attention_pooling import AttentionPooling, AttentionPoolingConfig, abmil
from guidestore.encoders.clam import ClamConfig, ClamMB, ClamSB, clam_small
from guidestore.encoders.densenet3d import DenseNet3d, DenseNet3dConfig, densenet121
from guidestore.encoders.inception_multitask import InceptionConfig, InceptionMultitask
from guidestore.encoders.mean_pooling import MeanPooling, MeanPoolingConfig
from guidestore.encoders.trainable import TrainableEncoder
from guidestore.encoders.training import (
    DEMO_BAGS_TRAINING,
    DEMO_PHOTOGRAPHS_TRAINING,
    DEMO_VOLUMES_TRAINING,
    PAPER_BAGS,
    PAPER_PHOTOGRAPHS,
    PAPER_VOLUMES,
    TrainingSettings,
)


@dataclass(frozen=True, slots=True)
class Trainable:
    """How to make an untrained network, and to train it."""

    build: Callable[[int, int], TrainableEncoder]
    """Of input width (channels, or d of the patch codes) and number of classes of the first target."""
    training: TrainingSettings
    input_kind: Literal["volumes", "photographs", "bags"] = "bags"
    photograph_px: int = 0
    """Edge of the photographs that it is trained on."""


def _demo_clam(width: int, n_classes: int) -> ClamConfig:
    return ClamConfig(width, n_classes=n_classes, k_sample=4)


PRESETS: dict[tuple[str, str], Trainable] = {
    ("densenet3d", "demo"): Trainable(
        lambda channels, _: DenseNet3d(DenseNet3dConfig(channels)), DEMO_VOLUMES_TRAINING, "volumes"
    ),
    ("densenet3d", "paper"): Trainable(lambda channels, _: DenseNet3d(densenet121(channels)), PAPER_VOLUMES, "volumes"),
    ("inception_multitask", "demo"): Trainable(
        lambda *_: InceptionMultitask(InceptionConfig("Mixed_5d")), DEMO_PHOTOGRAPHS_TRAINING, "photographs", 128
    ),
    ("inception_multitask", "paper"): Trainable(lambda *_: InceptionMultitask(), PAPER_PHOTOGRAPHS, "photographs", 512),
    ("clam_sb", "demo"): Trainable(lambda width, k: ClamSB(_demo_clam(width, k)), DEMO_BAGS_TRAINING),
    ("clam_sb", "paper"): Trainable(lambda width, k: ClamSB(clam_small(width, k)), PAPER_BAGS),
    ("clam_mb", "demo"): Trainable(lambda width, k: ClamMB(_demo_clam(width, k)), DEMO_BAGS_TRAINING),
    ("clam_mb", "paper"): Trainable(lambda width, k: ClamMB(clam_small(width, k)), PAPER_BAGS),
    ("attention_pooling", "demo"): Trainable(
        lambda width, _: AttentionPooling(AttentionPoolingConfig(width)), DEMO_BAGS_TRAINING
    ),
    ("attention_pooling", "paper"): Trainable(lambda width, _: AttentionPooling(abmil(width)), PAPER_BAGS),
    ("mean_pooling", "demo"): Trainable(lambda width, _: MeanPooling(MeanPoolingConfig(width)), DEMO_BAGS_TRAINING),
    ("mean_pooling", "paper"): Trainable(lambda width, _: MeanPooling(MeanPoolingConfig(width, 512)), PAPER_BAGS),
}


def trainable(encoder: str, preset: str) -> Trainable:
    """The preset of a trained encoder. Raises InvalidInputError on an unknown name or preset."""
    names = sorted({name for name, _ in PRESETS})
    if encoder not in names:
        near = difflib.get_close_matches(encoder, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InvalidInputError(f"there is no trainable encoder {encoder!r}; {hint}use one of {', '.join(names)}")
    if (encoder, preset) not in PRESETS:
        known = ", ".join(p for name, p in PRESETS if name == encoder)
        raise InvalidInputError(f"encoder {encoder} has no preset {preset!r}; use one of {known}")
    return PRESETS[encoder, preset]
