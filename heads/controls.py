"""Controls: what guidance must beat. A head trained on them must *not* win. One object each, in the order of tables.

Each takes one explanation away that is not guidance. What it does to the train pairs is one of three things: another
order of their z_S (`shuffle_pairs`), other codes in place of z_S (heads.replaced_codes), or something that stands
in for G(z_I) behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_number, check_seed

SHUFFLED = "shuffled"
WITHIN_CLASS = "within class"
SELF = "self"
OWN = "own"
LABEL_AGAIN = "label again"
NOISE = "noise"
REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Control:
    """What a row is held against beside row I."""

    name: str
    """As runs have it."""
    title: str
    """How tables call a row of it: ``{row}, shuffled pairs``."""
    explains: str = ""
    """The verdict on a row that is not surely above it; '' where it takes no part in verdicts."""
    drawn: bool = False
    """Whether it is drawn at random, as often as permutations are asked for; else one is trained on a fold and seed."""
    orders: Literal["", "all", "class"] = ""
    """Among which pairs z_S is permuted."""
    replaces: bool = False
    """Whether other codes are put in place of z_S."""
    kinds: tuple[str, ...] = ()
    """Of runs that are different codes: each is a control of its own. All but the last have one run each, numbered as
    here; those that follow are draws of the last."""
    like: str = ""
    """The control whose draws tell how far luck in training moves one that is not drawn; '' of one that is."""
    one_more: bool = False
    """Whether the z_S of a row that it explains is one more draw of it."""
    stand_in: str = ""
    """``module:Class`` of what stands in for G(z_I) in G(I)+I; '' where nothing does."""

    def runs(self, permutations: int) -> int:
        """How many are trained on one fold and seed."""
        return max(0, len(self.kinds) - 1) + (permutations if self.drawn else 1)

    def kind(self, permutation: int) -> int:
        """The number of the kind of a run, which is a control of its own; -1 where there are no kinds."""
        return min(permutation, len(self.kinds) - 1)

    @property
    def with_kinds(self) -> tuple[str, ...]:
        """What must be beaten: its name, or one with each of its kinds."""
        return tuple(f"{self.name}, {kind}" for kind in self.kinds) or (self.name,)

    def name_of(self, permutation: int) -> str:
        """Of a run: that of `with_kinds`."""
        return self.with_kinds[self.kind(permutation)]

    def kind_name(self, permutation: int) -> str:
        """Of a run; '' where there are no kinds."""
        return self.kinds[self.kind(permutation)] if self.kinds and permutation >= 0 else ""


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(
            *(SHUFFLED, "{row}, shuffled pairs", "capacity, not guidance"), drawn=True, orders="all", one_more=True
        ),
        Control(
            *(WITHIN_CLASS, "{row}, pairs shuffled within class", "label, not guidance"), drawn=True, orders="class"
        ),
        Control(
            *(SELF, "{row}, S made of I", "I alone, re-expressed"),
            drawn=True,
            replaces=True,
            kinds=("principal directions", "random features"),
            one_more=True,
        ),
        Control(OWN, "{row}, teacher on I", "self-training, not guidance", replaces=True, like=SHUFFLED),
        Control(LABEL_AGAIN, "{row}, label for S", "label, not guidance", replaces=True, like=WITHIN_CLASS),
        Control(NOISE, "{row}, noise for G", stand_in="guidestore.heads.guidance.common.stand_ins:Noise"),
        Control(REPEATED, "{row}, z_I for G", stand_in="guidestore.heads.guidance.common.stand_ins:Repeated"),
    )
}
"""shuffled: G, or the teacher, saw shuffled pairs: is it the pairing at all, or capacity? within class: pairs shuffled
among the cases of one class: is it the case, or a richer code of the label? self: z_S replaced by a code made of z_I
alone, drawn without the label: does G but re-express z_I? own: the teacher reads z_I. label again: z_S replaced by the
label, for a G that learns from labels. noise: draws of the width, mean and deviation of G(z_I). repeated: z_I, repeated
or cut to the width of z_S."""

DECIDING = tuple(name for name, control in CONTROLS.items() if control.explains)
"""Those that a verdict is made of."""


def shuffle_pairs(
    z_superior_nd: np.ndarray, *, seed: int, permutation: int, labels_n: np.ndarray | None = None
) -> np.ndarray:
    """z_S of the train pairs in another order: over all of them, or, with labels, within each class.

    z_superior_nd: (n, d_S), n >= 2, the z_S of the train pairs alone. labels_n: (n,) int, -1 where unlabelled; pairs
    without a label are permuted among each other. The order is drawn by (seed, permutation); over all pairs it is never
    the identity, single cases may keep their own z_S. No G here watches val, so val needs none. Raises
    InvalidInputError.
    """
    check_number(permutation, "permutation", 0, integer=True)
    n = len(z_superior_nd)
    if n < 2:
        raise InvalidInputError(f"{n} train pairs cannot be shuffled; at least 2 are needed")
    if labels_n is not None:
        rng = np.random.default_rng([check_seed(seed), int(permutation), 1])
        order = np.arange(n)
        for label in np.unique(labels_n):
            of_class = np.flatnonzero(labels_n == label)
            order[of_class] = rng.permutation(of_class)
        return z_superior_nd[order]
    rng = np.random.default_rng([check_seed(seed), int(permutation)])
    order = rng.permutation(n)
    while (order == np.arange(n)).all():
        order = rng.permutation(n)
    return z_superior_nd[order]


def in_control_order(
    control: str, z_superior_nd: np.ndarray, labels_n: np.ndarray, *, seed: int, permutation: int
) -> np.ndarray:
    """`shuffle_pairs` as a control asks for it; z_S itself where it permutes none."""
    orders = CONTROLS[control].orders if control else ""
    if not orders:
        return z_superior_nd
    within = labels_n if orders == "class" else None
    return shuffle_pairs(z_superior_nd, seed=seed, permutation=permutation, labels_n=within)
