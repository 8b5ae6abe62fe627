"""What an experiment of the paper leaves behind: its table, what it took, and the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from guidestore.flows.paper.figures import draw, draw_gains
from guidestore.flows.paper.table import PaperTable, as_rows, to_csv, to_markdown


@dataclass
class ExperimentReport:
    """The table, and what it took: counts of this call alone."""

    table: PaperTable
    runs: list[str]
    images_read: int = 0
    encoded: int = 0
    trained: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Case -> why it was quarantined."""
    notes: list[str] = field(default_factory=list)
    snapshot: int = 0


def write_table(table: PaperTable, folder: Path) -> list[Path]:
    """``table1.md``, ``.csv``, ``.png``, a CSV of each side table, and the figure of gains where effects are known.

    Files are called after the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = table.form.name.lower().replace(" ", "")
    files = [folder / f"{name}.{suffix}" for suffix in ("md", "csv", "png")]
    files[0].write_text(to_markdown(table), encoding="utf-8")
    files[1].write_text(to_csv(as_rows(table)), encoding="utf-8")
    draw(table, files[2])
    for side in table.more:
        files.append(folder / f"{name}-{side.name}.csv")
        files[-1].write_text(to_csv(side.rows), encoding="utf-8")
    if table.effects:
        files.append(folder / f"{name}-gains.png")
        draw_gains(table, files[-1])
    return files
