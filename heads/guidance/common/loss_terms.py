"""The parameter `loss` of guidance networks: which distances between G(z_I) and z_S are summed, with which weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.heads.checks import check_number

LOGITS = "logits"
"""The term that goes through the frozen D_S (heads.guidance.common.frozen_decoder)."""
TERMS = ("mse", "cosine", "smooth_l1", LOGITS)
"""What each is: heads.training.losses.ValueLoss. All are over standardised z_S where the model standardises."""


def loss_weights(loss: Any, what: str) -> dict[str, float]:
    """Term -> weight, in the order of TERMS, from such a mapping or from names ("mse+cosine": each weighs 1).

    Raises InvalidInputError for an unknown term, a weight that is not positive, or no term at all.
    """
    if isinstance(loss, str):
        loss = dict.fromkeys((name.strip() for name in loss.split("+")), 1.0)
    if not isinstance(loss, Mapping) or not loss:
        raise InvalidInputError(
            f"{what}: loss is {loss!r}; give names as in 'mse+cosine', or weights as in {{'mse': 1, 'cosine': 0.5}}"
        )
    for name, weight in loss.items():
        if name not in TERMS:
            raise unknown_name(f"{what}: loss", name, TERMS)
        check_number(weight, f"{what}: loss: the weight of {name}", 0, open_low=True)
    return {name: float(loss[name]) for name in TERMS if name in loss}
