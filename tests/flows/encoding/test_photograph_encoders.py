"""Trained and frozen networks on Derm7pt's phantom: from photographs to codes, decoders of each target, predictions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.pixels import PixelRecipe
from guidestore.embeddings.recipe import weights_artifact
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import FoldScope
from guidestore.encoders.inception_multitask import InceptionMultitask
from guidestore.encoders.input_kind import kind_of
from guidestore.encoders.kinds.photographs import PhotographSource
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.images import images_of
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.encoding.training import classifier_recipe
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.models.predict import predict
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.derm7pt import Derm7pt
from guidestore.warehouse.cohorts.layouts.derm7pt_phantom import generate_derm7pt_phantom
from tests.commandline import guidestore
from tests.flows.conftest import Phantom

TARGETS = ("BWV", "RS")


@pytest.fixture(scope="module", autouse=True)
def two_epochs() -> Iterator[None]:
    """Two epochs at the smallest size: what is tested here is not what the network learns."""
    with pytest.MonkeyPatch.context() as patch:
        demo = InceptionMultitask.presets["demo"]
        short = replace(demo, training=replace(demo.training, epochs=2), photograph_px=75)
        patch.setitem(InceptionMultitask.presets, "demo", short)
        yield


@dataclass(frozen=True)
class Skin:
    store: Path
    images: Path

    @property
    def opened(self) -> EmbeddingStore:
        return EmbeddingStore.open(self.store)

    def settings(self, **values: object) -> EncodeSettings:
        return EncodeSettings.model_validate({"cohort": "phantom", "modality": "clinical", **values})


@pytest.fixture(scope="module")
def encoded_skin(tmp_path_factory: pytest.TempPathFactory) -> Skin:
    """24 cases, both modalities through a network trained on two targets at once."""
    root = tmp_path_factory.mktemp("skin")
    skin = Skin(root / "store", root / "release_v0")
    generate_derm7pt_phantom(skin.images, cases=24, seed=1, image_px=(128, 128))
    add_layout(EmbeddingStore.create(skin.store), "phantom", Derm7pt(source=skin.images))
    for modality in ("clinical", "dermoscopy"):
        done = guidestore(
            *("encode", "phantom", "--modality", modality, "--encoder", "inception_multitask"),
            *("--target", "BWV", "--target", "RS", "--store", skin.store),
        )
        assert done.returncode == 0, done.stderr
    return skin


@pytest.fixture
def skin(encoded_skin: Skin, tmp_path: Path) -> Skin:
    """A copy to write to; the images stay where they are."""
    shutil.copytree(encoded_skin.store, tmp_path / "store")
    return Skin(tmp_path / "store", encoded_skin.images)


def cases_of(store: Path) -> int:
    return EmbeddingStore.open(store).snapshot().rows("cases").num_rows


def test_each_target_has_its_decoder_and_a_second_run_reads_nothing(skin: Skin) -> None:
    snapshot = skin.opened.snapshot()
    scope = FoldScope.of("phantom", "published", 0)
    (clinical, dermoscopy) = sorted(snapshot.code_sets, key=lambda key: key.modality)
    for key in (clinical, dermoscopy):
        assert (key.kind, key.code_dim, key.trained_on) == ("codes", 288, scope)
        assert len(snapshot.code_set_entries(key)) == cases_of(skin.store)
    encoders = {row["encoder_digest"]: row["weights_sha256"] for row in snapshot.rows("encoders").to_pylist()}
    for target in TARGETS:
        recipe = classifier_recipe(encoders[clinical.encoder_digest], target)
        tensors, entry = snapshot.weights(weights_artifact("decoder", recipe))
        assert tensors["weight"].shape == (2, 288)
        assert entry.meta["config"] == {"name": "linear"}
    report = encode(skin.opened, skin.settings(encoder="inception_multitask", targets=TARGETS))
    assert (report.encoded, report.trained, report.images_read) == (0, 0, 0)


def test_photographs_are_read_once_for_all_epochs_and_folds(skin: Skin, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = cases_of(skin.store)
    settings = skin.settings(encoder="inception_multitask", targets=("BWV",), photograph_px=80)
    report = encode(skin.opened, settings)
    assert (report.trained, report.encoded, report.images_read) == (1, cases, cases)
    images, _ = images_of(skin.opened.snapshot(), "phantom", "clinical")
    room_for_three = PhotographSource(images, 80, 3 * 80 * 80 * 3)
    for _ in range(2):
        for item in room_for_three.items:
            assert room_for_three.load(item).shape == (80, 80, 3)
    assert room_for_three.images_read == 2 * cases - 3


def test_a_photograph_is_predicted_from_the_trained_codes(skin: Skin) -> None:
    report = guide(
        skin.opened,
        GuideSettings(
            cohort="phantom",
            inferior="clinical/inception_multitask",
            superior="dermoscopy/inception_multitask",
            targets=("BWV",),
            guidance="ridge",
            decoder="logistic",
            modes=("as-published",),
            permutations=0,
        ),
    )
    snapshot = skin.opened.snapshot()
    rows = {row["run"]: row["row"] for row in snapshot.rows("runs").to_pylist()}
    image = next(row for row in snapshot.rows("images").to_pylist() if row["modality"] == "clinical")
    for row in ("I", "G(I)", "G(I)+I"):
        run = next(run for run in report.runs if rows[run] == row)
        from_pixels = predict(skin.opened, run, files=[Path(image["path"])])
        stored = predict(skin.opened, run, cases=[image["case_id"]])
        assert np.array_equal(from_pixels.probabilities_nk, stored.probabilities_nk)


def test_any_timm_network_encodes_photographs(skin: Skin, tmp_path: Path) -> None:
    """The cohort's images decide: one code per photograph, of the same network that gives a slide a bag."""
    torch.manual_seed(0)
    files = [tmp_path / f"{seed}.pth" for seed in range(2)]
    for file in files:
        torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), file)
    command = ("encode", "phantom", "--encoder", "test_resnet", "--weights", files[0], "--store", skin.store)
    cases = cases_of(skin.store)
    for modality in ("clinical", "dermoscopy"):
        done = guidestore(*command, "--modality", modality, "--pretrained-on", "unknown")
        assert f"encoded {cases}, there already 0" in done.stdout, done.stderr
    snapshot = skin.opened.snapshot()
    keys = [key for key in snapshot.code_sets if key.encoder == "test_resnet"]
    assert {(key.kind, str(key.trained_on)) for key in keys} == {("codes", "unknown")}
    codes = {"inferior": "clinical/test_resnet", "superior": "dermoscopy/test_resnet"}
    heads = {"guidance": "ridge", "decoder": "logistic", "permutations": 0, "targets": ("BWV",)}
    report = guide(skin.opened, GuideSettings(cohort="phantom", **codes, **heads))
    rows = {row["run"]: row["row"] for row in skin.opened.snapshot().rows("runs").to_pylist()}
    run = next(run for run in report.runs if rows[run] == "G(I)+I")
    image = next(row for row in snapshot.rows("images").to_pylist() if row["modality"] == "clinical")
    from_pixels = predict(skin.opened, run, files=[Path(image["path"])], weights=files[0])
    stored = predict(skin.opened, run, cases=[image["case_id"]])
    assert np.array_equal(from_pixels.probabilities_nk, stored.probabilities_nk)
    with pytest.raises(InvalidInputError, match="give that file with --weights"):
        predict(skin.opened, run, files=[Path(image["path"])], weights=files[1])


