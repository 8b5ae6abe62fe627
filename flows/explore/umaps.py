"""UMAP of a code set, as a job: fitted on a seeded sample, all other codes placed by their neighbours in it.

The coordinates are rows of the store, an artifact by recipe: asked for again, they are there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.index.exact import ExactIndex
from guidestore.embeddings.recipe import rows_artifact
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetKey
from guidestore.flows.explore.explored import View, literal
from guidestore.flows.explore.facts import facts_of
from guidestore.flows.explore.maps import BATCH, SAMPLE, codes_batches, codes_source
from guidestore.flows.work.reporting import Progress, no_progress

METHOD = "umap"
NEIGHBOURS = 15
MIN_DIST = 0.1
SEED = 0
PLACED_BY = 5
"""Fitted codes next to a code, whose places it is put between."""
FEWEST = 4
"""Codes of which there is a UMAP."""
_EXTRA = "umap"


def check_installed() -> None:
    """Raises InvalidInputError without umap-learn."""
    if importlib.util.find_spec("umap") is None:
        raise InvalidInputError(
            f"UMAP needs umap-learn, which is not installed: pip install 'guidestore[{_EXTRA}]'; PCA needs nothing"
        )


def make_map(store: EmbeddingStore, view: View, code_set: str, progress: Progress = no_progress) -> bool:
    """Places the codes of a set (its whole name, of a cohort as it is shown) and commits where they lie; False where
    the store has that already. view: the index at the newest commit.

    Raises NotFoundInStoreError, and InvalidInputError without umap-learn or with too few codes.
    """
    check_installed()
    snapshot = store.snapshot(view.version)
    key = snapshot.code_set(code_set)
    facts = facts_of(view, code_set.partition("/")[0])
    recipe = _recipe(view, key, code_set)
    if rows_artifact("rows:maps", {"cohort": key.cohort, **recipe}) in snapshot.artifacts:
        return False
    source, width, _ = codes_source(view, facts, code_set)
    numbers_n, codes_nd = _finite(view, source, width)
    if len(codes_nd) < FEWEST:
        raise InvalidInputError(f"{code_set} has {len(codes_nd)} finite codes; a UMAP needs {FEWEST} or more")
    places_n2 = placed(codes_nd, progress).astype(np.float64)
    case_ids = view.table(f"SELECT case_id FROM {facts.table} ORDER BY i")["case_id"].take(pa.array(numbers_n))
    told = {"cohort": key.cohort, "modality": key.modality, "encoder": key.encoder}
    told |= {"encoder_digest": key.encoder_digest, "method": METHOD}
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(value), len(case_ids)) for name, value in told.items()}
    rows = pa.table(columns | {"case_id": case_ids, "x": places_n2[:, 0], "y": places_n2[:, 1]})
    earlier = view.ask(
        "SELECT DISTINCT artifact FROM base.maps WHERE is_live(added_at, removed_at) "
        + "".join(f" AND {name} = {literal(value)}" for name, value in told.items())
    )
    with store.begin(f"{METHOD} of {code_set}", read_at=snapshot.read_at) as transaction:
        made = transaction.write_rows("maps", rows.select(SCHEMAS["maps"].names), cohort=key.cohort, recipe=recipe)
        for row in earlier:
            transaction.replace(snapshot.entry(row["artifact"]), by=made)
    return True


def _recipe(view: View, key: CodeSetKey, code_set: str) -> dict[str, Any]:
    """All that decides the places: the codes, by their artifacts, and how they are placed."""
    from importlib.metadata import version

    artifacts = view.table(
        f"SELECT artifact FROM codes_{key.code_dim} WHERE code_set = {literal(code_set)} ORDER BY artifact"
    )["artifact"]
    digest = hashlib.sha256("".join(f"{artifact}\n" for artifact in artifacts.to_pylist()).encode()).hexdigest()
    return {
        "map": METHOD,
        "modality": key.modality,
        "encoder_digest": key.encoder_digest,
        "codes": digest,
        "parameters": {"neighbours": NEIGHBOURS, "min_dist": MIN_DIST, "sample": SAMPLE, "placed_by": PLACED_BY},
        "seed": SEED,
        "version": version("umap-learn"),
    }


def _finite(view: View, source: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the cases whose code is finite, ascending, and their codes (n, d)."""
    parts = []
    for numbers_b, codes_bd in codes_batches(view, source, width):
        kept = np.isfinite(codes_bd).all(axis=1)
        parts.append((numbers_b[kept], codes_bd[kept]))
    if not parts:
        return np.empty(0, np.int64), np.empty((0, width), np.float32)
    numbers_n, codes_nd = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = numbers_n.argsort(kind="stable")
    return numbers_n[order], codes_nd[order]


def placed(codes_nd: np.ndarray, progress: Progress = no_progress) -> np.ndarray:
    """(n, 2) float32 of finite codes (n, d): standardised, at most SAMPLE of them placed by UMAP, seeded; each other
    one between the PLACED_BY fitted codes next to it, the nearer the closer.
    """
    n = len(codes_nd)
    spread_d = codes_nd.std(axis=0, dtype=np.float64)
    scale_d = np.where(np.ptp(codes_nd, axis=0) > 0, spread_d, 1.0).astype(np.float32)
    codes_nd = (codes_nd - codes_nd.mean(axis=0, dtype=np.float64).astype(np.float32)) / scale_d
    fitted = np.arange(n)
    if n > SAMPLE:
        fitted = np.sort(np.random.default_rng(SEED).choice(n, SAMPLE, replace=False))
    progress("fitting UMAP", 0, 1)
    places_n2 = np.empty((n, 2), np.float32)
    places_n2[fitted] = _fit(codes_nd[fitted])
    progress("fitting UMAP", 1, 1)
    others = np.setdiff1d(np.arange(n), fitted, assume_unique=True)
    if len(others):
        index = ExactIndex(codes_nd[fitted], "euclidean")
        for start in range(0, len(others), BATCH):
            some = others[start : start + BATCH]
            distances_bk, rows_bk = index.search(codes_nd[some], PLACED_BY)
            weights_bk = 1 / np.maximum(distances_bk, 1e-6)
            weights_bk /= weights_bk.sum(axis=1, keepdims=True)
            places_n2[some] = np.einsum("bk,bkx->bx", weights_bk, places_n2[fitted[rows_bk]])
            progress("placing", start + len(some), len(others))
    return places_n2


def _fit(codes_nd: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's and scikit-learn's, about versions and one thread
        umap = import_module("umap")
        neighbours = min(NEIGHBOURS, len(codes_nd) - 1)
        model = umap.UMAP(n_neighbors=neighbours, min_dist=MIN_DIST, random_state=SEED, n_jobs=1)
        return model.fit_transform(codes_nd)
