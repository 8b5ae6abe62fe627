"""Networks for photographs whose weights others trained: one row for each. No weights are shipped.

Sources: timm's configurations; PanDerm's, Derm1M's and MONET's published code. Where a card resizes a photograph to
256 px and crops its centre 224, the row says what the network sees. Left out: Google's Derm Foundation (TensorFlow) and
the ViT-B/16 of DermLIP, whose activation its documents do not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from guidestore.encoders.pathology_models import IMAGENET_MEAN, IMAGENET_STD, NON_COMMERCIAL, PatchModel

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PANDERM_STD = (0.228, 0.224, 0.225)
"""As in its authors' code."""


def _dinov2(size: str, architecture: str, code_dim: int, registers: bool) -> PatchModel:
    """518 px, at which its pre-training ended, and the class token."""
    name = f"vit_{architecture}_patch14_{'reg4_' if registers else ''}dinov2"
    return PatchModel(
        f"dinov2_vit{size}14{'_reg' if registers else ''}",
        name,
        code_dim,
        f"timm/{name}.lvd142m",
        "model.safetensors",
        "Apache-2.0",
        False,
        input_size_px=518,
        layout="own",
    )


def _dinov3(size: str, architecture: str, code_dim: int) -> PatchModel:
    """The class token, as its authors take it; timm's own default is the mean of the patches."""
    return PatchModel(
        f"dinov3_vit{size}",
        f"vit_{architecture}_patch16_dinov3",
        code_dim,
        f"timm/vit_{architecture}_patch16_dinov3.lvd1689m",
        "model.safetensors",
        "DINOv3 licence",
        False,
        input_size_px=256,
        layout="own",
    )


_BEIT: Mapping[str, Any] = {
    "use_abs_pos_emb": True,
    "use_rel_pos_bias": False,
    "init_values": 0.1,
    "global_pool": "token",
}
"""CAE v2's encoder is BEiT's with fixed positions."""

PHOTOGRAPH_MODELS: Mapping[str, PatchModel] = {
    model.name: replace(model, made_for="photographs")
    for model in (
        *(
            _dinov2(size, architecture, code_dim, registers)
            for registers in (False, True)
            for size, architecture, code_dim in (
                ("s", "small", 384),
                ("b", "base", 768),
                ("l", "large", 1024),
                ("g", "giant", 1536),
            )
        ),
        # Without the 7B network, whose weights are 27 GB.
        *(
            _dinov3(size, architecture, code_dim)
            for size, architecture, code_dim in (
                ("s16", "small", 384),
                ("s16plus", "small_plus", 384),
                ("b16", "base", 768),
                ("l16", "large", 1024),
                ("h16plus", "huge_plus", 1280),
            )
        ),
        # Yan et al. 2025. Its authors give the weights out by a link of their own; class token before any head.
        PatchModel(
            "panderm_base",
            "beit_base_patch16_224",
            768,
            "",
            "",
            NON_COMMERCIAL,
            False,
            _BEIT,
            mean=IMAGENET_MEAN,
            std=PANDERM_STD,
            part="encoder.",
        ),
        PatchModel(
            "panderm_large",
            "beit_large_patch16_224",
            1024,
            "",
            "",
            NON_COMMERCIAL,
            False,
            _BEIT,
            mean=IMAGENET_MEAN,
            std=PANDERM_STD,
            part="encoder.",
        ),
        # Yan et al. 2025 (Derm1M): PanDerm's encoder after training with text; its code is the token before the head.
        PatchModel(
            "dermlip_panderm_base",
            "beit_base_patch16_224",
            768,
            "redlessone/DermLIP_PanDerm-base-w-PubMed-256",
            "open_clip_pytorch_model.bin",
            NON_COMMERCIAL,
            False,
            _BEIT,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            part="visual.",
        ),
        # Kim et al. 2024: OpenAI's CLIP trained on, with ImageNet's mean; the class token before the projection.
        PatchModel(
            "monet",
            "vit_large_patch14_clip_quickgelu_224",
            1024,
            "suinleelab/monet",
            "model.safetensors",
            "see its model card",
            False,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            layout="clip",
        ),
    )
}
