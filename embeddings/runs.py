"""Trained and evaluated heads as types: a run, what makes runs one head, and the predictions of a run.

What the store keeps of a run is one row of schema ``runs``; `Run.from_row` and `Run.as_row` are the only places that
know how. numpy only.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind, check_y, known_of
from guidestore.embeddings.training_notes import training_note
from guidestore.embeddings.types import CodeSetName, FoldScope

Part = Literal["test", "val"]
"""The parts of a fold that runs are scored on."""

LabelBudget = int | Literal["all"]
"""How many labels of the train part a run may see."""

REFERENCE_FACTS: Mapping[TargetKind, str] = {"value": "train_mean", "survival": "horizon"}
"""What the train cases of a run give metrics to hold it against, by the name of the fact that it keeps: the mean of the
values, and how far Uno's C looks."""

Unit = tuple[str | int, ...]
"""What two runs must share to be a pair, as (split, fold, seed)."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is trained anew for every fold and seed of a split: all that a run is asked for by, but these two.

    The code sets are named without digests, because those of encoders that are trained on a fold differ by fold.
    """

    cohort: str
    target: str
    split: str
    inferior: CodeSetName | None
    superior: CodeSetName | None
    labelled: LabelBudget
    row: str
    mode: str
    guidance: str
    decoder: str
    control: str
    permutation: int

    @property
    def name(self) -> str:
        """``G(I)+I (ridge, logistic)``."""
        return f"{self.row} ({', '.join(filter(None, (self.guidance, self.decoder)))})"


@dataclass(frozen=True, slots=True)
class Run:
    """One trained and evaluated head on one fold, with one seed."""

    id: str
    """Artifact id: the digest of the run's recipe."""
    cohort: str
    target: str
    split: str
    fold: int
    row: str
    """Input row: S+I, S, I, G(I), G(I)+I, T(I), …"""
    inferior: CodeSetName | None = None
    superior: CodeSetName | None = None
    trained_on: tuple[FoldScope, ...] = ()
    """Of the encoders of both code sets, each once."""
    mode: str = "matched"
    """matched or as-published."""
    guidance: str = ""
    """'' for a row without G."""
    decoder: str = ""
    control: str = ""
    """'' for the real thing; shuffled, within class, self, own, label again, noise, repeated."""
    permutation: int = -1
    """Of a control; -1 otherwise."""
    seed: int = 0
    status: str = "ok"
    """ok or diverged."""
    labelled: LabelBudget = "all"
    classes: tuple[str, ...] = ()
    """Classes, grades or labels in their fixed order, which is that of the probabilities; () of value and survival."""
    kind: TargetKind = "classes"
    """Of the target."""
    target_unit: str = ""
    """Of a value, or of a survival time."""
    n_train: int = 0
    """Labelled train cases that the decoder saw."""
    best_epoch: int = -1
    """Of the decoder, by val; -1 for one without epochs."""
    training: Mapping[str, float] = field(default_factory=dict)
    """What was measured while it was trained, by name."""
    message: str = ""
    """Why it diverged."""
    device: str = ""
    """Where it was trained: cpu, cuda, …; '' where that is not known."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Role (guidance, decoder, …) -> weights artifact."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package -> version that trained it."""
    snapshot: int = 0
    """Commit number that its codes were read at."""
    created_at: str = ""
    """UTC, ISO 8601."""

    @property
    def head(self) -> Head:
        return Head(
            cohort=self.cohort,
            target=self.target,
            split=self.split,
            inferior=self.inferior and self.inferior.stem,
            superior=self.superior and self.superior.stem,
            labelled=self.labelled,
            row=self.row,
            mode=self.mode,
            guidance=self.guidance,
            decoder=self.decoder,
            control=self.control,
            permutation=self.permutation,
        )

    @property
    def unit(self) -> tuple[str, int, int]:
        """Split, fold and seed."""
        return self.split, self.fold, self.seed

    @property
    def diverged(self) -> bool:
        return self.status == "diverged"

    @property
    def reference(self) -> float:
        """What its metrics are held against (REFERENCE_FACTS); NaN where the kind has none."""
        return self.training.get(REFERENCE_FACTS.get(self.kind, ""), math.nan)

    @property
    def note(self) -> str:
        """What its training warns of; '' for nothing."""
        # Losses of other kinds are no cross-entropies whose chance is known.
        classes = len(self.classes) if self.kind == "classes" else 0
        return training_note(message=self.message, classes=classes, facts=self.training)

    @property
    def of_unknown_encoders(self) -> bool:
        """Whether nobody knows what one of its encoders was trained on."""
        return any(scope.kind == "unknown" for scope in self.trained_on)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Run:
        """The run that a row of schema ``runs`` holds; columns that this version does not know are passed over."""
        settings = json.loads(row["settings"] or "{}")
        inferior, superior = (CodeSetName.parse(row[side]) if row[side] else None for side in ("inferior", "superior"))
        return cls(
            id=row["run"],
            inferior=inferior,
            superior=superior,
            trained_on=_scopes(row["trained_on"] or ""),
            labelled=settings.get("labelled", "all"),
            classes=tuple(settings.get("classes", ())),
            kind=settings.get("kind", "classes"),
            target_unit=settings.get("unit", ""),
            training=settings.get("facts", {}),
            message=settings.get("message", ""),
            device=settings.get("device", ""),
            weights=json.loads(row["weights"] or "{}"),
            versions=_versions(row["versions"] or "{}"),
            **{name: row[name] for name in _PLAIN if name != "control"},
            control="own" if row["control"] == "self-training" else row["control"],  # as runs had it up to 0.1
        )

    def as_row(self) -> dict[str, Any]:
        """The row of schema ``runs``."""
        settings: dict[str, Any] = {"classes": self.classes, "labelled": self.labelled, "facts": dict(self.training)}
        settings |= {"kind": self.kind, "unit": self.target_unit} if self.kind != "classes" else {}
        return {
            "run": self.id,
            "inferior": str(self.inferior or ""),
            "superior": str(self.superior or ""),
            "trained_on": ", ".join(map(str, self.trained_on)),
            "settings": canonical_json({**settings, "message": self.message, "device": self.device}),
            "weights": canonical_json(dict(self.weights)),
            "versions": canonical_json(dict(self.versions)),
            **{name: getattr(self, name) for name in _PLAIN},
        }


