"""What heads foretell: targets of five kinds, and the outcomes of cases as one array, ``y``. numpy only.

Of n cases, and missing where nobody looked: a case without an outcome still gives a pair of codes.

- ``classes``, ``ordinal`` (grades, in their order): y (n,) int64, the index; -1 where missing.
- ``multilabel`` (L labels, each of its own): y (n, L) float64, 1 has it, 0 has it not, NaN where not looked at.
- ``value`` (a measurement): y (n,) float64 in the target's unit; NaN where missing.
- ``survival``: y (n, 2) float64, a time > 0 in the target's unit and 1 (it happened then) or 0 (not up to then:
  censored); NaN, both, where missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

TargetKind = Literal["classes", "ordinal", "multilabel", "value", "survival"]
KINDS: tuple[TargetKind, ...] = get_args(TargetKind)
ONE_CLASS_KINDS: tuple[TargetKind, ...] = ("classes", "ordinal")
"""Of which a case has one class; its index is y."""
NAMED_KINDS: tuple[TargetKind, ...] = ("classes", "ordinal", "multilabel")

Outcome = str | float | tuple[float, bool] | Mapping[str, bool]
"""Of one case, by the target's kind: its class or grade; a value; a time, and whether it ended in an event; for each
label that was looked at whether the case has it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an outcome is."""

    name: str
    kind: TargetKind = "classes"
    names: tuple[str, ...] = ()
    """Classes, grades or labels in their order; () of value and survival."""
    unit: str = ""
    """Of a value, or of a survival time; '' where nobody said."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInputError(
                f"target {self.name} is of kind {self.kind!r}, which this version does not know; it knows "
                f"{', '.join(KINDS)}"
            )
        if bool(self.names) and self.kind not in NAMED_KINDS:
            raise InvalidInputError(f"target {self.name} is of kind {self.kind}, which has no classes; leave them out")

    @property
    def has_classes(self) -> bool:
        """Whether a case has one class, or one grade."""
        return self.kind in ONE_CLASS_KINDS

    def y_of(self, outcomes: Mapping[str, Outcome], case_ids: Sequence[str]) -> np.ndarray:
        """y of these cases; outcomes: case_id -> its outcome, of those that have one.

        Raises InvalidInputError naming the case whose outcome this target cannot have.
        """
        y = self.missing(len(case_ids))
        index = {name: i for i, name in enumerate(self.names)}
        for row, case_id in enumerate(case_ids):
            if (outcome := outcomes.get(case_id)) is None:
                continue
            try:
                if isinstance(outcome, Mapping):
                    for name, has_it in outcome.items():
                        y[row, index[name]] = float(has_it)
                else:
                    y[row] = index[outcome] if isinstance(outcome, str) else outcome
            except KeyError as error:
                raise InvalidInputError(
                    f"case {case_id} has the label {error.args[0]!r}, which is no class of target {self.name} "
                    f"({', '.join(self.names)}); correct the labels table"
                ) from error
        check_y(self.kind, y, n_names=len(self.names), what=f"target {self.name}", case_ids=case_ids)
        return y

    def missing(self, n: int) -> np.ndarray:
        """y of n cases without an outcome."""
        if self.has_classes:
            return np.full(n, -1, dtype=np.int64)
        width = {"multilabel": (len(self.names),), "survival": (2,)}.get(self.kind, ())
        return np.full((n, *width), np.nan)


def known_of(y: np.ndarray) -> np.ndarray:
    """(n,) bool: the cases that have an outcome; of several labels: one that was looked at, or more."""
    if y.dtype.kind in "iu":
        return y >= 0
    known = ~np.isnan(y)
    return known if y.ndim == 1 else known.any(axis=1)


