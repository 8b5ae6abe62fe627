"""UMAP as a job, with a stand-in for the library's fit: what is stored, once, and where codes beyond the sample lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.flows.explore import umaps
from guidestore.flows.explore.explored import Explored
from guidestore.flows.explore.maps import chosen_sets, map_choices, places_of
from guidestore.flows.explore.umaps import PLACED_BY, make_map, placed
from guidestore.warehouse.indexer import build_index


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many codes each fit was given; the stand-in takes their first two dimensions for places."""
    seen: list[int] = []

    def fit(codes_nd: np.ndarray) -> np.ndarray:
        seen.append(len(codes_nd))
        return codes_nd[:, :2].copy()

    monkeypatch.setattr(umaps, "_fit", fit)
    monkeypatch.setattr(umaps, "check_installed", lambda: None)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    return seen


def test_codes_beyond_the_sample_lie_between_their_neighbours(
    fitted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(umaps, "SAMPLE", 40)
    codes_nd = np.random.default_rng(1).normal(size=(100, 6)).astype(np.float32)
    places_n2 = placed(codes_nd)
    assert fitted == [40]
    scaled_nd = (codes_nd - codes_nd.mean(axis=0)) / codes_nd.std(axis=0)
    sample = np.sort(np.random.default_rng(0).choice(100, 40, replace=False))
    np.testing.assert_allclose(places_n2[sample], scaled_nd[sample, :2], atol=1e-5)
    for other in np.setdiff1d(np.arange(100), sample):
        distances = cdist(scaled_nd[[other]], scaled_nd[sample])[0]
        nearest = np.argsort(distances)[:PLACED_BY]
        weights = 1 / distances[nearest]
        expected = weights @ places_n2[sample][nearest] / weights.sum()
        np.testing.assert_allclose(places_n2[other], expected, rtol=1e-3, atol=1e-4)


def test_a_map_is_stored_once_and_read_at_its_snapshot(fitted: list[int], page_store: Path, tmp_path: Path) -> None:
    shutil.copytree(page_store, tmp_path / "store")
    explored = Explored(str(tmp_path / "store"))
    before = explored.view()
    code_set = chosen_sets(before, "skin")[0]
    with pytest.raises(NotFoundInStoreError, match="guidestore explore skin --umap"):
        places_of(before, "skin", code_set, "umap")
    assert make_map(explored.store, before, code_set)
    build_index(explored.store)
    view = explored.view()
    assert map_choices(view, "skin")["umap"] == [code_set]
    codes_nd = explored.store.snapshot().codes(explored.store.snapshot().code_set(code_set)).codes_nd
    scaled_nd = (codes_nd - codes_nd.mean(axis=0)) / codes_nd.std(axis=0)
    np.testing.assert_allclose(places_of(view, "skin", code_set, "umap").places_n2, scaled_nd[:, :2], atol=1e-4)
    assert not make_map(explored.store, view, code_set)
    assert fitted == [90]
    assert map_choices(explored.view(str(before.version)), "skin")["umap"] == []


def test_without_the_library_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match=r"pip install 'guidestore\[umap\]'"):
        umaps.check_installed()
