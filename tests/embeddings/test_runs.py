"""Runs, heads and names of code sets: what is written is read back, and each name has one spelling."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError, InvalidNameError
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import UNKNOWN_TRAINING, CodeSetName, FoldScope
from tests.embeddings.making import mri_key

RUN = Run(
    "a" * 64,
    "glioma",
    "grade",
    "published",
    2,
    "G(I)+I",
    inferior=CodeSetName("glioma", "mri_t1", "densenet", "0123456789ab"),
    superior=CodeSetName("glioma", "histology", "pooling", "ba9876543210"),
    trained_on=(FoldScope.of("glioma", "published", 2), UNKNOWN_TRAINING),
    guidance="ridge",
    decoder="logistic, C=0.1",
    control="shuffled",
    permutation=3,
    seed=7,
    status="diverged",
    labelled=50,
    classes=("G", "O"),
    n_train=50,
    best_epoch=12,
    kind="ordinal",
    target_unit="months",
    training={"decoder_best_epoch": 12.0},
    message="the loss is not finite",
    device="cuda",
    weights={"guidance": "b" * 64},
    versions={"python": "3.12"},
    snapshot=9,
    created_at="2026-01-01T00:00:00+00:00",
)


def test_a_run_is_read_from_the_store_as_it_was_written(store: EmbeddingStore) -> None:
    bare = Run("b" * 64, "glioma", "grade", "published", 0, "S")
    assert all(getattr(RUN, field.name) != getattr(bare, field.name) for field in fields(Run) if field.name != "mode"
               if field.name not in ("cohort", "target", "split"))  # fmt: skip
    assert set(RUN.as_row()) <= set(SCHEMAS["runs"].names)
    with store.begin("runs") as transaction:
        assert transaction.write_runs([RUN, bare], [], [], inputs={RUN.id: [], bare.id: []}) == [RUN.id, bare.id]
    rows = store.snapshot().rows("runs").to_pylist()
    assert [Run.from_row(row) for row in rows] == [RUN, bare]
    assert Run.from_row({**rows[0], "of a later version": 1}) == RUN


def test_a_head_is_a_run_without_its_fold_seed_and_digests() -> None:
    other = replace(
        RUN,
        id="c" * 64,
        fold=0,
        seed=1,
        snapshot=12,
        status="ok",
        inferior=replace(RUN.inferior, digest="f" * 12),  # pyright: ignore[reportArgumentType]
    )
    assert other.head == RUN.head
    assert other.unit == ("published", 0, 1)
    assert RUN.head.name == "G(I)+I (ridge, logistic, C=0.1)"
    for change in ({"labelled": "all"}, {"permutation": 2}, {"control": ""}, {"split": "cv"}, {"decoder": "mlp"}):
        assert replace(RUN, **change).head != RUN.head


def test_what_is_unknown_of_one_encoder_is_unknown_of_the_run() -> None:
    assert RUN.of_unknown_encoders
    assert not replace(RUN, trained_on=RUN.trained_on[:1]).of_unknown_encoders


@pytest.mark.parametrize("digest", ["", "0", "0123456789ab"])
def test_a_name_has_one_spelling_outside_its_cohort_and_one_within(digest: str) -> None:
    name = CodeSetName("glioma", "mri_t1", "densenet", digest)
    at = f"@{digest}" if digest else ""
    assert (str(name), name.within) == (f"glioma/mri_t1/densenet{at}", f"mri_t1/densenet{at}")
    assert CodeSetName.parse(str(name)) == CodeSetName.parse(name.within, "glioma") == name
    assert name.stem == CodeSetName("glioma", "mri_t1", "densenet")


def test_a_key_is_printed_by_its_name_with_twelve_digits() -> None:
    key = mri_key()
    assert str(key) == f"glioma/mri_t1/densenet@{key.encoder_digest[:12]}"
    assert key.name.digest == key.encoder_digest
    assert key.name.encoder_text == f"densenet@{key.encoder_digest[:12]}"


def test_a_name_means_those_with_more_of_a_digest() -> None:
    name = CodeSetName("glioma", "mri_t1", "densenet", "01")
    assert name.means(CodeSetName("glioma", "mri_t1", "densenet", "0123"))
    assert name.stem.means(name)
    assert not name.means(name.stem)
    assert not name.means(CodeSetName("glioma", "mri_t1", "densenet", "1023"))
    assert not name.stem.means(CodeSetName("glioma", "mri_t1ce", "densenet"))


@pytest.mark.parametrize(
    ("text", "cohort"),
    [("", ""), ("mri_t1/densenet", ""), ("glioma/mri_t1/densenet", "glioma"), ("glioma/mri_t1/densenet@", ""),
     ("mri_t1", "glioma"), ("a/b/c/d", "")],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_the_form(text: str, cohort: str) -> None:
    form = "write MODALITY/ENCODER" if cohort else "write COHORT/MODALITY/ENCODER"
    with pytest.raises(InvalidInputError, match=rf"names no code set.*{form}\[@DIGEST\]"):
        CodeSetName.parse(text, cohort)
    with pytest.raises(InvalidNameError):
        CodeSetName.parse("glioma/mri t1/densenet")


def test_the_likeliest_class_of_equals_the_first_is_predicted() -> None:
    run = RunPredictions("r", ("s", 0, 0), ("b", "a"), np.array([1, 1]), np.array([[0.5, 0.5], [0.2, 0.8]]))
    assert run.case_ids == ("a", "b")
    assert run.predicted.tolist() == [1, 0]
    assert run.correct.tolist() == [True, False]


def test_losses_of_other_kinds_than_classes_are_held_against_no_chance() -> None:
    """ln 3 is the chance of three classes; the loss of three grades is another."""
    facts = {"decoder_val_loss": 1.2}
    of_classes = Run("r" * 64, "c", "t", "s", 0, "I", classes=("a", "b", "c"), training=facts)
    assert "at chance" in of_classes.note
    assert replace(of_classes, kind="ordinal").note == ""
