"""Wide codes of few cases are trained in the span of their rows, which is the same training with fewer inputs.

The gradient of a first layer W (d_1, d) is a sum of outer products with train rows, and SGD with momentum and weight
decay is linear in W. So with B (d, r) an orthonormal basis of all train and val rows, W B is trained exactly as the
first layer of a network that reads the coordinates x B, and what of W is orthogonal to B only decays. r is at most the
number of rows: 4,096-d codes of 413 + 203 cases become 616-d ones. Only rounding differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from guidestore.heads.networks import MOMENTUM, Layers
from guidestore.heads.training.draws import initial_layer
from guidestore.heads.training.head import Diverged, Head, Trained, Watched
from guidestore.heads.training.sharing import Arrays

WORTH = 0.75
"""Rows per dimension below which it is done: above, the smaller products do not pay for the basis."""


@dataclass(frozen=True, slots=True, eq=False)
class _Span:
    """A basis, and the rows in its coordinates; all float64."""

    basis_dr: np.ndarray
    x_nr: np.ndarray
    x_val_nr: np.ndarray


class RowSpaces:
    """The spans of the codes of several heads; heads on equal codes share one."""

    def __init__(self) -> None:
        self._arrays = Arrays()
        self._spans: dict[tuple[int, int], _Span] = {}
        self._starts: dict[tuple[int, int, int, int], np.ndarray] = {}

    def enter(self, head: Head) -> Head:
        """The same head on coordinates; `head` itself where that does not pay, or dropout is on the codes."""
        rows = len(head.x_nd) + (len(head.task.x_val_nd) if isinstance(head.task, Watched) else 0)
        if rows > WORTH * head.x_nd.shape[1] or (not head.hidden and head.dropout > 0):
            return head
        span, key = self._span(head)
        place = (*key, head.seed, head.widths[1])
        weight, bias = initial_layer(head.seed, 0, *head.widths[:2])
        if place not in self._starts:
            self._starts[place] = weight @ span.basis_dr
        task = replace(head.task, x_val_nd=span.x_val_nr) if isinstance(head.task, Watched) else head.task
        return replace(head, x_nd=span.x_nr, task=task, start=(self._starts[place], bias))

    def leave(self, head: Head, entered: Head, trained: Trained | Diverged) -> Trained | Diverged:
        """What `entered` learnt, as weights on the codes of `head`."""
        if entered is head or entered.start is None or isinstance(trained, Diverged):
            return trained
        span, _ = self._span(head)
        weight, _ = initial_layer(head.seed, 0, *head.widths[:2])
        start, (learnt, bias) = entered.start[0], trained.layers[0]
        steps = trained.epoch * -(-len(head.x_nd) // head.batch_size)
        kept = decayed(steps, head.learning_rate, head.weight_decay)
        # W = kept * (W_0 - W_0 B B^T) + (W B) B^T
        first = kept * weight + (learnt - kept * start) @ span.basis_dr.T
        layers: Layers = [(first.astype(np.float32), bias), *trained.layers[1:]]
        return replace(trained, layers=layers)

    def _span(self, head: Head) -> tuple[_Span, tuple[int, int]]:
        x_val_nd = head.task.x_val_nd if isinstance(head.task, Watched) else head.x_nd[:0]
        key = (self._arrays.number(head.x_nd), self._arrays.number(x_val_nd) if len(x_val_nd) else -1)
        if key not in self._spans:
            rows_nd = np.concatenate([head.x_nd, x_val_nd]).astype(np.float64)
            basis_dr, triangle_rn = np.linalg.qr(rows_nd.T)
            x_nr, x_val_nr = np.split(np.ascontiguousarray(triangle_rn.T), [len(head.x_nd)])
            self._spans[key] = _Span(basis_dr, x_nr, x_val_nr)
        return self._spans[key], key


def decayed(steps: int, learning_rate: float, weight_decay: float) -> float:
    """What is left of a weight of 1 that no loss moves, after so many steps of SGD."""
    weight, momentum = 1.0, 0.0
    for _ in range(steps if weight_decay else 0):
        gradient = weight_decay * weight
        momentum = MOMENTUM * momentum + gradient
        weight -= learning_rate * (gradient + MOMENTUM * momentum)
    return weight
