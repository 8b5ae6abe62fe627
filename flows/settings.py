"""What a user can ask of the flows: one validated model per flow. Field descriptions become help and form texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embeddings.errors import InvalidInputError

Folds = Annotated[tuple[int, ...], Field(description="Folds to work on; empty: all folds of the split.")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    store: Path = Field(description="Folder of the store.")
    cohort: str = Field(description="Name of the cohort.")


class EncodeSettings(_Settings):
    """Images of one modality -> codes, by a weights-free encoder or one trained on each fold."""

    modality: str = Field(description="mri_t1, mri_all, histology, …: one of the cohort's, or a group of them.")
    encoder: str = Field(description="texture, first_order, densenet3d or attention_pooling.")
    split: str = Field(default="", description="For trained encoders: the split whose folds to train on.")
    folds: Folds = ()
    target: str = Field(
        default="", description="For trained encoders: the target to train on; empty: the cohort's only one."
    )
    seed: int = Field(default=0, ge=0, description="For trained encoders: seed of weights, sampler and augmentation.")
    preset: Literal["demo", "paper"] = Field(
        default="demo",
        description="For trained encoders: small networks for two CPU cores, or the paper's sizes and epochs.",
    )
    patch_encoder: str = Field(
        default="texture",
        description="For attention_pooling: the patch encoder whose bags are pooled; NAME or NAME@DIGEST.",
    )
    tile_size_px: int = Field(
        default=256, ge=8, description="For slides: edge of a tile in pixels, as the encoder sees it."
    )
    target_mpp: float = Field(default=0.5, gt=0, description="For slides: um per pixel of the tiles (0.5 is 20x).")
    volume_shape_vox: tuple[int, int, int] = Field(
        default=(16, 24, 24), description="For volumes: depth, height, width that the encoder sees."
    )
    volume_spacing_mm: float = Field(
        default=4.0, gt=0, description="For volumes: spacing of the common grid of the sequences."
    )
    key_file: Path | None = Field(
        default=None, description="For pseudonymized cohorts: the key file, beside which paths lie."
    )
    device: str = Field(default="cpu", description="Where networks run: cpu, cuda, cuda:1, …")


class GuideSettings(_Settings):
    """Stored codes -> the five input rows of the paper and their shuffled-pairs control, trained and evaluated."""

    inferior: str = Field(description="Inferior code set: MODALITY/ENCODER[@DIGEST].")
    superior: str = Field(description="Superior code set: MODALITY/ENCODER[@DIGEST].")
    target: str = Field(default="", description="What to classify; empty: the cohort's only target.")
    split: str = Field(default="", description="Which split; empty: the cohort's only one.")
    folds: Folds = ()
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="One head per fold and seed.")
    guidance: str = Field(
        default="autoencoder", description="G: a guidance model or preset (autoencoder, ridge, radpath-paper)."
    )
    decoder: str = Field(default="mlp", description="D_c: a decoder or preset (mlp, logistic, radpath-paper).")
    modes: tuple[Literal["as-published", "matched"], ...] = Field(
        default=("matched",),
        min_length=1,
        description="as-published: rows I and S are the trained classifiers themselves; matched: every row gets a "
        "freshly trained decoder of one family. Imported codes have no classifiers and use matched.",
    )
    permutations: int = Field(default=5, ge=0, description="Shuffled-pairs controls per fold and seed.")


def validated[T: _Settings](model: type[T], **values: Any) -> T:
    """The settings, or InvalidInputError that names the first wrong field."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"{field} = {first['input']!r}: {first['msg']}") from error
