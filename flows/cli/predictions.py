"""Predictions for the eye: of many classes the likeliest, and the others in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guidestore.flows.cli.output import as_text, print_table, show_rows, terminal_width

if TYPE_CHECKING:
    from guidestore.flows.models.predict import Prediction

_NAME = "p("
"""How the column of a class begins."""
_SHOWN = 3
"""Of many classes, beside the likeliest."""


def show_predictions(prediction: Prediction, format_: str) -> None:
    """Prints them. On a terminal that has no room for a column per class, the others stand in one, likeliest first."""
    rows, title = prediction.as_rows(), f"run {prediction.run[:12]}"
    columns = list(rows[0])
    width = terminal_width() if format_ == "table" else None
    classes = [name for name in columns if name.startswith(_NAME)]
    if width is None or "predicted" not in columns or _least(columns, rows) <= width:
        show_rows(rows, columns, format_, title=title)
        return
    shown = []
    for row in rows:
        shares = {name.removeprefix(_NAME).removesuffix(")"): row[name] for name in classes}
        own = shares.pop(row["predicted"])
        others = sorted(shares.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{name} {share:.3f}" for name, share in others[:_SHOWN])
        shown.append((row["case_id"], row["predicted"], f"{own:.3f}", listed))
    names = ("case_id", "predicted", "p", f"the next {min(_SHOWN, len(classes) - 1)} of {len(classes)} classes, p")
    print_table(names, shown, format_, title)


def _least(columns: list[str], rows: list[dict[str, Any]]) -> int:
    """How wide a table of all columns is."""
    widths = [max(len(name), *(len(as_text(row[name])) for row in rows)) for name in columns]
    return sum(widths) + 2 * (len(widths) - 1)
