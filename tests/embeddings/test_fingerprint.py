"""Objects that are not the same have not the same identity, and those that are the same have."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from guidestore.embeddings.fingerprint import fingerprint

SOURCE = """
from torch import nn

class Scaled:
    def __init__(self, by=1, of=None):
        self.by, self.of = by, of

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

class Around:
    def __init__(self):
        self._network = Network()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "fingerprinted_mine.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import fingerprinted_mine  # pyright: ignore[reportMissingImports]

    yield fingerprinted_mine
    sys.modules.pop("fingerprinted_mine")


def of_zeros(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    for value in network.parameters():
        nn.init.zeros_(value)
    return network.to(dtype)


def with_bias(network: Any, value: float) -> Any:
    nn.init.constant_(of_zeros(network).layer.bias, value)  # pyright: ignore
    return network


def around(of: Any, value: float) -> Any:
    with_bias(of._network, value)
    return of


def fitted(scale: float) -> PCA:
    return PCA(1).fit(np.random.default_rng(0).standard_normal((9, 3)) * [1, scale, 1])


def after(of: Any, **values: Any) -> Any:
    vars(of).update(values)
    return of


TOLD: dict[str, tuple[Callable[[ModuleType], Any], Callable[[ModuleType], Any]]] = {
    "plain": (lambda m: m.Scaled(2), lambda m: m.Scaled(3)),
    "infinite": (lambda m: m.Scaled(math.inf), lambda m: m.Scaled(-math.inf)),
    "set later": (lambda m: after(m.Scaled(), tone=1), lambda m: after(m.Scaled(), tone=2)),
    "strides": (
        lambda m: m.Scaled(of=of_zeros(nn.Conv2d(1, 1, 3))), lambda m: m.Scaled(of=of_zeros(nn.Conv2d(1, 1, 3, 2)))
    ),
    "activations": (
        lambda m: m.Scaled(of=nn.Sequential(of_zeros(nn.Linear(2, 2)), nn.ReLU())),
        lambda m: m.Scaled(of=nn.Sequential(of_zeros(nn.Linear(2, 2)), nn.Tanh())),
    ),
    "bfloat16": (
        lambda m: m.Scaled(of=torch.zeros(2, dtype=torch.bfloat16)),
        lambda m: m.Scaled(of=torch.zeros(2, dtype=torch.float32)),
    ),
    "weights within": (lambda m: around(m.Around(), 1.0), lambda m: around(m.Around(), 2.0)),
    "weights of its own": (lambda m: with_bias(m.Network(), 1.0), lambda m: with_bias(m.Network(), 2.0)),
    "what it was fitted on": (lambda m: m.Scaled(of=fitted(1)), lambda m: m.Scaled(of=fitted(2))),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_what_differs_is_told_and_what_is_the_same_is_one(mine: ModuleType, name: str) -> None:
    first, second = (fingerprint(make(mine)) for make in TOLD[name])
    assert first.is_versioned
    assert second.is_versioned
    assert first != second
    assert fingerprint(TOLD[name][0](mine)) == first


@pytest.mark.parametrize("pair", [(np.exp, np.log), (re.compile("a"), re.compile("b")), (len, max), (np.float32, len)])
def test_what_cannot_be_seen_is_of_one_session(mine: ModuleType, pair: tuple[Any, Any]) -> None:
    first, second = (fingerprint(mine.Scaled(of=one)) for one in pair)
    assert not (first.is_versioned and second.is_versioned)
    assert first != second


def test_objects_of_a_class_of_this_session_are_told_by_what_they_were_made_with() -> None:
    class Typed:
        def __init__(self, to: int) -> None:
            self.to = to

    one, same, other = (fingerprint(Typed(to)) for to in (2, 2, 3))
    assert not one.is_versioned
    assert one == same
    assert one != other
