"""The one loop of networks whose gradients autograd takes: AdamW over the epochs' batches, one fit at a time.

Initial weights and the order of rows are keyed as the batched trainer's (draws.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim.adamw import adamw

from guidestore.heads.networks import diverged
from guidestore.heads.training.draws import row_uniforms


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long, and in which steps."""

    learning_rate: float
    weight_decay: float
    """Decoupled, as AdamW has it."""
    epochs: int
    batch_size: int
    patience: int = 0
    """Epochs without a lower val loss before the fit stops; of no meaning without val."""


@dataclass(frozen=True, slots=True, eq=False)
class Descended:
    """What a descent ended in."""

    parameters: list[np.ndarray]
    """float32: of the best epoch where val is watched, else of the last."""
    epoch: int
    loss: float
    """Its val loss, or its mean train loss."""


class AdamW:
    """torch.optim.AdamW's own function: the class imports torch's compiler, which takes five seconds."""

    def __init__(
        self, parameters: Sequence[torch.Tensor], *, learning_rate: float, weight_decay: float, fused: bool = True
    ) -> None:
        """fused: one kernel for the whole step. It rounds otherwise than the plain loop over the parameters, so a model
        keeps to one of them."""
        self._parameters = list(parameters)
        self._means, self._squares = ([torch.zeros_like(part) for part in parameters] for _ in range(2))
        self._steps = [torch.zeros((), device=part.device) for part in parameters]
        self._learning_rate, self._weight_decay, self._fused = learning_rate, weight_decay, fused

    def step(self, loss: torch.Tensor) -> None:
        """Moves the parameters against the gradient of () loss."""
        gradients = list(torch.autograd.grad(loss, self._parameters))
        with torch.no_grad():
            adamw(
                self._parameters, gradients, self._means, self._squares, [], self._steps, fused=self._fused,
                foreach=False, amsgrad=False, beta1=0.9, beta2=0.999, eps=1e-8, maximize=False,
                lr=self._learning_rate, weight_decay=self._weight_decay,
            )  # fmt: skip


def descend(
    parameters: Sequence[torch.Tensor],
    step_loss: Callable[[int, torch.Tensor], torch.Tensor],
    n: int,
    schedule: Schedule,
    *,
    seed: int,
    what: str,
    val_loss: Callable[[], float] | None = None,
) -> Descended:
    """Trains `parameters`, in place, on n rows.

    step_loss: epoch and (b,) row numbers -> () what is to be small. val_loss: where given, what stops the fit early.
    Raises DivergedError, which names `what`.
    """
    device, optimiser = (
        parameters[0].device,
        AdamW(parameters, learning_rate=schedule.learning_rate, weight_decay=schedule.weight_decay),
    )
    best: Descended | None = None
    for epoch in range(1, schedule.epochs + 1):
        order = torch.from_numpy(np.argsort(row_uniforms(seed, epoch, n), kind="stable")).to(device)
        total = torch.zeros((), device=device)
        for rows in order.split(schedule.batch_size):
            loss = step_loss(epoch, rows)
            optimiser.step(loss)
            total += loss.detach() * (len(rows) / n)
        watched = float(total) if val_loss is None else val_loss()
        if not np.isfinite(watched):
            raise diverged(what, epoch, watched, schedule.learning_rate)
        if val_loss is None:
            best = Descended([], epoch, watched)
        elif best is None or watched < best.loss:
            best = Descended(_copies(parameters), epoch, watched)
        elif epoch - best.epoch >= schedule.patience:
            break
    assert best is not None  # noqa: S101  (there is an epoch, and its loss is finite)
    kept = best.parameters or _copies(parameters)
    if not all(np.isfinite(part).all() for part in kept):
        raise diverged(what, best.epoch, best.loss, schedule.learning_rate)
    return Descended(kept, best.epoch, best.loss)


def _copies(parameters: Sequence[torch.Tensor]) -> list[np.ndarray]:
    return [part.detach().cpu().numpy().copy() for part in parameters]
