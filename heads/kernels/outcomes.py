"""What smoothers regress and how good their scores are, by the kind of the target; and the decoder of a fitted one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.kernels.calibration import calibrated
from guidestore.heads.kernels.decoder import Smoother
from guidestore.heads.kernels.foreteller import SmootherOf, finished
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.scoring import label_targets, score
from guidestore.heads.kernels.smoother import Weights
from guidestore.heads.links.table import LINKS
from guidestore.heads.outcomes import reference_of


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """Of one training set."""

    paired: PairedCodes
    reference: float

    @classmethod
    def of(cls, paired: PairedCodes) -> Scoring:
        return cls(paired, reference_of(paired))

    @property
    def n_columns(self) -> int:
        """Of targets and scores."""
        kind, k = self.paired.kind, len(self.paired.classes)
        return {"value": 1, "survival": 1, "ordinal": k - 1}.get(kind, k)

    def targets(self, rows_n: np.ndarray) -> np.ndarray:
        """(m, c) of the labelled train cases at these rows."""
        paired, y = self.paired, self.paired.y[rows_n]
        if paired.kind == "classes":
            return label_targets(y, len(paired.classes))
        return LINKS[paired.kind].targets(y, len(paired.classes))

    def score(self, rows_n: np.ndarray, scores_mc: np.ndarray) -> float:
        """On the scale of the kind's main metric; of classes (balanced accuracy + AUROC) / 2."""
        y = self.paired.y[rows_n]
        if self.paired.kind == "classes":
            return score(y, scores_mc)
        return LINKS[self.paired.kind].score(y, scores_mc, self.reference)

    def decoder(
        self,
        preparation: Preparation,
        weights: Weights,
        raw_nd: np.ndarray,
        has: np.ndarray,
        held_mc: np.ndarray,
        held_n: np.ndarray,
    ) -> Smoother | SmootherOf:
        """Of fitted weights. raw_nd: (N, d) codes, `has` (N,) bool who has them. held_mc: scores of the train cases at
        (m,) rows held_n, each as it was held out: a link is fitted on them. (Of classes the temperature on val.)"""
        paired = self.paired
        if paired.kind == "classes":
            return calibrated(preparation, weights, paired, raw_nd, has, held_mc, paired.labels[held_n])
        link = LINKS[paired.kind].fit(held_mc, paired.y[held_n], len(paired.classes))
        return finished(paired.kind, preparation, weights, link)
