"""The area under the ROC curve of one score, as Mann-Whitney's statistic: exact with ties."""

from __future__ import annotations

import numpy as np


def area_under_roc(positive_n: np.ndarray, scores_n: np.ndarray) -> float:
    """Share of the pairs of a positive and another case in which the positive one scores higher; of equals the half.

    positive_n (n,) bool, at least one of each; scores_n (n,) without NaN. What scikit-learn's roc_auc_score says, a
    hundred times as fast on a hundred cases, and sweeps ask thousands of times.
    """
    others = np.sort(scores_n[~positive_n])
    below, up_to = (np.searchsorted(others, scores_n[positive_n], side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(others)))
