"""What stands in for G(z_I) in a control of G(I)+I."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, check_pairs, check_seed, not_fitted, take_tensor
from guidestore.heads.controls import NOISE, REPEATED


class _StandIn:
    """What stands in for G. Contract: heads.protocol.GuidanceModel, with what G predicts in place of z_S in its fit."""

    name: ClassVar[str]
    shapes: ClassVar[Mapping[str, tuple[int | None, ...]]]
    """Of its tensors."""

    def __init__(self) -> None:
        self.facts: dict[str, float] = {}
        self._tensors: dict[str, np.ndarray] = {}

    @property
    def config(self) -> dict[str, Any]:
        return {"name": self.name}

    def tensors(self) -> dict[str, np.ndarray]:
        if not self._tensors:
            raise not_fitted(self.name)
        return self._tensors

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        if config != {"name": cls.name}:
            raise InvalidInputError(
                f"a config of {config.get('name')!r} cannot make {cls.name}; load it by its own name"
            )
        model = cls()
        model._tensors = {name: take_tensor(tensors, name, shape, cls.name) for name, shape in cls.shapes.items()}
        return model


class Noise(_StandIn):
    """Normal draws, each dimension with the mean and deviation that G(z_I) has there over the train pairs.

    The draws of a row are keyed by the seed and by the row itself, so that a case always gets the same ones, alone or
    among others, and nothing can be learnt from them about any other case.
    """

    name: ClassVar[str] = NOISE
    shapes: ClassVar[Mapping[str, tuple[int | None, ...]]] = {"mean": (None,), "deviation": (None,), "key": (4,)}

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        _, guided_nd = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        guided64_nd = guided_nd.astype(np.float64)
        key = np.random.default_rng(check_seed(seed)).random(4)
        self._tensors = {"mean": guided64_nd.mean(axis=0), "deviation": guided64_nd.std(axis=0), "key": key}
        return self

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        mean_d, deviation_d, key = self.tensors().values()
        drawn_nd = np.empty((len(z_inferior_nd), len(mean_d)))
        for drawn_d, row_d in zip(drawn_nd, check_codes(z_inferior_nd, f"{self.name}: z_I"), strict=True):
            digest = hashlib.blake2b(row_d.tobytes(), key=key.tobytes(), digest_size=16).digest()
            bits = np.random.Philox(key=np.frombuffer(digest, dtype=np.uint64))
            drawn_d[:] = np.random.Generator(bits).standard_normal(len(mean_d))
        return (mean_d + deviation_d * drawn_nd).astype(np.float32)


class Repeated(_StandIn):
    """z_I itself, side by side as often as it takes and cut to the width of z_S: capacity without knowledge."""

    name: ClassVar[str] = REPEATED
    shapes: ClassVar[Mapping[str, tuple[int | None, ...]]] = {"widths": (2,)}

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        check_seed(seed)
        both = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        self._tensors = {"widths": np.array([codes_nd.shape[1] for codes_nd in both], dtype=np.float64)}
        return self

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        d_inferior, d_superior = (int(width) for width in self.tensors()["widths"])
        z_inferior_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=d_inferior)
        return np.ascontiguousarray(np.tile(z_inferior_nd, -(-d_superior // d_inferior))[:, :d_superior])
