"""Trains C_I and C_S: an encoder with linear decoders on top, on one fold's train rows, watched on its val rows.

One decoder per target. On several targets at once the encoder learns what all of them need (multi-task).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.arithmetic import FLOAT32, Arithmetic
from guidestore.encoders.checkpoints import load_checkpoint, save_checkpoint
from guidestore.encoders.trainable import Items, TrainableEncoder
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.weights import tensors_of

UNLABELLED = -1
"""The class index of an item that has no label of a target."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedClassifier:
    """A trained encoder with its decoders: all that the store needs to keep.

    The classifier's output for a target is softmax(code @ weight.T + bias) with the code of the rebuilt encoder.
    """

    encoder_name: str
    """For `build_encoder`."""
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    """The encoder's weights and buffers, without the decoders."""
    decoders: dict[str, dict[str, np.ndarray]]
    """Target -> weight (k, d) and bias (k,), float32."""
    history: tuple[dict[str, float], ...]
    """One row per epoch: epoch (from 0), train_loss and val_loss (sums over the targets), val_balanced_accuracy (mean
    over them), seconds of its training steps and wait_seconds, those of them that passed waiting for data."""
    best_epoch: int
    """Of the lowest val loss, whose weights these are."""

    def probabilities(self, codes_bd: np.ndarray, target: str) -> np.ndarray:
        """(b, k) float32 of codes (b, d): the output of C_I or C_S for `target`."""
        decoder = self.decoders[target]
        logits_bk = torch.from_numpy(codes_bd @ decoder["weight"].T + decoder["bias"])
        return torch.softmax(logits_bk, dim=1).numpy()


type Labels = Mapping[str, np.ndarray]
"""Target -> class index of each of n items, (n,) whole numbers; -1 where the item has no label of the target."""


def train_classifier(
    module: TrainableEncoder,
    data: Items,
    labels: Labels,
    val_data: Items,
    val_labels: Labels,
    *,
    n_classes: Mapping[str, int],
    settings: TrainingSettings,
    seed: int,
    progress: Callable[[dict[str, float]], None] | None = None,
    device: str = "cpu",
    arithmetic: Arithmetic = FLOAT32,
    checkpoint: Path | None = None,
) -> TrainedClassifier:
    """Trains `module` with a new linear decoder for each target; returns the epoch of the lowest loss on `val_data`.

    data, val_data: what the module takes, arrays or a sequence of bags, which may read an item when it is asked for
    one: a thread fetches the next batch during each step. labels, val_labels: of the targets in `n_classes` (how many
    classes each has); every item has a label of at least one. The loss is the sum over the targets of the
    cross-entropy over the items that have a label of it. Items are drawn with weight 1 / (train items of their class),
    on several targets with the mean over the targets of these weights, where an item without a label counts 0.
    `module` gives the architecture only: its weights are drawn anew from `seed`, and it is left as it was. The same
    seed gives the same weights bit for bit on one CPU, and the caller's global random state stays as it is. Only train
    rows are fitted, standardisation included; val rows are looked at to stop and to choose the epoch.

    arithmetic: of the products, forward and backward. checkpoint: a file that holds all of the state after each epoch.
    Where it is there, training goes on from it, to the same weights as without the interruption; it must have been
    written by a call with the same arguments.
    progress: called after each epoch with its row of `history`.
    Raises InvalidInputError for data and labels that do not fit, for a class without a train row, for several targets
    on bags, and for a loss that is no longer finite.
    """
    if len(n_classes) > 1 and module.input_kind == "bags":
        raise InvalidInputError(
            f"encoder {module.encoder_name} pools bags for one target, not for {', '.join(n_classes)} at once; name "
            "one with --target"
        )
    y, val_y = (
        _checked_labels(labels, data, n_classes, "train"),
        _checked_labels(val_labels, val_data, n_classes, "val"),
    )
    for target, k in n_classes.items():
        absent = sorted(set(range(k)) - set(y[target].tolist()))
        if absent:
            raise InvalidInputError(
                f"class {absent[0]} of {k} of target {target} has no train case; draw the split by class, or leave the "
                "target out"
            )
    with torch.random.fork_rng(devices=None if device.startswith("cuda") else []):
        run = _Training(module, data, y, val_data, val_y, n_classes, settings, seed, device, arithmetic, checkpoint)
        return run.to_the_end(progress)


