from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import FoldScope
from guidestore.encoders.catalogue import catalogue
from guidestore.encoders.pathology_models import MODELS
from guidestore.encoders.photograph_models import PHOTOGRAPH_MODELS
from guidestore.encoders.presets import PRESETS
from guidestore.encoders.registry import (
    FROZEN_VOLUMES,
    INPUT_KINDS,
    WEIGHTS_FREE,
    build_encoder,
    encoder_names,
    input_kinds,
    needs_weights,
    patch_encoder_facts,
    patch_encoder_names,
    photograph_size_px,
)
from guidestore.encoders.weights import tensors_of
from tests.encoders.making import encoder_of, module_of


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(InvalidInputError, match=r"did you mean densenet3d\?") as caught:
        build_encoder("densnet3d")
    assert all(name in str(caught.value) for name in (*encoder_names(), *patch_encoder_names()))
    assert "any timm model" in str(caught.value)
    with pytest.raises(InvalidInputError, match=r"did you mean virchow2\?"):
        build_encoder("virchov2")
    with pytest.raises(InvalidInputError, match=r"did you mean dinov2_vits14\?"):
        build_encoder("dino_vits14")
    with pytest.raises(InvalidInputError, match=r"did you mean panderm_large\?"):
        input_kinds("panderm-large")


def test_weights_are_asked_for_where_needed_and_refused_where_not():
    with pytest.raises(InvalidInputError, match="given no weights"):
        build_encoder("densenet3d", config={})
    with pytest.raises(InvalidInputError, match="has no weights"):
        build_encoder("texture", tensors={})
    with pytest.raises(InvalidInputError, match="has no weights"):
        build_encoder("first_order", trained_on=FoldScope.of("c", "s", 0))
    with pytest.raises(InvalidInputError, match="does not take these parameters"):
        build_encoder("texture", tile=3)
    with pytest.raises(InvalidInputError, match="no weights file"):
        build_encoder("texture", weights="w.pth")
    with pytest.raises(InvalidInputError, match="no weights of ours"):
        build_encoder("uni", tensors={}, config={})


def test_facts_of_encoders_are_known_by_name():
    assert set(INPUT_KINDS) == {*encoder_names(), *FROZEN_VOLUMES}
    for name in encoder_names():
        assert (encoder_of(name).spec.input_kind,) == input_kinds(name)
        assert not needs_weights(name)
    assert patch_encoder_facts("texture") == (256, 0.5)
    assert patch_encoder_facts("resnet50_trunc") == (256, 0.5)
    for name in ("uni2_h", "dinov2_vits14", "resnet18"):
        assert input_kinds(name) == ("tiles", "photographs")
    assert [photograph_size_px(name) for name in ("colour_texture", "dinov2_vits14", "resnet18")] == [256, 518, 224]
    assert needs_weights("uni2_h")
    for name in FROZEN_VOLUMES:
        assert (input_kinds(name), needs_weights(name)) == (("volumes",), True)
        with pytest.raises(InvalidInputError, match=f"{name} needs its weights: name their file with --weights"):
            build_encoder(name, channels=4)


def test_the_catalogue_lists_every_encoder_once():
    rows = catalogue()
    assert [row["encoder"] for row in rows] == [*INPUT_KINDS, *MODELS, *PHOTOGRAPH_MODELS]
    by_name = {row["encoder"]: row for row in rows}
    assert (by_name["texture"]["code_dim"], by_name["texture"]["weights"]) == ("46", "none needed")
    assert by_name["uni2_h"]["weights"].endswith(", gated")
    assert by_name["panderm_large"]["weights"] == "--weights FILE"
    assert (by_name["uni"]["takes"], by_name["monet"]["takes"]) == ("tiles, photographs", "photographs, tiles")
    for name in WEIGHTS_FREE:
        assert name == "first_order" or by_name[name]["code_dim"] == str(encoder_of(name).spec.code_dim)
    for (name, preset), made in PRESETS.items():
        with torch.device("meta"):
            code_dim = made.build(4 if made.input_kind == "volumes" else 1024, 3).code_dim
        said = by_name[name]["code_dim"].replace("64 k", "192").replace("512 k", "1536")
        assert f"{code_dim} ({preset})" in said
    assert by_name["first_order"]["code_dim"] == "15 c + c (c - 1) / 2"


def test_what_is_no_patch_encoder_is_said():
    with pytest.raises(InvalidInputError, match="takes volumes, not tiles"):
        patch_encoder_facts("first_order")
    with pytest.raises(InvalidInputError, match="there is no encoder"):
        input_kinds("no_such")


def test_there_is_no_untrained_patch_encoder(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InvalidInputError, match=r"cannot be reached .* --weights FILE"):
        build_encoder("resnet18")


def test_the_digest_covers_weights_scope_and_preprocessing():
    module = module_of("attention_pooling")
    tensors, config = tensors_of(module), module.config
    variants = [
        {},
        {"weights_sha256": "ab"},
        {"trained_on": FoldScope.of("c", "s", 1)},
        {"preprocessing": {"patch_encoder": "texture"}},
    ]
    digests = {
        build_encoder("attention_pooling", tensors=tensors, config=config, **variant).spec.digest
        for variant in variants
    }
    assert len(digests) == len(variants)


@pytest.mark.parametrize("name", ["densenet3d", "attention_pooling"])
def test_weights_that_do_not_fit_the_config_are_refused(name):
    module = module_of(name)
    tensors = tensors_of(module)
    tensors.pop(next(iter(tensors)))
    with pytest.raises(InvalidInputError, match="weights do not fit"):
        build_encoder(name, tensors=tensors, config=module.config)
    with pytest.raises(InvalidInputError, match="no config of"):
        build_encoder(name, tensors=tensors, config={"colour": 1})


def test_a_bag_without_tiles_is_refused():
    import numpy as np

    from guidestore.embeddings.types import Bag

    with pytest.raises(InvalidInputError, match="no tiles"):
        encoder_of("attention_pooling").encode([Bag(np.zeros((0, 6), np.float32), np.zeros((0, 2), np.int32))])


def test_the_protocol_and_the_registry_import_nothing_heavy():
    code = "import sys, guidestore.encoders.registry\n"
    code += "print([m for m in ('torch', 'monai', 'skimage', 'timm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
