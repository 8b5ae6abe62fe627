"""Frozen networks on photographs: every row's code, and the files that their authors published."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.clip_layout import clip_to_timm
from guidestore.encoders.pathology_models import PatchModel
from guidestore.encoders.photograph_models import _BEIT, PHOTOGRAPH_MODELS
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.timm_patch import TimmPatchEncoder, build_network, own_names, pooled
from tests.encoders.making import photographs
from tests.encoders.test_patch_encoders import random_state
from tests.representatives import some_of

TINY = {"embed_dim": 16, "depth": 2, "num_heads": 2}
TINY_CLIP = PatchModel(
    "tiny_clip", "vit_large_patch14_clip_quickgelu_224", 16, "", "", "none", False,
    {**TINY, "img_size": 28}, input_size_px=28, layout="clip",
)  # fmt: skip
TINY_BEIT = PatchModel(
    "tiny_beit", "beit_base_patch16_224", 16, "", "", "none", False,
    {**_BEIT, **TINY, "img_size": 32}, input_size_px=32, part="encoder.",
)  # fmt: skip
TINY_DINO = PatchModel(
    "tiny_dino", "vit_small_patch14_reg4_dinov2", 16, "", "", "none", False,
    {**TINY, "img_size": 28}, input_size_px=28, layout="own",
)  # fmt: skip


@pytest.mark.parametrize("model", some_of(PHOTOGRAPH_MODELS.values()), ids=lambda model: model.name)
def test_every_row_gives_codes_of_its_dimension(model):
    with torch.device("meta"), torch.inference_mode():
        network = build_network(model)
        images = torch.empty(2, 3, model.input_size_px, model.input_size_px)
        assert pooled(network.eval(), model, images).shape == (2, model.code_dim)
    assert "://" not in model.hub_repo
    assert bool(model.hub_repo) == bool(model.hub_file)
    canonical_json(dict(model.kwargs))


PARAMETERS = {
    "dinov2_vits14": 22e6,
    "dinov2_vitb14": 86e6,
    "dinov2_vitl14": 304e6,
    "dinov2_vitg14": 1.136e9,
    "dinov3_vits16": 21.6e6,
    "dinov3_vitb16": 85.7e6,
    "dinov3_vitl16": 303e6,
    "dinov3_vith16plus": 840e6,
    "panderm_base": 86e6,
    "panderm_large": 304e6,
    "monet": 303e6,
}
"""As their authors state them, of PanDerm and MONET those of ViT-B/16, ViT-L/16 and CLIP's ViT-L/14."""


@pytest.mark.parametrize("name", some_of(PARAMETERS))
def test_every_row_has_the_published_number_of_parameters(name):
    with torch.device("meta"):
        count = sum(value.numel() for value in build_network(PHOTOGRAPH_MODELS[name]).parameters())
    assert count == pytest.approx(PARAMETERS[name], rel=0.015)