def check_y(kind: TargetKind, y: np.ndarray, *, n_names: int, what: str, case_ids: Sequence[str] | None = None) -> None:
    """Raises InvalidInputError where `y` is none of this kind; the sentence begins with `what`, and names the case."""
    ndim, dtype = (1, np.int64) if kind in ONE_CLASS_KINDS else (1 if kind == "value" else 2, np.float64)
    width = {"multilabel": n_names, "survival": 2}.get(kind)
    if y.ndim != ndim or y.dtype != dtype or (width is not None and y.shape[1] != width):
        wanted = "(n,)" if width is None else f"(n, {width})"
        raise InvalidInputError(
            f"{what}: outcomes of kind {kind} are {y.dtype} of shape {y.shape}; they must be {np.dtype(dtype)} {wanted}"
        )
    if kind in ONE_CLASS_KINDS:
        _check_rows((y < -1) | (y >= n_names), what, "lies outside the classes", y, case_ids)
    elif kind == "multilabel":
        odd = ~(np.isnan(y) | (y == 0) | (y == 1)).all(axis=1)
        _check_rows(odd, what, "is neither 1 nor 0 somewhere", y, case_ids)
    elif kind == "value":
        _check_rows(np.isinf(y), what, "is infinite", y, case_ids)
    else:
        time, event = y.T
        half = np.isnan(time) != np.isnan(event)
        _check_rows(half, what, "lacks the time or the event; give both, or neither", y, case_ids)
        _check_rows(np.isinf(time) | (time <= 0), what, "has a time that is not above 0", y, case_ids)
        _check_rows(~(np.isnan(event) | np.isin(event, (0, 1))), what, "has an event that is not 1 or 0", y, case_ids)


def _check_rows(bad: np.ndarray, what: str, why: str, y: np.ndarray, case_ids: Sequence[str] | None) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        of = f"the outcome of case {case_ids[row]}" if case_ids is not None else f"the outcome in row {row}"
        raise InvalidInputError(f"{what}: {of} ({y[row].tolist()}) {why}")


FEWEST_OF_A_COMBINATION = 5
"""Cases that share a combination of labels, for it to be a stratum of its own."""


def strata_of(
    kind: TargetKind,
    y: np.ndarray,
    among: np.ndarray,
    *,
    bins: int = 10,
    time_bins: int = 3,
    fewest: int = FEWEST_OF_A_COMBINATION,
) -> np.ndarray:
    """(n,) int64 from 0: alike outcomes are of one stratum; -1 where missing.

    Classes and grades: the class. Values: of `bins` bins with equally many cases. Survival: censored or not, by bins
    of time with equally many events in `time_bins`. Several labels: what is known of them; combinations of fewer than
    `fewest` cases are joined by how many labels they have. Edges and counts are of the cases `among` ((n,) bool, or row
    numbers) alone, as of train, and hold for all.
    """
    y = np.asarray(y)
    if kind in ONE_CLASS_KINDS:
        return y.astype(np.int64)
    known = known_of(y)
    seen = np.zeros(len(y), dtype=bool)
    seen[among] = True
    seen &= known
    strata = np.full(len(y), -1, dtype=np.int64)
    if not seen.any():
        strata[known] = 0
    elif kind == "value":
        strata[known] = _binned(y[seen], bins)(y[known])
    elif kind == "survival":
        events = seen & (y[:, 1] == 1)
        bin_of = _binned(y[events if events.any() else seen, 0], time_bins)
        strata[known] = 2 * bin_of(y[known, 0]) + y[known, 1].astype(np.int64)
    else:
        _, combination, counts = np.unique(np.nan_to_num(y, nan=2.0), axis=0, return_inverse=True, return_counts=True)
        combination = combination.reshape(-1)
        counts = np.bincount(combination[seen], minlength=len(counts))
        rare = counts[combination] < fewest
        joined = len(counts) + np.nansum(y, axis=1).astype(np.int64)
        _, strata[known] = np.unique(np.where(rare, joined, combination)[known], return_inverse=True)
    return strata


def _binned(values: np.ndarray, bins: int) -> Callable[[np.ndarray], np.ndarray]:
    """Values -> the number of their bin, from 0; equal values are of one bin."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    return lambda of: np.searchsorted(edges, of, side="left")
