"""How far tiles of a slide lie apart."""

from __future__ import annotations

import numpy as np


def usual_gap(coords_n2: np.ndarray) -> float | None:
    """The most frequent distance of two tiles that follow each other in a row or a column; None where none do.

    Rows and columns, since CLAM lays a grid for each piece of tissue: on a whole slide places lie at any distance.
    """
    gaps = []
    eighths = np.rint(np.asarray(coords_n2, np.float64) * 8).astype(np.int64)
    for axis in (0, 1):
        across, along = eighths[:, 1 - axis], eighths[:, axis]
        order = np.lexsort((along, across))
        across, along = across[order], along[order]
        gaps.append(np.diff(along)[np.diff(across) == 0])
    joined = np.concatenate(gaps)
    values, counts = np.unique(joined[joined > 0], return_counts=True)
    return float(values[counts.argmax()]) / 8 if len(values) else None
