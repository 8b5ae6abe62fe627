from __future__ import annotations

import os
from pathlib import Path

import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.indexer import build_index
from tests.warehouse.making import commit_cohort, commit_rest


@pytest.fixture(autouse=True, scope="session")
def no_power_cut():
    """No test here cuts the power, and fsync is most of the time of a small commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(scope="session")
def indexed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with something of every kind, indexed at its head. Read only: tests share it."""
    root = tmp_path_factory.mktemp("shared") / "store"
    store = EmbeddingStore.create(root)
    commit_cohort(store)
    commit_rest(store)
    build_index(store)
    return root
