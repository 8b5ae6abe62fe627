"""What an experiment of the paper leaves behind: its table, what it took, and the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from guidestore.flows.paper.figures import draw, draw_gains
from guidestore.flows.paper.latex import to_latex
from guidestore.flows.paper.table import PaperTable, as_rows, to_csv, to_markdown
from guidestore.flows.report.figures import SAVED


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
    """``table1.md``, ``.csv`` and ``.tex``, its figure as .pdf, .svg and .png, a CSV of each side table, and the figure
    of gains where effects are known.

    Files are called after the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = table.form.name.lower().replace(" ", "")
    texts = {"md": to_markdown(table), "csv": to_csv(as_rows(table)), "tex": to_latex(table)}
    texts |= {f"{side.name}.csv": to_csv(side.rows) for side in table.more}
    files = []
    for suffix, text in texts.items():
        files.append(folder / (f"{name}.{suffix}" if suffix in _WHOLE else f"{name}-{suffix}"))
        files[-1].write_text(text, encoding="utf-8")
    bars, gains = ([folder / f"{name}{kind}{suffix}" for suffix in SAVED] for kind in ("", "-gains"))
    draw(table, *bars)
    files += bars
    if any(effect.effect for effect in table.effects.values()):
        draw_gains(table, *gains)
        files += gains
    return files


_WHOLE = ("md", "csv", "tex")
