"""The mean value of nearest neighbours; how many is chosen on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import take_tensor
from guidestore.heads.decoders.common.affine_value import squared_error
from guidestore.heads.decoders.common.foretelling import ChosenForeteller
from guidestore.heads.decoders.knn import KnnSettings
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
    values_n: np.ndarray
    k: int
    nearest: Nearest
    """Of the train rows."""


class Knn(ChosenForeteller[_State]):
    """The mean over the nearest train rows (Euclidean, exact), on codes standardised on train.

    k is that with the least mean squared val error; of equals the smallest. The seed is not used. The weights hold the
    codes of the train cases themselves.
    """

    name: ClassVar[str] = "knn"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"value"})
    keeps_train_codes: ClassVar[bool] = True
    Settings = KnnSettings
    settings: KnnSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        scale = Standardiser.fit(problem.x_nd)
        train_nd = scale.apply(problem.x_nd)
        nearest = Nearest(train_nd)
        ks = sorted({min(k, len(train_nd)) for k in self.settings.ks})
        neighbours = nearest.search(scale.apply(problem.x_val_nd), ks[-1])
        for k in ks:
            loss = squared_error(problem.labels_val, problem.labels[neighbours[:, :k]].mean(axis=1))
            yield _State(scale, train_nd, problem.labels, k, nearest), {"k": float(k), "val_loss": loss}

    def say(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        return fitted.values_n[fitted.nearest.search(fitted.scale.apply(x_nd), fitted.k)].mean(axis=1)

    def code_dim(self, fitted: _State) -> int:
        return fitted.train_nd.shape[1]

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        kept = {"train": fitted.train_nd, "values_train": fitted.values_n, "k": np.array([float(fitted.k)])}
        return fitted.scale.tensors("input") | kept

    def unpack(self, tensors: Tensors) -> _State:
        train_nd = take_tensor(tensors, "train", (None, None), self.name)
        values_n = take_tensor(tensors, "values_train", (len(train_nd),), self.name)
        scale = Standardiser.from_tensors(tensors, "input", train_nd.shape[1], self.name)
        k = take_k(tensors, len(train_nd), self.name)
        return _State(scale, train_nd, values_n, k, Nearest(train_nd))

    def onnx(self, x: Value) -> Value:
        tensors = self.tensors()
        rows = nearest(standardised(x, tensors, "input"), tensors["train"], int(tensors["k"][0]))
        return x.graph.constant(tensors["values_train"][:, None]).rows_at(rows).mean(1)
