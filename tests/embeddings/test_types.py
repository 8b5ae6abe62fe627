from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidestore.embeddings.canonical import canonical_json, sha256_of
from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.types import (
    MAX_NAME_CHARS,
    NEVER_TRAINED,
    UNKNOWN_TRAINING,
    Bag,
    CaseCodes,
    CodeSetKey,
    EncoderSpec,
    FoldScope,
    PairedCodes,
    as_float32_codes,
    check_name,
)

SPEC = EncoderSpec("resnet", "1", "tiles", 8, "ab" * 32, {"mpp": 0.5}, FoldScope.of("glioma", "published", 2))


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "..",
        "a..b",
        ".hidden",
        "-rf",
        "",
        " ",
        "a b",
        "a\nb",
        "a\n",
        "a\0b",
        "a\x1b[31m",
        "x" * 300,
        "x" * (MAX_NAME_CHARS + 1),
        "с1",  # Cyrillic es
        "C１",  # full-width digit
        "caſe",  # long s
        "a\u200bb",  # zero-width space
        "a\u202eb",  # right-to-left override
        "a'; DROP TABLE codes; --",
        "*",
        "~root",
        "$HOME",
        None,
        7,
    ],
)
def test_hostile_names_are_refused_in_one_sentence(name):
    with pytest.raises(InvalidNameError) as caught:
        check_name(name, "case id")
    sentence = str(caught.value)
    assert "cannot be a case id" in sentence
    assert "rename it in the source table" in sentence
    assert len(sentence) < 320
    assert sentence.isprintable()


@pytest.mark.parametrize("name", ["a", "7", "CPM19_TCIA06_372_1", "mri_t1ce", "C+D", "k=all", "x" * MAX_NAME_CHARS])
def test_usual_names_pass(name):
    assert check_name(name, "case id") == name


@given(st.text(max_size=8))
def test_a_name_that_passes_is_one_plain_part_of_a_path(name):
    try:
        check_name(name, "case id")
    except InvalidNameError:
        return
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/\\ '\"*?$;|<>~")
    assert ".." not in name


@pytest.mark.parametrize("scope", [NEVER_TRAINED, UNKNOWN_TRAINING, FoldScope.of("glioma", "published", 12)])
def test_fold_scope_round_trips(scope):
    assert FoldScope.parse(str(scope)) == scope


@pytest.mark.parametrize(
    "text", ["", "glioma", "glioma/published", "glioma/published/x", "glioma/published/-1", "a/b/²"]
)
def test_no_fold_scope(text):
    with pytest.raises(InvalidInputError, match="is no fold scope"):
        FoldScope.parse(text)


def test_fold_scope_refuses_nonsense():
    with pytest.raises(InvalidNameError):
        FoldScope.of("../x", "published", 0)
    with pytest.raises(InvalidNameError):
        FoldScope.parse("glioma/../0")
    with pytest.raises(InvalidInputError, match="is negative"):
        FoldScope("fold", "glioma", "published", -1)
    with pytest.raises(InvalidInputError, match="names no cohort"):
        FoldScope("none", "glioma")


OTHER: dict[str, Any] = {
    "name": "resnet2",
    "version": "2",
    "input_kind": "photographs",
    "code_dim": 9,
    "weights_sha256": "cd" * 32,
    "preprocessing": {"mpp": 0.25},
    "trained_on": FoldScope.of("glioma", "published", 3),
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EncoderSpec)])
def test_encoder_digest_changes_with_every_field(field):
    value = OTHER[field]
    assert dataclasses.replace(SPEC, **{field: value}).digest != SPEC.digest
    assert dataclasses.replace(SPEC).digest == SPEC.digest


def test_encoder_spec_refuses_nonsense():
    with pytest.raises(InvalidInputError, match="code_dim is 0"):
        EncoderSpec("resnet", "1", "tiles", 0)
    with pytest.raises(InvalidNameError):
        EncoderSpec("../resnet", "1", "tiles", 8)
    with pytest.raises(ValueError, match="JSON"):
        EncoderSpec("resnet", "1", "tiles", 8, preprocessing={"mpp": math.nan})


def test_code_set_key_says_its_name_and_kind():
    key = CodeSetKey.of("glioma", "histology", SPEC)
    assert str(key) == f"glioma/histology/resnet@{SPEC.digest[:12]}"
    assert (key.kind, key.code_dim, key.trained_on) == ("bag", 8, SPEC.trained_on)
    assert CodeSetKey.of("glioma", "mri_t1", dataclasses.replace(SPEC, input_kind="volumes")).kind == "codes"
    with pytest.raises(InvalidNameError):
        CodeSetKey.of("glioma", "mri/../../etc", SPEC)


