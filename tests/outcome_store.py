"""A small store of made codes with targets of every kind, for tests of heads of outcomes: no image, no network.

What is foretold follows z_S, noisily; z_I tells z_S in part, and nothing else.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes

CASES = 240
TARGETS: dict[str, dict[str, Any]] = {
    "length": {"kind": "value", "unit": "mm"},
    "os": {"kind": "survival", "unit": "months"},
    "grade": {"kind": "ordinal", "names": ("low", "mid", "high")},
    "findings": {"kind": "multilabel", "names": ("effusion", "nodule")},
}
GUIDE = ("--inferior", "clinical/made", "--superior", "dermoscopy/made", "--guidance", "ridge")


def mediated(n: int, seed: int, *, noise: float = 1.0, d_i: int = 12) -> dict[str, np.ndarray]:
    """z_I, z_S, and y of every target (embeddings.outcomes)."""
    rng = np.random.default_rng(seed)
    z_s = rng.normal(size=(n, 4))
    mixing = np.random.default_rng(7).normal(size=(4, d_i))
    z_i = z_s @ mixing + 2.0 * rng.normal(size=(n, d_i))
    place = z_s @ np.array([1.0, -0.7, 0.5, 0.3])
    length = 50 + 8 * (place + noise * rng.normal(size=n))
    died = 20 * rng.exponential(np.exp(-0.9 * place))
    left = 40 * rng.exponential(size=n) + 0.5
    grade = np.digitize(place + noise * rng.normal(size=n), [-0.8, 0.8]).astype(np.int64)
    findings = np.stack([place, z_s[:, 1]], axis=1) + noise * rng.normal(size=(n, 2)) > [0.2, 0.6]
    findings = np.where(rng.random((n, 2)) < 0.1, np.nan, findings.astype(float))
    return {
        "z_i": z_i.astype(np.float32),
        "z_s": z_s.astype(np.float32),
        "length": length,
        "os": np.column_stack([np.minimum(died, left) + 0.01, died <= left]),
        "grade": grade,
        "findings": findings,
    }


def make_store(folder: Path, *, cases: int = CASES, seed: int = 0, folds: int = 1) -> Path:
    """A store with cohort `made` and split `drawn`; of every fifth case the first is val, two are test."""
    made, store = mediated(cases, seed), folder / "store"
    ids = [f"case-{case:04d}" for case in range(cases)]
    for modality, codes_nd in (("clinical", made["z_i"]), ("dermoscopy", made["z_s"])):
        file = folder / f"{modality}.csv"
        with file.open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(["case_id", *(f"c{d}" for d in range(codes_nd.shape[1]))])
            writer.writerows([case, *code] for case, code in zip(ids, codes_nd.tolist(), strict=True))
        import_codes(EmbeddingStore.create(store), file, cohort="made", modality=modality, encoder="made")
    parts = ("val", "test", "train", "train", "test")
    with EmbeddingStore.open(store).begin("a made cohort") as transaction:
        transaction.write_rows("cases", [{"cohort": "made", "case_id": case} for case in ids], cohort="made")
        transaction.write_rows("targets", _targets(), cohort="made")
        transaction.write_rows("labels", _labels(ids, made), cohort="made")
        splits = [
            {"cohort": "made", "split": "drawn", "fold": fold, "case_id": case, "part": parts[(i + fold) % 5]}
            for fold in range(folds)
            for i, case in enumerate(ids)
        ]
        transaction.write_rows("splits", splits, cohort="made")
    return store


def _targets() -> list[dict[str, Any]]:
    rows = []
    for target, of in TARGETS.items():
        common = {"cohort": "made", "target": target, "kind": of["kind"], "unit": of.get("unit")}
        names = of.get("names", ())
        rows += [{**common, "class_index": i, "class": name} for i, name in enumerate(names)] or [common]
    return rows


def _labels(ids: list[str], made: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, case in enumerate(ids):
        common = {"cohort": "made", "case_id": case}
        rows.append({**common, "target": "length", "value": float(made["length"][i])})
        time, event = made["os"][i]
        rows.append({**common, "target": "os", "time": float(time), "event": bool(event)})
        rows.append({**common, "target": "grade", "class": TARGETS["grade"]["names"][made["grade"][i]]})
        for name, has_it in zip(TARGETS["findings"]["names"], made["findings"][i], strict=True):
            if not np.isnan(has_it):
                rows.append({**common, "target": "findings", "class": name, "value": float(has_it)})
    return rows
