"""What is to be trained on one training set, and what that means for G and the decoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.choice import Choice
from guidestore.heads.controls import CONTROLS
from guidestore.heads.fitting import needs_decoder
from guidestore.heads.fusion.common.fused import fused_of
from guidestore.heads.input_rows import INPUT_ROWS, Arm, Mode, arms_of
from guidestore.heads.protocol import Decoder, Foreteller, FrozenDecoder, GuidanceModel
from guidestore.heads.registry import (
    CONCATENATION,
    build_decoder_of,
    build_fusion,
    build_guidance,
)

TRUE_PAIRS = ("", -1)
"""Control and permutation of the real thing."""
LEARNS_LABELS = "guidance_learns_labels"
"""The fact of a head whose G was trained through D_S, so that the label alone is a control of it."""


@dataclass(frozen=True, slots=True, eq=False)
class RowsJob:
    """What to train on one training set under one mode and seed, with one guidance model and one decoder."""

    paired: PairedCodes
    mode: Mode
    seed: int
    guidance: Choice
    decoder: Choice
    arms: tuple[Arm, ...] = arms_of()
    """Which heads; see `arms_of`."""
    d_i: FrozenDecoder | None = None
    """The stored D_I on z_I: as-published needs those that its rows use, matched takes none."""
    d_s: FrozenDecoder | None = None
    """The stored D_S on z_S."""
    cross_fit: int = 0
    """Folds of G for the train rows of G(I)+I (heads.cross_fitting); 0: they come from the G that saw them."""
    fusion: Choice = field(default_factory=lambda: Choice.of(CONCATENATION))
    """How S+I and G(I)+I combine their two codes; other rows have one."""

    @property
    def where(self) -> str:
        """COHORT/SPLIT/FOLD, for errors."""
        return f"{self.paired.cohort}/{self.paired.split}/{self.paired.fold}"

    @property
    def rows(self) -> list[str]:
        """The rows of its arms, each once."""
        return list(dict.fromkeys(arm.row for arm in self.arms))

    @property
    def guided_rows(self) -> list[str]:
        """Those that have a G."""
        return [row for row in self.rows if INPUT_ROWS[row].has_g]

    @property
    def pairs(self) -> np.ndarray:
        """Rows that G is fitted on."""
        return self.paired.rows("train", self.paired.is_pair)

    def labelled(self, part: str, row: str) -> np.ndarray:
        """Rows of `part` that the decoder of `row` may be fitted or stopped on."""
        return self.paired.rows(part, self.paired.has_label, INPUT_ROWS[row].has(self.paired))

    def trained_as(self, row: str) -> str:
        """The row whose decoder `row` uses, '' where that is a stored D_I or D_S."""
        of = next(iter(INPUT_ROWS[row].decoders_of), row)
        return of if INPUT_ROWS[of].trains_decoder(self.mode) else ""

    def stored(self, row: str) -> FrozenDecoder | None:
        """The stored decoder that `row` uses; None where it is trained."""
        if self.trained_as(row):
            return None
        of = next(iter(INPUT_ROWS[row].decoders_of), row)
        return self.d_i if INPUT_ROWS[of].stored == "d_i" else self.d_s

    def decoder_arm(self, arm: Arm) -> Arm | None:
        """The head whose decoder that of `arm` is: rows without G have that of the true pairs alone. None where it is
        stored."""
        trained_as = self.trained_as(arm.row)
        if not trained_as:
            return None
        return arm._replace(row=trained_as) if INPUT_ROWS[trained_as].has_g else Arm(trained_as)

    def fusion_of(self, row: str) -> Choice | None:
        """How `row` combines its codes; None where it has one, or has them side by side."""
        return self.fusion if INPUT_ROWS[row].fuses and self.fusion != Choice.of(CONCATENATION) else None

    def decoder_shown(self, row: str) -> str:
        """How tables call the decoder of a head."""
        stored, fusion = self.stored(row), self.fusion_of(row)
        if stored is not None:
            return stored.name
        return f"{self.decoder}, fusion={fusion}" if fusion else str(self.decoder)

    def build_decoder(self, row: str) -> Decoder | Foreteller:
        """An unfitted one for `row`, its fusion in front."""
        target, asked = self.paired.target, self.fusion_of(row)
        fusion = build_fusion(asked.name, **asked.params) if asked else None
        decoder = build_decoder_of(self.paired.kind, self.decoder.name, target=target, **self.decoder.params)
        if fusion is None:
            return decoder
        widths = (self.paired.superior_nd.shape[1], self.paired.inferior_nd.shape[1])
        return cast(Any, fused_of(self.paired.kind, fusion, decoder, widths))

    def build_guidance(self) -> GuidanceModel:
        """An unfitted one."""
        return build_guidance(self.guidance.name, **self.guidance.params)

    @property
    def through_decoder(self) -> bool:
        """G is asked for and learns through D_S."""
        return bool(self.guided_rows) and needs_decoder(self.build_guidance())

    def guidance_variants(self) -> list[tuple[str, int]]:
        """Control and permutation of each G that is fitted; what stands in for G has the moments of that on true
        pairs."""
        asked = [(arm.control, arm.permutation) for arm in self.arms if INPUT_ROWS[arm.row].has_g]
        stand_ins = [control for control, _ in asked if control and CONTROLS[control].stand_in]
        return list(dict.fromkeys(TRUE_PAIRS if control in stand_ins else (control, p) for control, p in asked))
