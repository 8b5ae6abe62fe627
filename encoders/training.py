"""Trains C_I and C_S: an encoder with a linear decoder on top, on one fold's train rows, watched on its val rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from embeddings.errors import InvalidInputError
from encoders.checkpoints import load_checkpoint, save_checkpoint
from encoders.trainable import Items, TrainableEncoder
from encoders.weights import tensors_of


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a classifier is trained. The optimiser is Adam, the bag or volume loss cross-entropy, the sampler weighted by
    class; on a GPU that can, products are in bfloat16 (mixed precision)."""

    epochs: int
    """At most; an epoch draws as many items as there are train rows."""
    patience: int
    """Epochs without a lower val loss before training stops."""
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    """L2 in Adam."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience, self.batch_size) < 1 or not self.learning_rate > 0 or self.weight_decay < 0:
            raise InvalidInputError(
                f"{self} cannot train: epochs, patience and batch_size must be at least 1, learning_rate positive, "
                "weight_decay not negative"
            )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `TrainingSettings(**settings.as_dict()) == settings`."""
        return asdict(self)


PAPER_VOLUMES = TrainingSettings(epochs=600, patience=50, batch_size=10, learning_rate=2e-4, weight_decay=1e-5)
"""Row R of the paper's protocol, with `densenet121`; the weight decay is the released code's."""

