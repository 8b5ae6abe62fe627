"""Frozen 3-D networks from weights files: codes equal MONAI's own networks, in every layout of the file."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets.resnet import ResNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.segresnet_ds import SegResNetDS
from monai.networks.nets.swin_unetr import SwinUNETR
from safetensors.torch import save_file

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import NEVER_TRAINED
from guidestore.encoders.frozen_volumes import FrozenVolumeEncoder
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.resnet3d import ResNet3dEncoder
from guidestore.encoders.segresnet import SegResNetDsEncoder, SegResNetEncoder
from guidestore.encoders.swin_unetr import SwinUnetrEncoder
from tests.encoders.making import volumes

needs_einops = pytest.mark.skipif(find_spec("einops") is None, reason="MONAI's Swin transformer needs einops")
DEPTHS = {10: ("basic", [1, 1, 1, 1]), 18: ("basic", [2, 2, 2, 2]), 34: ("basic", [3, 4, 6, 3])}
DEPTHS[50] = ("bottleneck", [3, 4, 6, 3])


def make_resnet(depth: int = 10, channels: int = 1, shortcut: str = "B", bias: bool = False) -> ResNet:
    torch.manual_seed(depth)
    block, layers = DEPTHS[depth]
    network = ResNet(
        block,
        layers,
        [4, 8, 16, 32],
        n_input_channels=channels,
        conv1_t_stride=2,
        shortcut_type=shortcut,
        bias_downsample=bias,
        feed_forward=False,
    )
    return network.eval()


def make_swin(channels: int = 1, use_v2: bool = False, window: int = 3, seed: int = 7) -> SwinUNETR:
    """A window of 3 voxels is ten times faster than the usual 7."""
    torch.manual_seed(seed)
    return SwinUNETR(channels, 2, feature_size=12, use_v2=use_v2, window_size=window).eval()


def swinvit_layout(network: SwinUNETR) -> dict[str, torch.Tensor]:
    """As model_swinvit.pt: only the transformer, "module." before names, other names in the MLPs, heads beside it."""
    state = {
        f"module.{name}".replace("mlp.linear", "mlp.fc"): value for name, value in network.swinViT.state_dict().items()
    }
    return state | {"module.rotation_head.weight": torch.zeros(4, 192), "module.norm.bias": torch.zeros(192)}


@torch.no_grad()
def swin_codes(network: SwinUNETR, padded_bcdhw: np.ndarray) -> np.ndarray:
    return network.swinViT(torch.tensor(padded_bcdhw), True)[-1].mean(dim=(2, 3, 4)).numpy()


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture(params=["resnet3d", pytest.param("swin_unetr", marks=needs_einops)])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> FrozenVolumeEncoder:
    """One that encodes each of four sequences on its own."""
    kind, network = (ResNet3dEncoder, make_resnet()) if request.param == "resnet3d" else (SwinUnetrEncoder, make_swin())
    weights = save(tmp_path / "weights.pt", network.state_dict())
    encoder = kind(weights=weights, channels=4, preprocessing={"spacing_mm": 1.0})
    assert encoder.spec.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    return encoder


def test_the_contract_of_an_encoder_holds(encoder: FrozenVolumeEncoder):
    assert isinstance(encoder, Encoder)
    spec = encoder.spec
    assert (spec.input_kind, spec.trained_on, spec.preprocessing) == ("volumes", NEVER_TRAINED, {"spacing_mm": 1.0})
    for count in (0, 1):
        codes_bd = encoder.encode(volumes(count))
        assert (codes_bd.shape, codes_bd.dtype) == ((count, spec.code_dim), np.float32)
        assert np.isfinite(codes_bd).all()
    batch = volumes(3)
    before = batch.copy()
    batch.flags.writeable = False
    together = encoder.encode(batch)
    assert np.array_equal(together, encoder.encode(batch))
    assert np.array_equal(batch, before)
    alone = np.concatenate([encoder.encode(batch[row : row + 1]) for row in range(3)])
    assert np.abs(together - alone).max() <= 1e-5 * max(1.0, float(np.abs(alone).max()))
    assert np.ptp(together, axis=0).max() > 1e-3
    for wrong in (batch[:, :3], batch.astype(np.float64), batch[0]):
        with pytest.raises(InvalidInputError, match=f"encoder {spec.name} takes volumes of shape"):
            encoder.encode(wrong)


def test_one_channel_networks_encode_each_sequence_on_its_own(encoder: FrozenVolumeEncoder):
    batch = volumes(2)
    codes_bcd = encoder.encode(batch).reshape(2, 4, -1)
    changed = batch.copy()
    changed[:, 2] += 1
    moved = np.abs(encoder.encode(changed).reshape(2, 4, -1) - codes_bcd).max(axis=(0, 2))
    assert moved[2] > 1e-3
    assert np.delete(moved, 2).max() <= 1e-5 * max(1.0, float(np.abs(codes_bcd).max()))
    order = [3, 0, 2, 1]
    reordered = encoder.encode(np.ascontiguousarray(batch[:, order])).reshape(2, 4, -1)
    np.testing.assert_allclose(reordered, codes_bcd[:, order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "shortcut", "bias", "width"),
    [(10, "B", False, 32), (18, "A", True, 32), (34, "A", True, 32), (50, "B", False, 128), (18, "B", True, 32)],
)
def test_resnets_of_every_depth_give_monais_codes(tmp_path: Path, depth: int, shortcut: str, bias: bool, width: int):
    network = make_resnet(depth, 4, shortcut, bias)
    encoder = ResNet3dEncoder(weights=save(tmp_path / "w.pt", network.state_dict()), channels=4)
    batch = volumes(2)
    with torch.no_grad():
        expected = network(torch.tensor(batch)).numpy()
    assert encoder.spec.code_dim == width
    np.testing.assert_allclose(encoder.encode(batch), expected, rtol=1e-5, atol=1e-6)


def test_layouts_of_resnet_files_give_the_same_codes(tmp_path: Path):
    state = make_resnet().state_dict()
    medicalnet = {f"module.{name}": value for name, value in state.items()}
    medicalnet |= {"module.conv_seg.0.weight": torch.zeros(32, 32, 2, 2, 2)}
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "monai.safetensors")
    files = [
        save(tmp_path / "monai.pt", state),
        save(tmp_path / "medicalnet.pth", {"epoch": 3, "state_dict": medicalnet}),
        save(tmp_path / "classifier.pt", {**old, "fc.weight": torch.zeros(2, 32), "fc.bias": torch.zeros(2)}),
        tmp_path / "monai.safetensors",
    ]
    encoders = [ResNet3dEncoder(weights=file, channels=4) for file in files]
    codes = [encoder.encode(volumes(2)) for encoder in encoders]
    assert all(np.array_equal(codes[0], other) for other in codes[1:])
    assert len({encoder.spec.weights_sha256 for encoder in encoders}) == 4


@needs_einops
@pytest.mark.parametrize(("channels", "use_v2", "window"), [(4, False, 3), (1, False, 7), (4, True, 3)])
def test_swin_gives_monais_codes_of_padded_volumes(tmp_path: Path, channels: int, use_v2: bool, window: int):
    network = make_swin(channels, use_v2, window)
    weights = save(tmp_path / "swin.pt", {"state_dict": network.state_dict()})
    encoder = SwinUnetrEncoder(weights=weights, channels=channels)
    batch = volumes(2, shape=(32, 27, 20))[:, :channels]
    assert encoder.spec.code_dim == 192
    padded = np.pad(batch, ((0, 0), (0, 0), (0, 0), (2, 3), (6, 6)))
    np.testing.assert_allclose(encoder.encode(batch), swin_codes(network, padded), rtol=1e-4, atol=1e-5)


@needs_einops
def test_layouts_of_swin_files_give_the_same_codes(tmp_path: Path):
    network = make_swin()
    swinvit = swinvit_layout(network)
    bare = {name: v for name, v in network.swinViT.state_dict().items() if not name.endswith("relative_position_index")}
    files = [
        save(tmp_path / "model_swinvit.pt", {"state_dict": swinvit, "epoch": 1}),
        save(tmp_path / "whole.pt", network.state_dict()),
        save(tmp_path / "parallel.pt", {"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}),
        save(tmp_path / "bare.pt", bare),
    ]
    batch = volumes(2)
    codes = [SwinUnetrEncoder(weights=file, channels=4).encode(batch) for file in files]
    assert all(np.array_equal(codes[0], other) for other in codes[1:])
    loaded = make_swin(seed=8)
    loaded.load_from({"state_dict": swinvit})  # MONAI's own way to read this layout.
    first = np.pad(batch[:, :1], ((0, 0), (0, 0), (8, 8), (6, 6), (7, 7)))
    np.testing.assert_allclose(codes[0][:, :192], swin_codes(loaded, first), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("norm", "channels"), [(("group", {"num_groups": 8}), 4), ("batch", 1)])
def test_segresnets_give_monais_deepest_features(tmp_path: Path, norm: object, channels: int):
    torch.manual_seed(3)
    network = SegResNet(3, 8, channels, norm=norm, blocks_down=(1, 2, 1)).eval()  # pyright: ignore
    encoder = SegResNetEncoder(weights=save(tmp_path / "w.pt", {"state_dict": network.state_dict()}), channels=channels)
    batch = volumes(2)[:, :channels]
    with torch.no_grad():
        expected = network.encode(torch.tensor(batch))[0].mean(dim=(2, 3, 4)).numpy()
    assert encoder.spec.code_dim == 32
    np.testing.assert_allclose(encoder.encode(batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("norm", "alone"), [("instance", False), ("batch", True)])
def test_segresnets_with_deep_supervision_give_monais_deepest_features(tmp_path: Path, norm: str, alone: bool):
    torch.manual_seed(4)
    network = SegResNetDS(3, 8, 4, norm=norm, blocks_down=(1, 2, 1)).eval()
    state = network.encoder.state_dict() if alone else network.state_dict()
    encoder = SegResNetDsEncoder(weights=save(tmp_path / "w.pt", state), channels=4)
    batch = volumes(2)
    with torch.no_grad():
        expected = network.encoder(torch.tensor(batch))[-1].mean(dim=(2, 3, 4)).numpy()
    assert encoder.spec.code_dim == 32
    np.testing.assert_allclose(encoder.encode(batch), expected, rtol=1e-4, atol=1e-5)


def test_files_that_do_not_fit_give_a_sentence(tmp_path: Path):
    resnet, swin = make_resnet().state_dict(), make_swin().state_dict()
    flat = {"conv1.weight": torch.zeros(4, 3, 7, 7)}
    odd = {**resnet, "layer2.0.conv2.weight": torch.zeros(1), "layer9.weight": torch.zeros(1)}
    cases = [
        (ResNet3dEncoder, swin, 4, r"holds no resnet3d: tensor conv1\.weight is missing; give the file"),
        (ResNet3dEncoder, flat, 4, r"tensor conv1\.weight is \(4, 3, 7, 7\); give the file of a 3-D network"),
        (ResNet3dEncoder, odd, 4, r"2 tensors are odd \(layer2\.0\.conv2\.weight is \(1,\) instead of .*layer9"),
        (ResNet3dEncoder, make_resnet(channels=2).state_dict(), 4, "takes 2 channels and the volumes have 4; give"),
        (SegResNetEncoder, swin, 4, r"holds no segresnet: tensor convInit\.conv\.weight is missing"),
        (SegResNetDsEncoder, resnet, 4, r"holds no segresnet_ds: tensor conv_init\.weight is missing"),
        (SwinUnetrEncoder, resnet, 4, r"holds no swin_unetr: tensor patch_embed\.proj\.weight is missing"),
    ]
    for number, (kind, state, channels, sentence) in enumerate(cases):
        weights = save(tmp_path / f"{number}.pt", state)
        with pytest.raises(InvalidInputError, match=sentence):
            kind(weights=weights, channels=channels)
    with pytest.raises(InvalidInputError, match="there is no weights file"):
        ResNet3dEncoder(weights=tmp_path / "nothing.pt", channels=1)


def test_swin_files_that_lack_a_stage_and_a_missing_package_give_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    state = {name: value for name, value in make_swin().state_dict().items() if "layers3" not in name}
    weights = save(tmp_path / "stump.pt", state)
    monkeypatch.setattr("guidestore.encoders.swin_unetr.find_spec", lambda name: object())
    with pytest.raises(InvalidInputError, match=r"tensor layers3\.0\.blocks\.0\.attn\.relative_.* is missing"):
        SwinUnetrEncoder(weights=weights, channels=4)
    monkeypatch.setattr("guidestore.encoders.swin_unetr.find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match="needs the package einops, which is missing; run"):
        SwinUnetrEncoder(weights=weights, channels=4)
