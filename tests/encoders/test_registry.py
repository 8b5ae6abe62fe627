from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import FoldScope
from guidestore.encoders.info import EncoderInfo, infos_in
from guidestore.encoders.pathology_models import MODELS
from guidestore.encoders.photograph_models import PHOTOGRAPH_MODELS
from guidestore.encoders.radiology_models import RADIOLOGY_MODELS
from guidestore.encoders.registry import build_encoder, encoder_class, encoder_info, encoder_infos, preset_of
from guidestore.encoders.weights import tensors_of
from tests.embeddings.test_plugins import install, python
from tests.encoders.making import OURS, encoder_of, module_of


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(InvalidInputError, match=r"did you mean densenet3d\?") as caught:
        build_encoder("densnet3d")
    assert all(name in str(caught.value) for name in encoder_infos())
    assert "any timm model" in str(caught.value)
    with pytest.raises(InvalidInputError, match=r"did you mean virchow2\?"):
        build_encoder("virchov2")
    with pytest.raises(InvalidInputError, match=r"did you mean dinov2_vits14\?"):
        build_encoder("dino_vits14")
    with pytest.raises(InvalidInputError, match=r"did you mean panderm_large\?"):
        encoder_info("panderm-large")


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


def test_what_is_known_of_an_encoder_is_what_it_is():
    for name in OURS:
        spec, info = encoder_of(name).spec, encoder_info(name)
        assert (spec.name, (spec.input_kind,)) == (info.name, info.takes)
    assert (encoder_info("texture").tile_size_px, encoder_info("texture").mpp) == (256, 0.5)
    assert (encoder_info("resnet50_trunc").tile_size_px, encoder_info("resnet50_trunc").mpp) == (256, 0.5)
    for name in ("uni2_h", "resnet18"):
        assert (encoder_info(name).takes, encoder_info(name).weights) == (("tiles", "photographs"), "pretrained")
    sizes = [encoder_info(name).photograph_px for name in ("colour_texture", "dinov2_vits14", "resnet18")]
    assert sizes == [256, 518, 224]
    assert {name for name, info in encoder_infos().items() if info.multi_task} == {"inception_multitask"}
    for name in ("resnet3d", "swin_unetr", "segresnet", "segresnet_ds"):
        assert (encoder_info(name).takes, encoder_info(name).weights) == (("volumes",), "file")
        with pytest.raises(InvalidInputError, match=f"{name} needs its weights: name their file with --weights"):
            build_encoder(name, channels=4)


def test_an_info_read_from_a_file_is_the_one_that_the_module_has():
    for info in encoder_infos().values():
        module = import_module(info.encoder_class.partition(":")[0])
        if "model" not in info.arguments:
            assert info in [value for value in vars(module).values() if isinstance(value, EncoderInfo)]
        assert encoder_class(info.name).__module__ == module.__name__


def test_encoders_are_listed_by_where_their_weights_come_from():
    rows = [info.row() for info in encoder_infos().values()]
    assert [row["encoder"] for row in rows] == [
        *("colour_texture", "first_order", "texture", "tile_mean"),
        *("attention_pooling", "clam_mb", "clam_sb", "densenet3d", "inception_multitask", "mean_pooling"),
        *("resnet3d", "segresnet", "segresnet_ds", "swin_unetr", *MODELS, *PHOTOGRAPH_MODELS, *RADIOLOGY_MODELS),
    ]
    by_name = {row["encoder"]: row for row in rows}
    assert (by_name["texture"]["code_dim"], by_name["texture"]["weights"]) == ("46", "none needed")
    assert (by_name["texture"]["tile_px"], by_name["first_order"]["tile_px"]) == (256, None)
    assert by_name["inception_multitask"]["weights"] == "trained here, on each fold and all targets at once"
    assert by_name["uni2_h"]["weights"] == "--weights FILE, or hub MahmoodLab/UNI2-h, gated"
    assert by_name["panderm_large"]["weights"] == by_name["resnet3d"]["weights"] == "--weights FILE"
    assert (by_name["uni"]["takes"], by_name["monet"]["takes"]) == ("tiles, photographs", "photographs, tiles")
    assert (by_name["phikon"]["saw"], by_name["virchow"]["saw"]) == ("TCGA", "none of the public ones")
    assert by_name["medsiglip"]["saw"] == by_name["texture"]["saw"] == ""
    assert by_name["first_order"]["code_dim"] == "15 c + c (c - 1) / 2"
    for name in ("texture", "colour_texture"):
        assert by_name[name]["code_dim"] == str(encoder_of(name).spec.code_dim)


