from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.conch import AttentionalPooler, with_positions
from guidestore.encoders.hub import file_sha256
from guidestore.encoders.pathology_models import MODELS, PatchModel, timm_model
from guidestore.encoders.photograph_models import PHOTOGRAPH_MODELS
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.radiology_models import RADIOLOGY_MODELS
from guidestore.encoders.registry import build_encoder, encoder_info, encoder_infos
from guidestore.encoders.slides.encode import encode_slide
from guidestore.encoders.slides.tiling import TilingSettings
from guidestore.encoders.timm_patch import TimmPatchEncoder, build_network, pooled
from guidestore.encoders.transformers_layout import to_timm
from tests.encoders.making import tiles
from tests.representatives import some_of

TINY = PatchModel(
    "tiny",
    "vit_tiny_patch16_224",
    16,
    "",
    "",
    "none",
    False,
    {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "init_values": 0.5},
    input_size_px=32,
)


def random_state(model: PatchModel, seed: int = 0) -> dict[str, torch.Tensor]:
    """Values for every tensor of the model's network, as a trained one might have them."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in build_network(model).state_dict().items():
        if value.dtype == torch.int64:
            state[name] = torch.zeros(value.shape, dtype=torch.int64)
        elif name.endswith("running_var"):
            state[name] = torch.rand(value.shape, generator=generator) + 0.5
        else:
            scale = max(value[0].numel() if value.ndim > 1 else 1, 1) ** -0.5
            state[name] = torch.randn(value.shape, generator=generator) * scale
            state[name] += 1 if name.endswith((".weight", "gamma")) and value.ndim == 1 else 0
    return state


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    model = timm_model("resnet18")
    assert model is not None
    save_file(random_state(model) | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, path)
    return path


@pytest.mark.parametrize("model", some_of(MODELS.values()), ids=lambda model: model.name)
def test_every_row_gives_codes_of_its_dimension(model):
    network = build_network(model)
    assert all(value.is_meta for value in network.state_dict().values())  # It took no memory.
    size = model.input_size_px
    with torch.inference_mode():
        codes_bd = pooled(network.eval(), model, torch.empty(2, 3, size, size, device="meta"))
    assert codes_bd.shape == (2, model.code_dim)
    info = encoder_info(model.name)
    assert (info.tile_size_px, info.mpp) == (size, 0.5 if model.name != "conch_v1_5" else 4 / 7)
    assert (info.weights, info.code_dim) == ("pretrained", str(model.code_dim))
    assert len(model.mean) == len(model.std) == 3
    assert model.hub_repo.count("/") == 1
    assert "://" not in model.hub_repo
    canonical_json(dict(model.kwargs))


PARAMETERS = {
    "uni": 303e6,
    "uni2_h": 681e6,
    "virchow": 631e6,
    "virchow2": 631e6,
    "h_optimus_0": 1.13e9,
    "h_optimus_1": 1.13e9,
    "prov_gigapath": 1.13e9,
    "conch_v1_5": 306e6,
    "phikon": 86e6,
    "phikon_v2": 303e6,
    "midnight_12k": 1.13e9,
    "hibou_b": 86e6,
    "hibou_l": 304e6,
    "resnet50_trunc": 8.5e6,
}
"""As their authors state them."""


@pytest.mark.parametrize("name", some_of(PARAMETERS))
def test_every_row_has_the_published_number_of_parameters(name):
    count = sum(value.numel() for value in build_network(MODELS[name]).parameters())
    assert count == pytest.approx(PARAMETERS[name], rel=0.015)
    pretrained = {name for name, info in encoder_infos().items() if info.weights == "pretrained"}
    assert {*PARAMETERS, *PHOTOGRAPH_MODELS, *RADIOLOGY_MODELS} == pretrained


def test_an_encoder_keeps_the_contract(resnet_file):
    encoder = build_encoder("resnet18", weights=resnet_file, preprocessing={"tile_size_px": 64})
    assert isinstance(encoder, Encoder)
    assert encoder.spec.weights_sha256 == file_sha256(resnet_file)
    assert encoder.spec.preprocessing["tile_size_px"] == 64
    assert encoder.spec.preprocessing["input_size_px"] == 224
    batch = tiles(19)
    before = batch.copy()
    codes_bd = encoder.encode(batch)
    assert codes_bd.shape == (19, 512)
    assert codes_bd.dtype == np.float32
    assert np.array_equal(encoder.encode(batch), codes_bd)
    assert np.array_equal(batch, before)
    assert encoder.encode(batch[:0]).shape == (0, 512)
    alone = np.concatenate([encoder.encode(batch[row : row + 1]) for row in range(19)])
    assert np.abs(alone - codes_bd).max() <= 1e-5 * max(1.0, float(np.abs(codes_bd).max()))
    assert np.ptp(codes_bd, axis=0).max() > 1e-3
    with pytest.raises(InvalidInputError, match="encoder resnet18 takes tiles"):
        encoder.encode(batch.astype(np.float32))


def test_tiles_are_scaled_and_normalised_as_said(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(random_state(TINY), path)
    encoder = TimmPatchEncoder(TINY, path)
    network = build_network(TINY)
    network.load_state_dict(random_state(TINY), assign=True)
    batch = tiles(3, size_px=32)
    images = torch.from_numpy(batch).permute(0, 3, 1, 2) / 255
    expected = network.eval()(((images.sub(_column(TINY.mean))) / _column(TINY.std)).float())
    assert np.allclose(encoder.encode(batch), expected.detach().numpy(), atol=1e-5)
    # Tiles of another size are resized as Pillow does it, in floating point.
    large = tiles(1, size_px=80)
    bands = [Image.fromarray(large[0, ..., band].astype(np.float32)) for band in range(3)]
    resized = np.stack([np.asarray(band.resize((32, 32), Image.Resampling.BILINEAR)) for band in bands])
    expected = network((torch.from_numpy(resized)[None] / 255 - _column(TINY.mean)) / _column(TINY.std))
    assert np.allclose(encoder.encode(large), expected.detach().numpy(), atol=1e-3)


def _column(values) -> torch.Tensor:
    return torch.tensor(values).view(3, 1, 1)


def test_pooling_takes_the_tokens_it_names(tmp_path):
    model = dataclasses.replace(TINY, pooling="cls+mean", kwargs={**TINY.kwargs, "reg_tokens": 3})
    state = random_state(model)
    save_file(state, tmp_path / "w.safetensors")
    network = build_network(model)
    network.load_state_dict(state, assign=True)
    images = torch.randn(2, 3, 32, 32)
    tokens = network.eval().forward_features(images)
    assert tokens.shape[1] == 1 + 3 + 16
    assert torch.equal(pooled(network, model, images), torch.cat([tokens[:, 0], tokens[:, 4:].mean(1)], 1))
    assert TimmPatchEncoder(model, tmp_path / "w.safetensors").spec.code_dim == 32


def test_conchs_pooler_is_one_query_over_the_tokens():
    """Against cross-attention head by head; and its positions, which the published code interpolates when it runs."""
    torch.manual_seed(0)
    pooler = AttentionalPooler(8, 6, heads=2)
    nn.init.normal_(pooler.query)
    tokens_bnd = torch.randn(3, 5, 6)
    with torch.inference_mode():
        query_qd, normed = pooler.to_q(pooler.ln_q(pooler.query)), pooler.ln_k(tokens_bnd)
        key_bnd, value_bnd = pooler.to_kv(normed).split(8, dim=-1)
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            weight_bqn = torch.softmax(query_qd[:, head] @ key_bnd[..., head].mT / 4**0.5, dim=-1)
            heads.append(weight_bqn @ value_bnd[..., head])
        assert torch.allclose(pooler(tokens_bnd), pooler.to_out(torch.cat(heads, dim=-1)), atol=1e-6)
    positions = torch.randn(1, 1 + 4 * 4, 6)
    wide = with_positions({"trunk.pos_embed": positions}, 8)["trunk.pos_embed"]
    assert wide.shape == (1, 1 + 8 * 8, 6)
    assert torch.equal(wide[:, 0], positions[:, 0])
    assert torch.equal(with_positions({"trunk.pos_embed": wide}, 8)["trunk.pos_embed"], wide)
    # A field that rises along x still does.
    ramp = torch.arange(4.0).repeat(4).reshape(1, 16, 1).expand(1, 16, 6)
    wide = with_positions({"trunk.pos_embed": torch.cat([positions[:, :1], ramp], dim=1)}, 8)["trunk.pos_embed"]
    columns = wide[0, 1:, 0].reshape(8, 8)
    assert (columns.diff(dim=1) > 0).all()
    assert torch.allclose(columns, columns[:1].expand(8, 8), atol=1e-5)


def test_a_conch_file_of_224_px_positions_loads_and_encodes(tmp_path):
    kwargs = {"embed_dim": 16, "depth": 1, "num_heads": 2, "init_values": 0.5, "heads": 2}
    model = PatchModel(
        "tiny_conch", "conch_v1_5", 12, "", "", "none", False, {"code_dim": 12, "img_size": 64, **kwargs},
        input_size_px=64, pooling="own",
    )  # fmt: skip
    small = dataclasses.replace(model, kwargs={**model.kwargs, "img_size": 32})
    save_file(random_state(small), tmp_path / "conch.safetensors")
    codes_bd = TimmPatchEncoder(model, tmp_path / "conch.safetensors").encode(tiles(3, size_px=64))
    assert codes_bd.shape == (3, 12)
    assert np.isfinite(codes_bd).all()
    assert np.ptp(codes_bd, axis=0).max() > 1e-3


def test_the_truncated_resnet_is_clams(tmp_path):
    import torchvision

    torch.manual_seed(0)
    whole = torchvision.models.resnet50(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "resnet50.pth")
    encoder = build_encoder("resnet50_trunc", weights=tmp_path / "resnet50.pth")
    batch = tiles(2, size_px=256)
    model = MODELS["resnet50_trunc"]
    images = (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - _column(model.mean)) / _column(model.std)
    expected = nn.Sequential(*list(whole.children())[:7])(images).mean(dim=(2, 3))
    assert encoder.spec.code_dim == 1024
    assert np.allclose(encoder.encode(batch), expected.detach().numpy(), rtol=1e-3, atol=1e-4)


def test_weights_and_tiling_are_part_of_the_identity(tmp_path, cohort, resnet_file):
    settings = TilingSettings(1.0, 64)
    other = tmp_path / "other.safetensors"
    model = timm_model("resnet18")
    assert model is not None
    save_file(random_state(model, seed=1), other)
    encoder = build_encoder("resnet18", weights=resnet_file, preprocessing=settings.as_dict())
    digests = {
        encoder.spec.digest,
        build_encoder("resnet18", weights=other, preprocessing=settings.as_dict()).spec.digest,
        build_encoder("resnet18", weights=resnet_file).spec.digest,
    }
    assert len(digests) == 3
    slide = sorted((cohort / "Pathology").iterdir())[0]
    assert encode_slide(slide, encoder, settings).features_nd.shape[1] == 512


def test_wrapped_checkpoints_are_unwrapped(tmp_path):
    state = random_state(TINY)
    expected = None
    heads = {"dino_head.weight": torch.zeros(3)}
    for number, content in enumerate(
        (
            state,
            {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3},
            {"teacher": {f"backbone.{name}": value for name, value in state.items()} | heads},
            {"model": {f"module.backbone.{name}": value for name, value in state.items()}},
        )
    ):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        codes_bd = TimmPatchEncoder(TINY, path).encode(tiles(2, size_px=32))
        expected = codes_bd if expected is None else expected
        assert np.array_equal(codes_bd, expected)


def test_a_file_of_half_precision_is_read(tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({name: value.half() for name, value in random_state(TINY).items()}, path)
    assert TimmPatchEncoder(TINY, path).encode(tiles(2, size_px=32)).dtype == np.float32


def test_a_file_of_another_network_names_what_is_odd(tmp_path, resnet_file):
    with pytest.raises(InvalidInputError, match=r"does not fit encoder tiny: \d+ tensors are odd \(.* give the file"):
        TimmPatchEncoder(TINY, resnet_file)
    state = random_state(TINY)
    state["norm.weight"] = torch.zeros(7)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InvalidInputError, match=r"1 tensors are odd \(norm\.weight is \(7,\) instead of \(16,\)\)"):
        TimmPatchEncoder(TINY, tmp_path / "w.safetensors")


def in_transformers_layout(state, is_dinov2: bool) -> dict[str, torch.Tensor]:
    """The inverse of `to_timm`, written from transformers' names."""
    names = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings"}
    names |= {"reg_token": "embeddings.register_tokens"}
    parts = {
        "attn.proj": "attention.output.dense",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    if not is_dinov2:
        parts |= {"norm1": "layernorm_before", "norm2": "layernorm_after"}
        parts |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    renamed = {"embeddings.mask_token": torch.zeros(1, 16), "pooler.dense.weight": torch.zeros(16, 16)}
    for name, value in state.items():
        if name in names:
            renamed[names[name]] = value
        elif name.startswith("patch_embed.proj"):
            renamed[name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")] = value
        elif name.startswith("norm."):
            renamed["layer" + name] = value
        elif ".attn.qkv." in name:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                block, kind = name.split(".")[1], name.split(".")[-1]
                renamed[f"encoder.layer.{block}.attention.attention.{part}.{kind}"] = rows.clone()
        else:
            block, rest = name.removeprefix("blocks.").split(".", 1)
            for own, other in parts.items():
                rest = rest.replace(own, other)
            renamed[f"encoder.layer.{block}.{rest}"] = value
    return renamed


@pytest.mark.parametrize("is_dinov2", [True, False])
def test_transformers_names_come_back(tmp_path, is_dinov2):
    model = TINY if is_dinov2 else dataclasses.replace(TINY, kwargs={**TINY.kwargs, "init_values": None})
    state = random_state(model)
    back = to_timm(in_transformers_layout(state, is_dinov2), 4)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    path = tmp_path / "w.safetensors"
    save_file({f"dinov2.{name}": v for name, v in in_transformers_layout(state, is_dinov2).items()}, path)
    encoder = TimmPatchEncoder(dataclasses.replace(model, layout="transformers"), path)
    save_file(state, tmp_path / "timm.safetensors")
    same = TimmPatchEncoder(model, tmp_path / "timm.safetensors")
    assert np.array_equal(encoder.encode(tiles(2, size_px=32)), same.encode(tiles(2, size_px=32)))


def test_swiglu_and_registers_are_renamed_too(tmp_path):
    """Against an independent DINOv2 with registers, as transformers computes it."""
    kwargs = {**TINY.kwargs, "reg_tokens": 4, "no_embed_class": True, "mlp_ratio": 2.5}
    model = dataclasses.replace(TINY, kwargs=kwargs, swiglu=True, layout="transformers")
    state = random_state(model)
    assert state["blocks.0.mlp.fc1.weight"].shape == (40, 16)
    token = torch.randn(1, 1, 16)
    published = {
        name.replace("mlp.fc1", "mlp.weights_in").replace("mlp.fc2", "mlp.weights_out"): value
        for name, value in in_transformers_layout(state, True).items()
    }
    published["embeddings.position_embeddings"] = torch.cat([token, state["pos_embed"]], dim=1)
    back = to_timm(published, 4)
    assert back.keys() == state.keys()
    assert torch.equal(back["cls_token"], state["cls_token"] + token)
    assert all(torch.equal(back[name], state[name]) for name in state if name != "cls_token")


def test_positions_of_another_grid_are_interpolated():
    positions = torch.randn(1, 1 + 37 * 37, 8)
    resized = to_timm({"embeddings.position_embeddings": positions}, 16)["pos_embed"]
    assert resized.shape == (1, 257, 8)
    assert torch.equal(resized[:, 0], positions[:, 0])
    flat = to_timm({"embeddings.position_embeddings": torch.ones(1, 1 + 37 * 37, 8)}, 16)["pos_embed"]
    assert torch.allclose(flat, torch.ones_like(flat))


def test_timm_models_are_known_by_name():
    info = encoder_info("vit_small_patch16_224")
    assert (info.tile_size_px, info.mpp) == (224, 0.5)
    model = timm_model("vit_small_patch16_224")
    assert model is not None
    assert model.mean == (0.5, 0.5, 0.5)
    assert timm_model("no_such_model") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_cpus_codes_within_bfloat16(resnet_file):
    batch = tiles(9, size_px=224)
    on_cpu = build_encoder("resnet18", weights=resnet_file).encode(batch)
    on_gpu = build_encoder("resnet18", weights=resnet_file, device="cuda").encode(batch)
    assert np.abs(on_cpu - on_gpu).max() <= 0.05 * np.abs(on_cpu).max()


def test_random_weights_are_a_control_that_is_the_same_every_time() -> None:
    tiles_bhwc = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    before = torch.random.get_rng_state()
    first, again = (build_encoder("resnet18", weights="random", input_kind="tiles") for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before), "nobody else's random numbers change"
    assert first.spec == again.spec
    assert first.spec.preprocessing["weights"] == "random"
    assert len(first.spec.weights_sha256) == 64
    codes_bd = first.encode(tiles_bhwc)
    np.testing.assert_array_equal(codes_bd, again.encode(tiles_bhwc))
    assert np.isfinite(codes_bd).all()
    assert np.std(codes_bd) > 0
