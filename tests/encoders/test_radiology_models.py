"""Encoders of radiographs: every row's code, and the files that their authors published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from guidestore.embeddings.canonical import canonical_json
from guidestore.encoders.pathology_models import PatchModel
from guidestore.encoders.radiology_models import RADIOLOGY_MODELS
from guidestore.encoders.registry import encoder_info
from guidestore.encoders.siglip_layout import siglip_to_timm
from guidestore.encoders.timm_patch import TimmPatchEncoder, build_network, own_names, pooled
from tests.encoders.making import photographs
from tests.encoders.test_patch_encoders import random_state

TINY_SIGLIP = PatchModel(
    "tiny_siglip", "vit_so400m_patch14_siglip_224", 16, "", "", "none", False,
    {"img_size": 28, "embed_dim": 16, "depth": 2, "num_heads": 2, "act_layer": "gelu_tanh"},
    input_size_px=28, pooling="own", layout="siglip",
)  # fmt: skip
PARAMETERS = {"rad_dino": 86.6e6, "medsiglip": 428e6, "biomedclip": 85.8e6}
"""Of DINOv2's ViT-B/14 with 37 x 37 positions, SigLIP's so400m with its pooling, ViT-B/16 without a head."""


@pytest.mark.parametrize("model", RADIOLOGY_MODELS.values(), ids=lambda model: model.name)
def test_every_row_gives_codes_of_its_dimension_and_has_the_published_number_of_parameters(model: PatchModel) -> None:
    network = build_network(model)
    assert sum(value.numel() for value in network.parameters()) == pytest.approx(PARAMETERS[model.name], rel=0.01)
    with torch.device("meta"), torch.inference_mode():
        images = torch.empty(2, 3, model.input_size_px, model.input_size_px)
        assert pooled(network.eval(), model, images).shape == (2, model.code_dim)
    info = encoder_info(model.name)
    assert (info.takes[0], info.licence) == ("photographs", model.licence)
    assert info.hub.endswith(", gated") == model.gated
    canonical_json(dict(model.kwargs))


def in_transformers_siglip_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of `siglip_to_timm`, written from transformers' names; with a text encoder beside it."""
    renamed = {
        "logit_scale": torch.zeros(1),
        "text_model.final_layer_norm.weight": torch.zeros(3),
        "vision_model.embeddings.position_embedding.weight": state["pos_embed"][0].clone(),
        "vision_model.head.probe": state["attn_pool.latent"].clone(),
    }
    outside = {
        "patch_embed.proj": "embeddings.patch_embedding",
        "norm": "post_layernorm",
        "attn_pool.proj": "head.attention.out_proj",
        "attn_pool.norm": "head.layernorm",
        "attn_pool.mlp.fc1": "head.mlp.fc1",
        "attn_pool.mlp.fc2": "head.mlp.fc2",
    }
    parts = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj"}
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        if stem in outside:
            renamed[f"vision_model.{outside[stem]}.{kind}"] = value.clone()
        elif stem == "attn_pool.q":
            both = torch.cat([value, state[f"attn_pool.kv.{kind}"]])
            renamed[f"vision_model.head.attention.in_proj_{kind}"] = both
        elif stem.startswith("blocks."):
            _, number, part = stem.split(".", 2)
            block = f"vision_model.encoder.layers.{number}"
            if part == "attn.qkv":
                for letter, rows in zip("qkv", value.chunk(3), strict=True):
                    renamed[f"{block}.self_attn.{letter}_proj.{kind}"] = rows.clone()
            else:
                renamed[f"{block}.{parts.get(part, part)}.{kind}"] = value.clone()
    return renamed


def test_siglip_files_come_back_under_timms_names(tmp_path) -> None:
    state = random_state(TINY_SIGLIP)
    published = in_transformers_siglip_layout(state)
    back = siglip_to_timm(published)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    save_file(published, tmp_path / "siglip.safetensors")
    save_file(state, tmp_path / "timm.safetensors")
    codes = [TimmPatchEncoder(TINY_SIGLIP, tmp_path / f"{name}.safetensors") for name in ("siglip", "timm")]
    batch = photographs(2, size=32)
    assert np.array_equal(codes[0].encode(batch), codes[1].encode(batch))


def test_an_image_encoder_beside_a_text_encoder_is_found() -> None:
    model = RADIOLOGY_MODELS["biomedclip"]
    network = build_network(model)
    state = {f"visual.trunk.{name}": value for name, value in network.state_dict().items()}
    others = {"visual.head.proj.weight": torch.zeros(4, 4), "text.transformer.embeddings.weight": torch.zeros(2, 2)}
    assert own_names(model, network, state | others).keys() == network.state_dict().keys()
