"""Where the codes of a cohort lie in a plane: one point per case of a code set, by PCA at once or by a stored UMAP."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.flows.explore.explored import View, literal
from guidestore.flows.explore.facts import Facts, facts_of

SAMPLE = 50_000
"""Codes that the axes are fitted on; all others are projected onto them."""
BATCH = 65_536
_SEED = 0


@dataclass(frozen=True, slots=True)
class Places:
    """A map of a code set."""

    places_n2: np.ndarray
    """(cases of the cohort, 2) float32, in the order of their numbers; NaN where there is no finite code."""
    about: str


def code_sets_of(view: View, cohort: str) -> list[dict[str, Any]]:
    """The sets of case codes of a cohort, the largest first."""
    return view.ask(
        "SELECT name, modality, encoder, d, cases, artifacts, trained_on FROM code_sets "
        f"WHERE kind = 'codes' AND cohort = {literal(cohort)} ORDER BY cases DESC, name"
    )


def map_choices(view: View, cohort: str) -> dict[str, Any]:
    """What there is to be mapped, and how: the newest run's pair of code sets stands first."""
    facts_of(view, cohort)
    pair = view.ask(
        f"SELECT inferior, superior FROM runs WHERE cohort = {literal(cohort)} AND superior <> '' "
        "ORDER BY created_at DESC LIMIT 1"
    )
    stored = view.ask(f"SELECT DISTINCT code_set FROM maps WHERE cohort = {literal(cohort)} AND method = 'umap'")
    return {
        "snapshot": view.version,
        "code_sets": code_sets_of(view, cohort),
        "pair": pair[0] if pair else None,
        "umap": [row["code_set"] for row in stored],
    }


def chosen_sets(view: View, cohort: str) -> list[str]:
    """The code sets that one looks at first: the newest run's pair; where nothing was trained, all of case codes."""
    known = [row["name"] for row in code_sets_of(view, cohort)]
    pair = map_choices(view, cohort)["pair"] or {}
    return [name for name in pair.values() if name in known] or known


def places_of(view: View, cohort: str, code_set: str, method: str = "pca") -> Places:
    """The map of a code set, by PCA or as `guidestore explore --umap` stored it. Raises NotFoundInStoreError."""
    facts = facts_of(view, cohort)
    work = _stored if method == "umap" else _by_pca
    return view.once(("map", cohort, code_set, method), lambda: work(view, facts, code_set))


def _stored(view: View, facts: Facts, code_set: str) -> Places:
    _, _, n = codes_source(view, facts, code_set)
    found = view.table(
        f"SELECT f.i, m.x, m.y FROM maps m JOIN {facts.table} f USING (case_id) "
        f"WHERE m.code_set = {literal(code_set)} AND m.method = 'umap'"
    )
    if not found.num_rows:
        raise NotFoundInStoreError(
            f"the store has no UMAP of {code_set}; `guidestore explore {facts.cohort} --umap` makes it"
        )
    places_n2 = np.full((facts.n, 2), np.nan, np.float32)
    places_n2[found["i"].to_numpy()] = np.stack([found["x"].to_numpy(), found["y"].to_numpy()], axis=1)
    later = f"; {n - found.num_rows:,} codes came later, or are not finite" if n > found.num_rows else ""
    return Places(places_n2, f"UMAP of {found.num_rows:,} codes{later}")


def _by_pca(view: View, facts: Facts, code_set: str) -> Places:
    source, width, n = codes_source(view, facts, code_set)
    every = max(1, math.ceil(n / SAMPLE))
    sample_nd = np.concatenate(
        [codes for _, codes in codes_batches(view, f"{source} AND hash(f.i) % {every} = 0", width)]
    )
    sample_nd = sample_nd[np.isfinite(sample_nd).all(axis=1)]
    if not len(sample_nd):
        raise InvalidInputError(f"no code of {code_set} is finite, so there is no map of it")
    mean_d = sample_nd.mean(axis=0)
    scale_d = np.where(np.ptp(sample_nd, axis=0) > 0, sample_nd.std(axis=0), 1.0)
    axes_d2, shares = _axes((sample_nd - mean_d) / scale_d)
    places_n2 = np.full((facts.n, 2), np.nan, np.float32)
    for numbers, codes_bd in codes_batches(view, source, width):
        places_n2[numbers, : axes_d2.shape[1]] = ((codes_bd - mean_d) / scale_d) @ axes_d2
    if axes_d2.shape[1] == 1:
        places_n2[:, 1] = np.where(np.isnan(places_n2[:, 0]), np.nan, 0)
    places_n2[~np.isfinite(places_n2).all(axis=1)] = np.nan
    fitted = f", fitted on {len(sample_nd):,} of them" if every > 1 else ""
    return Places(
        places_n2,
        f"PCA of {n:,} codes{fitted}; the axes have {' and '.join(f'{share:.0%}' for share in shares)} of the variance",
    )


def _axes(sample_nd: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """(d, 2) float32 principal axes of centred rows (one where d or n is 1), and their shares of the variance."""
    from scipy.linalg import eigh

    n, d = sample_nd.shape
    sample_nd = sample_nd.astype(np.float64)
    wide = n < d  # then the smaller product has the same eigenvalues
    product = sample_nd @ sample_nd.T if wide else sample_nd.T @ sample_nd
    k = min(2, n, d)
    values_k, vectors = eigh(product, subset_by_index=[len(product) - k, len(product) - 1])
    values_k, vectors = values_k[::-1], vectors[:, ::-1]
    axes_dk = sample_nd.T @ vectors / np.sqrt(np.maximum(values_k, 1e-300)) if wide else vectors
    largest_k = axes_dk[np.abs(axes_dk).argmax(axis=0), range(k)]
    total = float(np.trace(product))
    shares = [float(value) / total if total > 0 else 0.0 for value in np.maximum(values_k, 0)]
    return (axes_dk * np.where(largest_k < 0, -1, 1)).astype(np.float32), shares


def codes_source(view: View, facts: Facts, code_set: str) -> tuple[str, int, int]:
    """A SELECT of `i` and `code`, one per case, that can be narrowed with AND; the width, and how many codes there are.

    Of a case with several images the first counts.
    """
    (found,) = [row for row in code_sets_of(view, facts.cohort) if row["name"] == code_set] or [None]
    if found is None:
        known = ", ".join(row["name"] for row in code_sets_of(view, facts.cohort)) or "none yet"
        raise NotFoundInStoreError(f"cohort {facts.cohort} has no set of case codes {code_set!r}; it has {known}")
    codes = f"(SELECT case_id, code FROM codes_{found['d']} WHERE code_set = {literal(code_set)}"
    if found["artifacts"] > found["cases"]:
        codes += " QUALIFY row_number() OVER (PARTITION BY case_id ORDER BY image_id, artifact) = 1"
    source = f"SELECT f.i, c.code FROM {codes}) c JOIN {facts.table} f ON f.case_id = c.case_id WHERE true"
    return source, found["d"], found["cases"]


def codes_batches(view: View, sql: str, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(numbers, (b, d) float32 codes), a batch after the other."""
    with view.connection() as con:
        for batch in con.sql(sql).to_arrow_reader(BATCH):
            codes = batch.column("code")
            flat = pa.FixedSizeListArray.flatten(codes).to_numpy(zero_copy_only=False)
            yield batch.column("i").to_numpy(), flat.reshape(-1, width)
