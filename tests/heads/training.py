"""One job at a time, for tests of single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.choice import Choice
from guidestore.heads.controls import SHUFFLED
from guidestore.heads.input_rows import ALL_ROWS, arms_of
from guidestore.heads.rows.job import RowsJob
from guidestore.heads.rows.train import train_rows
from guidestore.heads.trained import TrainedHead


def job_of(
    paired: PairedCodes,
    *,
    mode: Any = "matched",
    seed: int = 0,
    guidance: str,
    decoder: str,
    guidance_params: Mapping[str, Any] | None = None,
    decoder_params: Mapping[str, Any] | None = None,
    rows: Sequence[str] = ALL_ROWS,
    permutations: int = 5,
    controls: Sequence[str] = (SHUFFLED,),
    **stored: Any,
) -> RowsJob:
    g, d = Choice.of(guidance, guidance_params), Choice.of(decoder, decoder_params)
    return RowsJob(paired, mode, seed, g, d, arms_of(rows, permutations, controls, mode=mode), **stored)


def train_one(paired: PairedCodes, **options: Any) -> list[TrainedHead]:
    """The heads of `train_rows` for one training set."""
    (heads,) = train_rows([job_of(paired, **options)])
    return heads
