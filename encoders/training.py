"""Trains C_I and C_S: an encoder with a linear decoder on top, on one fold's train rows, watched on its val rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from embeddings.errors import InvalidInputError
from encoders.trainable import Items, TrainableEncoder
from encoders.weights import tensors_of


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a classifier is trained. The optimiser is Adam, the loss cross-entropy, the sampler weighted by class."""

    epochs: int
    """At most; an epoch draws as many items as there are train rows."""
    patience: int
    """Epochs without a lower val loss before training stops."""
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    """L2 in Adam; the paper states none."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience, self.batch_size) < 1 or not self.learning_rate > 0 or self.weight_decay < 0:
            raise InvalidInputError(
                f"{self} cannot train: epochs, patience and batch_size must be at least 1, learning_rate positive, "
                "weight_decay not negative"
            )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `TrainingSettings(**settings.as_dict()) == settings`."""
        return asdict(self)


PAPER_VOLUMES = TrainingSettings(epochs=600, patience=50, batch_size=10, learning_rate=2e-4)
"""Row R of the paper's protocol, with `DENSENET121`."""

PAPER_BAGS = TrainingSettings(epochs=200, patience=20, batch_size=1, learning_rate=1e-4)
"""Row P of the paper's protocol, with `clam_small`."""

DEMO_VOLUMES_TRAINING = TrainingSettings(epochs=60, patience=40, batch_size=8, learning_rate=1e-3, weight_decay=1e-3)
"""For a few dozen phantoms at `DEMO_VOLUMES`: a fold of 24 train cases takes 9 s of CPU. Patience is long because batch
normalisation's running statistics need some ten epochs of three steps before the val loss means anything."""

DEMO_BAGS_TRAINING = TrainingSettings(epochs=100, patience=30, batch_size=8, learning_rate=2e-3, weight_decay=1e-3)
"""For a few dozen phantoms: a fold in about a second."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedClassifier:
    """A trained encoder with its decoder: all that the store needs to keep.

    The classifier's output is softmax(code @ weight.T + bias) with the code of the rebuilt encoder.
    """

    encoder_name: str
    """For `build_encoder`."""
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    """The encoder's weights and buffers, without the decoder."""
    decoder: dict[str, np.ndarray]
    """weight (k, d) and bias (k,), float32."""
    history: tuple[dict[str, float], ...]
    """One row per epoch: epoch (from 0), train_loss, val_loss, val_balanced_accuracy."""
    best_epoch: int
    """Of the lowest val loss, whose weights these are."""

    def probabilities(self, codes_bd: np.ndarray) -> np.ndarray:
        """(b, k) float32 of codes (b, d): the output of C_I or C_S."""
        logits_bk = torch.from_numpy(codes_bd @ self.decoder["weight"].T + self.decoder["bias"])
        return torch.softmax(logits_bk, dim=1).numpy()


def train_classifier(
    module: TrainableEncoder,
    data: Items,
    labels: np.ndarray | Sequence[int],
    val_data: Items,
    val_labels: np.ndarray | Sequence[int],
    *,
    n_classes: int,
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[dict[str, float]], None] | None = None,
    device: str = "cpu",
) -> TrainedClassifier:
    """Trains `module` with a new linear decoder on `data` and returns the epoch of the lowest loss on `val_data`.

    data, val_data: what the module takes, volumes_bcdhw or a list of bags. labels: class index of each item, 0 to
    n_classes - 1. `module` gives the architecture only: its weights are drawn anew from `seed`, and it is left as it
    was. The same seed gives the same weights bit for bit on one CPU; no global random state is read or set. Only train
    rows are fitted, standardisation included; val rows are looked at to stop and to choose the epoch.

    progress: called after each epoch with its row of `history`.
    Raises InvalidInputError for data and labels that do not fit, for a class without a train row, and for a loss that
    is no longer finite.
    """
    y, val_y = (
        _checked_labels(labels, data, n_classes, "train"),
        _checked_labels(val_labels, val_data, n_classes, "val"),
    )
    absent = sorted(set(range(n_classes)) - set(y.tolist()))
    if absent:
        raise InvalidInputError(f"class {absent[0]} of {n_classes} has no train case; draw the split by class")
    module = deepcopy(module)
    module.check(data)
    module.check(val_data)
    generator = torch.Generator().manual_seed(seed)
    module.reset(data, generator)
    # Without PyTorch's own initialisation, which would draw from the global random state.
    decoder = nn.Linear(module.code_dim, n_classes, device="meta").to_empty(device="cpu")
    nn.init.xavier_normal_(decoder.weight, generator=generator)
    nn.init.zeros_(decoder.bias)
    module.to(device)
    decoder.to(device)

    optimiser = torch.optim.Adam(
        [*module.parameters(), *decoder.parameters()], lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    weight_n = 1.0 / torch.bincount(y, minlength=n_classes).double()[y]
    batch_size = min(settings.batch_size, len(data))
    steps = len(data) // batch_size  # A last, smaller batch would only unsettle batch normalisation.
    history: list[dict[str, float]] = []
    best_loss, best_epoch, best_state = math.inf, -1, _state(module, decoder)
    for epoch in range(settings.epochs):
        module.train()
        rows_n = torch.multinomial(weight_n, steps * batch_size, replacement=True, generator=generator)
        train_loss = 0.0
        for rows in rows_n.split(batch_size):
            batch = module.augment(module.batch(data, rows.tolist()), generator)
            loss = cross_entropy(decoder(module(batch)), y[rows].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            train_loss += loss.item() / steps
        val_logits = _logits(module, decoder, val_data, batch_size)
        val_loss = cross_entropy(val_logits, val_y).item()
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise InvalidInputError(
                f"training encoder {module.encoder_name} diverged in epoch {epoch} (loss is not finite); lower "
                f"learning_rate {settings.learning_rate:g}"
            )
        recalls = [(val_logits.argmax(1) == c)[val_y == c].double().mean().item() for c in val_y.unique().tolist()]
        row = {
            "epoch": float(epoch),
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_balanced_accuracy": sum(recalls) / len(recalls),
        }
        history.append(row)
        if progress is not None:
            progress(row)
        if val_loss < best_loss:
            best_loss, best_epoch, best_state = val_loss, epoch, _state(module, decoder)
        elif epoch - best_epoch >= settings.patience:
            break
    tensors, decoder_tensors = best_state
    return TrainedClassifier(module.encoder_name, module.config, tensors, decoder_tensors, tuple(history), best_epoch)


def _checked_labels(labels: np.ndarray | Sequence[int], data: Items, n_classes: int, part: str) -> torch.Tensor:
    """(n,) int64 labels of `part`."""
    values = np.asarray(labels)
    if values.shape != (len(data),) or not len(data):
        raise InvalidInputError(f"{len(data)} {part} cases have labels of shape {values.shape}; give each case one")
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= n_classes:
        raise InvalidInputError(
            f"the {part} labels must be whole numbers from 0 to {n_classes - 1}; leave unlabelled cases out"
        )
    return torch.from_numpy(values.astype(np.int64))


def _state(module: TrainableEncoder, decoder: nn.Linear) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return tensors_of(module), tensors_of(decoder)


@torch.inference_mode()
def _logits(module: TrainableEncoder, decoder: nn.Linear, data: Items, batch_size: int) -> torch.Tensor:
    """(n, k) on the CPU, in eval mode."""
    module.eval()
    parts = [
        decoder(module(module.batch(data, range(start, min(start + batch_size, len(data)))))).cpu()
        for start in range(0, len(data), batch_size)
    ]
    return torch.cat(parts)
