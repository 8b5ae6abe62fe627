"""What a metric is: one object, from its name to its value under draws of the cases.

A metric reads the truth of n cases and what a head says of them; by the kind of the target:

| kind | truth | outputs |
|---|---|---|
| `classes`, `ordinal` | (n,) int64 labels 0 … k-1 | (n, k) probabilities; rows sum to 1 |
| `multilabel` | (n, L) 1, 0, NaN where not looked at | (n, L) probabilities, each of its own |
| `value` | (n, 2): the value, the mean of the train cases | (n, 1): the value, in its unit |
| `survival` | (n, 3): time, event 1 or 0, the horizon | (n, 1 + T): the risk, larger is worse; who outlives T times |

The last column of the truth is the run's own reference, of its train cases (`Reference`): R² is held against the train
mean, and Uno's C looks up to the horizon. The drawn form gives the metric of many runs under many draws of the cases: a
draw is a row of counts, and with every count 1 it is the metric itself. Axes: b draws, n cases, r runs, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from guidestore.embeddings.outcomes import TargetKind


@dataclass(frozen=True, eq=False)
class Scored:
    """Labelled predictions, checked: n >= 1 rows."""

    labels: np.ndarray
    """The truth: of classes and grades (n,) int64, 0 … k-1; of others as the table above says."""
    probabilities: np.ndarray
    """The outputs: of classes and grades (n, k) float64, whose rows sum to 1."""

    @cached_property
    def predicted(self) -> np.ndarray:
        """(n,) int64: the likeliest class, of equals the first."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def present(self) -> np.ndarray:
        """The classes that occur, sorted."""
        return np.unique(self.labels)

    @property
    def recalls(self) -> np.ndarray:
        """float64, one per class that occurs."""
        return self.recalls_of(self.predicted)

    def recalls_of(self, said_n: np.ndarray) -> np.ndarray:
        """float64, one per class that occurs. said_n: (n,) the class that each case is said to have."""
        return np.array([np.mean(said_n[self.labels == c] == c) for c in self.present])


type Drawn = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(b, n) float32 counts, the truth and (r, n, k) outputs -> (b, r) float64, NaN where undefined."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of predictions."""

    name: str
    """As runs, tables and options have it."""
    title: str
    """As figures and the report print it."""
    short: str
    """As the head of a column."""
    value: Callable[[Scored], float | None]
    """None where it is not defined."""
    drawn: Drawn | None = None
    """None: it is stored with runs, but no table shows it and nothing is compared by it."""
    chance: Callable[[int], float] | None = None
    """Of k classes, what a head that knows nothing has; None where that depends on the cases."""
    better: Literal["higher", "lower"] = "higher"
    """Gains count what is better, whichever way that is."""
    kinds: frozenset[TargetKind] = frozenset({"classes"})
    """Kinds of targets that it is for."""
    from_0_to_1: bool = True
    """Whether figures may draw it on that axis; of what is better lower never."""


def at_once(drawn: Drawn) -> Callable[[Scored], float | None]:
    """The value of a metric by its drawn form, each case counted once."""

    def value(scored: Scored) -> float | None:
        once_1n = np.ones((1, len(scored.labels)), dtype=np.float32)
        told = float(drawn(once_1n, scored.labels, scored.probabilities[None])[0, 0])
        return None if np.isnan(told) else told

    return value


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator == 0, np.nan, numerator / denominator)
