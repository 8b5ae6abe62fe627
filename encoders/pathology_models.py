"""Patch encoders whose weights others trained: one row for each. No weights are shipped; licences differ.

Sources: the model cards and configurations that the authors published, and TRIDENT's and eva's loaders. Where a card
resizes a 256 px tile or crops its centre, the row says what the network sees; lay tiles of that size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from guidestore.encoders.info import EncoderInfo

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPTIMUS_MEAN, OPTIMUS_STD = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
HIBOU_MEAN, HIBOU_STD = (0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)
HALF = (0.5, 0.5, 0.5)

Pooling = Literal["cls", "cls+mean", "avg", "own"]
"""Class token / class token and mean of the patch tokens / mean of the last feature map / as the network pools."""

NON_COMMERCIAL = "CC-BY-NC-ND-4.0"


@dataclass(frozen=True, slots=True)
class PatchModel:
    """What a frozen network of pictures is: its architecture, its input, its code, and where its weights are.

    Slides it encodes tile by tile, as a patch encoder; photographs whole.
    """

    name: str
    architecture: str
    """timm's name."""
    code_dim: int
    hub_repo: str
    hub_file: str
    licence: str
    gated: bool
    """The licence must be accepted on the hub before the weights can be downloaded."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What the architecture needs besides its name."""
    swiglu: bool = False
    """The architecture's MLPs are replaced by SwiGLU ones; timm's DINOv2 giants have them already."""
    input_size_px: int = 224
    mpp: float = 0.5
    """um per pixel of the tiles that it was trained on; where that was several, the one that its authors advise."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    pooling: Pooling = "cls"
    layout: Literal["timm", "transformers", "clip", "siglip", "own"] = "timm"
    """How the published file names its tensors; own: as its authors' code does, which timm can translate."""
    part: str = ""
    """Where the published file may hold more than the encoder: prefix of its tensors there. Others are left out."""
    ignored: tuple[str, ...] = ()
    """Prefixes of tensors that a file may hold beyond the network: a classifier, blocks that are cut off."""
    made_for: Literal["tiles", "photographs"] = "tiles"


CONCH = "conch_v1_5"
"""Not one of timm's architectures, see `encoders.conch`."""

_DINOV2 = {"img_size": 224, "init_values": 1e-5}
_VIRCHOW = {**_DINOV2, "mlp_ratio": 5.3375}

