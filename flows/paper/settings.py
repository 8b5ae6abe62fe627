"""What the experiments of the paper are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import DirectoryPath, Field

from guidestore.encoders.arithmetic import Precision
from guidestore.flows.encoding.settings import DETERMINISTIC, PRECISION
from guidestore.flows.work.devices import AUTO, Device
from guidestore.flows.work.settings import MOST_PERMUTATIONS, CohortSettings


class RadPathSettings(CohortSettings):
    """Table 1 of the paper from a RadPath-shaped cohort: what is missing is encoded and trained, the rest is reused."""

    source: DirectoryPath | None = Field(
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
    tile_px: int | None = Field(default=None, ge=8, description="Edge of a tile; empty: the patch encoder's own.")
    mpp: float | None = Field(
        default=None, gt=0, description="um per pixel of the tiles; empty: the patch encoder's own."
    )
    slide_mpp: float | None = Field(
        default=None, gt=0, description="um per level-0 pixel of the slides; empty: what each file says."
    )
    superior_encoder: str = Field(default="clam_sb", description="C_S: clam_sb, clam_mb, attention_pooling, …")
    inferior_encoder: str = Field(default="densenet3d", description="C_I.")
    guidance: str = Field(default="", description="G; empty: autoencoder (demo) or radpath-paper (paper).")
    decoder: str = Field(default="", description="D_c; empty: demo (demo: mlp at a low rate) or radpath-paper (paper).")
    mode: Literal["as-published", "matched"] = Field(
        default="as-published", description="as-published: rows R and P are the trained classifiers themselves."
    )
    permutations: int = Field(default=5, ge=0, le=MOST_PERMUTATIONS, description="Draws of each control per split.")
    key: Path | None = Field(default=None, description="Key file of a pseudonymized cohort.")
    device: Device = AUTO
    precision: Precision = PRECISION
    deterministic: bool = DETERMINISTIC


class Derm7ptSettings(CohortSettings):
    """Table 2 of the paper from a Derm7pt-shaped cohort: what is missing is encoded and trained, the rest is reused."""

    source: DirectoryPath | None = Field(
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
    permutations: int = Field(default=5, ge=0, le=MOST_PERMUTATIONS, description="Draws of each control per seed.")
    device: Device = AUTO
    precision: Precision = PRECISION
    deterministic: bool = DETERMINISTIC
