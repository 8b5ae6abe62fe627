"""Controls: what guidance must beat. A head trained on them must *not* win. One object each, in the order of tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_number, check_seed

SHUFFLED = "shuffled"
SELF_TRAINING = "self-training"
NOISE = "noise"
REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Control:
    """What a row is held against beside row I."""

    name: str
    """As runs have it."""
    title: str
    """How tables call a row of it: ``{row}, shuffled pairs``."""
    permuted: bool = False
    """Trained several times, on one permutation of the pairs each."""
    stand_in: str = ""
    """``module:Class`` of what stands in for G(z_I) in G(I)+I; '' where nothing does."""


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(SHUFFLED, "{row}, shuffled pairs", permuted=True),
        Control(SELF_TRAINING, "{row}, self-training"),
        Control(NOISE, "{row}, noise for G", stand_in="guidestore.heads.guidance.common.stand_ins:Noise"),
        Control(REPEATED, "{row}, z_I for G", stand_in="guidestore.heads.guidance.common.stand_ins:Repeated"),
    )
}
"""shuffled: G, or the teacher, saw shuffled pairs. self-training: the teacher of T(I) reads z_I, the same recipe
without the superior modality. noise: draws of the width, mean and deviation of G(z_I). repeated: z_I, repeated or cut
to the width of z_S."""


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
