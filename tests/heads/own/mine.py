"""Models of a user, in a file of theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Shrunk:
    """Least squares, shrunk towards the mean of z_S."""

    def __init__(self, by: float = 1.0) -> None:
        self.by = by

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray) -> None:
        self.mean_i, self.mean_s = z_inferior_nd.mean(axis=0), z_superior_nd.mean(axis=0)
        self.weight = np.linalg.lstsq(z_inferior_nd - self.mean_i, z_superior_nd - self.mean_s, rcond=1e-6)[0]

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        return self.mean_s + self.by * (z_inferior_nd - self.mean_i) @ self.weight


class Kept(Shrunk):
    """As heads.protocol has it, checks and all left out."""

    name = "kept"

    @property
    def config(self) -> dict[str, Any]:
        return {"name": self.name, "by": self.by}

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> None:
        self.facts = {"seed": float(seed)}
        super().fit(z_inferior_nd, z_superior_nd)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"mean_i": self.mean_i, "mean_s": self.mean_s, "weight": self.weight}

    @classmethod
    def from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Kept:
        model = cls(config["by"])
        for name in ("mean_i", "mean_s", "weight"):
            setattr(model, name, tensors[name])
        return model


class Net(torch.nn.Module):
    """One hidden layer."""

    def __init__(self, d_in: int, d_out: int, hidden: int = 32) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(d_in, hidden), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(hidden, d_out)
        )

    def forward(self, x_bd: torch.Tensor) -> torch.Tensor:
        return self.layers(x_bd)


def scaled(C: float = 1.0) -> Any:
    """A function that makes an estimator is as good as a class."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C))


def forest(trees: int = 30) -> Any:
    return RandomForestClassifier(trees)


class Stopped(BaseEstimator):
    """Takes val too, and draws from numpy's global generator."""

    def __init__(self, tries: int = 3) -> None:
        self.tries = tries

    def fit(self, x_nd, y, x_val_nd, y_val, *, n_classes):
        draws = np.random.normal(size=(self.tries, x_nd.shape[1]))
        self.models_ = [GaussianNB().fit(x_nd + 0.01 * draw, y) for draw in draws]
        best = max(range(self.tries), key=lambda i: self.models_[i].score(x_val_nd, y_val))
        self.best_, self.n_classes_, self.facts = self.models_[best], n_classes, {"best": float(best)}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        return self.best_.predict_proba(x_nd)


class Odd:
    """Predicts what it should not."""

    def __init__(self, how: str = "narrow") -> None:
        self.how = how

    def fit(self, x_nd: np.ndarray, y: np.ndarray) -> None:
        self.width = y.shape[1] if y.ndim == 2 else 3
        if self.how == "raises":
            raise ValueError("a bad day")

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        return (
            np.zeros((len(x_nd), self.width - 1)) if self.how == "narrow" else np.full((len(x_nd), self.width), np.nan)
        )

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        return np.full((len(x_nd), self.width), -1.0 if self.how == "negative" else 0.5)


class Hazard:
    """A risk that falls with the logarithm of the time, of those that were not censored."""

    kinds = frozenset({"survival"})

    def fit(self, x_nd: np.ndarray, y: np.ndarray) -> None:
        event = y[:, 1] > 0
        centred_nd = np.column_stack([x_nd, np.ones(len(x_nd))])
        self.weight = np.linalg.lstsq(centred_nd[event], np.log(y[event, 0]), rcond=None)[0]

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        return -np.column_stack([x_nd, np.ones(len(x_nd))]) @ self.weight
