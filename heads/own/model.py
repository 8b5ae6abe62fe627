"""What own guidance models and own decoders share: name, config with the code, tensors with the widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.plugins import Registry
from guidestore.heads.checks import not_fitted
from guidestore.heads.own.code import Own, check_parts, own_of, parts_of, stored_own
from guidestore.heads.own.trust import is_torch_module
from guidestore.heads.own.ways import Keeping, Refitted, Says, Way

WIDTHS = "own_widths"
"""The tensor that says how wide the codes are that it reads, and what it says of them."""


class OwnModel:
    """One by its name, held to the contract of heads.protocol whatever it does itself."""

    says: ClassVar[Says]

    def __init__(self, own: Own, params: Mapping[str, Any]) -> None:
        self.own, self.params = own, dict(params)
        self.facts: dict[str, float] = {}
        self.way = _way(own, params, self.says)
        self._widths: tuple[int, int] | None = None
        """Of codes and predictions, once fitted."""

    @classmethod
    def named(cls, registry: Registry[Any], name: str, params: Mapping[str, Any]) -> Self:
        """An unfitted one. Raises InvalidInputError."""
        return cls(own_of(registry, name), params)

    @classmethod
    def stored(cls, registry: Registry[Any], config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        """The fitted one again, from `config` and `tensors()`. Raises InvalidInputError."""
        own, same = stored_own(registry, config)
        if not isinstance(config.get("params"), Mapping):
            raise InvalidInputError(f"the config of {own.name} lacks its params; it does not say how it was trained")
        check_parts(config["params"], config.get("parts"))
        model = cls.of_config(own, config)
        if not same and not isinstance(model.way, Refitted):
            raise InvalidInputError(
                f"{own.kind} {own.name!r} was trained with {config['code']['package']}, and {own.code.package} has "
                "other code; install that again, or train again"
            )
        widths = np.asarray(tensors.get(WIDTHS, ()))
        if widths.shape != (2,) or widths.dtype.kind not in "iu" or widths.min() < 1:
            raise InvalidInputError(f"{own.name}: tensor {WIDTHS!r} is missing, or not two widths; train it again")
        model.way.restore(config, {name: array for name, array in tensors.items() if name != WIDTHS})
        model._widths = (int(widths[0]), int(widths[1]))
        return model

    @classmethod
    def of_config(cls, own: Own, config: Mapping[str, Any]) -> Self:
        """The unfitted one of a stored config."""
        return cls(own, config["params"])

    @property
    def name(self) -> str:
        return self.own.name

    @property
    def keeps_train_codes(self) -> bool:
        return self.way.keeps_train_codes

    @property
    def config(self) -> dict[str, Any]:
        own = {"name": self.name, "code": self.own.code.record(), "params": _plain(self.params)}
        parts = parts_of(self.params)
        return {**own, **({"parts": parts} if parts else {}), **self.way.config}

    @property
    def widths(self) -> tuple[int, int]:
        """Of codes and predictions. Raises InvalidInputError before the fit."""
        if self._widths is None:
            raise not_fitted(self.name)
        return self._widths

    def tensors(self) -> dict[str, np.ndarray]:
        widths = np.array(self.widths, dtype=np.int64)
        kept = self.way.tensors()
        return {name: np.ascontiguousarray(array) for name, array in kept.items()} | {WIDTHS: widths}

    def __getattr__(self, name: str) -> Any:
        """Optional methods of heads.protocol that it has itself."""
        if name in ("onnx", "layers", "survival") and isinstance(self.__dict__.get("way"), Keeping):
            return getattr(self.way.model, name)  # pyright: ignore[reportAttributeAccessIssue]
        raise AttributeError(f"{type(self).__name__} has no {name}")


def _way(own: Own, params: Mapping[str, Any], says: Says) -> Way:
    if hasattr(own.of, "tensors") and hasattr(own.of, "from_tensors"):
        return Keeping(own, params, says)
    if is_torch_module(own.of):
        from guidestore.heads.own.torch_module import TorchModule

        return TorchModule(own, params, says)
    return Refitted(own, params, says)


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
