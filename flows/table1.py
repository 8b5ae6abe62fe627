"""The paper's Table 1 from stored runs: its rows over the MRI inputs, beside what was published, and as a figure.

P is histology (the superior modality), R radiology (the inferior one), G guidance. Nothing is trained or read here.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.errors import InvalidInputError
from flows.evaluate import CONTROL_LABEL, TableRow, tabulate

INPUTS = {"mri_t1": "T1", "mri_t2": "T2", "mri_t1ce": "T1w", "mri_flair": "FLAIR", "mri_all": "ALL"}
"""Modality -> its name in the paper, in the paper's order."""

ROWS = {"S+I": "P+R", "S": "P", "I": "R", "G(I)": "G(R)", "G(I)+I": "G(R)+R"}
"""Input row -> its name in the paper, in the paper's order."""

CONTROL = CONTROL_LABEL.format(row=ROWS["G(I)+I"])
DELTA = "Δ %"
CONTROL_DELTA = CONTROL_LABEL.format(row=DELTA)

MEASURES = ("balanced_accuracy", "f1_micro")

PUBLISHED: dict[tuple[str, str], tuple[float, float]] = {
    ("P+R", "mri_all"): (0.777, 0.821),
    ("P", "mri_all"): (0.729, 0.792),
    ("R", "mri_t1"): (0.506, 0.578),
    ("R", "mri_t2"): (0.657, 0.728),
    ("R", "mri_t1ce"): (0.641, 0.735),
    ("R", "mri_flair"): (0.534, 0.621),
    ("R", "mri_all"): (0.729, 0.771),
    ("G(R)", "mri_t1"): (0.443, 0.578),
    ("G(R)", "mri_t2"): (0.559, 0.692),
    ("G(R)", "mri_t1ce"): (0.564, 0.692),
    ("G(R)", "mri_flair"): (0.419, 0.571),
    ("G(R)", "mri_all"): (0.650, 0.764),
    ("G(R)+R", "mri_t1"): (0.587, 0.585),
    ("G(R)+R", "mri_t2"): (0.731, 0.757),
    ("G(R)+R", "mri_t1ce"): (0.654, 0.742),
    ("G(R)+R", "mri_flair"): (0.648, 0.635),
    ("G(R)+R", "mri_all"): (0.752, 0.799),
}
"""(row, modality) -> balanced accuracy, micro F1, as in the paper; what is not here was not published."""

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of one MRI input; pairs are of balanced accuracy and micro F1, as shares (in the rows Δ % in percent)."""

    mean: tuple[float, float]
    sd: tuple[float, float]
    """NaN for a single run, and in the rows Δ %."""
    n: int
    """Runs that the mean is over; in the rows Δ % those of the guided row."""
    diverged: int = 0
    """Runs that were left out."""
    published: tuple[float, float] | None = None
    """In the paper; None: not published."""


@dataclass(frozen=True, slots=True)
class Table1:
    """Rows by their name, each with a cell per column; None where there is no run."""

    cohort: str
    mode: str
    columns: tuple[str, ...]
    """Modalities, in the order of `INPUTS`."""
    rows: Mapping[str, tuple[Cell | None, ...]]
    notes: tuple[str, ...]


def build_table1(
    runs: Sequence[Mapping[str, Any]],
    values: Mapping[tuple[str, str], float],
    *,
    cohort: str,
    layout: str = "",
    mode: str = "",
) -> Table1:
    """The table over `runs` (rows of schema ``runs``) and `values`, (run, metric) -> share, of the part to report.

    cohort, layout: as in the cohort's own row; they decide what the notes say of the published numbers. mode: which
    runs; '' where all are of one. Diverged runs are counted and left out. Raises InvalidInputError without a run of an
    MRI input, for runs of another cohort or several modes, and where a cell has two runs of one split, seed and
    permutation, or of several encoders, heads, targets or splits.
    """
    facts = [dict(run) for run in runs if mode in ("", run["mode"])]
    modes = sorted({fact["mode"] for fact in facts})
    if len(modes) > 1:
        raise InvalidInputError(f"these runs are of the modes {' and '.join(modes)}; make a table of one of them")
    found = {_modality(fact) for fact in facts}
    columns = tuple(modality for modality in INPUTS if modality in found)
    if not columns:
        raise InvalidInputError(
            f"there is no run of an MRI input ({', '.join(INPUTS)}){f' in mode {mode}' if mode else ''} among "
            f"{len(runs)} runs; train some with `guidestore guide`"
        )
    facts = [fact for fact in facts if _modality(fact) in columns or _modality(fact) == ""]
    strange = sorted({fact["cohort"] for fact in facts} - {cohort})
    if strange:
        raise InvalidInputError(f"a table of cohort {cohort} cannot hold runs of {', '.join(strange)}; leave them out")
    by_column = [_column(modality, facts, values) for modality in columns]
    names = [*ROWS.values()]
    if any(CONTROL in column for column in by_column):
        names.append(CONTROL)
    rows = {name: tuple(column.get(name) for column in by_column) for name in names}
    inferior = rows[ROWS["I"]]
    rows[DELTA] = tuple(map(_delta, rows[ROWS["G(I)+I"]], inferior))
    if CONTROL in rows:
        rows[CONTROL_DELTA] = tuple(map(_delta, rows[CONTROL], inferior))
    return Table1(cohort, modes[0], columns, rows, tuple(_notes(facts, columns, cohort, layout)))


def _modality(fact: Mapping[str, Any]) -> str:
    """Of the inferior code set ``COHORT/MODALITY/ENCODER@DIGEST``; '' for a run that has none."""
    return fact["inferior"].split("/")[1] if fact["inferior"] else ""


def _column(modality: str, facts: Sequence[dict[str, Any]], values: Mapping[tuple[str, str], float]) -> dict[str, Cell]:
    """Cells by row name. A run of row S without an inferior code set counts in every column."""
    chosen = [fact for fact in facts if _modality(fact) == modality or (_modality(fact) == "" and fact["row"] == "S")]
    cells = {}
    for row in tabulate(chosen, dict(values)).rows:
        name = ROWS[row.row] if not row.control else CONTROL_LABEL.format(row=ROWS[row.row])
        if name not in (*ROWS.values(), CONTROL):
            continue
        runs = [fact for fact in chosen if (fact["row"], fact["control"]) == (row.row, row.control)]
        _check_cell(f"{name} of {INPUTS[modality]}", runs)
        cells[name] = _cell(row, len(runs), PUBLISHED.get((name, modality)))
    return cells


def _cell(row: TableRow, runs: int, published: tuple[float, float] | None) -> Cell:
    balanced, micro = MEASURES
    return Cell(
        (row.mean[balanced], row.mean[micro]), (row.sd[balanced], row.sd[micro]), row.n, runs - row.n, published
    )


def _check_cell(place: str, runs: Sequence[Mapping[str, Any]]) -> None:
    for what in ("target", "split", "inferior", "superior", "guidance", "decoder"):
        names = sorted({run[what].partition("@")[0] for run in runs})
        if len(names) > 1:
            raise InvalidInputError(f"{place}: the runs are of the {what}s {' and '.join(names)}; choose those of one")
    units = Counter((run["fold"], run["seed"], run["permutation"]) for run in runs)
    (fold, seed, _), count = units.most_common(1)[0]
    if count > 1:
        raise InvalidInputError(
            f"{place}: {count} runs are of fold {fold} and seed {seed}, so the mean would count it more than once; "
            "choose one of them"
        )


def _delta(guided: Cell | None, inferior: Cell | None) -> Cell | None:
    if guided is None or inferior is None:
        return None
    published = None
    if guided.published and inferior.published:
        published = _percent(guided.published, inferior.published)
    diverged = guided.diverged if not guided.n else inferior.diverged if not inferior.n else 0
    return Cell(_percent(guided.mean, inferior.mean), (math.nan, math.nan), guided.n, diverged, published)


def _percent(guided: tuple[float, float], inferior: tuple[float, float]) -> tuple[float, float]:
    """100 (guided − inferior) / inferior, per measure."""
    balanced, micro = (100 * (g - i) / i if i else math.nan for g, i in zip(guided, inferior, strict=True))
    return balanced, micro


def _notes(facts: Sequence[Mapping[str, Any]], columns: Sequence[str], cohort: str, layout: str) -> list[str]:
    def encoders(side: str) -> str:
        """Their names where that says it, otherwise MODALITY/NAME."""
        stems = sorted({fact[side].partition("@")[0].partition("/")[2] for fact in facts if fact[side]})
        names = sorted({stem.partition("/")[2] for stem in stems})
        return ", ".join(names if len(names) == 1 else stems) or NOTHING

    folds, seeds = {fact["fold"] for fact in facts}, {fact["seed"] for fact in facts}
    heads = {kind: ", ".join(sorted({fact[kind] for fact in facts if fact[kind]})) for kind in ("guidance", "decoder")}
    decoders = {
        "as-published": "P and R are the encoders' own classifiers, G(R) is P's classifier on G(R)",
        "matched": "every row has a decoder of the same family",
    }
    mode = facts[0]["mode"]
    notes = [
        f"mean ± standard deviation over {_count(len(folds), 'split')} x "
        f"{_count(len(seeds), 'seed')}, shuffled pairs also over their permutations; n: runs",
        f"{DELTA} = 100 (G(R)+R − R) / R, of the means; G learned from true pairs, or from shuffled ones as a control",
        f"R: {encoders('inferior')}; P: {encoders('superior')}; G: {heads['guidance'] or NOTHING}; decoders: "
        f"{heads['decoder']}; mode {mode}: {decoders.get(mode, mode)}",
    ]
    if any(PUBLISHED.get((row, modality)) for row in ROWS.values() for modality in columns):
        notes.append(
            "paper: Mallya & Hamarneh 2022, mean of five splits of RadPath 2020; its splits other than the first are "
            "not published, so drawn ones differ"
            if layout == "radpath"
            else f"paper: Mallya & Hamarneh 2022 on RadPath 2020; cohort {cohort} is other data, so compare only the "
            "form of the table"
        )
    if any("unknown" in fact["trained_on"] for fact in facts):
        notes.append("what the encoders were trained on is unknown (imported codes)")
    diverged = sum(fact["status"] == "diverged" for fact in facts)
    if diverged:
        notes.append(
            f"{_count(diverged, 'run')} diverged and left out; lower the learning rate, or standardise the codes"
        )
    return notes


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def as_rows(table: Table1) -> list[dict[str, Any]]:
    """Flat rows for CSV, JSON and Parquet, one per cell that has runs; None for what is not there.

    `unit` is that of means, deviations and published values: share (of 1), or percent in the rows Δ %.
    """
    flat = []
    for name, cells in table.rows.items():
        for modality, cell in zip(table.columns, cells, strict=True):
            if cell is None:
                continue
            row: dict[str, Any] = {
                "cohort": table.cohort,
                "mode": table.mode,
                "row": name,
                "modality": modality,
                "input": INPUTS[modality],
                "unit": "percent" if name.startswith(DELTA) else "share",
                "n": cell.n,
                "diverged": cell.diverged,
            }
            for index, measure in enumerate(MEASURES):
                row[f"{measure}_mean"] = _finite(cell.mean[index])
                row[f"{measure}_sd"] = _finite(cell.sd[index])
                row[f"{measure}_published"] = _finite(cell.published[index]) if cell.published else None
            flat.append(row)
    return flat


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def to_csv(table: Table1) -> str:
    """`as_rows` with a header."""
    rows = as_rows(table)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


LEGEND = "balanced accuracy, below it micro F1, [in the paper]"


def to_markdown(table: Table1) -> str:
    """A pipe table, up to three lines per cell, and the notes as a list."""
    lines = [
        ["Table 1", *(INPUTS[modality] for modality in table.columns)],
        ["---", *(["---:"] * len(table.columns))],
        *([name, *("<br>".join(_lines(name, cell)) for cell in cells)] for name, cells in table.rows.items()),
    ]
    notes = "".join(f"- {note}\n" for note in (LEGEND, *table.notes))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n" + notes


def _lines(row: str, cell: Cell | None) -> list[str]:
    """What a cell prints: a line per measure, and how many runs that is."""
    if cell is None:
        return [NOTHING]
    is_delta = row.startswith(DELTA)
    gone = cell.diverged > 0 and math.isnan(cell.mean[0])
    lines = []
    for index in range(len(MEASURES)):
        ours = "diverged" if gone else _number(cell.mean[index], cell.sd[index], is_delta)
        lines.append(f"{ours} [{_number(cell.published[index], math.nan, is_delta) if cell.published else NOTHING}]")
    if not is_delta:
        lines.append(f"n {cell.n}" + (f" ({cell.diverged} diverged)" if cell.diverged and cell.n else ""))
    return lines


def _number(mean: float, sd: float, is_delta: bool) -> str:
    if math.isnan(mean):
        return NOTHING
    if is_delta:
        return f"{mean:+.1f}"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def show(table: Table1) -> None:
    """Prints the table on the terminal."""
    import sys

    from rich.console import Console
    from rich.table import Table

    title = f"Table 1, cohort {table.cohort}, {table.mode}: {LEGEND}"
    shown = Table(title=title, title_justify="left", show_lines=True)
    shown.add_column("")
    for modality in table.columns:
        shown.add_column(INPUTS[modality], justify="right")
    for name, cells in table.rows.items():
        shown.add_row(name, *("\n".join(_lines(name, cell)) for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False)
    console.print(shown)
    for note in table.notes:
        console.print(f"  {note}", highlight=False)


_BARS = (("R", "#0072B2", ""), ("G(R)", "#E69F00", ""), ("G(R)+R", "#009E73", ""), (CONTROL, "#D9D9D9", "////"))
"""Row, colour, hatch: Okabe and Ito's colours, which the colour-blind tell apart."""
_LINES = (("P+R", "#000000", "-"), ("P", "#D55E00", (0, (3, 1.5))))
_PANELS = ("Balanced accuracy", "Micro F1")


