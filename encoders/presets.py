"""Networks and training settings by name: small ones for two CPU cores, and the paper's."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from embeddings.errors import InvalidInputError
from encoders.attention_pooling import AttentionPooling, AttentionPoolingConfig, clam_small
from encoders.densenet3d import DENSENET121, DenseNet3d, DenseNet3dConfig
from encoders.trainable import TrainableEncoder
from encoders.training import (
    DEMO_BAGS_TRAINING,
    DEMO_VOLUMES_TRAINING,
    PAPER_BAGS,
    PAPER_VOLUMES,
    TrainingSettings,
)


@dataclass(frozen=True, slots=True)
class Trainable:
    """How to make an untrained network for an input width (channels, or d of the patch codes), and to train it."""

    input_kind: Literal["volumes", "bags"]
    build: Callable[[int], TrainableEncoder]
    training: TrainingSettings


PRESETS: dict[tuple[str, str], Trainable] = {
    ("densenet3d", "demo"): Trainable(
        "volumes", lambda channels: DenseNet3d(DenseNet3dConfig(in_channels=channels)), DEMO_VOLUMES_TRAINING
    ),
    ("densenet3d", "paper"): Trainable(
        "volumes",
        lambda channels: DenseNet3d(
            DenseNet3dConfig(channels, DENSENET121.init_features, DENSENET121.growth_rate, DENSENET121.block_config)
        ),
        PAPER_VOLUMES,
    ),
    ("attention_pooling", "demo"): Trainable(
        "bags", lambda width: AttentionPooling(AttentionPoolingConfig(width)), DEMO_BAGS_TRAINING
    ),
    ("attention_pooling", "paper"): Trainable("bags", lambda width: AttentionPooling(clam_small(width)), PAPER_BAGS),
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