MODELS: Mapping[str, PatchModel] = {
    model.name: model
    for model in (
        # CLAM's encoder: ResNet-50 cut after its third block, ImageNet weights; 256 px as in CLAM.
        PatchModel(
            "resnet50_trunc",
            "resnet50",
            1024,
            "timm/resnet50.tv_in1k",
            "model.safetensors",
            "BSD-3-Clause",
            False,
            {"features_only": True, "out_indices": [3]},
            input_size_px=256,
            pooling="avg",
            ignored=("layer4.", "fc."),
        ),
        PatchModel(
            "uni",
            "vit_large_patch16_224",
            1024,
            "MahmoodLab/UNI",
            "pytorch_model.bin",
            NON_COMMERCIAL,
            True,
            {"init_values": 1e-5},
        ),
        PatchModel(
            "uni2_h",
            "vit_giant_patch14_224",
            1536,
            "MahmoodLab/UNI2-h",
            "pytorch_model.bin",
            NON_COMMERCIAL,
            True,
            {
                **_DINOV2,
                "depth": 24,
                "num_heads": 24,
                "embed_dim": 1536,
                "mlp_ratio": 2.66667 * 2,
                "no_embed_class": True,
                "reg_tokens": 8,
            },
            swiglu=True,
        ),
        PatchModel(
            "virchow",
            "vit_huge_patch14_224",
            2560,
            "paige-ai/Virchow",
            "pytorch_model.bin",
            "Apache-2.0",
            True,
            _VIRCHOW,
            swiglu=True,
            pooling="cls+mean",
        ),
        PatchModel(
            "virchow2",
            "vit_huge_patch14_224",
            2560,
            "paige-ai/Virchow2",
            "pytorch_model.bin",
            NON_COMMERCIAL,
            True,
            {**_VIRCHOW, "reg_tokens": 4},
            swiglu=True,
            pooling="cls+mean",
        ),
        PatchModel(
            "h_optimus_0",
            "vit_giant_patch14_reg4_dinov2",
            1536,
            "bioptimus/H-optimus-0",
            "pytorch_model.bin",
            "Apache-2.0",
            True,
            _DINOV2,
            mean=OPTIMUS_MEAN,
            std=OPTIMUS_STD,
        ),
        PatchModel(
            "h_optimus_1",
            "vit_giant_patch14_reg4_dinov2",
            1536,
            "bioptimus/H-optimus-1",
            "pytorch_model.bin",
            NON_COMMERCIAL,
            True,
            _DINOV2,
            mean=OPTIMUS_MEAN,
            std=OPTIMUS_STD,
        ),
        # Its card resizes 256 px to 256 and crops the centre 224: the scale of 224 px tiles at the same mpp.
        PatchModel(
            "prov_gigapath",
            "vit_giant_patch14_dinov2",
            1536,
            "prov-gigapath/prov-gigapath",
            "pytorch_model.bin",
            "Apache-2.0",
            True,
            {**_DINOV2, "patch_size": 16, "mlp_ratio": 5.33334},
        ),
        PatchModel(
            "phikon",
            "vit_base_patch16_224",
            768,
            "owkin/phikon",
            "pytorch_model.bin",
            "Owkin non-commercial",
            False,
            layout="transformers",
        ),
        PatchModel(
            "phikon_v2",
            "vit_large_patch16_224",
            1024,
            "owkin/phikon-v2",
            "model.safetensors",
            "Owkin non-commercial",
            False,
            {"init_values": 1.0},
            layout="transformers",
        ),
        # Trained on 512 px at 20x, shrunk to 448 px: 0.57 um per pixel.
        PatchModel(
            CONCH,
            CONCH,
            768,
            "MahmoodLab/conchv1_5",
            "pytorch_model_vision.bin",
            NON_COMMERCIAL,
            True,
            {"img_size": 448, "init_values": 1e-6},
            input_size_px=448,
            mpp=0.5 * 512 / 448,
            pooling="own",
        ),
        PatchModel(
            "midnight_12k",
            "vit_giant_patch14_dinov2",
            3072,
            "kaiko-ai/midnight",
            "model.safetensors",
            "MIT",
            False,
            _DINOV2,
            mean=HALF,
            std=HALF,
            pooling="cls+mean",
            layout="transformers",
        ),
        PatchModel(
            "hibou_b",
            "vit_base_patch14_reg4_dinov2",
            768,
            "histai/hibou-b",
            "model.safetensors",
            "Apache-2.0",
            False,
            {**_DINOV2, "mlp_ratio": 4096.5 / 768},
            swiglu=True,
            mean=HIBOU_MEAN,
            std=HIBOU_STD,
            layout="transformers",
        ),
        PatchModel(
            "hibou_l",
            "vit_large_patch14_reg4_dinov2",
            1024,
            "histai/hibou-L",
            "model.safetensors",
            "Apache-2.0",
            True,
            {**_DINOV2, "mlp_ratio": 5472 / 1024},
            swiglu=True,
            mean=HIBOU_MEAN,
            std=HIBOU_STD,
            layout="transformers",
        ),
    )
}


def picture_info(model: PatchModel) -> EncoderInfo:
    """What is known of a network of pictures: it takes tiles and photographs alike."""
    return EncoderInfo(
        name=model.name,
        encoder_class="guidestore.encoders.timm_patch:TimmPatchEncoder",
        takes=("tiles", "photographs") if model.made_for == "tiles" else ("photographs", "tiles"),
        code_dim=str(model.code_dim),
        weights="pretrained",
        hub=model.hub_repo + (", gated" if model.gated else ""),
        licence=model.licence,
        tile_size_px=model.input_size_px,
        mpp=model.mpp,
        photograph_px=model.input_size_px,
        arguments={"model": model},
    )


def timm_model(name: str) -> PatchModel | None:
    """The timm model `name` as timm states it, its head cut off; None where timm knows no such model.

    timm's models saw photographs, so mpp is only the scale that pathologists look at most: 0.5, 20x. code_dim is 0:
    the network itself tells. Loads timm, which takes seconds.
    """
    import timm

    stated = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if stated is None or len(set(stated.input_size[1:])) != 1:
        return None
    classifiers = (stated.classifier,) if isinstance(stated.classifier, str) else stated.classifier or ()
    return PatchModel(
        name,
        name,
        0,
        stated.hf_hub_id or "",
        stated.hf_hub_filename or "model.safetensors",
        stated.license or "unknown",
        False,
        input_size_px=stated.input_size[1],
        mean=tuple(stated.mean),
        std=tuple(stated.std),
        pooling="own",
        ignored=tuple(f"{classifier}." for classifier in classifiers),
    )
