"""Networks as ONNX give the codes that the encoders give, for any number of items, and say nothing of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from guidestore.encoders.input_kind import input_kind
from guidestore.encoders.onnx_export import codes_of, encoder_onnx, example_pixels
from guidestore.encoders.photographs import PhotographSettings
from guidestore.encoders.registry import build_encoder, encoder_class
from guidestore.encoders.trainable import TrainedEncoder
from guidestore.encoders.volumes import VolumeSettings
from guidestore.encoders.weights import tensors_of

BAGS = {"patch_encoder": "texture", "patch_encoder_digest": "0" * 64}
CASES: list[Any] = [
    pytest.param("densenet3d", {"in_channels": 2}, VolumeSettings(("t1", "t2"), (16, 16, 16)).as_dict(), id="volumes"),
    pytest.param(
        "inception_multitask",
        {"last_block": "Mixed_5d"},
        PhotographSettings(80).as_dict(),
        id="photographs",
        marks=pytest.mark.slow,
    ),
    pytest.param("attention_pooling", {"patch_code_dim": 5}, BAGS, id="attention"),
    pytest.param("clam_mb", {"patch_code_dim": 5, "n_classes": 3}, BAGS, id="clam_mb", marks=pytest.mark.slow),
    pytest.param("mean_pooling", {"patch_code_dim": 5}, BAGS, id="mean"),
]


def built(name: str, config: dict[str, Any], preprocessing: dict[str, Any]) -> TrainedEncoder:
    """One with drawn weights."""
    module = encoder_class(name).module_class.of_config(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                value.normal_(0.0, 0.1, generator=generator)
            if key.endswith(("running_var", "sd_d")):
                value.abs_().add_(0.5)
    return build_encoder(name, config=module.config, tensors=tensors_of(module), preprocessing=preprocessing)  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "config", "preprocessing"), CASES)
def test_a_network_as_onnx_gives_its_codes(name: str, config: dict[str, Any], preprocessing: dict[str, Any]) -> None:
    from onnxruntime import InferenceSession

    encoder = built(name, config, preprocessing)
    content = encoder_onnx(encoder)
    assert b"site-packages" not in content
    assert b"encoders/" not in content
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    pixels = example_pixels(encoder)
    for some in (pixels, pixels[:1], np.concatenate([pixels, pixels])):
        (given,) = session.run(["z_inferior"], {"pixels": some})
        expected = codes_of(encoder, some)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(given, expected, atol=1e-5 * max(1.0, np.abs(expected).max()), rtol=0)
    assert input_kind(encoder.spec.input_kind).in_words(encoder.spec.preprocessing)
