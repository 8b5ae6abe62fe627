"""Nearest neighbours vote, each class with the same weight; how many is chosen on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers, take_tensor
from guidestore.heads.decoders.common.fitted import FittedDecoder
from guidestore.heads.metrics import balanced_log_loss
from guidestore.heads.model import Tensors
from guidestore.heads.nearest import Nearest, take_k
from guidestore.heads.onnx_graph.graph import Value, nearest, standardised
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    scale: Standardiser
    train_nd: np.ndarray
    """(n, d) standardised."""
    votes_nk: np.ndarray
    k: int
    nearest: Nearest
    """Of the train rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnSettings:
    """Hyper-parameters of `Knn`."""

    ks: tuple[int, ...] = (1, 3, 5, 10, 20, 40)
    """To choose among by the val loss; those beyond the train rows count as all of them."""

    def __post_init__(self) -> None:
        check_numbers(self.ks, "knn: ks", 1, integer=True)


class Knn(FittedDecoder[_State]):
    """Votes of the nearest train rows (Euclidean, exact; faiss where it is there), on codes standardised on train.
    Contract: heads.protocol.Decoder.

    A vote counts 1 / the size of its class, and each class has one vote beforehand, so that no probability is 0. k is
    that with the least val cross-entropy, rows weighted by their class; of equals the smallest. The seed is not used.
    The weights hold the codes of the train cases themselves.
    """

    name: ClassVar[str] = "knn"
    keeps_train_codes: ClassVar[bool] = True
    Settings = KnnSettings
    settings: KnnSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        labels, n_classes = problem.labels, problem.n_classes
        scale = Standardiser.fit(problem.x_nd)
        train_nd = scale.apply(problem.x_nd)
        # Weights of mean 1, so that a vote beforehand is one of them whatever the number of cases.
        votes_nk = np.eye(n_classes)[labels] * (len(labels) / (n_classes * np.bincount(labels, minlength=n_classes)))
        nearest = Nearest(train_nd)
        ks = sorted({min(k, len(train_nd)) for k in self.settings.ks})
        neighbours = nearest.search(scale.apply(problem.x_val_nd), ks[-1])
        for k in ks:
            loss = balanced_log_loss(problem.labels_val, _shares(votes_nk[neighbours[:, :k]]))
            yield _State(scale, train_nd, votes_nk, k, nearest), {"k": float(k), "val_loss": loss}

    def probabilities(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        return _shares(fitted.votes_nk[fitted.nearest.search(fitted.scale.apply(x_nd), fitted.k)])

    def code_dim(self, fitted: _State) -> int:
        return fitted.train_nd.shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        kept = {"train": fitted.train_nd, "votes": fitted.votes_nk, "k": np.array([float(fitted.k)])}
        return fitted.scale.tensors("input") | kept

    def unpack(self, tensors: Tensors) -> _State:
        train_nd = take_tensor(tensors, "train", (None, None), self.name)
        votes_nk = take_tensor(tensors, "votes", (len(train_nd), None), self.name)
        scale = Standardiser.from_tensors(tensors, "input", train_nd.shape[1], self.name)
        k = take_k(tensors, len(train_nd), self.name)
        return _State(scale, train_nd, votes_nk, k, Nearest(train_nd))

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        rows = nearest(standardised(x, tensors, "input"), tensors["train"], int(tensors["k"][0]))
        return (x.graph.constant(tensors["votes"]).rows_at(rows).sum(1) + 1.0).share()


def _shares(votes_nmk: np.ndarray) -> np.ndarray:
    """(n, k) probabilities of the votes (n, m, k) of m neighbours, and one beforehand for each class."""
    counts_nk = votes_nmk.sum(axis=1) + 1.0
    return counts_nk / counts_nk.sum(axis=1, keepdims=True)
