"""What guidance is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from guidestore.flows.work.devices import AUTO, Device
from guidestore.flows.work.settings import MOST_PERMUTATIONS, CohortSettings, Folds


class GuideSettings(CohortSettings):
    """Stored codes -> the five input rows of the paper and their shuffled-pairs control, trained and evaluated."""

    inferior: str = Field(description="Inferior code set: MODALITY/ENCODER[@DIGEST].")
    superior: str = Field(description="Superior code set: MODALITY/ENCODER[@DIGEST].")
    targets: tuple[str, ...] = Field(default=(), description="What to foretell; empty: the cohort's only target.")
    split: str = Field(default="", description="Which split; empty: the cohort's only one.")
    folds: Folds = ()
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="One head per fold and seed.")
    guidance: str = Field(
        default="autoencoder",
        description="G: a guidance model or preset (autoencoder, ridge, radpath-paper); or margins, plug or "
        "plug-logistic, which bring decoders of their own.",
    )
    decoder: str = Field(default="mlp", description="D_c: a decoder or preset (mlp, logistic, radpath-paper).")
    modes: tuple[Literal["as-published", "matched"], ...] = Field(
        default=("matched",),
        min_length=1,
        description="as-published: rows I and S are the trained classifiers themselves; matched: every row gets a "
        "freshly trained decoder of one family. Imported codes have no classifiers and use matched.",
    )
    permutations: int = Field(
        default=5,
        ge=0,
        le=MOST_PERMUTATIONS,
        description="Draws of each random control per fold and seed: shuffled, within class, codes of z_I.",
    )
    device: Device = AUTO
