"""What an import brought, as rows."""

from __future__ import annotations

from typing import Any

from guidestore.flows.encoding.import_any import FolderImport
from guidestore.flows.encoding.import_codes import ImportReport
from guidestore.flows.encoding.import_published import PublishedImport

type Done = ImportReport | FolderImport | PublishedImport


def rows_of(done: Done) -> list[dict[str, Any]]:
    """A row per code set."""
    if isinstance(done, ImportReport):
        row = {"code_set": str(done.code_set), "codes": done.codes, "new": done.new}
        return [{**row, "replaced": done.replaced, "snapshot": done.snapshot}]
    if isinstance(done, PublishedImport):
        return [{"code_set": str(key), "snapshot": done.snapshot} for key in done.code_sets]
    read = [
        {
            "code_set": str(report.code_set),
            "codes": report.bags,
            "new": report.new,
            "replaced": report.replaced,
            "failed": len(report.failed),
        }
        for report in done.reports
    ]
    return read + [{"code_set": str(key)} for key in done.pooled]


def notes_of(done: Done) -> list[str]:
    """Sentences about it; they name slides that could not be read."""
    if isinstance(done, ImportReport):
        return list(done.notes)
    if isinstance(done, PublishedImport):
        return [f"{done.artifacts} artifacts, {done.new} new"]
    notes = [note for report in done.reports for note in report.notes]
    return notes + [f"not imported: {name}: {why}" for report in done.reports for name, why in report.failed.items()]