class _Training:
    """The state of one training, epoch by epoch."""

    def __init__(
        self,
        module: TrainableEncoder,
        data: Items,
        y: dict[str, torch.Tensor],
        val_data: Items,
        val_y: dict[str, torch.Tensor],
        n_classes: Mapping[str, int],
        settings: TrainingSettings,
        seed: int,
        device: str,
        arithmetic: Arithmetic,
        checkpoint: Path | None,
    ) -> None:
        self.data, self.y, self.val_data, self.val_y = data, y, val_data, val_y
        self.settings, self.seed, self.checkpoint = settings, seed, checkpoint
        self.device, self.arithmetic = torch.device(device), arithmetic
        self.module = deepcopy(module)
        self.generator = torch.Generator().manual_seed(seed)
        for part in (data, val_data):  # the first for all: each batch is checked when it is read
            first: Any = part[0]
            self.module.check([first])
        saved = load_checkpoint(checkpoint) if checkpoint else None
        if saved is None:
            self.module.reset(data, self.generator)
        self.decoders: dict[str, nn.Linear] = {}
        self.masks: dict[str, torch.Tensor] = {}
        for target, k in n_classes.items():
            # Without PyTorch's own initialisation, which would draw from the global random state.
            decoder = nn.Linear(self.module.code_dim, k, device="meta").to_empty(device="cpu")
            nn.init.xavier_normal_(decoder.weight, generator=self.generator)
            nn.init.zeros_(decoder.bias)
            self.decoders[target] = decoder.to(self.device)
            mask = self.module.decoder_mask(k)
            if mask is not None:
                self.masks[target] = mask.to(self.device)
        self.module.to(self.device)
        self.optimiser = torch.optim.Adam(
            [
                *self.module.parameters(),
                *(value for decoder in self.decoders.values() for value in decoder.parameters()),
            ],
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
        return TrainedClassifier(
            self.module.encoder_name,
            self.module.config,
            {name: value.numpy() for name, value in self.best["module"].items()},
            {
                target: {name: value.numpy() for name, value in decoder.items()}
                for target, decoder in self.best["decoders"].items()
            },
            tuple(self.history),
            self.best_epoch,
        )

    def _train_epoch(self) -> dict[str, float]:
        settings = self.settings
        self.module.train()
        batch_size = min(settings.batch_size, len(self.data))
        steps = len(self.data) // batch_size  # A last, smaller batch would only unsettle batch normalisation.
        rows_n = torch.multinomial(
            self._sampling_weights(), steps * batch_size, replacement=True, generator=self.generator
        )
        rows_of = [rows.tolist() for rows in rows_n.split(batch_size)]
        loss_sum = torch.zeros((), device=self.device)
        start, waited = time.perf_counter(), 0.0
        for rows, batch, wait in self._fetched(self.data, rows_of):
            waited += wait
            changed = self.module.augment(batch, self.generator)
            self.optimiser.zero_grad()
            with self.arithmetic.on(self.device):
                loss = self._loss(changed, rows)
                loss.backward()
            self.optimiser.step()
            loss_sum += loss.detach() / steps  # stays on the device: no step waits for the number
        train_loss = loss_sum.item()
        return {"train_loss": train_loss, "seconds": time.perf_counter() - start, "wait_seconds": waited}

    def _sampling_weights(self) -> torch.Tensor:
        """(n,) float64, see `train_classifier`."""
        weights_tn = torch.zeros(len(self.y), len(self.data), dtype=torch.float64)
        for weight_n, y in zip(weights_tn, self.y.values(), strict=True):
            known = y >= 0
            weight_n[known] = 1.0 / torch.bincount(y[known]).double()[y[known]]
        return weights_tn.mean(dim=0)

    def _loss(self, batch: Any, rows: list[int]) -> torch.Tensor:
        """Of a train batch; items have labels of one target all, of several each of some."""
        if len(self.y) == 1:
            ((target, y),) = self.y.items()
            decode = partial(self._decode, target=target)
            return self.module.training_loss(batch, y[rows].to(self.device), decode)
        codes_bd = self.module(batch)
        labelled = {target: y[rows] for target, y in self.y.items() if (y[rows] >= 0).any()}
        losses = [
            cross_entropy(self._decode(codes_bd, target), y.to(self.device), ignore_index=UNLABELLED)
            for target, y in labelled.items()
        ]
        return torch.stack(losses).sum()

    @torch.inference_mode()
    def _look_at_val(self) -> dict[str, float]:
        self.module.eval()
        size, n = min(self.settings.batch_size, len(self.data)), len(self.val_data)
        rows_of = [list(range(start, min(start + size, n))) for start in range(0, n, size)]
        logits: dict[str, list[torch.Tensor]] = {target: [] for target in self.val_y}
        for _, batch, _ in self._fetched(self.val_data, rows_of):
            with self.arithmetic.on(self.device):
                codes_bd = self.module(batch)
                for target, parts in logits.items():
                    parts.append(self._decode(codes_bd, target).float().cpu())
        losses, accuracies = [], []
        for target, parts in logits.items():
            known = self.val_y[target] >= 0
            logits_nk, val_y = torch.cat(parts)[known], self.val_y[target][known]
            recalls = [(logits_nk.argmax(1) == c)[val_y == c].double().mean().item() for c in val_y.unique().tolist()]
            losses.append(cross_entropy(logits_nk, val_y).item())
            accuracies.append(sum(recalls) / len(recalls))
        return {"val_loss": sum(losses), "val_balanced_accuracy": sum(accuracies) / len(accuracies)}

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

    def _decode(self, codes_bd: torch.Tensor, target: str) -> torch.Tensor:
        decoder, mask = self.decoders[target], self.masks.get(target)
        return linear(codes_bd, decoder.weight if mask is None else decoder.weight * mask, decoder.bias)

    # State -----------------------------------------------------------------------------------------------------

    def _weights(self) -> dict[str, Any]:
        """Copies on the CPU. What the mask hides of a decoder is 0, as it acts."""
        decoders = {target: tensors_of(decoder) for target, decoder in self.decoders.items()}
        for target, mask in self.masks.items():
            decoders[target]["weight"] *= mask.cpu().numpy()
        return {
            "module": _as_torch(tensors_of(self.module)),
            "decoders": {target: _as_torch(tensors) for target, tensors in decoders.items()},
        }

    def _state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "decoders": {target: decoder.state_dict() for target, decoder in self.decoders.items()},
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history,
            "best": self.best,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.module.load_state_dict(saved["module"])
        for target, decoder in self.decoders.items():
            decoder.load_state_dict(saved["decoders"][target])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.generator.set_state(saved["generator"])
        self.history = saved["history"]
        self.best, self.best_loss, self.best_epoch = saved["best"], saved["best_loss"], saved["best_epoch"]


def _as_torch(tensors: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in tensors.items()}


def _checked_labels(labels: Labels, data: Items, n_classes: Mapping[str, int], part: str) -> dict[str, torch.Tensor]:
    """Target -> (n,) int64 labels of `part`."""
    if not n_classes or labels.keys() != n_classes.keys():
        raise InvalidInputError(
            f"the {part} labels are of targets {', '.join(labels) or 'none'}, the classes of "
            f"{', '.join(n_classes) or 'none'}; give both for the same targets, at least one"
        )
    checked = {}
    for target, k in n_classes.items():
        values = np.asarray(labels[target])
        if values.shape != (len(data),) or not len(data):
            raise InvalidInputError(
                f"{len(data)} {part} cases have labels of target {target} of shape {values.shape}; give each case one"
            )
        if values.dtype.kind not in "iu" or values.min() < UNLABELLED or values.max() >= k:
            raise InvalidInputError(
                f"the {part} labels of target {target} must be whole numbers from 0 to {k - 1}, or {UNLABELLED} where "
                "a case has none"
            )
        if values.max() == UNLABELLED:
            raise InvalidInputError(f"no {part} case has a label of target {target}; leave the target out")
        checked[target] = torch.from_numpy(values.astype(np.int64))
    if (torch.stack(list(checked.values())).amax(dim=0) == UNLABELLED).any():
        raise InvalidInputError(f"a {part} case has no label of {', '.join(n_classes)}; leave unlabelled cases out")
    return checked
