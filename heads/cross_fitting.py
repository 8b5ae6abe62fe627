"""Cross-fitting: D_c is fitted on G(z_I) of train cases from a G that did not see them, as it will be at test time.

K models of G leave out one fold of the train pairs each; val and test rows come from the G on all pairs, and so do
train cases without z_S, which no G was fitted on. (Chernozhukov et al. 2018, "Double/debiased machine learning", for
the idea of fitting a first stage out of fold.) Where G is trained through D_S, that D_S has seen the case's label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_number
from guidestore.heads.folds import fold_numbers
from guidestore.heads.protocol import GuidanceModel


def check_cross_fit(k: int, n_pairs: int, where: str) -> None:
    """0 for none, or 2 folds or more that each leave G at least 2 pairs."""
    check_number(k, "cross_fit", 0, integer=True)
    if k == 1 or (k and (n_pairs < k or n_pairs - -(-n_pairs // k) < 2)):
        raise InvalidInputError(
            f"{where}: {n_pairs} train pairs cannot be cross-fitted in {k} folds; use 0 for none, or 2 to {n_pairs} of "
            "at least 4 pairs"
        )


def left_out_with(rows_n: np.ndarray, pairs: np.ndarray, k: int, *, seed: int) -> np.ndarray:
    """(n,) the fold that each of `rows_n` is left out with; k for rows that are not among the train `pairs`."""
    if not k:
        return np.zeros(len(rows_n), dtype=np.int64)
    fold_of_row = dict(zip(pairs.tolist(), fold_numbers(len(pairs), k, seed=seed).tolist(), strict=True))
    return np.array([fold_of_row.get(row, k) for row in rows_n.tolist()], dtype=np.int64)


def out_of_fold(models: Sequence[GuidanceModel], model_of_row_n: np.ndarray, z_inferior_nd: np.ndarray) -> np.ndarray:
    """(n, d_S) G(z_I), row i by models[model_of_row_n[i]]. Raises DivergedError where it is not finite."""
    parts = [(np.flatnonzero(model_of_row_n == number), model) for number, model in enumerate(models)]
    guided = [(rows, model.predict(z_inferior_nd[rows])) for rows, model in parts if len(rows)]
    guided_nd = np.empty((len(z_inferior_nd), guided[0][1].shape[1]), dtype=np.float32)
    for rows, own_nd in guided:
        guided_nd[rows] = own_nd
    return guided_nd
