"""Principal components of centred codes."""

from __future__ import annotations

import numpy as np

from guidestore.heads.scaling import CONSTANT_SHARE


def principal(x_nd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orthonormal scores (n, r), singular values (r,) and directions (d, r) of centred (n, d), largest first.

    r is the rank: directions below the resolution of float32 are rounding, as columns are in heads.scaling.
    """
    u_nr, s_r, vt_rd = np.linalg.svd(x_nd, full_matrices=False)
    rank = int((s_r > CONSTANT_SHARE * s_r[0]).sum())
    return u_nr[:, :rank], s_r[:rank], vt_rd[:rank].T
