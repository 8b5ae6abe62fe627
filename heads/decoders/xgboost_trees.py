"""Boosted trees (Chen & Guestrin 2016, "XGBoost"), stopped early on val."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import (
    check_codes,
    check_fit,
    check_number,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_bytes,
    take_tensor,
)
from guidestore.heads.decoders.class_weights import ClassWeights, check_class_weights, class_weights_k
from guidestore.heads.networks import check_finite_predictions, softmax

if TYPE_CHECKING:
    from xgboost import Booster


@dataclass(frozen=True, slots=True, kw_only=True)
class XgboostSettings:
    """Hyper-parameters of `Xgboost`, for a few hundred cases of 512 to 1,536 dimensions: there, deeper trees and more
    columns take several times as long and predict no better."""

    max_depth: int = 2
    """Of a tree."""
    learning_rate: float = 0.1
    """What a tree's values are multiplied by. 0.3, the package's default, is 2 times as fast and a little worse."""
    columns: int = 64
    """Drawn for each tree; all, where codes have fewer."""
    row_share: float = 0.8
    """Of the train rows, drawn without replacement for each round."""
    rounds: int = 300
    """At most; a round is one tree per class."""
    patience: int = 20
    """Rounds without a lower val loss before the fit stops; the trees up to the best round are kept either way."""
    class_weights: ClassWeights = "balanced"
    """Of the cross-entropy, on val alike; see heads.decoders.class_weights."""

    def __post_init__(self) -> None:
        check_number(self.max_depth, "xgboost: max_depth", 1, integer=True)
        check_number(self.learning_rate, "xgboost: learning_rate", 0, 1, open_low=True)
        check_number(self.columns, "xgboost: columns", 1, integer=True)
        check_number(self.row_share, "xgboost: row_share", 0, 1, open_low=True)
        check_number(self.rounds, "xgboost: rounds", 1, integer=True)
        check_number(self.patience, "xgboost: patience", 1, integer=True)
        check_class_weights(self.class_weights, "xgboost")


class Xgboost:
    """Boosted trees with a softmax over the classes, on codes as they are, on one thread. Contract:
    heads.protocol.Decoder.

    Kept as the package's own binary JSON (UBJSON), which holds no code, with its CRC-32: the package ends the process
    on some damaged bytes, so they are not shown to it.
    """

    name: ClassVar[str] = "xgboost"
    Settings = XgboostSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(XgboostSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Booster, bytes] | None = None
        """The trees, and what they were read from."""

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(
        self,
        x_nd: np.ndarray,
        labels: np.ndarray,
        x_val_nd: np.ndarray,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        from xgboost import DMatrix, train

        self._fitted, self.facts = None, {}
        use, seed = self.settings, check_seed(seed)
        x_nd, labels, x_val_nd, labels_val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        weights_k = class_weights_k(use.class_weights, labels, n_classes, self.name)
        train_rows, val_rows = (
            DMatrix(codes_nd, label=own, weight=weights_k[own], nthread=1)
            for codes_nd, own in ((x_nd, labels), (x_val_nd, labels_val))
        )
        params = {
            "objective": "multi:softprob",
            "num_class": n_classes,
            "max_depth": use.max_depth,
            "learning_rate": use.learning_rate,
            "colsample_bytree": min(1.0, use.columns / x_nd.shape[1]),
            "subsample": use.row_share,
            "tree_method": "hist",
            "seed": seed,
            "nthread": 1,
            "verbosity": 0,
        }
        booster = train(
            params,
            train_rows,
            use.rounds,
            evals=[(val_rows, "val")],
            early_stopping_rounds=use.patience,
            verbose_eval=False,
        )
        rounds = booster.best_iteration + 1
        data = bytes(booster[:rounds].save_raw("ubj"))
        self._fitted = (_read(data), data)
        self.facts = {"rounds": float(rounds), "val_loss": float(booster.best_score)}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        booster, _ = self._fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=booster.num_features())
        logits_nk = booster.inplace_predict(x_nd, predict_type="margin")
        return softmax(check_finite_predictions(logits_nk.astype(np.float64), self.name))

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        _, data = self._fitted
        return {"trees": np.frombuffer(data, dtype=np.uint8), "trees_crc32": np.array([float(zlib.crc32(data))])}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(XgboostSettings, config, cls.name)
        data = take_bytes(tensors, "trees", cls.name)
        if zlib.crc32(data) != take_tensor(tensors, "trees_crc32", (1,), cls.name)[0]:
            raise InvalidInputError("xgboost: the bytes of its trees are damaged; train it again, or restore the store")
        model._fitted = (_read(data), data)
        return model


def _read(data: bytes) -> Booster:
    """Raises InvalidInputError where this version of the package cannot read them."""
    from xgboost import Booster
    from xgboost.core import XGBoostError

    booster = Booster({"nthread": 1, "verbosity": 0})
    try:
        booster.load_model(bytearray(data))
    except XGBoostError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(
            f"xgboost: its trees cannot be read ({reason}); install the xgboost that wrote them"
        ) from error
    return booster
