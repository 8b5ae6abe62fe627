"""What an encode is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from guidestore.encoders.arithmetic import Arithmetic, Precision
from guidestore.flows.work.devices import AUTO, Devices
from guidestore.flows.work.settings import CohortSettings, Folds

PRECISION: Any = Field(
    default="float32",
    description="Of a network's products: float32 on every device, or tf32 or bfloat16, which a GPU does several times "
    "as fast. Part of the recipe: each makes a code set of its own.",
)
DETERMINISTIC: Any = Field(
    default=False,
    description="Only operations that give the same bits each time on one GPU, or an error. Part of the recipe.",
)


class EncodeSettings(CohortSettings):
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
        description="Weights file of a pretrained encoder (safetensors, or PyTorch's .pt, .pth, .bin); empty: the hub; "
        "random: a timm network before any training, as a control. "
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
    tile_px: int | None = Field(
        default=None, ge=8, description="For slides: edge of a tile in pixels; empty: what the encoder was made for."
    )
    mpp: float | None = Field(
        default=None, gt=0, description="For slides: um per pixel of the tiles (0.5 is 20x); empty: the encoder's own."
    )
    slide_mpp: float | None = Field(
        default=None,
        gt=0,
        description="For slides: um per level-0 pixel where the manifest does not say it; empty: what each file says.",
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
    trust_geometry: bool = Field(
        default=False,
        description="For volumes of several sequences: take the place that each file says, though one says none or two "
        "that differ. Recorded with the codes of the cases that it is needed for.",
    )
    key: Path | None = Field(
        default=None, description="For pseudonymized cohorts: the key file, beside which paths lie."
    )
    device: Devices = AUTO
    precision: Precision = PRECISION
    deterministic: bool = DETERMINISTIC
    readers: int | None = Field(
        default=None, ge=1, le=256, description="Threads that read images; empty: 2, and with a GPU one for each core."
    )

    @property
    def arithmetic(self) -> Arithmetic:
        return Arithmetic(self.precision, self.deterministic)

    @property
    def volume_parameters(self) -> tuple[tuple[int, int, int], float, str]:
        """Shape in voxels (d, h, w), spacing in mm, and fit: as given, else as the preset has them."""
        shape, spacing, fit = ((16, 24, 24), 4.0, "scale") if self.preset == "demo" else ((140, 220, 220), 1.0, "crop")
        return self.volume_shape_vox or shape, self.volume_spacing_mm or spacing, self.volume_fit or fit
