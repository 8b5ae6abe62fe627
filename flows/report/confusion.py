"""Which class is taken for which, counted over the test predictions of all folds and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.flows.report.sections import Section
from guidestore.heads.input_rows import GUIDED_PLUS_I, S_PLUS_I, I

ROWS = (I, GUIDED_PLUS_I, S_PLUS_I)


@dataclass(frozen=True, slots=True)
class Confusion:
    """One input row. `lines`: the true class, then (count, share of the true class or None) per predicted class."""

    row: str
    runs: int
    predictions: int
    lines: tuple[tuple[str, tuple[tuple[int, float | None], ...]], ...]


def confusions_of(section: Section) -> list[Confusion]:
    """Of I, G(I)+I and S+I, as far as they have test predictions; none where a case has no one class or grade."""
    confusions = []
    if section.kind not in ONE_CLASS_KINDS:
        return confusions
    for row in ROWS:
        runs = section.of_row(row)
        if not runs:
            continue
        k = len(section.classes)
        counts_kk = np.zeros((k, k), dtype=np.int64)
        for run in runs:
            np.add.at(counts_kk, (run.labels, run.predicted), 1)
        lines = tuple(
            (name, tuple((int(n), float(n / counts_k.sum()) if counts_k.any() else None) for n in counts_k))
            for name, counts_k in zip(section.classes, counts_kk, strict=True)
        )
        confusions.append(Confusion(row, len(runs), int(counts_kk.sum()), lines))
    return confusions
