"""The decoder of [z_S, z_I] that is frozen before G stands in for z_S: ridge or logistic, a penalty for each block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.smoother import ALPHAS, Decomposition
from guidestore.heads.transfer.students.logistic import Logistic, LogisticSettings
from guidestore.heads.transfer.targets import balanced, one_hot

Family = Literal["ridge", "logistic"]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A decoder of prepared codes."""

    weights_dc: np.ndarray
    constant_c: np.ndarray


class BlockDecoder(Protocol):
    """A share r of the S block and a penalty a are the penalties a / r on z_S and a / (1 - r) on z_I."""

    @property
    def shares(self) -> Sequence[float]:
        """To choose among. 0 leaves z_S out: then the decoder reads z_I alone, fitted on all labelled cases that have
        it."""
        ...

    @property
    def penalties(self) -> Sequence[float]:
        """To choose among, the strongest first."""
        ...

    def targets(self, cases: Cases) -> np.ndarray:
        """(N, k); only rows of labelled train cases are read."""
        ...

    def fits(
        self,
        x_nd: np.ndarray,
        targets_nk: np.ndarray,
        left_out: Sequence[np.ndarray],
        penalties: Sequence[float],
    ) -> Iterator[list[Linear]]:
        """To all rows but those at each of `left_out` ((m,) places); for each penalty, the strongest first."""
        ...

    def losses(self, scores: np.ndarray, targets_mk: np.ndarray) -> np.ndarray:
        """(…, m, k) scores of held-out cases -> (…) their sum over the cases."""
        ...


class Ridge:
    """Of what closed forms regress; squared error. For every kind of target."""

    shares = (0.0, 0.1, 0.3, 0.6, 1.0)
    penalties = ALPHAS

    def targets(self, cases: Cases) -> np.ndarray:
        return cases.targets_nk

    def fits(
        self,
        x_nd: np.ndarray,
        targets_nk: np.ndarray,
        left_out: Sequence[np.ndarray],
        penalties: Sequence[float],
    ) -> Iterator[list[Linear]]:
        of, k = Decomposition.of("linear", x_nd), targets_nk.shape[1]
        for held_m in left_out:
            weights_arc = of.without(held_m, np.delete(targets_nk, held_m, axis=0), penalties)
            every = of.weighing(np.concatenate(list(weights_arc), axis=1))
            ends = range(0, k * len(penalties), k)
            yield [Linear(every.linear_dc[:, at : at + k], every.constant_c[at : at + k]) for at in ends]

    def losses(self, scores: np.ndarray, targets_mk: np.ndarray) -> np.ndarray:
        return ((targets_mk - scores) ** 2).sum(axis=(-2, -1))


class LogisticRegression:
    """Multinomial, classes weighted alike; log loss. For classes. Few shares and penalties, since each is a descent."""

    shares = (0.0, 0.3, 0.6, 1.0)
    penalties = LogisticSettings().alphas

    def targets(self, cases: Cases) -> np.ndarray:
        paired = cases.paired
        if paired.kind != "classes":
            raise InvalidInputError(
                f"a logistic decoder is for classes, and {paired.target} of {paired.cohort} is of kind {paired.kind}; "
                "ask for guidance plug"
            )
        return one_hot(paired.labels, len(paired.classes))

    def fits(
        self,
        x_nd: np.ndarray,
        targets_nk: np.ndarray,
        left_out: Sequence[np.ndarray],
        penalties: Sequence[float],
    ) -> Iterator[list[Linear]]:
        # Wide codes of few cases are fitted in the span of their rows, which is the same fit.
        span_rd = np.linalg.svd(x_nd, full_matrices=False)[2] if x_nd.shape[1] > len(x_nd) else np.eye(x_nd.shape[1])
        x_nr = x_nd @ span_rd.T
        for held_m in left_out:
            x_fr, targets_fk = np.delete(x_nr, held_m, axis=0), np.delete(targets_nk, held_m, axis=0)
            alike_f = np.full(len(x_fr), 1.0 / len(x_fr))
            path = Logistic(alphas=tuple(penalties)).fit_path(x_fr, targets_fk, alike_f, seed=0)
            yield [Linear(span_rd.T @ tensors["weight"].T, tensors["bias"]) for tensors in path]

    def losses(self, scores: np.ndarray, targets_mk: np.ndarray) -> np.ndarray:
        weights_m = balanced(targets_mk, np.ones(len(targets_mk)))
        top = scores.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(scores - top).sum(axis=-1)) + top[..., 0]
        return len(targets_mk) * ((log_sum - (scores * targets_mk).sum(axis=-1)) @ weights_m)


DECODERS: Mapping[Family, BlockDecoder] = {"ridge": Ridge(), "logistic": LogisticRegression()}
