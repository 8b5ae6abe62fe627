"""Columns of runs that people filter on, told from what the store keeps of a run."""

from __future__ import annotations

import json

import pyarrow as pa

from guidestore.embeddings.training_notes import training_note

DERIVED = tuple((name, pa.string()) for name in ("kind", "unit", "labelled", "fusion", "device", "note"))
"""kind, unit: of the target. labelled: how many labels of train a run was shown, or all. fusion: of its two codes, ''
where they stand side by side; it is in the name of the decoder too. device: where it was trained. note: what its
training warns of."""
_FUSION = ", fusion="


def with_derived(runs: pa.Table) -> pa.Table:
    """Rows of schema ``runs`` with the columns `DERIVED` behind them."""
    columns: dict[str, list[str]] = {name: [] for name, _ in DERIVED}
    for text, decoder in zip(runs["settings"].to_pylist(), runs["decoder"].to_pylist(), strict=True):
        settings = json.loads(text or "{}")
        columns["kind"].append(settings.get("kind", "classes"))
        columns["unit"].append(settings.get("unit", ""))
        columns["labelled"].append(str(settings.get("labelled", "all")))
        columns["fusion"].append((decoder or "").partition(_FUSION)[2])
        columns["device"].append(settings.get("device", ""))
        columns["note"].append(
            training_note(
                message=settings.get("message", ""),
                classes=0 if "kind" in settings else len(settings.get("classes", ())),
                facts=settings.get("facts", {}),
            )
        )
    for name, kind in DERIVED:
        runs = runs.append_column(name, pa.array(columns[name], kind))
    return runs
