"""A trained head with its predictions, and the one place where a head predicts and is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from guidestore.embeddings.outcomes import known_of
from guidestore.embeddings.runs import REFERENCE_FACTS
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.conformal import HALF_WIDTH, half_width
from guidestore.heads.errors import DivergedError
from guidestore.heads.metrics import evaluate
from guidestore.heads.outcomes import n_outputs, reference_of

type Component = tuple[dict[str, Any], dict[str, np.ndarray]]
"""config and tensors of a model: what `load_guidance` and `load_decoder` take."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """One trained row with its predictions. m: cases predicted (val and test rows with the row's modalities)."""

    row: str
    mode: str
    guidance: str
    """Name or preset of G; '' for rows without."""
    decoder: str
    """Name or preset of the fitted decoder, with the fusion in front of it where that is not concatenation; the stored
    decoder's own name where the mode uses D_I or D_S."""
    control: str
    """'', or a name of heads.controls."""
    permutation: int
    """Of the shuffled control, from 0; 0 of other controls; -1 for the true pairs."""
    seed: int
    status: Literal["ok", "diverged"] = "ok"
    message: str = ""
    """The sentence of the divergence; '' if ok."""
    case_ids: tuple[str, ...] = field(default=(), repr=False)
    """(m,), in the order of the paired codes; unlabelled cases too. All empty where diverged."""
    parts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype="<U5"))
    """(m,) str: val or test."""
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(m,) int64; -1 where unlabelled; of other kinds than classes y, as embeddings.outcomes says."""
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(m, k) float64; of other kinds what the head says, as heads.metrics.metric has it."""
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Part -> metric -> value over its labelled cases (heads.metrics.evaluate); parts without labels are left out."""
    components: Mapping[str, Component] = field(default_factory=dict)
    """'decoder' and, for guided rows, 'guidance': enough for heads.prediction.predict_row."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """guidance_* and decoder_*: what the fits found (decoder_best_epoch, decoder_val_loss, guidance_alpha, …)."""
    n_pairs: int = 0
    """Train pairs that G was fitted on, unlabelled ones too; 0 without G."""
    n_train: int = 0
    """Labelled train rows that the decoder was fitted on; 0 for a stored D_I or D_S."""

    def diverged(self, error: DivergedError | str) -> Self:
        """This head as one whose fit, or whose prediction, left the finite numbers."""
        return replace(self, status="diverged", message=str(error), components={}, facts={})

    def predicting(self, paired: PairedCodes, has: np.ndarray, predict: Callable[[np.ndarray], np.ndarray]) -> Self:
        """This head with the predictions of the val and test cases that it can read, and their metrics.

        has: (n,) bool, those cases. predict: (m,) row numbers -> (m, k); a DivergedError of it marks the head.
        """
        rows_n = np.flatnonzero(np.isin(paired.parts, ("val", "test")) & has)
        probabilities = np.zeros((0, n_outputs(paired.kind, len(paired.classes))))
        try:
            if len(rows_n):
                probabilities = predict(rows_n)
        except DivergedError as error:
            return self.diverged(error)
        facts = {REFERENCE_FACTS[paired.kind]: reference_of(paired)} if paired.kind in REFERENCE_FACTS else {}
        val = (paired.parts[rows_n] == "val") & paired.has_label[rows_n]
        if paired.kind == "value" and val.any():
            facts[HALF_WIDTH] = half_width(paired.y[rows_n][val], probabilities[val, 0])
        return replace(
            self,
            facts={**self.facts, **facts},
            case_ids=tuple(paired.case_ids[row] for row in rows_n),
            parts=paired.parts[rows_n],
            labels=paired.y[rows_n],
            probabilities=probabilities,
            metrics=metrics_by_part(paired, rows_n, probabilities),
        )


def metrics_by_part(
    paired: PairedCodes, rows_n: np.ndarray, probabilities: np.ndarray, reference: float | None = None
) -> dict[str, dict[str, float]]:
    """val or test -> metric -> value, of what is said (m, k) of the cases at (m,) row numbers; of the labelled ones
    among them, and parts without such are left out. reference: of the run, which may have seen fewer outcomes."""
    parts, y = paired.parts[rows_n], paired.y[rows_n]
    scored = {part: (parts == part) & known_of(y) for part in ("val", "test")}
    asked: dict[str, Any] = {"kind": paired.kind, "reference": reference_of(paired) if reference is None else reference}
    return {
        part: evaluate(y[mask], probabilities[mask], paired.classes, **asked)
        for part, mask in scored.items()
        if mask.any()
    }
