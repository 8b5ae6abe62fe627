"""A table of the paper for the eye: whole where there is room, else a table for each of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guidestore.flows.cli.output import print_table, print_text, terminal_width

if TYPE_CHECKING:
    from guidestore.flows.paper.table import PaperTable


def show_table(table: PaperTable, format_: str) -> None:
    """Prints the table, the tables below it and the notes; as Markdown as it is written to its file."""
    from guidestore.flows.paper.table import legend, shown, to_markdown

    if format_ == "markdown":
        print(to_markdown(table), end="")
        return
    header, rows = shown(table)
    title = f"{table.form.name}, cohort {table.cohort}, {table.mode}: {legend(table)}"
    width = terminal_width()
    widest = [max(len(line) for cell in column for line in cell) for column in zip(*(c for _, c in rows), strict=True)]
    names = max(len(name) for name, _ in rows)
    if width is None or names + sum(max(w, len(t)) + 2 for w, t in zip(widest, header, strict=True)) <= width:
        lines = [(name, *("\n".join(cell) for cell in cells)) for name, cells in rows]
        print_table(("", *header), lines, format_, title, most_lines=99)
    else:
        print_text(title)
        for place, column in enumerate(header):
            lines = [(name, ", ".join(cells[place])) for name, cells in rows]
            print_table((column, "measures [in the paper], runs"), lines, format_)
            print()
    for side in table.below:
        names_, cells = side.as_text()
        print()
        print_table(names_, cells, format_, side.title)
    for note in table.notes:
        print_text(note, spaces=2)
