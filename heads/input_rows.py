"""The input rows: what a head reads, at training and at test time. One object each, in the order of tables.

| row | codes of its decoder | as-published | matched | needs at test time |
|---|---|---|---|---|
| S+I | [z_S, z_I] | fresh decoder | fresh decoder | both |
| S | z_S | stored D_S | fresh decoder | z_S |
| I | z_I | stored D_I | fresh decoder | z_I |
| G(I) | G(z_I) | stored D_S, frozen | the decoder of row S, frozen | z_I |
| G(I)+I | [G(z_I), z_I] | fresh decoder (D_c, eq. 5) | fresh decoder | z_I |

These five are the paper's. Where a row has two codes, its decoder reads them side by side, or combined by a fusion
(heads.fusion). Comparing C_I with D_c mixes two changes (guidance, and another decoder); `matched` changes one at a
time. Beside them stand the references R(I), decoders of z_I alone that a gain must exceed too (heads.references), the
baselines KD(I), GD(I) and E(I) (heads.baselines), label transfer, T(I) (heads.transfer), margins, M(I)
(heads.margins), and plug, P(I) (heads.plug).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from guidestore.embeddings.errors import unknown_name
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.checks import check_choice, check_number
from guidestore.heads.controls import (
    CONTROLS,
    DECIDING,
    LABEL_AGAIN,
    NOISE,
    OWN,
    REPEATED,
    SELF,
    SHUFFLED,
    WITHIN_CLASS,
)

S_PLUS_I = "S+I"
S = "S"
I = "I"  # noqa: E741  (the paper's name)
GUIDED = "G(I)"
GUIDED_PLUS_I = "G(I)+I"
KD = "KD(I)"
GD = "GD(I)"
ENSEMBLE = "E(I)"
TAUGHT = "T(I)"
REFERENCE = "R(I)"
MARGINS = "M(I)"
PLUG = "P(I)"

Mode = Literal["as-published", "matched"]
Code = Literal["z_S", "z_I", "G(z_I)"]


@dataclass(frozen=True, slots=True)
class InputRow:
    """One input row."""

    name: str
    """As runs, tables and options have it."""
    reads: tuple[Code, ...]
    """What its decoder reads, from left to right."""
    trainer: Literal["rows", "references", "baselines", "transfer", "margins", "plug"]
    """Which package of heads trains it."""
    stored: Literal["", "d_i", "d_s"] = ""
    """The stored classifier that it is in mode as-published."""
    decoders_of: tuple[str, ...] = ()
    """The rows whose decoders it uses as they are; () where it has one of its own."""
    averaged: bool = False
    """Each of its codes has a decoder, and the mean of their probabilities counts."""
    controls: tuple[str, ...] = ()
    """What it must beat (heads.controls); () for the rows that others are compared with."""

    @property
    def needs_superior(self) -> bool:
        """Whether it reads z_S at test time too, which a new case does not have."""
        return "z_S" in self.reads

    @property
    def has_g(self) -> bool:
        """Whether a G is fitted for it."""
        return "G(z_I)" in self.reads

    @property
    def fuses(self) -> bool:
        """Whether its decoder reads two codes, which a fusion may combine."""
        return not self.averaged and not self.decoders_of and len(self.reads) > 1

    @property
    def cross_fits(self) -> bool:
        """Whether its decoder is fitted on G(z_I), which cross-fitting is about."""
        return not self.decoders_of and self.has_g

    def trains_decoder(self, mode: str) -> bool:
        """Whether a decoder is fitted for it."""
        return not self.decoders_of and (mode == "matched" or not self.stored)

    @property
    def needs_inferior(self) -> bool:
        """Whether it reads z_I, by itself or through G."""
        return "z_I" in self.reads or self.has_g

    def has(self, paired: PairedCodes) -> np.ndarray:
        """(n,) bool: the cases that have what it reads."""
        if not self.needs_superior:
            return paired.has_inferior
        return paired.is_pair if self.needs_inferior else paired.has_superior

    @property
    def needs(self) -> str:
        """What a case must have, in words."""
        if not self.needs_superior:
            return "z_I"
        return "both modalities" if self.needs_inferior else "z_S"


OF_G = (SHUFFLED, WITHIN_CLASS, SELF)
"""What every row that reads G(z_I) must beat."""
OF_TEACHER = (SHUFFLED, WITHIN_CLASS, OWN)
"""What every row that a teacher on z_S teaches must beat."""

INPUT_ROWS: dict[str, InputRow] = {
    row.name: row
    for row in (
        InputRow(S_PLUS_I, ("z_S", "z_I"), "rows"),
        InputRow(S, ("z_S",), "rows", stored="d_s"),
        InputRow(I, ("z_I",), "rows", stored="d_i"),
        InputRow(REFERENCE, ("z_I",), "references"),
        InputRow(GUIDED, ("G(z_I)",), "rows", decoders_of=(S,), controls=(*OF_G, LABEL_AGAIN)),
        InputRow(GUIDED_PLUS_I, ("G(z_I)", "z_I"), "rows", controls=(*OF_G, LABEL_AGAIN, NOISE, REPEATED)),
        InputRow(KD, ("z_I",), "baselines", controls=OF_TEACHER),
        InputRow(GD, ("z_I",), "baselines", controls=OF_TEACHER),
        InputRow(ENSEMBLE, ("z_I", "G(z_I)"), "baselines", decoders_of=(I, S), averaged=True, controls=OF_G),
        InputRow(TAUGHT, ("z_I",), "transfer", controls=OF_TEACHER),
        InputRow(MARGINS, ("z_I",), "margins", controls=OF_TEACHER),
        InputRow(PLUG, ("G(z_I)", "z_I"), "plug", decoders_of=(S_PLUS_I,), controls=OF_G),
    )
}
"""By name, in the order of tables. KD(I): a student on z_I imitates a teacher on z_S; GD(I): generalized distillation;
E(I): decision-level ensemble; T(I): taught by z_S, whose student may be a D_c, which reads G(z_I) too; M(I): a student
that regresses the scores of a teacher on z_S, averaged with plain I; P(I): a decoder of S+I of its own, frozen, on
[G(z_I), z_I]. (G(I) has no stand-ins for G among its controls, because the decoder of row S knows nothing of noise.)"""

ALL_ROWS = tuple(name for name, row in INPUT_ROWS.items() if row.trainer == "rows")
"""The paper's, in its order: those that heads.rows trains."""
BASELINE_ROWS = tuple(name for name, row in INPUT_ROWS.items() if row.trainer == "baselines")
GUIDED_ROWS = tuple(name for name in ALL_ROWS if INPUT_ROWS[name].has_g)
TABLE_ROWS = tuple(INPUT_ROWS)


