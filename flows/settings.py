"""What a user can ask of the flows: one validated model per flow. Field descriptions become help and form texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embeddings.errors import InvalidInputError
from flows.runners import Runner

Fold = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Its number; the tables of the store have 32 bits for it."""
Folds = Annotated[tuple[Fold, ...], Field(description="Folds to work on; empty: all folds of the split.")]
MOST_PERMUTATIONS = 10_000
"""More than any p-value needs. A slip of the pen must not fill the memory of the machine that serves."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    store: Path = Field(description="Folder of the store.")
    cohort: str = Field(description="Name of the cohort.")


class EncodeSettings(_Settings, Runner):
    """Images of one modality -> codes, by a frozen encoder or one trained on each fold."""

    modality: str = Field(description="mri_t1, mri_all, histology, …: one of the cohort's, or a group of them.")
    encoder: str = Field(description="Name of an encoder; `guidestore encoders` lists them.")
    cases: tuple[str, ...] = Field(default=(), description="Cases to encode; empty: all.")
    split: str = Field(default="", description="For trained encoders: the split whose folds to train on.")
    folds: Folds = ()
    targets: tuple[str, ...] = Field(
        default=(),
        description="For trained encoders: the targets to train on; empty: the cohort's only one, and all of them for "
        "a multi-task encoder.",
    )
    seed: int = Field(default=0, ge=0, description="For trained encoders: seed of weights, sampler and augmentation.")
    preset: Literal["demo", "paper"] = Field(
        default="demo",
        description="Small networks and volumes for two CPU cores, or the paper's sizes and epochs.",
    )
    patch_encoder: str = Field(
        default="texture",
        description="For clam_sb and its kin: the patch encoder whose bags are pooled; NAME or NAME@DIGEST.",
    )
    weights: Path | None = Field(
        default=None,
        description="Weights file of a pretrained encoder (safetensors, or PyTorch's .pt, .pth, .bin); empty: the hub. "
        "For inception_multitask: where training starts; empty: from nothing.",
    )
    pretrained_on: Literal["none", "unknown"] = Field(
        default="none",
        description="What pretrained weights saw: none of these cases; or unknown, which every table then says.",
    )
    photograph_px: int | None = Field(
        default=None,
        ge=32,
        le=4096,
        description="For photographs: edge of the square that the encoder is given, in pixels; empty: the preset's, or "
        "what the network was made for.",
    )
    tile_size_px: int | None = Field(
        default=None, ge=8, description="For slides: edge of a tile in pixels; empty: what the encoder was made for."
    )
    target_mpp: float | None = Field(
        default=None, gt=0, description="For slides: um per pixel of the tiles (0.5 is 20x); empty: the encoder's own."
    )
    bag_dtype: Literal["float16", "float32"] = Field(
        default="float16", description="For slides: how patch codes are kept; float32 where they overflow float16."
    )
    volume_shape_vox: tuple[int, int, int] | None = Field(
        default=None, description="For volumes: depth, height, width that the encoder sees; empty: the preset's."
    )
    volume_spacing_mm: float | None = Field(
        default=None, gt=0, description="For volumes: spacing of the common grid; empty: the preset's."
    )
    volume_fit: Literal["crop", "scale"] | None = Field(
        default=None,
        description="For volumes: crop and pad at the spacing, or scale the brain to the shape; empty: the preset's.",
    )
    key_file: Path | None = Field(
        default=None, description="For pseudonymized cohorts: the key file, beside which paths lie."
    )
    device: str = Field(default="cpu", description="Where networks run: cpu, cuda, cuda:1, …")

    @property
    def runner(self) -> Runner:
        """The part that says where batches run."""
        return Runner(**{name: getattr(self, name) for name in Runner.model_fields})

    @property
    def volume_parameters(self) -> tuple[tuple[int, int, int], float, str]:
        """Shape in voxels (d, h, w), spacing in mm, and fit: as given, else as the preset has them."""
        shape, spacing, fit = ((16, 24, 24), 4.0, "scale") if self.preset == "demo" else ((140, 220, 220), 1.0, "crop")
        return self.volume_shape_vox or shape, self.volume_spacing_mm or spacing, self.volume_fit or fit


class GuideSettings(_Settings):
    """Stored codes -> the five input rows of the paper and their shuffled-pairs control, trained and evaluated."""

    inferior: str = Field(description="Inferior code set: MODALITY/ENCODER[@DIGEST].")
    superior: str = Field(description="Superior code set: MODALITY/ENCODER[@DIGEST].")
    targets: tuple[str, ...] = Field(default=(), description="What to classify; empty: the cohort's only target.")
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
    permutations: int = Field(
        default=5, ge=0, le=MOST_PERMUTATIONS, description="Shuffled-pairs controls per fold and seed."
    )
    device: str = Field(default="cpu", description="Where networks train: cpu, cuda, cuda:1, …")


class RadPathSettings(_Settings):
    """Table 1 of the paper from a RadPath-shaped cohort: what is missing is encoded and trained, the rest is reused."""

    source: Path | None = Field(
        default=None, description="RadPath folder; needed where the store does not have the cohort yet."
    )
    labels: Path | None = Field(default=None, description="Folder of the label and split tables; empty: in the source.")
    inputs: tuple[str, ...] = Field(
        default=("mri_t1", "mri_t2", "mri_t1ce", "mri_flair", "mri_all"),
        min_length=1,
        description="MRI inputs: the columns of the table.",
    )
    splits: int = Field(default=5, ge=1, description="Splits: published ones as given, the others drawn.")
    preset: Literal["demo", "paper"] = Field(
        default="demo", description="Small networks and volumes for two CPU cores, or the paper's sizes and epochs."
    )
    seed: int = Field(default=0, ge=0, description="Of drawn splits, encoders and heads.")
    patch_encoder: str = Field(
        default="", description="Patch encoder of the slides; empty: texture (demo) or resnet50_trunc (paper)."
    )
    weights: Path | None = Field(default=None, description="Weights file of the patch encoder; empty: the hub.")
    pretrained_on: Literal["none", "unknown"] = Field(
        default="none", description="What those weights saw: none of these cases, or unknown."
    )
    tile_size_px: int | None = Field(default=None, ge=8, description="Edge of a tile; empty: the patch encoder's own.")
    target_mpp: float | None = Field(
        default=None, gt=0, description="um per pixel of the tiles; empty: the patch encoder's own."
    )
    superior_encoder: str = Field(default="clam_sb", description="C_S: clam_sb, clam_mb, attention_pooling, …")
    inferior_encoder: str = Field(default="densenet3d", description="C_I.")
    guidance: str = Field(default="", description="G; empty: autoencoder (demo) or radpath-paper (paper).")
    decoder: str = Field(default="", description="D_c; empty: mlp (demo) or radpath-paper (paper).")
    mode: Literal["as-published", "matched"] = Field(
        default="as-published", description="as-published: rows R and P are the trained classifiers themselves."
    )
    permutations: int = Field(default=5, ge=0, le=MOST_PERMUTATIONS, description="Shuffled-pairs controls per split.")
    key_file: Path | None = Field(default=None, description="Key file of a pseudonymized cohort.")
    device: str = Field(default="cpu", description="Where networks run: cpu, cuda, cuda:1, …")


class Derm7ptSettings(_Settings):
    """Table 2 of the paper from a Derm7pt-shaped cohort: what is missing is encoded and trained, the rest is reused."""

    source: Path | None = Field(
        default=None, description="Folder release_v0; needed where the store does not have the cohort yet."
    )
    preset: Literal["demo", "paper", "released"] = Field(
        default="demo",
        description="demo: colour and texture codes, for two CPU cores; paper: Inception-v3 and hyper-parameters as "
        "published; released: those of the authors' released code.",
    )
    encoder: str = Field(default="", description="Of both photographs; empty: the preset's.")
    encoder_seed: int = Field(default=0, ge=0, description="For trained encoders: one training serves all seeds.")
    weights: Path | None = Field(
        default=None, description="Weights file of a pretrained encoder, or what a trained one starts from."
    )
    inferior_weights: Path | None = Field(default=None, description="The same, of the clinical photographs alone.")
    superior_weights: Path | None = Field(default=None, description="The same, of the dermoscopic images alone.")
    pretrained_on: Literal["none", "unknown"] = Field(
        default="none", description="What those weights saw: none of these cases, or unknown."
    )
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="Of the heads.")
    guidance: str = Field(default="", description="G; empty: the preset's.")
    decoder: str = Field(default="", description="D_c; empty: the preset's.")
    mode: Literal["", "as-published", "matched"] = Field(
        default="",
        description="as-published: rows C and D are the trained classifiers themselves; empty: the preset's.",
    )
    permutations: int = Field(default=5, ge=0, le=MOST_PERMUTATIONS, description="Shuffled-pairs controls per seed.")
    device: str = Field(default="cpu", description="Where networks run: cpu, cuda, cuda:1, …")


def validated[T: _Settings](model: type[T], **values: Any) -> T:
    """The settings, or InvalidInputError that names the first wrong field."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"{field} = {first['input']!r}: {first['msg']}") from error