def in_openai_layout(state) -> dict[str, torch.Tensor]:
    """The inverse of `clip_to_timm`, written from OpenAI's names; with a text encoder beside it."""
    swaps = (
        ("patch_embed.proj", "conv1"),
        ("blocks.", "transformer.resblocks."),
        ("norm_pre", "ln_pre"),
        (".norm1", ".ln_1"),
        (".norm2", ".ln_2"),
        ("attn.qkv.", "attn.in_proj_"),
        ("attn.proj", "attn.out_proj"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    )
    renamed = {"visual.proj": torch.zeros(16, 8), "transformer.resblocks.0.ln_1.weight": torch.zeros(3)}
    for name, value in state.items():
        if name in ("cls_token", "pos_embed"):
            own = {"cls_token": "class_embedding", "pos_embed": "positional_embedding"}[name]
            renamed[f"visual.{own}"] = value[0, 0] if name == "cls_token" else value[0]
            continue
        name = name.replace("norm.", "ln_post.") if name.startswith("norm.") else name
        for own, other in swaps:
            name = name.replace(own, other)
        renamed[f"visual.{name}"] = value
    return renamed


def in_transformers_clip_layout(state) -> dict[str, torch.Tensor]:
    """The same, from transformers' names."""
    renamed = {
        "vision_model.embeddings.position_ids": torch.arange(5),
        "visual_projection.weight": torch.zeros(8, 16),
        "text_model.final_layer_norm.weight": torch.zeros(3),
        "logit_scale": torch.zeros(()),
        "vision_model.embeddings.class_embedding": state["cls_token"][0, 0],
        "vision_model.embeddings.position_embedding.weight": state["pos_embed"][0],
        "vision_model.embeddings.patch_embedding.weight": state["patch_embed.proj.weight"],
    }
    parts = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj"}
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        if stem in ("norm", "norm_pre"):
            own = {"norm": "post_layernorm", "norm_pre": "pre_layrnorm"}[stem]
            renamed[f"vision_model.{own}.{kind}"] = value
        elif stem.startswith("blocks."):
            _, number, part = stem.split(".", 2)
            block = f"vision_model.encoder.layers.{number}"
            if part == "attn.qkv":
                for letter, rows in zip("qkv", value.chunk(3), strict=True):
                    renamed[f"{block}.self_attn.{letter}_proj.{kind}"] = rows.clone()
            else:
                renamed[f"{block}.{parts.get(part, part)}.{kind}"] = value
    return renamed


@pytest.mark.parametrize("layout", [in_openai_layout, in_transformers_clip_layout])
def test_clip_files_come_back_under_timms_names(tmp_path, layout):
    state = random_state(TINY_CLIP)
    back = clip_to_timm(layout(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    save_file(layout(state), tmp_path / "clip.safetensors")
    save_file(state, tmp_path / "timm.safetensors")
    codes = [TimmPatchEncoder(TINY_CLIP, tmp_path / f"{name}.safetensors") for name in ("clip", "timm")]
    batch = photographs(2, size=32)
    assert np.array_equal(codes[0].encode(batch), codes[1].encode(batch))


def test_an_encoder_within_a_larger_file_is_found(tmp_path):
    """PanDerm: with and without the prefix, beside what only its pre-training used."""
    state = random_state(TINY_BEIT)
    assert "blocks.0.attn.q_bias" in state
    others = {"regressor.norm.weight": torch.zeros(3), "mask_token": torch.zeros(1, 1, 16)}
    save_file({f"encoder.{name}": value for name, value in state.items()} | others, tmp_path / "nested.safetensors")
    save_file(state | others | {"head.weight": torch.zeros(5, 16)}, tmp_path / "plain.safetensors")
    encoders = [TimmPatchEncoder(TINY_BEIT, tmp_path / f"{name}.safetensors") for name in ("nested", "plain")]
    batch = photographs(3, size=40)
    codes_bd = encoders[0].encode(batch)
    assert codes_bd.shape == (3, 16)
    assert np.array_equal(codes_bd, encoders[1].encode(batch))
    # The class token after the last normalisation, and no bias of the keys.
    network = build_network(TINY_BEIT)
    network.load_state_dict(state)
    images = torch.randn(2, 3, 32, 32)
    tokens_bnd = network.eval().forward_features(images)
    assert torch.equal(pooled(network, TINY_BEIT, images), tokens_bnd[:, 0])
    assert isinstance(network.norm, torch.nn.LayerNorm)
    assert not dict(network.named_buffers())["blocks.0.attn.k_bias"].any()
    del state["norm.weight"]
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(InvalidInputError, match=r"1 tensors are odd \(norm.weight is missing\)"):
        TimmPatchEncoder(TINY_BEIT, tmp_path / "short.safetensors")


def test_dinos_own_file_is_translated():
    """Registers under another name, and a position of the class token that timm adds to the token."""
    state = random_state(TINY_DINO)
    token = torch.randn(1, 1, 16)
    published = {"mask_token": torch.zeros(1, 16), "register_tokens": state["reg_token"]}
    published |= {name: value for name, value in state.items() if name != "reg_token"}
    published["pos_embed"] = torch.cat([token, state["pos_embed"]], dim=1)
    back = own_names(TINY_DINO, build_network(TINY_DINO), published)
    assert back.keys() == state.keys()
    assert torch.equal(back["cls_token"], state["cls_token"] + token)
    assert all(torch.equal(back[name], state[name]) for name in state if name != "cls_token")
    same = own_names(TINY_DINO, build_network(TINY_DINO), state)
    assert all(torch.equal(same[name], state[name]) for name in state)


def test_photographs_and_tiles_are_one_forward_pass(tmp_path):
    model = dataclasses.replace(TINY_CLIP, layout="timm")
    save_file(random_state(model), tmp_path / "w.safetensors")
    on_tiles = TimmPatchEncoder(model, tmp_path / "w.safetensors")
    on_photographs = TimmPatchEncoder(model, tmp_path / "w.safetensors", input_kind="photographs")
    assert (on_tiles.spec.input_kind, on_photographs.spec.input_kind) == ("tiles", "photographs")
    assert on_tiles.spec.digest != on_photographs.spec.digest
    batch = photographs(3, size=40)
    assert np.array_equal(on_tiles.encode(batch), on_photographs.encode(batch))
    with pytest.raises(InvalidInputError, match="tiny_clip takes photographs of shape"):
        on_photographs.encode(batch.astype(np.float32))


def test_weights_that_no_hub_has_are_asked_for():
    with pytest.raises(InvalidInputError, match="no weights of encoder panderm_large are on the model hub; give them"):
        build_encoder("panderm_large", input_kind="photographs")
