"""Controls: what guidance must beat. A head trained on them must *not* win."""

from __future__ import annotations

import numpy as np

from embeddings.errors import InvalidInputError
from heads.checks import check_number, check_seed

SHUFFLED = "shuffled"
"""The control in which G is trained on shuffled pairs."""


def shuffle_pairs(z_superior_nd: np.ndarray, *, seed: int, permutation: int) -> np.ndarray:
    """z_S of the train pairs, permuted over all of them: the shuffled-pairs control.

    z_superior_nd: (n, d_S), n >= 2, the z_S of the train pairs alone. The permutation is drawn by (seed, permutation)
    and is never the identity; single cases may keep their own z_S. No G here watches val, so val needs none. Raises
    InvalidInputError.
    """
    check_number(permutation, "permutation", 0, integer=True)
    if len(z_superior_nd) < 2:
        raise InvalidInputError(f"{len(z_superior_nd)} train pairs cannot be shuffled; at least 2 are needed")
    rng = np.random.default_rng([check_seed(seed), int(permutation)])
    order = rng.permutation(len(z_superior_nd))
    while (order == np.arange(len(order))).all():
        order = rng.permutation(len(order))
    return z_superior_nd[order]
