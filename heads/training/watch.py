"""Early stopping where the training is: which heads go on, and when each was best, without the host looking on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from guidestore.heads.training.head import Head, Watched

_NEVER = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the host is told of each head: (h,) each."""

    going: np.ndarray
    best_loss: np.ndarray
    best_epoch: np.ndarray
    lost_epoch: np.ndarray
    """In which its loss was no longer finite; 0: never."""
    lost_loss: np.ndarray


class Watch:
    """Of a batch of heads, (h,) each on the device."""

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        h = len(heads)
        patience = [head.task.patience if isinstance(head.task, Watched) else _NEVER for head in heads]
        self._ends = torch.tensor([head.epochs for head in heads], device=device)
        self._patience = torch.tensor(patience, device=device)
        self._epoch = torch.zeros((), dtype=torch.int64, device=device)
        self._going = torch.ones(h, dtype=torch.bool, device=device)
        self._best_loss = torch.full((h,), torch.inf, dtype=dtype, device=device)
        self._lost_loss = torch.zeros(h, dtype=dtype, device=device)
        self._best_epoch, self._lost_epoch = (torch.zeros(h, dtype=torch.int64, device=device) for _ in range(2))
        self.ends = frozenset(head.epochs for head in heads)
        """Epochs after which a head is as it shall be: the host must look then."""

    def look(self, train_loss: torch.Tensor, val_loss: torch.Tensor | None) -> torch.Tensor:
        """Takes the epoch's losses (h,). (h,) bool: whose weights of now are to be kept."""
        watched = train_loss if val_loss is None else val_loss
        self._epoch += 1
        finite = train_loss.isfinite() & watched.isfinite()
        lost = self._going & ~finite
        self._lost_epoch.copy_(torch.where(lost, self._epoch, self._lost_epoch))
        self._lost_loss.copy_(
            torch.where(lost, torch.where(train_loss.isfinite(), watched, train_loss), self._lost_loss)
        )
        self._going &= finite
        better = self._going.clone() if val_loss is None else self._going & (watched < self._best_loss)
        self._best_loss.copy_(torch.where(better, watched, self._best_loss))
        self._best_epoch.copy_(torch.where(better, self._epoch, self._best_epoch))
        self._going &= (self._epoch < self._ends) & (self._epoch - self._best_epoch < self._patience)
        return better

    def keep(self, places: torch.Tensor) -> None:
        """Drop all heads but those at `places`, which then come in that order."""
        names = ("_ends", "_patience", "_going", "_best_loss", "_lost_loss", "_best_epoch", "_lost_epoch")
        for name in names:
            setattr(self, name, getattr(self, name).index_select(0, places))

    def seen(self) -> Seen:
        """Waits for the device."""
        exact = torch.stack([self._best_loss.double(), self._lost_loss.double()])
        whole = torch.stack([self._going.long(), self._best_epoch, self._lost_epoch]).cpu().numpy()
        best_loss, lost_loss = exact.cpu().numpy()
        return Seen(whole[0].astype(bool), best_loss, whole[1], whole[2], lost_loss)
