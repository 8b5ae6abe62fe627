"""The five input rows of the paper's tables, trained on one fold: S+I, S, I, G(I), G(I)+I, and the shuffled control.

| row | codes of its decoder | as-published | matched | needs at test time |
|---|---|---|---|---|
| S+I | [z_S, z_I] | fresh decoder | fresh decoder | both |
| S | z_S | stored D_S | fresh decoder | z_S |
| I | z_I | stored D_I | fresh decoder | z_I |
| G(I) | G(z_I) | stored D_S, frozen | the decoder of row S, frozen | z_I |
| G(I)+I | [G(z_I), z_I] | fresh decoder (D_c, eq. 5) | fresh decoder | z_I |

Where a row has two codes, its decoder reads them side by side, or combined by a fusion (heads.fusion).
Comparing C_I with D_c mixes two changes (guidance, and another decoder); `matched` changes one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.heads.checks import check_choice, check_codes, check_number
from guidestore.heads.guidance.controls import NOISE, REPEATED, SHUFFLED
from guidestore.heads.protocol import GuidanceModel
from guidestore.heads.registry import load_decoder, load_guidance

S_PLUS_I = "S+I"
S = "S"
I = "I"  # noqa: E741  (the paper's name)
GUIDED = "G(I)"
GUIDED_PLUS_I = "G(I)+I"
TAUGHT = "T(I)"
"""Taught by z_S, reads z_I alone: label transfer, which heads.transfer trains."""
BASELINE_ROWS = ("KD(I)", "GD(I)", "E(I)")
"""Distillation without G, generalized distillation, decision-level ensemble: heads.baselines trains them."""
ALL_ROWS = (S_PLUS_I, S, I, GUIDED, GUIDED_PLUS_I)
"""In the order of the paper's tables; those that `train_rows` trains."""
TABLE_ROWS = (*ALL_ROWS, *BASELINE_ROWS, TAUGHT)
"""In the order of our tables."""
GUIDED_ROWS = (GUIDED, GUIDED_PLUS_I)
"""Have a G."""
FUSED_ROWS = (S_PLUS_I, GUIDED_PLUS_I)
"""Their decoder reads two codes, [z_S or G(z_I), z_I], which a fusion may combine."""
ROWS_WITH_CONTROLS = (*GUIDED_ROWS, *BASELINE_ROWS, TAUGHT)
INFERIOR_ROWS = (I, GUIDED, GUIDED_PLUS_I, TAUGHT)
"""Need z_I alone at test time, as baselines do, which heads.baselines predicts."""
SELF_TRAINING = "self-training"
"""The control of T(I) whose teacher reads z_I: the same recipe without the superior modality."""

Mode = Literal["as-published", "matched"]
Component = tuple[dict[str, Any], dict[str, np.ndarray]]
"""config and tensors of a model: what `load_guidance` and `load_decoder` take."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """One trained row with its predictions. m: cases predicted (val and test rows with the row's modalities)."""

    row: str
    mode: str
    guidance: str
    """Name or preset of G; '' for rows without."""
    decoder: str
    """Name or preset of the fitted decoder, with the fusion in front of it where that is not concatenation; the stored
    decoder's own name where the mode uses D_I or D_S."""
    control: str
    """'', 'shuffled', of G(I)+I also 'noise' or 'repeated', of T(I) also 'self-training'."""
    permutation: int
    """Of the shuffled control, from 0; 0 of other controls; -1 for the true pairs."""
    seed: int
    status: Literal["ok", "diverged"]
    message: str = ""
    """The sentence of the divergence; '' if ok."""
    case_ids: tuple[str, ...] = ()
    """(m,), in the order of the paired codes; unlabelled cases too. All empty where diverged."""
    parts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype="<U5"))
    """(m,) str: val or test."""
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(m,) int64; -1 where unlabelled."""
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(m, k) float64."""
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Part -> metric -> value over its labelled cases (heads.metrics.evaluate); parts without labels are left out."""
    components: Mapping[str, Component] = field(default_factory=dict)
    """'decoder' and, for guided rows, 'guidance': enough for `predict_row`."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """guidance_* and decoder_*: what the fits found (decoder_best_epoch, decoder_val_loss, guidance_alpha, …)."""
    n_pairs: int = 0
    """Train pairs that G was fitted on, unlabelled ones too; 0 without G."""
    n_train: int = 0
    """Labelled train rows that the decoder was fitted on; 0 for a stored D_I or D_S."""


Place = tuple[str, str, int]
"""(row, control, permutation); control '' and permutation -1 for the true pairs."""


CONTROLS = (SHUFFLED, NOISE, REPEATED)
"""Of G(I)+I; G(I) has the first alone, because the decoder of row S knows nothing of noise."""


def places_of(
    rows: Sequence[str] = ALL_ROWS, permutations: int = 5, controls: Sequence[str] = (SHUFFLED,)
) -> tuple[Place, ...]:
    """The `rows`, then each permutation of the shuffled-pairs control of the guided ones among them, then what else
    stands in for G(z_I) in G(I)+I. Raises InvalidInputError for a control that there is not."""
    check_number(permutations, "permutations", 0, integer=True)
    for control in controls:
        check_choice(control, "control", CONTROLS)
    guided = [row for row in rows if row in GUIDED_ROWS and SHUFFLED in controls]
    shuffled = [(row, SHUFFLED, permutation) for permutation in range(permutations) for row in guided]
    stand_ins = [(GUIDED_PLUS_I, control, 0) for control in controls if control != SHUFFLED and GUIDED_PLUS_I in rows]
    return (*((row, "", -1) for row in rows), *shuffled, *stand_ins)


def predict_row(row: str, components: Mapping[str, Component], z_inferior_nd: np.ndarray) -> np.ndarray:
    """(n, d_I) z_I -> (n, k) float64 probabilities of a trained head, from its components.

    Rows I, G(I), G(I)+I and T(I) alone: S and S+I need the superior image and are refused. Raises InvalidInputError.
    """
    if row not in TABLE_ROWS:
        raise unknown_name("input row", row, TABLE_ROWS)
    if row not in INFERIOR_ROWS:
        raise InvalidInputError(
            f"row {row} needs the superior image, so it cannot predict from z_I alone; use {', '.join(INFERIOR_ROWS)}"
        )
    needed = ("guidance", "decoder") if row in GUIDED_ROWS else ("decoder",)
    for name in needed:
        if name not in components:
            raise InvalidInputError(f"row {row} lacks its {name}; pass all components of the trained head")
    decoder = load_decoder(*components["decoder"])
    # The student of T(I) may be a D_c, which reads G(z_I) too.
    has_guidance = row in GUIDED_ROWS or (row == TAUGHT and "guidance" in components)
    model = load_guidance(*components["guidance"]) if has_guidance else None
    return decoder.predict_proba(_inferior_input(row, model, check_codes(z_inferior_nd, f"row {row}: z_I")))


def _inferior_input(row: str, model: GuidanceModel | None, z_inferior_nd: np.ndarray) -> np.ndarray:
    """What the decoder of I, G(I), G(I)+I or T(I) reads, from z_I alone."""
    if model is None:
        return z_inferior_nd
    guided_nd = model.predict(z_inferior_nd)
    return guided_nd if row == GUIDED else np.hstack([guided_nd, z_inferior_nd])
