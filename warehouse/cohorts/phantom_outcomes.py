"""Outcomes of made-up cases whose truth is known: what S mediates of it, what I says beside S, what is noise.

A case has a hidden state h, which S shows; I shows h and something of its own, e. The outcome follows the score

    sqrt(1 - direct) * s(h) + sqrt(direct) * d(e) + noise * normal

with s and d of variance 1. So `direct` is the share of what can be known that S does not mediate: 0, and given S the
outcome has nothing to do with I, which is where guidance can help when the outcome is noisy (LuPTS, arXiv 2110.14993);
1, and S knows nothing of it. The best R² that anybody can reach is 1 / (1 + noise²).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from guidestore.embeddings.errors import InvalidInputError

PhantomKind = Literal["classes", "value", "survival"]

VALUE_MEAN, VALUE_SD, VALUE_UNIT = 50.0, 10.0, "points"
"""Of a value whose score is 0, and per step of the score."""
MONTHS, SHAPE, FOLLOW_UP_MONTHS = 24.0, 1.2, 72.0
"""Weibull times, whose hazard is exp(score); cases are censored at random within the follow-up."""


@dataclass(frozen=True, slots=True)
class PhantomOutcome:
    """What is drawn. Raises InvalidInputError."""

    kind: PhantomKind = "classes"
    noise: float = 0.0
    direct: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.direct <= 1 and self.noise >= 0):
            raise InvalidInputError(f"direct {self.direct} is a share from 0 to 1, and noise {self.noise} is 0 or more")

    @property
    def note(self) -> str:
        """A sentence for the cohort."""
        return (
            f"generated: S mediates {1 - self.direct:.0%} of what can be known of the outcome, and R² can be "
            f"{1 / (1 + self.noise**2):.2f} at most"
        )

    def score(self, of_s_n: np.ndarray, of_i_n: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, ...) from (n, ...) s(h) and d(e), each of mean 0 and variance 1."""
        known = np.sqrt(1 - self.direct) * of_s_n + np.sqrt(self.direct) * of_i_n
        return known + self.noise * rng.normal(size=known.shape)


def values(score_n: np.ndarray) -> np.ndarray:
    """(n,) in VALUE_UNIT."""
    return VALUE_MEAN + VALUE_SD * score_n


def survival(score_n: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n,) months above 0, and (n,) bool whether they ended in the event; a higher score is worse."""
    lives = MONTHS * (rng.exponential(size=len(score_n)) / np.exp(score_n)) ** (1 / SHAPE)
    watched = rng.uniform(0, FOLLOW_UP_MONTHS, size=len(score_n))
    months = np.maximum(np.minimum(lives, watched), 0.01)
    return months, lives <= watched