def test_presets_make_codes_of_the_width_that_is_listed():
    for info in encoder_infos().values():
        if info.is_trained:
            assert set(encoder_class(info.name).module_class.presets) == {"demo", "paper"}
            for preset in ("demo", "paper"):
                with torch.device("meta"):
                    code_dim = preset_of(info.name, preset).build(4 if info.takes == ("volumes",) else 1024, 3).code_dim
                assert f"{code_dim} ({preset})" in info.code_dim.replace("64 k", "192").replace("512 k", "1536")
    with pytest.raises(InvalidInputError, match="no preset 'huge'; use one of demo, paper"):
        preset_of("clam_sb", "huge")
    with pytest.raises(InvalidInputError, match=r"uni is not trained here; use one of attention_pooling, .*densenet3d"):
        preset_of("uni", "demo")


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


def test_an_info_is_read_without_running_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "of_a_plug_in.py").write_text(
        "raise RuntimeError\n"
        "MINE = EncoderInfo(name='mine', encoder_class='of_a_plug_in:Mine', takes=('tiles',), "
        "code_dim='3', weights='none')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (info,) = infos_in("of_a_plug_in")
    assert (info.name, info.takes, info.is_trained) == ("mine", ("tiles",), False)
    assert list(infos_in("math")) == []


def test_listing_encoders_and_refusing_a_name_import_nothing_heavy():
    code = """
        import sys
        from guidestore.embeddings.errors import InvalidInputError
        from guidestore.encoders.registry import encoder_info, encoder_infos
        assert len([info.row() for info in encoder_infos().values()]) > 40
        try:
            encoder_info("densnet3d")
        except InvalidInputError as error:
            print("densenet3d" in str(error), [m for m in ("torch", "monai", "skimage", "timm") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


PLUG_IN = """
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.texture import TextureEncoder
from guidestore.embeddings.types import EncoderSpec

INFO = EncoderInfo(
    name="plain", encoder_class="plain_encoder:Plain", takes=("tiles",), code_dim="46", weights="none",
    tile_size_px=64, mpp=2.0,
)

class Plain(TextureEncoder):
    def __init__(self, preprocessing):
        self.spec = EncoderSpec("plain", "1", "tiles", 46, preprocessing=preprocessing)
"""


def test_an_installed_distribution_brings_an_encoder(tmp_path: Path):
    install(tmp_path, "plain", "[guidestore.encoders]\nplain = plain_encoder:Plain\n", "plain_encoder", PLUG_IN)
    code = """
        from guidestore.encoders.input_kind import input_kind
        from guidestore.encoders.registry import build_frozen, encoder_info, encoder_infos
        print(list(encoder_infos())[-1], encoder_info("plain").tile_size_px, "plain_encoder" in sys.modules)
        spec = build_frozen("plain", input_kind("tiles"), {"tile_size_px": 64}).spec
        print(spec.name, dict(spec.preprocessing))
    """
    assert python(dedent(code), tmp_path).split("\n") == ["plain 64 False", "plain {'tile_size_px': 64}"]


def test_a_plug_in_that_does_not_say_what_it_is_is_named(tmp_path: Path):
    install(tmp_path, "plain", "[guidestore.encoders]\nother = plain_encoder:Plain\n", "plain_encoder", PLUG_IN)
    code = """
        from guidestore.embeddings.errors import InvalidInputError
        from guidestore.encoders.registry import encoder_infos
        try:
            encoder_infos()
        except InvalidInputError as error:
            print(error)
    """
    assert "encoder 'other' is brought by module plain_encoder, whose file has no" in python(dedent(code), tmp_path)
