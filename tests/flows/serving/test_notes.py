"""What a run's log says of a report's notes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import pair
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from guidestore.flows.serving import notes
from tests.outcome_store import make_store


def test_the_log_says_how_many_cases_a_note_concerns_and_not_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notes, "get_run_logger", lambda: logging.getLogger("of-a-run"))
    store = EmbeddingStore.open(make_store(tmp_path, cases=40))
    (key,) = [key for key in store.snapshot().code_sets if key.modality == "clinical"]
    with store.begin("codes alone, and a second image") as transaction:
        for case, image in (("stray.1", "stray.1"), ("case-0003", "of-jane")):
            codes = CaseCodes((case,), np.ones((1, key.code_dim), np.float32), key=key, image_ids=(image,))
            transaction.write_codes(codes, input_digests=[[image]])
    snapshot = store.snapshot()
    paired = pair(
        snapshot,
        cohort="made",
        target="length",
        inferior="clinical/made",
        superior="dermoscopy/made",
        split="drawn",
        fold=0,
        kinds=KINDS,
    )
    sentences = [issue.sentence for issue in paired.issues]
    assert "stray.1" in str(sentences)
    assert "of-jane" in str(sentences)
    told = [*sentences, "case case-0007 lacks mri_t1, so it has no mri_all", "no label of 1 case: case-0008; add it"]
    with caplog.at_level("INFO"):
        notes.log_notes([*told, "the encoder of case-0007x, made.1, is unknown."], snapshot)
    said = "\n".join(caplog.messages)
    for name in ("stray", "jane", "case-0003", "case-0007 ", "case-0008"):
        assert name not in said
    assert "note: 1 cases have codes but no part in drawn/0: …" in caplog.messages
    assert "note: case … lacks mri_t1, so it has no mri_all" in caplog.messages
    assert caplog.messages[-1] == "note: the encoder of case-0007x, made.1, is unknown."
