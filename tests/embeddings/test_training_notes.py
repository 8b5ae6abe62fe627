"""What the training of a head warns of."""

from __future__ import annotations

import math

import pytest

from guidestore.embeddings.runs import Run
from guidestore.embeddings.training_notes import training_note


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"decoder_best_epoch": 120.0, "decoder_val_loss": 0.4, "val_f1_micro": 0.7, "val_majority": 0.72}, ""),
        ({"decoder_best_epoch": 4.0}, "best epoch of the decoder 4"),
        ({"decoder_best_epoch": 5.0, "guidance_best_epoch": 1.0}, "best epoch of G 1"),
        ({"decoder_val_loss": math.log(3) * 0.99}, "val loss 1.09 at chance (1.1)"),
        ({"decoder_val_loss": math.log(3) * 0.9, "guidance_val_loss": 5.0}, ""),
        (
            {"val_f1_micro": 0.42, "val_majority": 0.61, "test_f1_micro": 0.6, "test_majority": 0.62},
            "micro F1 0.42 on val well below the largest class alone, 0.61",
        ),
    ],
)
def test_what_training_warns_of(facts: dict[str, float], told: str) -> None:
    assert training_note(message="", classes=3, facts=facts) == told
    assert Run("r", "c", "t", "s", 0, "I", classes=("a", "b", "c"), training=facts).note == told


def test_a_diverged_head_says_why() -> None:
    assert training_note(message="the loss is not finite", classes=3, facts={}) == "the loss is not finite"