def input_row(name: str, known: Sequence[str] = TABLE_ROWS) -> InputRow:
    """The row of that name. Raises InvalidInputError for a name that is not among `known`, suggesting the nearest."""
    if name not in known:
        raise unknown_name("input row", name, known)
    return INPUT_ROWS[name]


class Arm(NamedTuple):
    """Which head of those that one choice of models has: a row on the true pairs, or one of its controls."""

    row: str
    control: str = ""
    """'' for the true pairs."""
    permutation: int = -1
    """Of a control, from 0: which order of the pairs, or which code; -1 for true pairs."""


def arms_of(
    rows: Sequence[str] = ALL_ROWS,
    permutations: int = 5,
    controls: Sequence[str] = DECIDING,
    *,
    mode: str = "matched",
    through_labels: bool = False,
) -> tuple[Arm, ...]:
    """The `rows`, then their controls among `controls`, of each its draws.

    permutations: draws of each control that is drawn; with 0 what decides a verdict is left out altogether, since
    there is none without them. through_labels: G learns from labels, so the label alone is a control of it. Raises
    InvalidInputError for a row or a control that there is not.
    """
    check_number(permutations, "permutations", 0, integer=True)
    for row in rows:
        input_row(row)
    for control in controls:
        check_choice(control, "control", tuple(CONTROLS))
    arms = [Arm(row) for row in rows]
    for name in controls:
        control = CONTROLS[name]
        runs = 0 if control.explains and not permutations else control.runs(permutations)
        held = [row for row in rows if name in controls_of(row, mode=mode, through_labels=through_labels)]
        arms += [Arm(row, name, permutation) for permutation in range(runs) for row in held]
    return tuple(arms)


def controls_of(row: str, *, mode: str, through_labels: bool) -> tuple[str, ...]:
    """The controls that a row has in a mode, with a G that learns from labels or not.

    A stored D_S reads no other code than z_S, so as-published nothing replaces z_S where it decides, or where G learns
    through it.
    """
    of, stored_d_s = INPUT_ROWS[row], mode == "as-published"
    reads_stored = of.has_g and stored_d_s and (through_labels or bool(of.decoders_of))
    return tuple(
        name
        for name in of.controls
        if not (reads_stored and CONTROLS[name].replaces) and (through_labels or name != LABEL_AGAIN)
    )
