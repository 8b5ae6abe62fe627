"""Trained and evaluated heads as types: a run, what makes runs one head, and the predictions of a run.

What the store keeps of a run is one row of schema ``runs``; `Run.from_row` and `Run.as_row` are the only places that
know how. numpy only.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.training_notes import training_note
from guidestore.embeddings.types import CodeSetName, FoldScope

Part = Literal["test", "val"]
"""The parts of a fold that runs are scored on."""

LabelBudget = int | Literal["all"]
"""How many labels of the train part a run may see."""

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
    """In their fixed order, which is that of the probabilities."""
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
    def note(self) -> str:
        """What its training warns of; '' for nothing."""
        return training_note(message=self.message, classes=len(self.classes), facts=self.training)

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
        settings = {"classes": self.classes, "labelled": self.labelled, "facts": dict(self.training)}
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


@dataclass(frozen=True, slots=True, eq=False)
class RunPredictions:
    """Predictions of one run on n >= 2 labelled cases, kept sorted by case id. Raises InvalidInputError."""

    run: str
    """Id of the run."""
    unit: Unit
    """(split, fold, seed). Runs of one row and one unit (the permutations of a control) count with their mean."""
    case_ids: tuple[str, ...]
    """(n,), each once. One id is one case in every fold, seed and split: it is drawn in all of them or in none."""
    labels: np.ndarray
    """(n,) int64, 0 … k-1; leave unlabelled cases out."""
    probabilities: np.ndarray
    """(n, k) float64, k >= 2; rows sum to 1 (within 1e-6; kept normalised)."""

    def __post_init__(self) -> None:
        what = f"predictions of run {self.run}"
        probabilities_nk = np.asarray(self.probabilities, dtype=np.float64)
        n = len(self.case_ids)
        if n < 2:
            raise InvalidInputError(f"{what}: {n} cases; at least 2 are needed to say how sure a figure is")
        if probabilities_nk.ndim != 2 or len(probabilities_nk) != n or probabilities_nk.shape[1] < 2:
            raise InvalidInputError(
                f"{what}: probabilities have shape {probabilities_nk.shape}; give one row for each of the {n} cases, "
                "with 2 classes or more"
            )
        in_range = np.isfinite(probabilities_nk).all() and probabilities_nk.min(initial=0.0) >= 0
        if not in_range or not np.allclose(probabilities_nk.sum(axis=1), 1.0, rtol=0, atol=1e-6):
            raise InvalidInputError(
                f"{what}: probabilities are negative, not finite or do not sum to 1 in some row; leave the run out"
            )
        # As `heads.metrics.evaluate` does, so that ties are the same ties.
        probabilities_nk = probabilities_nk / probabilities_nk.sum(axis=1, keepdims=True)
        k = probabilities_nk.shape[1]
        labels = np.asarray(self.labels)
        if labels.shape != (n,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= k:
            raise InvalidInputError(
                f"{what}: labels are {labels.dtype} of shape {labels.shape}; they must be ({n},) integers from 0 to "
                f"{k - 1}, so leave unlabelled cases out"
            )
        order = np.argsort(np.asarray(self.case_ids, dtype=object), kind="stable")
        case_ids = tuple(self.case_ids[i] for i in order)
        if len(set(case_ids)) < n:
            twice = next(a for a, b in pairwise(case_ids) if a == b)
            raise InvalidInputError(f"{what}: case {twice} occurs twice; give one row per case and run")
        object.__setattr__(self, "case_ids", case_ids)
        object.__setattr__(self, "labels", labels.astype(np.int64)[order])
        object.__setattr__(self, "probabilities", np.ascontiguousarray(probabilities_nk[order]))

    def __len__(self) -> int:
        return len(self.case_ids)

    @property
    def n_classes(self) -> int:
        return self.probabilities.shape[1]

    @property
    def predicted(self) -> np.ndarray:
        """(n,) int64: the likeliest class, of equals the first."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool: whether the predicted class is the true one."""
        return self.predicted == self.labels
