"""Is z_S but z_I again? Asked before anything is trained, of the codes of the train pairs alone, without labels."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.smoother import Decomposition

FORETOLD = 0.98
"""Share of the variance of z_S out of fold from which on z_I is said to foretell it."""
PENALTIES = (1e-2, 1e-4, 1e-6, 1e-8)
"""The least leaves a copy of 10,000 columns, each of which has 1e-4 of the variance, its whole height."""
MOST_PAIRS = 2_000
"""More are drawn from."""
FEWEST_PAIRS = 3
MOST_COLUMNS = 128
"""Of z_S; of more, so many random directions stand for all, which keep the shares of their variance."""


def foretold_share(paired: PairedCodes) -> float:
    """R² of a ridge z_I -> z_S on train pairs that are left out one by one, all prepared columns together, at the best
    of the PENALTIES; nan where a side does not vary or there are fewer than 3 pairs.

    With fewer pairs than columns little is foretold, even of a copy in other axes; the same codes are 1 at once.
    """
    pairs = paired.rows("train", paired.is_pair)
    if len(pairs) < FEWEST_PAIRS:
        return float("nan")
    if len(pairs) > MOST_PAIRS:
        pairs = np.sort(np.random.default_rng(0).choice(pairs, MOST_PAIRS, replace=False))
    z_i, z_s = paired.inferior_nd[pairs], paired.superior_nd[pairs]
    if np.array_equal(z_i, z_s):
        return 1.0
    try:
        from_nd, to_nd = (Preparation.fit(codes, "codes").apply(codes) for codes in (z_i, z_s))
    except InvalidInputError:  # a side does not vary, which whoever trains on it says
        return float("nan")
    if (d := to_nd.shape[1]) > MOST_COLUMNS:
        to_nd = to_nd @ np.random.default_rng(0).standard_normal((d, MOST_COLUMNS))
    of = Decomposition.of("linear", from_nd)
    left = [((of.left_out(to_nd, [alpha])[0] - to_nd) ** 2).sum() for alpha in PENALTIES]
    return float(1.0 - min(left) / (to_nd**2).sum())


def redundancy(paired: PairedCodes) -> str:
    """A sentence where both sides are one code set, or z_I foretells z_S with R² above .98 out of fold; else ''."""
    where = f"{paired.cohort}/{paired.split}/{paired.fold}"
    advice = "guidance can gain nothing but capacity; choose another superior code set"
    names = [f"{key.modality}/{key.encoder}" for key in (paired.inferior_key, paired.superior_key) if key]
    inferior, superior = names if len(names) == 2 else ("z_I", "z_S")
    if paired.inferior_key is not None and paired.inferior_key == paired.superior_key:
        return f"{where}: {inferior} stands on both sides, so {advice}"
    share = foretold_share(paired)
    if share == 1.0:
        return f"{where}: {superior} holds the codes of {inferior}, so {advice}"
    if share > FORETOLD:
        return f"{where}: {inferior} foretells {superior} with R² {share:.3f} out of fold, so {advice}"
    return ""
