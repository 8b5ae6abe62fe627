"""A store that others write to while it is served."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from guidestore.embeddings.opening import storage_at
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes


def upload(store: Path, url: str) -> None:
    """The same files under the same names; what stays on each machine is left out."""
    bucket = storage_at(url)
    for file in sorted(store.rglob("*")):
        path = file.relative_to(store).as_posix()
        if file.is_file() and not path.startswith(("index/", "staging/")):
            bucket.create(path, file.read_bytes())


def add_cases(store: Path | str, first: int, *, count: int = 4) -> int:
    """Commits labelled train cases with codes of both modalities, as another process would; the snapshot's number."""
    opened = EmbeddingStore.open(store)
    snapshot = opened.snapshot()
    ids = tuple(f"new-{number:03d}" for number in range(first, first + count))
    labels = snapshot.rows("labels", cohort="skin").to_pylist()
    classes = {
        target: sorted({row["class"] for row in labels if row["target"] == target}) for target in ("DIAG", "PIG")
    }
    facts = [{"cohort": "skin", "case_id": case_id} for case_id in ids]
    rng = np.random.default_rng(first)
    with opened.begin("new cases") as transaction:
        transaction.write_rows("cases", facts, cohort="skin")
        labelled = [
            {**fact, "target": target, "class": names[number % len(names)]}
            for target, names in classes.items()
            for number, fact in enumerate(facts)
        ]
        transaction.write_rows("labels", labelled, cohort="skin")
        placed = {"split": "official", "fold": 0, "part": "train", "origin": "given"}
        transaction.write_rows("splits", [{**fact, **placed} for fact in facts], cohort="skin")
        for key in snapshot.code_sets:
            codes = CaseCodes(ids, rng.normal(size=(count, key.code_dim)).astype(np.float32), key=key)
            transaction.write_codes(codes, input_digests=[[case_id] for case_id in ids])
    return opened.snapshot().version
