"""What every model is once it can be fitted, kept and loaded: settings, facts, and a fitted state of its own type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import make_settings, not_fitted, settings_from_config, settings_to_config
from guidestore.heads.errors import DivergedError

type Tensors = Mapping[str, np.ndarray]


class Model[F](ABC):
    """`config`, `tensors` and `from_tensors` of heads.protocol. F: what a fit leaves, and `pack` and `unpack` know."""

    name: ClassVar[str]
    Settings: ClassVar[type]
    settings: Any

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(self.Settings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: F | None = None

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    @property
    def fitted(self) -> F:
        """Raises InvalidInputError before the fit."""
        if self._fitted is None:
            raise not_fitted(self.name)
        return self._fitted

    def forget(self) -> None:
        """As before the fit."""
        self._fitted, self.facts = None, {}

    def tensors(self) -> dict[str, np.ndarray]:
        return self.pack(self.fitted)

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Tensors) -> Self:
        model = cls()
        model.settings = settings_from_config(cls.Settings, config, cls.name)
        model._fitted = model.unpack(tensors)
        return model

    @abstractmethod
    def pack(self, fitted: F) -> dict[str, np.ndarray]:
        """The state as C-contiguous arrays."""

    @abstractmethod
    def unpack(self, tensors: Tensors) -> F:
        """The inverse of `pack`. Raises InvalidInputError where a tensor is missing or misshapen."""


def fitted_alone[M](results: Sequence[M | DivergedError]) -> M:
    """The only model of a `fit_many`; raises its divergence."""
    (result,) = results
    if isinstance(result, DivergedError):
        raise result
    return result
