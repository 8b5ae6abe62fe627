"""Our models as scikit-learn estimators: any G as a regressor of many outputs, any D_c as a classifier, and any D_c of
a value as a regressor.

They clone, have `get_params` and `set_params`, go into pipelines, grid searches and cross-validation, and pass all of
scikit-learn's own checks (sklearn.utils.estimator_checks).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.registry import build_decoder, build_decoder_of, build_guidance, decoder_choice, guidance_choice


class GuidanceRegressor(RegressorMixin, BaseEstimator):
    """A guidance model G: z_I -> z_S as a regressor.

    Parameters
    ----------
    guidance : a name or preset (``guidestore heads``), ``module:Class``, a class or an object.
    params : parameters of a name or class; None for its defaults.
    seed : of what is random in the fit, an integer.

    Attributes
    ----------
    model_ : the fitted guidance model (heads.protocol.GuidanceModel).
    n_features_in_ : d_I.

    Example
    -------
    >>> import numpy as np
    >>> z_inferior = np.random.default_rng(0).normal(size=(50, 4))
    >>> z_superior = z_inferior @ np.ones((4, 3))
    >>> gs.GuidanceRegressor("ridge").fit(z_inferior, z_superior).predict(z_inferior).shape
    (50, 3)
    """

    def __init__(self, guidance: Any = "ridge", params: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.guidance = guidance
        self.params = params
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """X (n, d_I), y (n, d_S) or (n,) numbers, n >= 2; read as float32. Returns self.

        Raises ValueError for what scikit-learn refuses, InvalidInputError for what the model does.
        """
        x_nd, y = _validated(self, X, y, multi_output=True, y_numeric=True, dtype=np.float64, ensure_min_samples=2)
        choice = guidance_choice(self.guidance, self.params)
        model = build_guidance(choice.name, **choice.params)
        self.one_output_ = np.ndim(y) == 1
        y_nd = np.asarray(y, dtype=np.float64).reshape(len(x_nd), -1)
        self.model_ = model.fit(x_nd, y_nd, seed=self.seed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """X (n, d_I) -> (n, d_S) float64 of float32's precision, or (n,) where y was."""
        check_is_fitted(self)
        said = self.model_.predict(_validated(self, X, reset=False, dtype=np.float64)).astype(np.float64)
        return said[:, 0] if self.one_output_ else said

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class DecoderClassifier(ClassifierMixin, BaseEstimator):
    """A decoder D_c on any code as a classifier.

    Decoders stop early, or choose a parameter, on val rows: here a share of each class, drawn by the seed and left out
    of the fit.

    Parameters
    ----------
    decoder : a name or preset (``guidestore heads``), ``module:Class``, a class or an object.
    params : parameters of a name or class; None for its defaults.
    val_fraction : share of each class that is val, above 0 and below 1; a class keeps one train row at least, and where
        no class has two rows, all of them are both.
    seed : of what is random in the fit, and of the val rows, an integer.

    Attributes
    ----------
    classes_ : (k,) the classes, sorted.
    model_ : the fitted decoder (heads.protocol.Decoder).
    n_features_in_ : d.

    Example
    -------
    >>> import numpy as np
    >>> codes, labels = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    >>> gs.DecoderClassifier("logistic").fit(codes, labels).predict_proba(codes).shape
    (60, 2)
    """

    def __init__(
        self,
        decoder: Any = "logistic",
        params: Mapping[str, Any] | None = None,
        val_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.decoder = decoder
        self.params = params
        self.val_fraction = val_fraction
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """X (n, d) numbers, y (n,) classes, two or more; codes are read as float32. Returns self.

        Raises ValueError for what scikit-learn refuses, InvalidInputError for what the decoder does.
        """
        x_nd, y = _validated(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        _check_share(self.val_fraction)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"DecoderClassifier needs two classes or more; all of y is of one class, {y[0]}")
        train, val = self._parts(labels)
        choice = decoder_choice(self.decoder, self.params)
        model = build_decoder(choice.name, **choice.params)
        given = (x_nd[train], labels[train], x_nd[val], labels[val])
        self.model_ = model.fit(*given, n_classes=len(self.classes_), seed=self.seed)
        return self

    def _parts(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of train and of val."""
        rng = np.random.default_rng(self.seed)
        train, val = [], []
        for c in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == c))
            n_val = min(max(1, round(self.val_fraction * len(rows))), len(rows) - 1)
            val.append(rows[:n_val])
            train.append(rows[n_val:])
        train_rows, val_rows = np.sort(np.concatenate(train)), np.sort(np.concatenate(val))
        return train_rows, val_rows if len(val_rows) else train_rows

    def predict_proba(self, X: Any) -> np.ndarray:
        """X (n, d) -> (n, k) float64; columns as `classes_`."""
        check_is_fitted(self)
        return self.model_.predict_proba(_validated(self, X, reset=False, dtype=np.float64))

    def predict(self, X: Any) -> np.ndarray:
        """X (n, d) -> (n,) the likeliest class of `classes_` (dtype of y), of equals the first."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]


class DecoderRegressor(RegressorMixin, BaseEstimator):
    """A decoder D_c of a value on any code as a regressor.

    Parameters
    ----------
    decoder : a name of a decoder of values (``guidestore heads``), ``module:Class``, a class or an object.
    params : parameters of a name or class; None for its defaults.
    val_fraction : share of the rows that is val, as of `DecoderClassifier`; two rows at least are train.
    seed : of what is random in the fit, and of the val rows, an integer.

    Attributes
    ----------
    model_ : the fitted decoder (heads.protocol.Foreteller).
    n_features_in_ : d.

    Example
    -------
    >>> import numpy as np
    >>> codes = np.random.default_rng(0).normal(size=(60, 4))
    >>> gs.DecoderRegressor("ridge").fit(codes, codes @ np.ones(4)).predict(codes).shape
    (60,)
    """

    def __init__(
        self,
        decoder: Any = "ridge",
        params: Mapping[str, Any] | None = None,
        val_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.decoder = decoder
        self.params = params
        self.val_fraction = val_fraction
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """X (n, d) numbers, y (n,) numbers that are not all equal, n >= 2; codes are read as float32. Returns self.

        Raises ValueError for what scikit-learn refuses, InvalidInputError for what the decoder does.
        """
        x_nd, y = _validated(self, X, y, y_numeric=True, dtype=np.float64, ensure_min_samples=2)
        _check_share(self.val_fraction)
        rows = np.random.default_rng(self.seed).permutation(len(y))
        n_val = min(max(1, round(self.val_fraction * len(y))), len(y) - 2)
        train, val = np.sort(rows[n_val:]), np.sort(rows[:n_val]) if n_val else np.arange(len(y))
        choice = decoder_choice(self.decoder, self.params)
        model = build_decoder_of("value", choice.name, **choice.params)
        y = np.asarray(y, dtype=np.float64)
        self.model_: Any = model.fit(x_nd[train], y[train], x_nd[val], y[val], n_classes=1, seed=self.seed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """X (n, d) -> (n,) float64, in the unit of y."""
        check_is_fitted(self)
        return self.model_.predict(_validated(self, X, reset=False, dtype=np.float64))


def _check_share(val_fraction: float) -> None:
    if not 0 < val_fraction < 1:
        raise InvalidInputError(f"val_fraction is {val_fraction}; it must lie above 0 and below 1")


def _validated(*given: Any, **more: Any) -> Any:
    """`validate_data` without its types, which say what it never returns."""
    return validate_data(*given, **more)