def test_an_encoder_of_the_other_pictures_is_refused(skin: Skin, encoded: Phantom) -> None:
    with pytest.raises(InvalidInputError, match="texture takes slides, and the images of modality clinical are photog"):
        encode(skin.opened, skin.settings(encoder="texture"))
    with pytest.raises(InvalidInputError, match="takes photographs, and the images of modality histology are slides"):
        encode(encoded.opened, EncodeSettings(cohort="phantom", modality="histology", encoder="colour_texture"))
    with pytest.raises(InvalidInputError, match="densenet3d takes volumes, and the images of modality clinical are ph"):
        encode(skin.opened, skin.settings(encoder="densenet3d", targets=TARGETS))
    with pytest.raises(InvalidInputError, match=r"colour_texture takes photographs, .* modality mri_all are volumes"):
        encode(encoded.opened, EncodeSettings(cohort="phantom", modality="mri_all", encoder="colour_texture"))


def test_tiff_files_are_what_openslide_says(encoded: Phantom, skin: Skin, tmp_path: Path) -> None:
    slides, _ = images_of(encoded.opened.snapshot(), "phantom", "histology")
    photographs, _ = images_of(skin.opened.snapshot(), "phantom", "clinical")
    volumes, _ = images_of(encoded.opened.snapshot(), "phantom", "mri_all")
    pictures = ("tiles", "photographs")
    assert [kind_of(images, pictures).name for images in (slides, photographs, volumes)] == [
        "tiles",
        "photographs",
        "volumes",
    ]
    Image.new("RGB", (90, 80), "red").save(tmp_path / "photograph.tif")
    (file,) = photographs[0].files
    file = replace(file, path=tmp_path / "photograph.tif")
    tiff, scan = (replace(photographs[0], files=(file,)) for file in (file, replace(file, pixels=PixelRecipe(mpp=0.5))))
    assert kind_of([tiff], pictures).name == "photographs"
    assert kind_of([scan], pictures).name == "tiles"
    assert kind_of([tiff, slides[0]], pictures).name == "tiles"