_PLAIN = (
    *("cohort", "target", "split", "fold", "snapshot", "row", "mode", "guidance", "decoder", "control", "permutation"),
    *("seed", "status", "n_train", "best_epoch", "created_at"),
)
"""Fields that the store has in a column of the same name."""


@functools.lru_cache(maxsize=1024)
def _scopes(text: str) -> tuple[FoldScope, ...]:
    return tuple(FoldScope.parse(scope) for scope in text.split(", ") if scope)


@functools.lru_cache(maxsize=1024)
def _versions(text: str) -> Mapping[str, str]:
    return json.loads(text)


def median_grade(probabilities_nk: np.ndarray) -> np.ndarray:
    """(n, k) -> (n,) int64: the grade in the middle, the first up to which half of the probability lies. Of all grades
    it is the one of the least expected distance; the likeliest may lie at an end."""
    below_nk = np.cumsum(probabilities_nk, axis=1)
    return (below_nk < 0.5 - 1e-12).sum(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class RunPredictions:
    """Predictions of one run on n >= 2 labelled cases, kept sorted by case id. Raises InvalidInputError."""

    run: str
    """Id of the run."""
    unit: Unit
    """(split, fold, seed). Runs of one row and one unit (the permutations of a control) count with their mean."""
    case_ids: tuple[str, ...] = field(repr=False)
    """(n,), each once. One id is one case in every fold, seed and split: it is drawn in all of them or in none."""
    labels: np.ndarray = field(repr=False)
    """y of the kind (embeddings.outcomes): of classes and grades (n,) int64, 0 … k-1. Leave unlabelled cases out."""
    probabilities: np.ndarray = field(repr=False)
    """(n, k) float64. Classes and grades: k >= 2 and rows sum to 1 (within 1e-6; kept normalised); several labels: one
    each; a value: (n, 1), in its unit; survival: (n, 1 + T), the risk, then the share that outlives each of T times."""
    kind: TargetKind = "classes"
    reference: float = math.nan
    """`Run.reference`."""

    def __post_init__(self) -> None:
        what = f"predictions of run {self.run}"
        probabilities_nk = np.asarray(self.probabilities, dtype=np.float64)
        n = len(self.case_ids)
        if n < 2:
            raise InvalidInputError(f"{what}: {n} cases; at least 2 are needed to say how sure a figure is")
        of_classes = self.kind in ONE_CLASS_KINDS
        least = 2 if of_classes else 1
        if probabilities_nk.ndim != 2 or len(probabilities_nk) != n or probabilities_nk.shape[1] < least:
            told = "probabilities have" if of_classes else "what it says has"
            wanted = ", with 2 classes or more" if of_classes else ""
            raise InvalidInputError(
                f"{what}: {told} shape {probabilities_nk.shape}; give one row for each of the {n} cases{wanted}"
            )
        check = self._check_classes if of_classes else self._check_others
        labels, probabilities_nk = check(what, probabilities_nk)
        order = np.argsort(np.asarray(self.case_ids, dtype=object), kind="stable")
        case_ids = tuple(self.case_ids[i] for i in order)
        if len(set(case_ids)) < n:
            twice = next(a for a, b in pairwise(case_ids) if a == b)
            raise InvalidInputError(f"{what}: case {twice} occurs twice; give one row per case and run")
        object.__setattr__(self, "case_ids", case_ids)
        object.__setattr__(self, "labels", labels[order])
        object.__setattr__(self, "probabilities", np.ascontiguousarray(probabilities_nk[order]))

    def _check_classes(self, what: str, probabilities_nk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, k = probabilities_nk.shape
        in_range = np.isfinite(probabilities_nk).all() and probabilities_nk.min(initial=0.0) >= 0
        if not in_range or not np.allclose(probabilities_nk.sum(axis=1), 1.0, rtol=0, atol=1e-6):
            raise InvalidInputError(
                f"{what}: probabilities are negative, not finite or do not sum to 1 in some row; leave the run out"
            )
        # As `heads.metrics.evaluate` does, so that ties are the same ties.
        probabilities_nk = probabilities_nk / probabilities_nk.sum(axis=1, keepdims=True)
        labels = np.asarray(self.labels)
        if labels.shape != (n,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= k:
            raise InvalidInputError(
                f"{what}: labels are {labels.dtype} of shape {labels.shape}; they must be ({n},) integers from 0 to "
                f"{k - 1}, so leave unlabelled cases out"
            )
        return labels.astype(np.int64), probabilities_nk

    def _check_others(self, what: str, outputs_nk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.asarray(self.labels, dtype=np.float64)
        check_y(self.kind, y, n_names=outputs_nk.shape[1], what=what, case_ids=self.case_ids)
        if len(y) != len(outputs_nk) or not known_of(y).all() or not np.isfinite(outputs_nk).all():
            raise InvalidInputError(
                f"{what}: an outcome is missing, or what was said of it is not finite; leave unlabelled cases out"
            )
        if self.kind in REFERENCE_FACTS and not math.isfinite(self.reference):
            raise InvalidInputError(
                f"{what}: the {REFERENCE_FACTS[self.kind].replace('_', ' ')} of its train cases is not known; train it "
                "again"
            )
        return y, outputs_nk

    def __len__(self) -> int:
        return len(self.case_ids)

    @property
    def n_classes(self) -> int:
        return self.probabilities.shape[1]

    @property
    def predicted(self) -> np.ndarray:
        """(n,) int64, of classes the likeliest, of equals the first; of grades that in the middle."""
        return median_grade(self.probabilities) if self.kind == "ordinal" else self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool: whether the predicted class is the true one."""
        return self.predicted == self.labels
