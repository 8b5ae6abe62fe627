"""How good the probabilities of several labels are: (n, L) 1, 0 or NaN where not looked at, and (n, L) probabilities,
each of its own. Axes as in metric.py; l label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.metrics.classes import drawn_auroc
from guidestore.heads.metrics.metric import Drawn, Metric, at_once, ratio

_MULTILABEL: frozenset[TargetKind] = frozenset({"multilabel"})


def _auroc_of_label(counts_bn: np.ndarray, truth_n: np.ndarray, said_rn: np.ndarray) -> np.ndarray:
    """(b, r)."""
    return drawn_auroc(counts_bn, truth_n.astype(np.int64), np.stack([1.0 - said_rn, said_rn], axis=2))


def _ap_of_label(counts_bn: np.ndarray, truth_n: np.ndarray, said_rn: np.ndarray) -> np.ndarray:
    """(b, r) average precision: over the distinct scores, precision times what recall grows by; ties come together."""
    counts_bn = counts_bn.astype(np.float64)
    positives = (counts_bn * truth_n).sum(axis=1)
    areas = []
    for said_n in said_rn:
        order = np.argsort(-said_n, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(said_n[order])), len(order) - 1)
        hits = np.cumsum(counts_bn[:, order] * truth_n[order], axis=1)[:, ends]
        taken = np.cumsum(counts_bn[:, order], axis=1)[:, ends]
        precision = hits / np.maximum(taken, 1.0)
        areas.append(ratio((np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1), positives))
    return np.stack(areas, axis=1)


def _macro(of_label: Drawn) -> Drawn:
    """The mean over the labels that some cases have and some have not; what a draw lacks is left out of its mean."""

    def drawn(counts_bn: np.ndarray, truth_nl: np.ndarray, outputs_rnl: np.ndarray) -> np.ndarray:
        sums, held = (np.zeros((len(counts_bn), len(outputs_rnl))) for _ in range(2))
        for label in range(truth_nl.shape[1]):
            told = drawn_label(of_label, counts_bn, truth_nl, outputs_rnl, label)
            sums += np.nan_to_num(told)
            held += ~np.isnan(told)
        return ratio(sums, held)

    return drawn


def drawn_label(
    of_label: Drawn, counts_bn: np.ndarray, truth_nl: np.ndarray, outputs_rnl: np.ndarray, label: int
) -> np.ndarray:
    """(b, r) of one label, over the cases that were looked at; NaN where these are all of one kind."""
    known = ~np.isnan(truth_nl[:, label])
    truth_n = truth_nl[known, label]
    if len(np.unique(truth_n)) < 2:
        return np.full((len(counts_bn), len(outputs_rnl)), np.nan)
    return of_label(counts_bn[:, known], truth_n, outputs_rnl[:, known, label])


def of_each_label(truth_nl: np.ndarray, outputs_nl: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """auroc:<label> and ap:<label>, where they are defined."""
    once_1n, told = np.ones((1, len(truth_nl)), dtype=np.float32), {}
    for label, name in enumerate(names):
        for metric, of_label in (("auroc", _auroc_of_label), ("ap", _ap_of_label)):
            value = float(drawn_label(of_label, once_1n, truth_nl, outputs_nl[None], label)[0, 0])
            told |= {} if np.isnan(value) else {f"{metric}:{name}": value}
    return told


drawn_macro_auroc, drawn_macro_ap = _macro(_auroc_of_label), _macro(_ap_of_label)

MACRO_AUROC = Metric(
    *("macro_auroc", "macro AUROC", "AUROC", at_once(drawn_macro_auroc), drawn_macro_auroc),
    chance=lambda k: 0.5,
    kinds=_MULTILABEL,
)
MACRO_AP = Metric("macro_ap", "macro AP", "AP", at_once(drawn_macro_ap), drawn_macro_ap, kinds=_MULTILABEL)

METRICS = (MACRO_AUROC, MACRO_AP)