def test_a_broken_photograph_is_quarantined_and_the_others_train(encoded_skin: Skin, tmp_path: Path) -> None:
    images = tmp_path / "release_v0"
    shutil.copytree(encoded_skin.images, images)
    store = EmbeddingStore.create(tmp_path / "store")
    add_layout(store, "phantom", Derm7pt(source=images))
    row = next(row for row in store.snapshot().rows("images").to_pylist() if row["modality"] == "clinical")
    broken = Path(row["path"])
    broken.write_bytes(broken.read_bytes()[:400].ljust(broken.stat().st_size, b"\0"))
    skin = Skin(tmp_path / "store", images)
    report = encode(skin.opened, skin.settings(encoder="inception_multitask", targets=TARGETS))
    assert set(report.failed) == {row["case_id"]}
    assert str(broken) in report.failed[row["case_id"]]
    assert (report.trained, report.encoded) == (1, cases_of(skin.store) - 1)


def test_a_target_that_cannot_be_learnt_is_named(skin: Skin) -> None:
    """All eight at once, where nobody names some: 24 cases do not show every class."""
    with pytest.raises(
        InvalidInputError,
        match=r"class \w+ of target \w+ has no train case in phantom/published/0, .* leave the target out \(--target",
    ):
        encode(skin.opened, skin.settings(encoder="inception_multitask"))
    assert not list(skin.store.glob("staging/scratch-*"))


def test_start_weights_are_recorded_and_wrong_ones_refused(skin: Skin, encoded: Phantom, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "other.pth")
    given = {"encoder": "inception_multitask", "targets": TARGETS, "weights": tmp_path / "other.pth"}
    with pytest.raises(InvalidInputError, match=r"other.pth does not fit encoder inception_multitask"):
        encode(skin.opened, skin.settings(**given))
    torch.manual_seed(0)
    torch.save(timm.create_model("inception_v3", pretrained=False).state_dict(), tmp_path / "start.pth")
    report = encode(
        skin.opened,
        skin.settings(**given | {"weights": tmp_path / "start.pth", "pretrained_on": "unknown"}),
    )
    assert report.trained == 1
    assert "what the weights that inception_multitask starts from were trained on is unknown" in report.notes
    snapshot = skin.opened.snapshot()
    started = [
        entry.meta["recipe"]["config"]["start_sha256"]
        for entry in snapshot.entries(kind="weights", encoder="inception_multitask")
    ]
    assert len(set(started)) == 2
    with pytest.raises(InvalidInputError, match="densenet3d is trained from weights of its own"):
        encode(
            encoded.opened,
            encoded.encode_settings(modality="mri_t1", encoder="densenet3d", weights=tmp_path / "start.pth"),
        )
