from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from guidestore.embeddings.pixels import PixelRecipe, pixels_of
from guidestore.embeddings.recipe import code_artifact, rows_artifact, weights_artifact
from tests.embeddings.making import bag_key, mri_key

KEY = mri_key()
ARTIFACT = code_artifact(KEY, "C1", "I1", ["d1", "d2"])


def test_the_same_recipe_gives_the_same_id_in_any_order_of_inputs():
    assert code_artifact(mri_key(), "C1", "I1", ["d2", "d1"]) == ARTIFACT
    assert len(ARTIFACT) == 64
    assert set(ARTIFACT) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "other",
    [
        (dataclasses.replace(KEY, cohort="other"), "C1", "I1", ["d1", "d2"]),
        (dataclasses.replace(KEY, modality="mri_t2"), "C1", "I1", ["d1", "d2"]),
        (dataclasses.replace(KEY, encoder_digest="ff" * 32), "C1", "I1", ["d1", "d2"]),
        (bag_key(4), "C1", "I1", ["d1", "d2"]),
        (KEY, "C2", "I1", ["d1", "d2"]),
        (KEY, "C1", "I2", ["d1", "d2"]),
        (KEY, "C1", "I1", ["d1", "d3"]),
        (KEY, "C1", "I1", ["d1"]),
    ],
)
def test_everything_that_decides_a_code_decides_its_id(other):
    assert code_artifact(*other) != ARTIFACT


def test_weights_and_rows_have_ids_of_their_own():
    recipe = {"seed": 7, "layers": [4, 2]}
    assert weights_artifact("guidance", recipe) == weights_artifact("guidance", {"layers": [4, 2], "seed": 7})
    ids = {
        weights_artifact("guidance", recipe),
        weights_artifact("decoder", recipe),
        weights_artifact("guidance", {**recipe, "seed": 8}),
        rows_artifact("guidance", recipe),
        rows_artifact("rows:labels", recipe),
    }
    assert len(ids) == 5


def test_ids_do_not_change_between_versions():
    # Another id for the same recipe would orphan every store there is. Text as docs/store-format.md spells it.
    text = '{"kind":"rows:labels","recipe":{"cohort":"glioma","seeds":[1,2]}}'
    assert rows_artifact("rows:labels", {"seeds": [1, 2], "cohort": "glioma"}) == sha256(text)
    text = '{"kind":"weights","recipe":{"seed":7},"role":"decoder"}'
    assert weights_artifact("decoder", {"seed": 7}) == sha256(text)
    text = (
        '{"case_id":"C1","cohort":"glioma","encoder_digest":"' + KEY.encoder_digest + '","image_id":"I1",'
        '"inputs":["d1","d2"],"kind":"codes","modality":"mri_t1"}'
    )
    assert sha256(text) == ARTIFACT
    text = text.replace(',"modality":"mri_t1"}', ',"modality":"mri_t1","pixels":{"mpp":0.5,"orientation":["1",null]}}')
    images = [PixelRecipe(mpp=0.5, orientation="1"), PixelRecipe(mpp=0.5)]
    assert code_artifact(KEY, "C1", "I1", ["d1", "d2"], pixels_of(images)) == sha256(text)
    assert code_artifact(KEY, "C1", "I1", ["d1", "d2"], pixels_of([PixelRecipe()])) == ARTIFACT


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("case_id", "image_id", "inputs"),
    [
        ("P1", "P1", ["ff", "aa"]),
        ("P+1=._-", "i", ["a" * 64]),
        ('P"1', "i", ["a"]),
        ("é", "i", ["a"]),
        ("P1", "P1", []),
        ("a", "b", ['","']),
        ("a\x7f", "b\n", ["q\\"]),
    ],
)
def test_the_id_of_a_code_is_the_sha256_of_its_canonical_json(case_id: str, image_id: str, inputs: list[str]):
    recipe = {
        "kind": KEY.kind,
        "cohort": KEY.cohort,
        "modality": KEY.modality,
        "encoder_digest": KEY.encoder_digest,
        "case_id": case_id,
        "image_id": image_id,
        "inputs": sorted(inputs),
    }
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert code_artifact(KEY, case_id, image_id, inputs) == hashlib.sha256(text.encode()).hexdigest()
