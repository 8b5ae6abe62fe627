"""Table 2 from stored codes: 8 tasks x 5 rows x 3 seeds at the published split's size, one permutation of the control.

Codes are drawn, 2,048-d and not negative as Inception-v3's; the heads are the preset's (paper: G 500 epochs, D_c up to
500). Target: under 5 minutes on 2 cores for each line. tests/benchmarks/trainer.py has the plain loop beside it.
Run: python tests/benchmarks/derm7pt.py [PRESET …], of demo, paper, released
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.paper.derm7pt import PRESETS
from guidestore.flows.paper.table2 import TASKS, build_table2
from guidestore.warehouse.cohorts.cohort import CohortTables, add_cohort
from guidestore.warehouse.cohorts.layouts.derm7pt import CLASSES, SPLIT
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs, load_scores
from tests.benchmarks.measuring import show

PARTS = {"train": 413, "val": 203, "test": 395}
CODE_DIM, HIDDEN_STATES = 2_048, 24
BAR_S = 300.0


def make_store(root: Path) -> EmbeddingStore:
    """Labels, split and codes of 1,011 cases that share a hidden state."""
    rng = np.random.default_rng(0)
    parts = [part for part, count in PARTS.items() for _ in range(count)]
    cases = [f"case-{number:04d}" for number in range(len(parts))]
    state_nh = rng.normal(size=(len(cases), HIDDEN_STATES))
    labels, targets = [], []
    for task in TASKS:
        classes = list(CLASSES[task])
        targets += [{"target": task, "class_index": i, "class": name} for i, name in enumerate(classes)]
        logits_nk = state_nh @ rng.normal(size=(HIDDEN_STATES, len(classes)))
        says = (logits_nk + rng.gumbel(size=logits_nk.shape)).argmax(axis=1)
        labels += [{"case_id": case, "target": task, "class": classes[c]} for case, c in zip(cases, says, strict=True)]
    store = EmbeddingStore.create(root)
    splits = [
        {"split": SPLIT, "fold": 0, "case_id": case, "part": part, "origin": "drawn"}
        for case, part in zip(cases, parts, strict=True)
    ]
    add_cohort(
        store,
        CohortTables("skin", targets=targets, cases=[{"case_id": c} for c in cases], labels=labels, splits=splits),
    )
    for modality, noise in (("clinical", 2.0), ("dermoscopy", 0.5)):
        seen_nh = state_nh + noise * rng.normal(size=state_nh.shape)
        codes_nd = np.maximum(seen_nh @ rng.normal(size=(HIDDEN_STATES, CODE_DIM)) * 0.1, 0).astype(np.float32)
        file = root.parent / f"{modality}.npz"
        np.savez(file, case_id=np.array(cases), codes=codes_nd)
        import_codes(EmbeddingStore.create(root), file, cohort="skin", modality=modality, encoder="drawn")
    return store


def measured(preset: str, folder: Path) -> list[str]:
    store = make_store(folder / "store")
    use = PRESETS[preset]
    start = time.perf_counter()
    report = guide(
        store,
        GuideSettings(
            cohort="skin",
            inferior="clinical/drawn",
            superior="dermoscopy/drawn",
            targets=TASKS,
            split=SPLIT,
            seeds=(0, 1, 2),
            guidance=use.guidance,
            decoder=use.decoder,
            modes=("matched",),
            permutations=1,
        ),
    )
    trained = time.perf_counter() - start
    snapshot = store.snapshot()
    runs = load_runs(snapshot, report.runs)
    build_table2(runs, load_scores(snapshot, runs), load_predictions(snapshot, runs), cohort="skin")
    whole = time.perf_counter() - start
    return [preset, f"{report.trained}", f"{trained:.0f}", f"{whole - trained:.1f}", f"{whole:.0f} (bar {BAR_S:.0f})"]


def main() -> None:
    rows = []
    for preset in sys.argv[1:] or list(PRESETS):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(preset, Path(folder)))
    title = f"Table 2 from stored codes of {CODE_DIM:,} d: 8 tasks x 5 rows x 3 seeds, matched, one permutation"
    show(title, ["preset", "runs", "heads, s", "table, s", "together, s"], rows)


if __name__ == "__main__":
    main()
