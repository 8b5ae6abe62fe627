"""The contract of fusions, stated once: how two codes of a case become what decoders read.

What heads.protocol says of every implementation (numpy in and out, labels, seeds, config and tensors, row by row,
DivergedError) holds here too; of decoders also who sees val, and why. Blocks are two float matrices (n, d_left) and
(n, d_right), row i of both one case: z_S or G(z_I), and z_I.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from guidestore.embeddings.outcomes import TargetKind

type Blocks = Sequence[np.ndarray]


class Fusion(Protocol):
    """Two codes -> one view or several. One decoder is fitted per view; the mean of what they say counts."""

    name: ClassVar[str]
    n_views: ClassVar[int]

    @property
    def config(self) -> dict[str, Any]:
        """As in heads.protocol.GuidanceModel."""
        ...

    @property
    def facts(self) -> dict[str, float]:
        """What the last fit found; {} on loaded objects."""
        ...

    def fit(
        self,
        blocks: Blocks,
        labels: np.ndarray,
        blocks_val: Blocks,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
        kind: TargetKind = "classes",
    ) -> Self:
        """Fit on the blocks and (n,) labels of train, or y of another kind; blocks_val and labels_val serve early
        stopping alone. n_classes, seed: as of heads.protocol.Decoder.fit.

        kind: passed where it is not classes. Returns self."""
        ...

    def views(self, blocks: Blocks) -> tuple[np.ndarray, ...]:
        """`n_views` codes (n, d) float32 of the blocks of n cases."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """Name -> array, what the fit learnt."""
        ...

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        """As in heads.protocol.GuidanceModel."""
        ...
