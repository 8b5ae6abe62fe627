"""Networks for radiographs and other medical pictures whose weights others trained: one row for each, none shipped.

They take photographs: PNG or JPEG of one picture. Sources: the model cards and configurations that their authors
published. Left out, since nothing here could check them: CT-FM, Merlin and VISTA3D (they want Hounsfield units, and
volumes here are z-scored), ARK+, EVA-X, CheXzero and RadImageNet (files of layouts that no document states).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from guidestore.encoders.pathology_models import HALF, PatchModel
from guidestore.encoders.photograph_models import CLIP_MEAN, CLIP_STD

RADIOLOGY_MODELS: Mapping[str, PatchModel] = {
    model.name: replace(model, made_for="photographs")
    for model in (
        # Pérez-García et al. 2025: DINOv2's ViT-B/14 trained on with chest radiographs; class token.
        PatchModel(
            "rad_dino",
            "vit_base_patch14_dinov2",
            768,
            "microsoft/rad-dino",
            "model.safetensors",
            "MIT (MSRLA at first), for research",
            False,
            input_size_px=518,
            mean=(0.5307,) * 3,
            std=(0.2583,) * 3,
            layout="transformers",
        ),
        # Sellergren et al. 2025: SigLIP's so400m trained on with medical pictures and texts; it pools by attention.
        PatchModel(
            "medsiglip",
            "vit_so400m_patch14_siglip_224",
            1152,
            "google/medsiglip-448",
            "model.safetensors",
            "Health AI Developer Foundations terms",
            True,
            {"img_size": 448, "act_layer": "gelu_tanh"},
            input_size_px=448,
            mean=HALF,
            std=HALF,
            pooling="own",
            layout="siglip",
        ),
        # Zhang et al. 2025: a ViT-B/16 trained with figures and captions of papers; class token before the projection.
        PatchModel(
            "biomedclip",
            "vit_base_patch16_224",
            768,
            "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
            "open_clip_pytorch_model.bin",
            "MIT",
            False,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            part="visual.trunk.",
        ),
    )
}