PAPER_BAGS = TrainingSettings(epochs=200, patience=20, batch_size=1, learning_rate=1e-4, weight_decay=1e-5)
"""Row P of the paper's protocol, with `clam_small`; the weight decay is the released code's."""

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
    """One row per epoch: epoch (from 0), train_loss, val_loss, val_balanced_accuracy, seconds of its training steps and
    wait_seconds, those of them that passed waiting for data."""
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
    checkpoint: Path | None = None,
) -> TrainedClassifier:
    """Trains `module` with a new linear decoder on `data` and returns the epoch of the lowest loss on `val_data`.

    data, val_data: what the module takes, volumes_bcdhw or a sequence of bags, which may read an item when it is asked
    for one: a thread fetches the next batch during each step. labels: class index of each item, 0 to n_classes - 1.
    `module` gives the architecture only: its weights are drawn anew from `seed`, and it is left as it was. The same
    seed gives the same weights bit for bit on one CPU, and the caller's global random state stays as it is. Only train
    rows are fitted, standardisation included; val rows are looked at to stop and to choose the epoch.

    checkpoint: a file that holds all of the state after each epoch. Where it is there, training goes on from it, to the
    same weights as without the interruption; it must have been written by a call with the same arguments.
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
    with torch.random.fork_rng(devices=None if device.startswith("cuda") else []):
        run = _Training(module, data, y, val_data, val_y, n_classes, settings, seed, device, checkpoint)
        return run.to_the_end(progress)


class _Training:
    """The state of one training, epoch by epoch."""

    def __init__(
        self,
        module: TrainableEncoder,
        data: Items,
        y: torch.Tensor,
        val_data: Items,
        val_y: torch.Tensor,
        n_classes: int,
        settings: TrainingSettings,
        seed: int,
        device: str,
        checkpoint: Path | None,
    ) -> None:
        self.data, self.y, self.val_data, self.val_y = data, y, val_data, val_y
        self.settings, self.seed, self.checkpoint = settings, seed, checkpoint
        self.device = torch.device(device)
        self.module = deepcopy(module)
        self.generator = torch.Generator().manual_seed(seed)
        for part in (data, val_data):  # the first for all: each batch is checked when it is read
            first: Any = part[0]
            self.module.check([first])
        saved = load_checkpoint(checkpoint) if checkpoint else None
        if saved is None:
            self.module.reset(data, self.generator)
        # Without PyTorch's own initialisation, which would draw from the global random state.
        self.decoder = nn.Linear(self.module.code_dim, n_classes, device="meta").to_empty(device="cpu")
        nn.init.xavier_normal_(self.decoder.weight, generator=self.generator)
        nn.init.zeros_(self.decoder.bias)
        self.module.to(self.device)
        self.decoder.to(self.device)
        mask = self.module.decoder_mask(n_classes)
        self.mask = None if mask is None else mask.to(self.device)
        self.optimiser = torch.optim.Adam(
            [*self.module.parameters(), *self.decoder.parameters()],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.history: list[dict[str, float]] = []
        self.best_loss, self.best_epoch = math.inf, -1
        self.best = self._weights()
        if saved is not None:
            self._restore(saved)

    def to_the_end(self, progress: Callable[[dict[str, float]], None] | None) -> TrainedClassifier:
        settings = self.settings
        for epoch in range(len(self.history), settings.epochs):
            if epoch - 1 - self.best_epoch >= settings.patience:
                break
            # Dropout draws from the global state; by the epoch, so that a resumed training draws the same.
            torch.manual_seed(self.seed * 1_000_003 + epoch)
            row = {"epoch": float(epoch), **self._train_epoch(), **self._look_at_val()}
            if not (math.isfinite(row["train_loss"]) and math.isfinite(row["val_loss"])):
                raise InvalidInputError(
                    f"training encoder {self.module.encoder_name} diverged in epoch {epoch} (loss is not finite); "
                    f"lower learning_rate {settings.learning_rate:g}"
                )
            self.history.append(row)
            if row["val_loss"] < self.best_loss:
                self.best_loss, self.best_epoch, self.best = row["val_loss"], epoch, self._weights()
            if self.checkpoint:
                save_checkpoint(self.checkpoint, self._state())
            if progress is not None:
                progress(row)
        module = self.best["module"]
        return TrainedClassifier(
            self.module.encoder_name,
            self.module.config,
            {name: value.numpy() for name, value in module.items()},
            {name: value.numpy() for name, value in self.best["decoder"].items()},
            tuple(self.history),
            self.best_epoch,
        )

    def _train_epoch(self) -> dict[str, float]:
        settings = self.settings
        self.module.train()
        batch_size = min(settings.batch_size, len(self.data))
        steps = len(self.data) // batch_size  # A last, smaller batch would only unsettle batch normalisation.
        weight_n = 1.0 / torch.bincount(self.y).double()[self.y]
        rows_n = torch.multinomial(weight_n, steps * batch_size, replacement=True, generator=self.generator)
        rows_of = [rows.tolist() for rows in rows_n.split(batch_size)]
        loss_sum = torch.zeros((), device=self.device)
        start, waited = time.perf_counter(), 0.0
        for rows, batch, wait in self._fetched(self.data, rows_of):
            waited += wait
            changed = self.module.augment(batch, self.generator)
            with self._mixed_precision():
                loss = self.module.training_loss(changed, self.y[rows].to(self.device), self._decode)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            loss_sum += loss.detach() / steps  # stays on the device: no step waits for the number
        train_loss = loss_sum.item()
        return {"train_loss": train_loss, "seconds": time.perf_counter() - start, "wait_seconds": waited}

    @torch.inference_mode()
    def _look_at_val(self) -> dict[str, float]:
        self.module.eval()
        size, n = min(self.settings.batch_size, len(self.data)), len(self.val_data)
        rows_of = [list(range(start, min(start + size, n))) for start in range(0, n, size)]
        logits = []
        for _, batch, _ in self._fetched(self.val_data, rows_of):
            with self._mixed_precision():
                logits.append(self._decode(self.module(batch)).float().cpu())
        logits_nk, val_y = torch.cat(logits), self.val_y
        recalls = [(logits_nk.argmax(1) == c)[val_y == c].double().mean().item() for c in val_y.unique().tolist()]
        return {
            "val_loss": cross_entropy(logits_nk, val_y).item(),
            "val_balanced_accuracy": sum(recalls) / len(recalls),
        }

    def _fetched(self, data: Items, rows_of: list[list[int]]) -> Iterator[tuple[list[int], Any, float]]:
        """(rows, batch, seconds waited for it); a thread reads the next batch while this one is worked on."""
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self.module.batch, data, rows_of[0])
            for number, rows in enumerate(rows_of):
                start = time.perf_counter()
                batch = ahead.result()
                waited = time.perf_counter() - start
                if number + 1 < len(rows_of):
                    ahead = reader.submit(self.module.batch, data, rows_of[number + 1])
                yield rows, batch, waited

    def _decode(self, codes_bd: torch.Tensor) -> torch.Tensor:
        weight = self.decoder.weight if self.mask is None else self.decoder.weight * self.mask
        return linear(codes_bd, weight, self.decoder.bias)

    def _mixed_precision(self) -> torch.autocast:
        able = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=able)

    # State -----------------------------------------------------------------------------------------------------

    def _weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """Copies on the CPU. What the mask hides of the decoder is 0, as it acts."""
        decoder = tensors_of(self.decoder)
        if self.mask is not None:
            decoder["weight"] *= self.mask.cpu().numpy()
        return {
            "module": {name: torch.from_numpy(value) for name, value in tensors_of(self.module).items()},
            "decoder": {name: torch.from_numpy(value) for name, value in decoder.items()},
        }

    def _state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "decoder": self.decoder.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history,
            "best": self.best,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.module.load_state_dict(saved["module"])
        self.decoder.load_state_dict(saved["decoder"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.generator.set_state(saved["generator"])
        self.history = saved["history"]
        self.best, self.best_loss, self.best_epoch = saved["best"], saved["best_loss"], saved["best_epoch"]


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