def draw(table: Table1, path: Path) -> None:
    """Bars of R, G(R), G(R)+R and the control per MRI input, ± sd, under the lines of P and P+R; .png or .svg.

    Raises InvalidInputError for another suffix.
    """
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise InvalidInputError(f"{path.name} is no name for a figure; end it in .png or .svg")
    bars = [bar for bar in _BARS if bar[0] in table.rows]
    width = 0.8 / len(bars)
    size_in = (max(7.0, 1.2 + 2.0 * len(table.columns)), 4.0)
    figure = Figure(figsize=size_in, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for measure, (panel, title) in enumerate(zip(panels, _PANELS, strict=True)):
        for number, (name, colour, hatch) in enumerate(bars):
            places = [column - 0.4 + (number + 0.5) * width for column in range(len(table.columns))]
            _bars(panel, places, table.rows[name], measure, width, name, colour, hatch)
        for name, colour, style in _LINES:
            _levels(panel, table.rows[name], measure, name, colour, style)
        panel.set_title(title, fontsize=11)
        panel.set_xticks(range(len(table.columns)), [INPUTS[modality] for modality in table.columns])
        panel.set_xlim(-0.6, len(table.columns) - 0.4)
        panel.set_ylim(0, 1)
        panel.set_axisbelow(True)
        panel.grid(axis="y", color="#E5E5E5", linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(axis="x", length=0)
    panels[0].set_ylabel("mean ± sd")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _bars(
    panel: Any,
    places: Sequence[float],
    cells: Sequence[Cell | None],
    measure: int,
    width: float,
    name: str,
    colour: str,
    hatch: str,
) -> None:
    means = [cell.mean[measure] if cell else math.nan for cell in cells]
    panel.bar(places, means, width * 0.92, label=name, color=colour, hatch=hatch, edgecolor="#555555", linewidth=0.6)
    for place, cell in zip(places, cells, strict=True):
        if cell is None:
            continue
        if cell.n == 0:
            panel.text(place, 0.02, "diverged", rotation=90, ha="center", va="bottom", fontsize=7, color="#555555")
        elif math.isfinite(cell.sd[measure]):
            panel.errorbar(place, cell.mean[measure], cell.sd[measure], color="#333333", capsize=2, linewidth=0.9)


def _levels(panel: Any, cells: Sequence[Cell | None], measure: int, name: str, colour: str, style: Any) -> None:
    """A line over the bars of each input, once in the legend."""
    levels = [(column, cell.mean[measure]) for column, cell in enumerate(cells) if cell and cell.n]
    if levels:
        columns, means = zip(*levels, strict=True)
        panel.hlines(
            means,
            [column - 0.45 for column in columns],
            [column + 0.45 for column in columns],
            colors=colour,
            linestyles=style,
            linewidth=1.6,
            label=name,
        )
