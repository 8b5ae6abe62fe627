"""The Inception-v3 for photographs: its code, its augmentation, and where its training starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.hub import file_sha256
from guidestore.encoders.inception_multitask import CODE_DIMS, InceptionConfig, InceptionMultitask
from guidestore.encoders.photograph_augmentation import turned
from guidestore.encoders.registry import build_encoder, preset_of
from guidestore.encoders.training import train_classifier
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.weights import tensors_of
from tests.encoders.making import module_of, photographs

SHORT = TrainingSettings(epochs=2, patience=2, batch_size=6, learning_rate=1e-3)
COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


def coloured(count: int, seed: int) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Photographs of one of three colours, half of them with stripes; every fourth says nothing of its stripes."""
    rng = np.random.default_rng(seed)
    colour, stripes = np.arange(count) % 3, np.arange(count) // 3 % 2
    pictures = []
    for hue, striped in zip(colour, stripes, strict=True):
        picture = COLOURS[hue] + rng.normal(0, 20, (75, 75, 3))
        picture[::4] -= 60 * striped
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return pictures, {"colour": colour, "stripes": np.where(np.arange(count) % 4 == 3, -1, stripes)}


def train(module: InceptionMultitask, settings: TrainingSettings = SHORT, **kwargs):
    data, labels = coloured(12, 0)
    val_data, val_labels = coloured(9, 1)
    classes = {"colour": 3, "stripes": 2}
    return train_classifier(
        module, data, labels, val_data, val_labels, n_classes=classes, settings=settings, seed=0, **kwargs
    )


def test_the_code_is_the_pooled_last_block():
    for last_block, code_dim in CODE_DIMS.items():
        with torch.device("meta"):
            module = InceptionMultitask(InceptionConfig(last_block))
            assert module(torch.empty(2, 3, 75, 75)).shape == (2, code_dim)
        assert module.code_dim == code_dim
    assert InceptionConfig().last_block == preset_of("inception_multitask", "paper").build(3, 5).config["last_block"]
    assert preset_of("inception_multitask", "paper").photograph_px == 512
    with pytest.raises(InvalidInputError, match="cannot end with 'Mixed_5b'; use one of Mixed_5d, Mixed_6e, Mixed_7c"):
        InceptionConfig("Mixed_5b")


def test_the_whole_network_computes_what_timms_does():
    torch.manual_seed(0)
    theirs = timm.create_model("inception_v3", pretrained=False, num_classes=0).eval()
    ours = InceptionMultitask().eval()
    ours.blocks.load_state_dict(theirs.state_dict())
    images = torch.randint(0, 256, (2, 3, 80, 90), dtype=torch.uint8)
    with torch.inference_mode():
        codes_bd = ours(images)
        assert torch.allclose(codes_bd, theirs(images / 127.5 - 1), rtol=1e-3, atol=1e-3 * float(codes_bd.max()))
    assert codes_bd.shape == (2, 2048)
    assert (codes_bd >= 0).all()


def test_several_targets_are_learnt_and_the_seed_decides(tmp_path):
    trained = train(module_of("inception_multitask"), replace(SHORT, epochs=12, patience=12))
    encoder = build_encoder("inception_multitask", config=trained.config, tensors=trained.tensors)
    data, labels = coloured(18, 2)
    codes_bd = encoder.encode(np.stack(data))
    assert (codes_bd >= 0).all()
    assert (trained.probabilities(codes_bd, "colour").argmax(axis=1) == labels["colour"]).mean() > 0.8
    # The whole state is the seed's, also where a training was cut off after its first epoch.
    first = train(module_of("inception_multitask"))
    train(module_of("inception_multitask"), replace(SHORT, epochs=1), checkpoint=tmp_path / "c.pt")
    torch.manual_seed(5)
    resumed = train(module_of("inception_multitask"), checkpoint=tmp_path / "c.pt")
    for name, value in first.tensors.items():
        assert np.array_equal(value, resumed.tensors[name]), name
    for target, decoder in first.decoders.items():
        assert np.array_equal(decoder["weight"], resumed.decoders[target]["weight"])


def test_augmentation_is_seeded_and_keeps_what_a_lesion_is():
    images = torch.from_numpy(photographs(6)).permute(0, 3, 1, 2)
    first, again = (turned(images, torch.Generator().manual_seed(3)) for _ in range(2))
    other = turned(images, torch.Generator().manual_seed(4))
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= first.min() <= first.max() <= 255
    # A disc in the middle stays there, about as large: turned, zoomed and tinted, but not moved or bent.
    y, x = np.mgrid[:80, :80] - 39.5
    disc = torch.from_numpy(np.where(np.hypot(y, x) < 20, 200, 50).astype(np.uint8)).expand(40, 3, 80, 80)
    moved = turned(disc, torch.Generator().manual_seed(0)).numpy()
    inside = moved > 100
    radius_bc = np.sqrt(inside.sum(axis=(2, 3)) / np.pi)
    assert (np.abs(np.log(radius_bc / 20)) < np.log(1.25)).all()
    assert np.abs((inside * x).sum(axis=(2, 3)) / inside.sum(axis=(2, 3))).max() < 1
    assert np.ptp(moved[:, :, 40, 40]) > 20


def test_training_starts_from_a_file_and_says_so(tmp_path):
    torch.manual_seed(0)
    whole = timm.create_model("inception_v3", pretrained=False, aux_logits=True)
    torch.save(whole.state_dict(), tmp_path / "inception.pth")
    module = InceptionMultitask(InceptionConfig("Mixed_5d"))
    module.start_from(tmp_path / "inception.pth", "unknown")
    assert module.config == {
        "last_block": "Mixed_5d",
        "start_sha256": file_sha256(tmp_path / "inception.pth"),
        "start_trained_on": "unknown",
    }
    trained = train(module, replace(SHORT, epochs=1, learning_rate=1e-12))
    name = "Mixed_5d.branch1x1.conv.weight"
    assert np.allclose(trained.tensors[f"blocks.{name}"], whole.state_dict()[name].numpy(), atol=1e-6)
    again = build_encoder("inception_multitask", config=trained.config, tensors=trained.tensors)
    assert again.encode(photographs(1)).shape == (1, 288)
    for network, sentence in (("resnet18", r"\d+ tensors are odd"), (None, "cannot be read safely")):
        file = tmp_path / "other.pth"
        if network:
            torch.save(timm.create_model(network, pretrained=False).state_dict(), file)
        else:
            file.write_bytes(b"no weights")
        with pytest.raises(InvalidInputError, match=rf"weights file .*other.pth .*{sentence}"):
            module.start_from(file, "none")


def test_small_or_other_pictures_are_refused():
    encoder = build_encoder(
        "inception_multitask",
        config=module_of("inception_multitask").config,
        tensors=tensors_of(module_of("inception_multitask")),
    )
    with pytest.raises(InvalidInputError, match=r"at least 75 px, not 64 x 64; give a larger --photograph-px"):
        encoder.encode(photographs(2, size=64))
    data, labels = coloured(12, 0)
    data[7] = data[7][:, :, :2]
    with pytest.raises(InvalidInputError, match="takes photographs of shape"):
        train_classifier(
            module_of("inception_multitask"),
            [picture[..., :2] for picture in data],
            labels,
            data,
            labels,
            n_classes={"colour": 3, "stripes": 2},
            settings=SHORT,
            seed=0,
        )
