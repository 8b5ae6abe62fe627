"""Codes that several heads read, each once: heads on the same array share work (`heads.fitting`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from guidestore.heads.cross_fitting import out_of_fold
from guidestore.heads.protocol import GuidanceModel


class SharedCodes:
    """Rows, joins and guided codes of arrays; what is asked for again is the same object.

    Arrays of equal content count as one: the training sets of several targets hold copies of the same codes.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, np.ndarray] = {}
        self._digests: dict[int, bytes] = {}
        self._held: list[object] = []

    def rows_of(self, codes_nd: np.ndarray, rows_n: np.ndarray) -> np.ndarray:
        """(m, d) those rows."""
        return self._once((self._digest(codes_nd), rows_n.tobytes()), lambda: codes_nd[rows_n])

    def side_by_side(self, left_nd: np.ndarray, right_nd: np.ndarray) -> np.ndarray:
        """(n, d_left + d_right)."""
        return self._once((id(left_nd), id(right_nd)), lambda: np.hstack([left_nd, right_nd]))

    def guided(self, model: GuidanceModel, z_inferior_nd: np.ndarray) -> np.ndarray:
        """(n, d_S) G(z_I). Raises DivergedError where it is not finite."""
        self._held.append(model)  # as long as its id stands for it
        return self._once((id(model), id(z_inferior_nd)), lambda: model.predict(z_inferior_nd))

    def guided_out_of_fold(
        self, models: Sequence[GuidanceModel], model_of_row_n: np.ndarray, z_inferior_nd: np.ndarray
    ) -> np.ndarray:
        """(n, d_S) G(z_I), each row by its own of several models. Raises DivergedError where it is not finite."""
        self._held += models
        key = (tuple(map(id, models)), model_of_row_n.tobytes(), id(z_inferior_nd))
        return self._once(key, lambda: out_of_fold(models, model_of_row_n, z_inferior_nd))

    def _once(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _digest(self, codes_nd: np.ndarray) -> bytes:
        """Of the content; read once per array object."""
        if id(codes_nd) not in self._digests:
            self._held.append(codes_nd)
            content = hashlib.blake2b(np.ascontiguousarray(codes_nd), digest_size=16)
            content.update(repr((codes_nd.shape, codes_nd.dtype)).encode())
            self._digests[id(codes_nd)] = content.digest()
        return self._digests[id(codes_nd)]
