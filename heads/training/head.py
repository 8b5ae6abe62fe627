"""What one network is trained on and how, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from guidestore.heads.networks import Layers


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Watched:
    """What is stopped early on the val loss: that of all val rows at once, without dropout."""

    x_val_nd: np.ndarray
    """(n_val, d) float32."""
    patience: int
    """Epochs without a lower val loss before the head stops; its best epoch is restored."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Classes(Watched):
    """Cross-entropy over k classes."""

    labels: np.ndarray
    """(n,) int64, 0 <= label < k."""
    labels_val: np.ndarray
    """(n_val,) int64."""
    class_weights: np.ndarray
    """(k,) of the cross-entropy; both losses are means weighted by them."""
    weighted_sampler: bool
    """Draw each epoch's n rows with replacement, each class equally often; else a permutation."""
    relu_dropout_on_logits: bool
    """ReLU and dropout on the logits, the ReLU at prediction too."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SoftClasses(Classes):
    """Classes of which a teacher also gave probabilities: a row's loss is hard * CE + soft * T^2 * CE at temperature T.

    The val loss is that of `Classes`.
    """

    hard_n: np.ndarray
    """(n,) >= 0: 0 for rows whose label is not known; it then serves class weights and sampler alone."""
    soft_n: np.ndarray
    """(n,) >= 0: 0 for rows that the teacher did not see."""
    soft_nk: np.ndarray
    """(n, k) the teacher's probabilities, softened already; rows sum to 1."""
    temperature: float
    """T > 0: what the student's logits are divided by in the soft term."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcomes(Watched):
    """An outcome that is no class."""

    y_nc: np.ndarray
    """(n, c) float64, as the loss reads it."""
    y_val_nc: np.ndarray
    """(n_val, c)."""
    loss: Literal["mse", "huber", "cox", "binary"]
    """heads.training.outcome_losses."""

    @property
    def d_out(self) -> int:
        """Of the network: a survival time and its event are foretold by one risk."""
        return 1 if self.loss == "cox" else self.y_nc.shape[1]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TaughtOutcomes(Outcomes):
    """Outcomes of which a teacher also said something: a row's loss is hard * loss + soft * distance to the teacher.

    The distance is that of the loss, of `binary` T^2 times the cross-entropy at temperature T, of `cox` the squared
    error. The val loss is that of `Outcomes`.
    """

    hard_n: np.ndarray
    """(n,) >= 0: 0 for rows whose outcome is not known, whose y_nc is 0. Of `cox`, which compares rows with each other,
    1 - imitation of all that are known."""
    soft_nc: np.ndarray
    """(n, d_out) >= 0: 0 where the teacher said nothing."""
    taught_nc: np.ndarray
    """(n, d_out) what the teacher said: outputs of the network, of `binary` probabilities, softened already."""
    temperature: float
    """T > 0; 1 where the outcome has none."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Values:
    """A distance to given values; no early stopping, the last epoch is used."""

    y_nd: np.ndarray
    """(n, d_out) float32."""
    relu_output: bool
    """A ReLU after the last layer."""
    loss: tuple[tuple[str, float], ...] = (("mse", 1.0),)
    """(term, weight) of heads.training.losses.ValueLoss, summed."""
    teacher: Layers | None = None
    """A frozen network on values, whose outputs the term "logits" compares; None without it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Head:
    """One network: ReLU and dropout after each hidden layer, a linear output, SGD with Nesterov momentum."""

    x_nd: np.ndarray
    """(n, d) float32. Heads with equal arrays share work."""
    task: Classes | Outcomes | Values
    hidden: tuple[int, ...]
    """Widths of the hidden layers; () is one linear layer, and then dropout is on the codes."""
    dropout: float
    learning_rate: float
    weight_decay: float
    """As torch.optim.SGD has it."""
    epochs: int
    batch_size: int
    seed: int
    """Keys all of the head's randomness (heads.training.draws)."""
    start: tuple[np.ndarray, np.ndarray] | None = None
    """Weight (d_1, d) and bias (d_1,) that the first layer starts from; None: as they are drawn."""

    @property
    def d_out(self) -> int:
        if isinstance(self.task, Outcomes):
            return self.task.d_out
        return len(self.task.class_weights) if isinstance(self.task, Classes) else self.task.y_nd.shape[1]

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.x_nd.shape[1], *self.hidden, self.d_out)

    @property
    def shape(self) -> tuple[object, ...]:
        """Heads of equal shape can be one batch: every step has as many rows, and nothing but k differs in width.

        (With soft labels k must agree too, and with values the loss.)
        """
        kept = (*self.x_nd.shape, self.hidden, self.batch_size)
        if isinstance(self.task, Classes):
            soft = self.d_out if isinstance(self.task, SoftClasses) else 0
            return (*kept, len(self.task.x_val_nd), self.task.relu_dropout_on_logits, soft)
        if isinstance(self.task, Outcomes):
            return (*kept, len(self.task.x_val_nd), self.d_out, self.task.loss, isinstance(self.task, TaughtOutcomes))
        teacher = tuple(weight.shape for weight, _ in self.task.teacher or ())
        return (*kept, self.task.y_nd.shape[1], self.task.relu_output, self.task.loss, teacher, "values")


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained network."""

    layers: Layers
    """float32: of the best epoch under early stopping, else of the last."""
    epoch: int
    """That epoch, from 1."""
    loss: float
    """Its val loss under early stopping, else its mean train loss."""


@dataclass(frozen=True, slots=True)
class Diverged:
    """A head whose loss, or whose weights, left the finite numbers."""

    epoch: int
    loss: float
