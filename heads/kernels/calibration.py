"""From scores to probabilities: one temperature, so that the class of the highest score stays the likeliest."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.decoders.common.temperature import fit_temperature
from guidestore.heads.kernels.decoder import Smoother
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.smoother import Weights

FEWEST = 2
"""Labelled val cases that a temperature is fitted on; with fewer, it is fitted on what was held out of train."""


def calibrated(
    preparation: Preparation,
    weights: Weights,
    paired: PairedCodes,
    raw_nd: np.ndarray,
    has: np.ndarray,
    held_mk: np.ndarray,
    labels_m: np.ndarray,
) -> Smoother:
    """The decoder of fitted weights: its temperature from the labelled val cases that have (`has`, (N,) bool) the codes
    `raw_nd` (N, d), or where there are none from the (m, k) out-of-fold scores of train."""
    val = paired.rows("val", paired.has_label, has)
    if len(val) >= FEWEST:
        held_mk, labels_m = weights(preparation.apply(raw_nd[val])), paired.labels[val]
    return Smoother(preparation, weights, fit_temperature(held_mk, labels_m))
