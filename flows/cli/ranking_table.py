"""A sweep's ranking of one target for the eye, on val and on test: verdicts, what stands beside them, and the nearest
that a gain is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.output import print_table, print_text
from guidestore.flows.results.effects import GAINS
from guidestore.flows.sweeps.ranking import BASELINES

if TYPE_CHECKING:
    from guidestore.flows.sweeps.ranking import Ranked

_HEAD = ("mode", "row", "guidance", "decoder", "inferior", "superior", "labelled")
"""Columns that say which head it is."""
_OVER_I, _OVER_REFERENCE, *_OVER_CONTROLS = GAINS


def ranking_table(target: str, of_all: int, heads: Sequence[Ranked], format_: str) -> None:
    """Prints the heads of a target, the best on val first; of_all: how many there are."""
    rows = [{"#": number, **one.as_row()} for number, one in enumerate(heads, 1)]
    same = [name for name in _HEAD if len({str(row[name]) for row in rows}) == 1]
    common = [f"{name} {rows[0][name]}" for name in same if rows[0][name] not in ("", "all")]
    metric = rows[0]["metric"]
    title = f"{target}: {count_of(of_all, 'guided head')}, {metric}, 95 % intervals; {', '.join(common)}"
    names = {row["#"]: ", ".join(str(row[n]) for n in _HEAD if n not in same and row[n]) for row in rows}
    _part(rows, names, "val", "", title, format_)
    if any("one seed" in row["verdict_is"] for row in rows):
        print_text("one seed: luck in training is not covered")
    looked_at = [row for row, one in zip(rows, heads, strict=True) if one.test is not None]
    if looked_at:
        print()
        title = f"{target} on test, which chose nothing; p over all heads of the sweep that were scored on test (Holm)"
        _part(looked_at, names, "test", "test_", title, format_)


def _part(
    rows: Sequence[Mapping[str, Any]], names: Mapping[int, str], part: str, prefix: str, title: str, format_: str
) -> None:
    verdicts, beside, rivals = [], [], []
    for row in rows:
        p = [f"{row['test_p_holm']:.3f}" if row["test_p_holm"] is not None else None] if prefix else []
        over_i = _cell(row, f"{prefix}{_OVER_I}", "+.3f")
        verdicts.append((row[f"{prefix}verdict"], row["#"], names[row["#"]], _cell(row, part, ".3f"), over_i, *p))
        beside.append((row["#"], *(_cell(row, f"{prefix}{name}", ".3f") for name in BASELINES)))
        known = [name for name in _OVER_CONTROLS if row[f"{prefix}{name}"] is not None]
        if known:
            nearest = min(known, key=lambda name: row[f"{prefix}{name}"])
            control = f"control, {row[f'{prefix}nearest_control']}"
            rivals.append((row["#"], control, _cell(row, f"{prefix}{nearest}", "+.3f")))
        if row[f"{prefix}{_OVER_REFERENCE}"] is not None:
            rivals.append((row["#"], "best reference", _cell(row, f"{prefix}{_OVER_REFERENCE}", "+.3f")))
    columns = ("verdict", "#", "head", part, "gain over I", *(["p, Holm"] if prefix else []))
    print_table(*_filled(columns, verdicts), format_, title)
    print_table(*_filled(("#", *BASELINES), beside), format_, f"beside it on {part}")
    if rivals:
        print_table(("#", "held against", f"gain over it on {part}"), rivals, format_)


def _filled(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns that are empty throughout are left out."""
    kept = [place for place in range(len(columns)) if any(row[place] not in (None, "") for row in rows)]
    return [columns[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _cell(row: Mapping[str, Any], name: str, form: str) -> str | None:
    if row.get(name) is None:
        return None
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:{form}} [{low:{form}}, {high:{form}}]"