def test_canonical_json_has_one_spelling_per_value():
    assert canonical_json({"b": 1, "a": [1.5, None, True, "é"]}) == '{"a":[1.5,null,true,"\\u00e9"],"b":1}'
    assert canonical_json({"a": (1, 2)}) == canonical_json({"a": [1, 2]})
    # Keys are text in JSON, so they sort as text; a value read back from JSON must have the digest it had before.
    assert canonical_json({2: "b", 10: "a"}) == '{"10":"a","2":"b"}'
    assert sha256_of({2: "b", 10: "a"}) == sha256_of({"2": "b", "10": "a"})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": math.inf})


def test_sha256_of_a_known_value():
    assert sha256_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize("shape", [(4,), (4, 8, 1)])
def test_bag_features_have_two_axes(shape):
    with pytest.raises(InvalidInputError, match=r"they must be \(n, d\)"):
        Bag(np.zeros(shape, np.float16), np.zeros((4, 2), np.int32))


@pytest.mark.parametrize("dtype", [np.float64, np.int16])
def test_bag_dtypes(dtype):
    with pytest.raises(InvalidInputError, match="float16 or float32"):
        Bag(np.zeros((4, 8), dtype), np.zeros((4, 2), np.int32))
    with pytest.raises(InvalidInputError, match="must be int32"):
        Bag(np.zeros((4, 8), np.float16), np.zeros((4, 2), np.int64))
    with pytest.raises(InvalidInputError, match=r"\(4, 2\)"):
        Bag(np.zeros((4, 8), np.float16), np.zeros((3, 2), np.int32))


def test_a_float16_overflow_is_refused_not_clipped():
    features_nd = np.full((5, 3), 1.0, np.float32)
    features_nd[2, 1] = 70_000
    assert len(Bag(features_nd, np.zeros((5, 2), np.int32))) == 5
    with np.errstate(over="ignore"):
        half = features_nd.astype(np.float16)
    with pytest.raises(InvalidInputError, match=r"not finite in 1 rows \(first: 2\).*float32"):
        Bag(half, np.zeros((5, 2), np.int32))


def test_case_codes_are_checked_and_image_ids_default_to_case_ids():
    assert CaseCodes(("a", "b"), np.zeros((2, 3), np.float32)).image_ids == ("a", "b")
    with pytest.raises(InvalidInputError, match="for 1 cases"):
        CaseCodes(("a",), np.zeros((2, 3), np.float32))
    with pytest.raises(InvalidInputError, match="float64"):
        CaseCodes(("a", "b"), np.zeros((2, 3)))
    with pytest.raises(InvalidInputError, match="1 image ids for 2 cases"):
        CaseCodes(("a", "b"), np.zeros((2, 3), np.float32), ("x",))


def paired(**changes) -> PairedCodes:
    values = {
        "cohort": "glioma",
        "split": "published",
        "fold": 0,
        "target": "grade",
        "classes": ("G", "O"),
        "case_ids": ("a", "b", "c", "d"),
        "inferior_nd": np.zeros((4, 2), np.float32),
        "superior_nd": np.zeros((4, 3), np.float32),
        "has_inferior": np.array([True, True, False, True]),
        "has_superior": np.array([True, False, True, True]),
        "labels": np.array([0, 1, -1, 1]),
        "parts": np.array(["train", "train", "train", "test"]),
    }
    return PairedCodes(**{**values, **changes})


def test_paired_codes_masks_and_rows():
    codes = paired()
    assert codes.has_label.tolist() == [True, True, False, True]
    assert codes.is_pair.tolist() == [True, False, False, True]
    assert codes.rows("train").tolist() == [0, 1, 2]
    assert codes.rows("train", codes.has_label, codes.has_inferior).tolist() == [0, 1]
    assert codes.rows("test", codes.is_pair).tolist() == [3]
    assert codes.rows("val").tolist() == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"case_ids": ("a", "a", "c", "d")}, "a case twice"),
        ({"labels": np.array([0, 1, -1])}, "labels has 3 rows for 4 cases"),
        ({"labels": np.array([0, 2, -1, 1])}, "outside the classes"),
        ({"labels": np.array([0, -2, -1, 1])}, "outside the classes"),
        ({"parts": np.array(["train", "dev", "train", "test"])}, "unknown parts"),
    ],
)
def test_paired_codes_refuse_nonsense(changes, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        paired(**changes)


def test_as_float32_codes():
    assert as_float32_codes([[1, 2], [3, 4]]).dtype == np.float32
    assert np.isnan(as_float32_codes([[math.nan]])).all()
    assert np.isinf(as_float32_codes([[math.inf]])).all()
    with pytest.raises(InvalidInputError, match="overflow float32"):
        as_float32_codes([[1e39]])
