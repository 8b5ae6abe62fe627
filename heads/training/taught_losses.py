"""The losses of outcomes that are no class, where a teacher said something of them too: hard * loss + soft * distance.

Axes as in heads.training: h head, b row of a step, c column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from guidestore.heads.training.head import Head, TaughtOutcomes
from guidestore.heads.training.outcome_losses import OutcomeLoss, cox


class TaughtOutcomeLoss(OutcomeLoss):
    """heads.training.head.TaughtOutcomes says what it is."""

    def __init__(self, heads: Sequence[Head], *, device: str, dtype: torch.dtype) -> None:
        super().__init__(heads, device=device, dtype=dtype)
        tasks = [cast(TaughtOutcomes, head.task) for head in heads]
        self._name = tasks[0].loss
        self.hard, self.soft, self.taught = (
            torch.from_numpy(np.stack(part)).to(device, dtype)
            for part in zip(*((task.hard_n[:, None], task.soft_nc, task.taught_nc) for task in tasks), strict=True)
        )
        """(h, n, 1), (h, n, c) and (h, n, c)."""
        self.temperature = torch.tensor([[[task.temperature]] for task in tasks], device=device, dtype=dtype)

    def keep(self, places: torch.Tensor) -> None:
        super().keep(places)
        self.hard, self.soft, self.taught = (of.index_select(0, places) for of in (self.hard, self.soft, self.taught))
        self.temperature = self.temperature.index_select(0, places)

    def begin_epoch(self, rows_hn: torch.Tensor) -> None:
        super().begin_epoch(rows_hn)
        self._hard, self._soft, self._taught = (
            of.take_along_dim(rows_hn[..., None], dim=1) for of in (self.hard, self.soft, self.taught)
        )

    def step(self, out_hbc: torch.Tensor, rows: slice, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        y, hard, soft, taught = (of[:, rows] for of in (self._y, self._hard, self._soft, self._taught))
        heat, n_rows = self.temperature, out_hbc.shape[1]
        size = n_rows if self._name == "binary" else n_rows * out_hbc.shape[2]
        if self._name == "cox":  # rows without an outcome are of time 0 and no event: nobody is compared with them
            loss_h, delta = cox(out_hbc, y)
            share = hard.amax(dim=1)
            loss_h, delta = loss_h * share[:, 0], delta * share[:, None]
            told, slope = _distance("mse", out_hbc, taught)
        else:
            own, own_slope = _distance(self._name, out_hbc, y)
            loss_h, delta = (own * hard).sum(dim=(1, 2)) / size, own_slope * hard / size
            # One T of the T^2 of the slope is gone: the outputs are divided by it. T is 1 where it is not binary.
            told, slope = _distance(self._name, out_hbc / heat, taught)
            told, slope = told * heat.square(), slope * heat
        return loss_h + (told * soft).sum(dim=(1, 2)) / size, delta + slope * soft / size


def _distance(name: str, out: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(h, b, c) of every output, and its slope; 0 where y is not known."""
    if name == "binary":
        known, wanted = ~y.isnan(), y.nan_to_num()
        nothing = torch.zeros_like(out)
        told = torch.where(known, torch.nn.functional.softplus(out) - wanted * out, nothing)
        return told, torch.where(known, torch.sigmoid(out) - wanted, nothing)
    difference = out - y
    if name == "mse":
        return difference.square(), 2.0 * difference
    slope = difference.clamp(-1.0, 1.0)
    return slope * (difference - 0.5 * slope), slope
