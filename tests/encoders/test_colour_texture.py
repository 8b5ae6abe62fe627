from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest

from guidestore.encoders.colour_texture import CODE_DIM, _binary_patterns
from guidestore.encoders.photographs import load_photograph
from guidestore.encoders.registry import build_encoder
from guidestore.warehouse.cohorts.layout import Reading
from guidestore.warehouse.cohorts.layouts.derm7pt import Derm7pt
from guidestore.warehouse.cohorts.layouts.derm7pt_phantom import generate_derm7pt_phantom


@pytest.fixture(scope="module")
def skin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colour_texture") / "release_v0"
    generate_derm7pt_phantom(folder, cases=160, seed=5, image_px=(384, 256))
    return folder


def test_colours_textures_and_places_change_their_own_parts_of_the_code():
    encode = build_encoder("colour_texture").encode
    plain = np.full((1, 256, 256, 3), (200, 160, 140), np.uint8)
    spot = plain.copy()
    spot[:, 96:160, 96:160] = (90, 50, 40)
    striped = plain.copy()
    striped[:, ::8] = (190, 150, 130)
    codes_bd = encode(np.concatenate([plain, spot, striped]))
    whole, centre, contrasts = codes_bd[:, :60], codes_bd[:, 60:120], codes_bd[:, 120:129]
    assert np.allclose(whole[0], centre[0], atol=1e-6)
    assert np.abs(centre[1] - centre[0]).sum() > np.abs(whole[1] - whole[0]).sum() > 1
    assert np.allclose(contrasts[0], 0, atol=1e-4)
    assert contrasts[1, 0] < -0.5  # Darker in the middle.
    patterns, gradients = codes_bd[:, 129:189], codes_bd[:, 189:]
    assert np.abs(patterns[2] - patterns[0]).max() > 0.5
    assert gradients[0].max() == 0 < gradients[1].max()


def test_binary_patterns_are_counted_as_defined():
    gray_hw = np.random.default_rng(0).integers(0, 6, (24, 24), np.uint8)
    counts = np.zeros(10)
    for y, x in np.ndindex(22, 22):
        window = gray_hw[y : y + 3, x : x + 3] >= gray_hw[y + 1, x + 1]
        ring = [*window[0], window[1, 2], *window[2, ::-1], window[1, 0]]
        changes = sum(here != next_ for here, next_ in zip(ring, ring[1:] + ring[:1], strict=True))
        counts[sum(ring) if changes <= 2 else 9] += 1
    assert np.allclose(_binary_patterns(gray_hw)[:10], 2 * np.sqrt(counts / counts.sum()))


def test_codes_are_of_about_unit_scale_on_real_photographs(test_data: Path):
    pictures = [load_photograph(path) for path in sorted((test_data / "skin").glob("*.png"))]
    codes_bd = build_encoder("colour_texture").encode(np.stack(pictures))
    assert codes_bd.shape == (4, CODE_DIM)
    assert np.abs(codes_bd).max() < 8
    assert 0.2 < np.abs(codes_bd).mean() < 2
    assert np.linalg.norm(codes_bd[0] - codes_bd[1]) > 1


def test_tiny_and_uniform_pictures_give_finite_codes():
    encode = build_encoder("colour_texture").encode
    for level in (0, 128, 255):
        assert np.isfinite(encode(np.full((1, 33, 40, 3), level, np.uint8)).astype(np.float16)).all()
    assert encode(np.zeros((2, 1, 1, 3), np.uint8)).shape == (2, CODE_DIM)


def test_dermoscopy_tells_more_than_the_photograph_and_both_more_than_chance(skin: Path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tables = Derm7pt(source=skin).read(Reading("skin"))
    encoder = build_encoder("colour_texture")
    classes = {row["case_id"]: row["class"] for row in tables.labels if row["target"] == "PN"}
    reached = {}
    for modality in ("clinical", "dermoscopy"):
        rows = [row for row in tables.images if row["modality"] == modality]
        codes_bd = encoder.encode(np.stack([load_photograph(row["path"]) for row in rows]))
        labels = [classes[row["case_id"]] for row in rows]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=500, class_weight="balanced"))
        reached[modality] = balanced_accuracy_score(labels, cross_val_predict(model, codes_bd, labels, cv=4))
    assert 0.33 + 0.08 < reached["clinical"] < reached["dermoscopy"] - 0.1


def test_it_is_fast_enough_for_forty_photographs_a_second(tmp_path: Path):
    generate_derm7pt_phantom(tmp_path / "release_v0", cases=20, seed=1)
    with (tmp_path / "release_v0" / "meta" / "meta.csv").open(newline="") as file:
        names = [row["derm"] for row in csv.DictReader(file)]
    encoder = build_encoder("colour_texture")
    start = time.process_time()
    for name in names:
        encoder.encode(load_photograph(tmp_path / "release_v0" / "images" / name)[None])
    assert (time.process_time() - start) / len(names) < 0.05  # 9 ms alone on a core; two cores have 50.
