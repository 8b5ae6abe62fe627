"""A table of the paper as LaTeX: its rows, and what guidance gained with intervals."""

from __future__ import annotations

from guidestore.flows.paper.table import PaperTable, legend, shown
from guidestore.flows.work.latex import latex_table


def to_latex(table: PaperTable) -> str:
    """The table as the terminal has it, then a table for each that stands below it."""
    header, rows = shown(table)
    name = table.form.name
    label = name.lower().replace(" ", "")
    texts = [
        latex_table(
            ["", *header],
            [[title, *("\n".join(cell) for cell in cells)] for title, cells in rows],
            caption=f"{name}, cohort {table.cohort}, {table.mode}: {legend(table)}.",
            label=f"tab:{label}",
            notes=[f"{note}." for note in table.notes],
        )
    ]
    for side in table.below:
        columns, lines = side.as_text()
        caption = f"{name}, {side.title[:1].lower()}{side.title[1:]}."
        texts.append(
            latex_table(columns, lines, caption=caption, label=f"tab:{label}-{side.name}", align="l" * len(columns))
        )
    return "\n".join(texts)
