from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from guidestore.embeddings.store import EmbeddingStore

# Every example writes real files, so its time says little about the code.
settings.register_profile("store", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("store")


@pytest.fixture(autouse=True, scope="session")
def no_power_cut():
    """No test here cuts the power, and fsync is most of the time of a small commit. tests/faults keep it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store")


@pytest.fixture
def root(store: EmbeddingStore, tmp_path: Path) -> Path:
    """The folder of `store`."""
    return tmp_path / "store"
