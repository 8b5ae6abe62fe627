"""A sweep's ranking of one target on a terminal: a table of scores, and one of gains, on val and on test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.output import show_rows
from guidestore.flows.results.effects import GAINS
from guidestore.flows.sweeps.ranking import BASELINES

if TYPE_CHECKING:
    from guidestore.flows.sweeps.ranking import Ranked

_HEAD = ("mode", "row", "guidance", "decoder", "inferior", "superior", "labelled")
"""Columns that need none of their own where the heads do not differ in them."""


def ranking_table(target: str, of_all: int, heads: Sequence[Ranked]) -> None:
    """Prints the heads of a target, the best on val first; of_all: how many there are."""
    rows = [one.as_row() for one in heads]
    same = {name: rows[0][name] for name in _HEAD if len({str(row[name]) for row in rows}) == 1}
    differs = [name for name in _HEAD if name not in same and name != "row"] + ["row"]
    common = "".join(f"; {name} {value}" for name, value in same.items() if value not in ("", "all") and name != "row")
    title = f"{target}: {count_of(of_all, 'guided head')}, {rows[0]['metric']}, 95 % intervals{common}"
    numbered = [{"#": number, **{name: row[name] for name in differs}} for number, row in enumerate(rows, 1)]
    _scores(numbered, rows, "val", "", title)
    _gains(numbered, rows, "", "gains on val, which chose the heads")
    looked_at = [one.test is not None for one in heads]
    if any(looked_at):
        numbered = [names for names, seen in zip(numbered, looked_at, strict=True) if seen]
        rows = [row for row, seen in zip(rows, looked_at, strict=True) if seen]
        _scores(numbered, rows, "test", "test_", f"{target} on test, which chose nothing")
        _gains(numbered, rows, "test_", "gains on test; p over all heads of the sweep that were scored on test (Holm)")


def _scores(
    heads: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], part: str, prefix: str, title: str
) -> None:
    columns = {part: part, **{name: f"{prefix}{name}" for name in BASELINES}}
    _show(heads, [{name: _cell(row, column, ".3f") for name, column in columns.items()} for row in rows], title)


def _gains(heads: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], prefix: str, title: str) -> None:
    cells = []
    for row in rows:
        of_row = {name.removeprefix("gain_").replace("_", " "): _cell(row, f"{prefix}{name}", "+.3f") for name in GAINS}
        verdict = row[f"{prefix}verdict"]
        if prefix:
            p = row["test_p_holm"]
            of_row["p, Holm"] = None if p is None else f"{p:.3f}"
        elif "one seed" in row["verdict_is"]:
            verdict += " (one seed: luck in training is not covered)"
        cells.append({**of_row, "verdict": verdict})
    _show(heads, cells, title)


def _show(heads: Sequence[dict[str, Any]], cells: Sequence[dict[str, Any]], title: str) -> None:
    """Columns that are empty throughout are left out."""
    kept = [name for name in cells[0] if any(row[name] is not None for row in cells)]
    rows = [{**head, **{name: row[name] for name in kept}} for head, row in zip(heads, cells, strict=True)]
    show_rows(rows, list(rows[0]), "table", title=title)


def _cell(row: dict[str, Any], name: str, form: str) -> str | None:
    if row.get(name) is None:
        return None
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:{form}} [{low:{form}}, {high:{form}}]"
