"""A table of the paper from stored runs: its input rows over columns of ours, beside what was published, and effects.

`flows.paper.table1` and `flows.paper.table2` say which rows, columns and published numbers; nothing is trained
or read here.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Head, Run
from guidestore.flows.results.effects import RowEffect, spread
from guidestore.flows.results.evaluation import EFFECT_COLUMNS, TableRow, tabulate
from guidestore.flows.results.families import Family, family_of
from guidestore.flows.results.training_warnings import training_warnings
from guidestore.heads.controls import CONTROLS, SHUFFLED
from guidestore.heads.input_rows import ALL_ROWS, REFERENCE
from guidestore.heads.metrics import drawn_metrics, metric_named
from guidestore.warehouse.runs import Scores

BOTH = ("balanced_accuracy", "f1_micro")
"""The measures of most of the paper's cells."""

DELTA = "Δ %"
CONTROL_LABEL = CONTROLS[SHUFFLED].title
CONTROL_DELTA = CONTROL_LABEL.format(row=DELTA)
NOTHING = "–"

Numbers = tuple[float, ...]
"""One per measure of the column, as shares (in the rows Δ % in percent)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input, task or derived score."""

    key: str
    title: str
    measures: tuple[str, ...] = BOTH


@dataclass(frozen=True, slots=True)
class Form:
    """What a table of the paper looks like, and what it says."""

    name: str
    """Table 1."""
    rows: Mapping[str, str]
    """Input row -> its name in the paper, in the paper's order; then rows of ours, shown where they have runs."""
    published: Mapping[tuple[str, str], Numbers]
    """(row's name, column's key) -> what the paper has for the column's measures."""
    unpublished: str = NOTHING
    """What stands in place of a published number that we do not have."""

    @property
    def control(self) -> str:
        """The name of the shuffled control of G(I)+I."""
        return CONTROL_LABEL.format(row=self.rows["G(I)+I"])


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of one column."""

    mean: Numbers
    sd: Numbers
    """NaN for a single run, and in the rows Δ %."""
    n: int
    """Runs that the mean is over; in the rows Δ % those of the guided row."""
    diverged: int = 0
    """Runs that were left out."""
    published: Numbers | None = None
    """In the paper; None: not published, or not at hand."""


@dataclass(frozen=True, slots=True)
class SideTable:
    """What stands below the table: a supplementary table of the paper, the gains of the guided rows."""

    name: str
    """Of its file."""
    title: str
    rows: tuple[Mapping[str, Any], ...]
    """All of the same columns; a value is text, a number (shown with three digits), several of them, or None."""

    def as_text(self) -> tuple[list[str], list[list[str]]]:
        """Header, and lines as they are shown."""
        return list(self.rows[0]), [[_text(value) for value in row.values()] for row in self.rows]


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Rows by their name, each with a cell per column; None where there is no run."""

    form: Form
    cohort: str
    mode: str
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[Cell | None, ...]]
    effects: Mapping[tuple[str, str], RowEffect]
    """(row's name, column's key) -> what the guided row gained there."""
    notes: tuple[str, ...]
    more: tuple[SideTable, ...] = ()

    @property
    def family(self) -> Family:
        """Of all guided rows in all columns."""
        return family_of(self.effects.values())

    @property
    def below(self) -> tuple[SideTable, ...]:
        """The gains of the guided rows, if they are known, and what else there is."""
        return (_gains(self), *self.more) if self.effects else self.more

    def cell(self, row: str, column: str) -> Cell | None:
        return self.rows[row][[known.key for known in self.columns].index(column)]


def fill(
    form: Form,
    columns: Sequence[Column],
    runs: Sequence[Run],
    scores: Scores,
    effects: Sequence[RowEffect],
    column_of: Callable[[Head], str | None],
    notes: Sequence[str],
    *,
    cohort: str,
) -> PaperTable:
    """The table over `runs`, all of one mode but for references, and their scores.

    column_of: the key of a head's column; None for a head of row S that counts in every column. effects: of the same
    runs, one per column and guided row. Diverged runs are counted and left out. Raises InvalidInputError for runs of
    another cohort, and where a cell has two runs of one split, seed and permutation, or of several encoders, heads,
    targets or splits.
    """
    strange = sorted({run.cohort for run in runs} - {cohort})
    if strange:
        raise InvalidInputError(f"a table of cohort {cohort} cannot hold runs of {', '.join(strange)}; leave them out")
    modes = sorted({run.mode for run in runs if run.row != REFERENCE})
    if len(modes) > 1:
        raise InvalidInputError(f"these runs are of the modes {' and '.join(modes)}; make a table of one of them")
    by_column = []
    for column in columns:
        chosen = [run for run in runs if column_of(run.head) in (column.key, None)]
        by_column.append(_column(form, column, chosen, scores))
    of_paper = [form.rows[row] for row in ALL_ROWS]
    ours = [name for name in form.rows.values() if name not in of_paper]
    names = of_paper + [name for name in ours if any(name in column for column in by_column)]
    if any(form.control in column for column in by_column):
        names.append(form.control)
    rows = {name: tuple(column.get(name) for column in by_column) for name in names}
    inferior = rows[form.rows["I"]]
    rows[DELTA] = tuple(map(_delta, rows[form.rows["G(I)+I"]], inferior))
    if form.control in rows:
        rows[CONTROL_DELTA] = tuple(map(_delta, rows[form.control], inferior))
    known = (effect for effect in effects if effect.head.row in form.rows)
    by_cell = {(form.rows[effect.head.row], column_of(effect.head)): effect for effect in known}
    cells = ((name, column.key) for name in form.rows.values() for column in columns)
    in_order = {cell: by_cell[cell] for cell in cells if cell in by_cell}
    return PaperTable(form, cohort, modes[0], tuple(columns), rows, in_order, tuple(notes))


def _column(form: Form, column: Column, chosen: Sequence[Run], scores: Scores) -> dict[str, Cell]:
    """Cells by row name."""
    cells = {}
    for row in tabulate(chosen, scores):
        if row.row not in form.rows or row.control not in ("", "shuffled"):
            continue
        name = form.rows[row.row] if not row.control else CONTROL_LABEL.format(row=form.rows[row.row])
        if name not in (*form.rows.values(), form.control):
            continue
        runs = [run for run in chosen if (run.row, run.control) == (row.row, row.control)]
        _check_cell(f"{name} of {column.title}", runs)
        cells[name] = _cell(row, column.measures, len(runs), form.published.get((name, column.key)))
    return cells


def _cell(row: TableRow, measures: Sequence[str], runs: int, published: Numbers | None) -> Cell:
    mean, sd = (tuple(stats[measure] for measure in measures) for stats in (row.mean, row.sd))
    return Cell(mean, sd, row.n, runs - row.n, published)


def _check_cell(cell: str, runs: Sequence[Run]) -> None:
    for what in ("target", "split", "inferior", "superior", "guidance", "decoder", "labelled"):
        names = sorted({str(getattr(run.head, what) or "") for run in runs})
        if len(names) > 1:
            raise InvalidInputError(f"{cell}: the runs are of the {what}s {' and '.join(names)}; choose those of one")
    units = Counter((run.fold, run.seed, run.permutation) for run in runs)
    (fold, seed, _), count = units.most_common(1)[0]
    if count > 1:
        raise InvalidInputError(
            f"{cell}: {count} runs are of fold {fold} and seed {seed}, so the mean would count it more than once; "
            "choose one of them"
        )


def _delta(guided: Cell | None, inferior: Cell | None) -> Cell | None:
    if guided is None or inferior is None:
        return None
    published = None
    if guided.published and inferior.published:
        published = _percent(guided.published, inferior.published)
    diverged = guided.diverged if not guided.n else inferior.diverged if not inferior.n else 0
    return Cell(_percent(guided.mean, inferior.mean), (math.nan,) * len(guided.mean), guided.n, diverged, published)


def _percent(guided: Numbers, inferior: Numbers) -> Numbers:
    """100 (guided − inferior) / inferior, per measure."""
    return tuple(100 * (g - i) / i if i else math.nan for g, i in zip(guided, inferior, strict=True))


def run_notes(runs: Sequence[Run]) -> list[str]:
    """What a reader must know about the runs of any table."""
    folds, seeds = {run.fold for run in runs}, {run.seed for run in runs}
    notes = [
        f"mean ± standard deviation over {_count(len(folds), 'split')} x "
        f"{_count(len(seeds), 'seed')}, shuffled pairs also over their permutations; n: runs"
    ]
    if any(run.of_unknown_encoders for run in runs):
        notes.append("what the encoders were trained on is unknown (imported codes)")
    notes += training_warnings(runs)
    diverged = sum(run.diverged for run in runs)
    if diverged:
        notes.append(
            f"{_count(diverged, 'run')} diverged and left out; lower the learning rate, or standardise the codes"
        )
    return notes


def heads_note(runs: Sequence[Run], form: Form) -> str:
    """Which encoders, guidance and decoders the runs of its rows have."""
    runs = [run for run in runs if run.row in form.rows]

    def encoders(side: str) -> str:
        """Their names where that says it, otherwise MODALITY/NAME."""
        code_sets = {name for run in runs for name in [getattr(run.head, side)] if name}
        names = sorted({name.encoder for name in code_sets})
        return ", ".join(names if len(names) == 1 else sorted(name.within for name in code_sets)) or NOTHING

    inferior, superior, mode = form.rows["I"], form.rows["S"], runs[0].mode
    guidance, decoder = ({getattr(run, kind) for run in runs} - {""} for kind in ("guidance", "decoder"))
    decoders = {
        "as-published": f"{superior} and {inferior} are the encoders' own classifiers, {form.rows['G(I)']} is "
        f"{superior}'s classifier on it",
        "matched": "every row has a decoder of the same family",
    }
    return (
        f"{inferior}: {encoders('inferior')}; {superior}: {encoders('superior')}; G: "
        f"{', '.join(sorted(guidance)) or NOTHING}; "
        f"decoders: {', '.join(sorted(decoder))}; mode {mode}: {decoders.get(mode, mode)}"
    )


def delta_note(form: Form) -> str:
    """What the rows Δ % are."""
    guided, inferior = form.rows["G(I)+I"], form.rows["I"]
    return (
        f"{DELTA} = 100 ({guided} − {inferior}) / {inferior}, of the means; G learned from true pairs, or from "
        "shuffled ones as a control"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# As rows and text -------------------------------------------------------------------------------------------------


def as_rows(table: PaperTable) -> list[dict[str, Any]]:
    """Flat rows for CSV, JSON and Parquet, one per cell that has runs; None for what is not there.

    `unit` is that of means, deviations and published values: share (of 1), or percent in the rows Δ %.
    """
    measures = tuple(dict.fromkeys(measure for column in table.columns for measure in column.measures))
    family = table.family
    flat = []
    for name, cells in table.rows.items():
        for column, cell in zip(table.columns, cells, strict=True):
            if cell is None:
                continue
            row: dict[str, Any] = {
                "cohort": table.cohort,
                "mode": table.mode,
                "row": name,
                "column": column.key,
                "title": column.title,
                "unit": "percent" if name.startswith(DELTA) else "share",
                "n": cell.n,
                "diverged": cell.diverged,
            }
            for measure in measures:
                index = column.measures.index(measure) if measure in column.measures else None
                row[f"{measure}_mean"] = None if index is None else _finite(cell.mean[index])
                row[f"{measure}_sd"] = None if index is None else _finite(cell.sd[index])
                known = cell.published if index is not None else None
                row[f"{measure}_published"] = _finite(known[index]) if known and index is not None else None
            effect = table.effects.get((name, column.key))
            shown = effect.as_row() if effect else {}
            p_holm = family.p_values.get(effect.head) if effect else None
            flat.append({**row, **{name: shown.get(name) for name in EFFECT_COLUMNS}, "p_holm": p_holm})
    return flat


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """With a header; several values in a cell are separated by semicolons."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: ";".join(map(str, v)) if isinstance(v, tuple) else v for k, v in row.items()})
    return out.getvalue()


def legend(table: PaperTable) -> str:
    """What the lines of a cell are."""
    kinds = dict.fromkeys(column.measures for column in table.columns)
    titles = {name: metric.title for name, metric in drawn_metrics().items()}
    names = " (elsewhere ".join(", below it ".join(titles[measure] for measure in kind) for kind in kinds)
    return f"{names}{')' * (len(kinds) - 1)}, [in the paper]"


def to_markdown(table: PaperTable) -> str:
    """A pipe table, a line per measure in a cell; the effects of the guided rows; the notes as a list."""
    header, rows = shown(table)
    lines = [
        [table.form.name, *header],
        ["---", *(["---:"] * len(header))],
        *([name, *("<br>".join(cell) for cell in cells)] for name, cells in rows),
    ]
    notes = "".join(f"- {note}\n" for note in (legend(table), *table.notes))
    below = ""
    for side in table.below:
        header, rows = side.as_text()
        below += f"\n{side.title}:\n\n" + _pipes([header, ["---"] * len(header), *rows])
    return _pipes(lines) + "\n" + notes + below


def _pipes(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(table: PaperTable) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Header, and (name, the lines of each cell) of the rows; turned where there are more columns than rows."""
    titles, names = [column.title for column in table.columns], list(table.rows)
    cells = [[_lines(table.form, name, cell) for cell in row] for name, row in table.rows.items()]
    if len(titles) <= len(names):
        return titles, list(zip(names, cells, strict=True))
    return names, [(title, list(column)) for title, column in zip(titles, zip(*cells, strict=True), strict=True)]


def _lines(form: Form, row: str, cell: Cell | None) -> list[str]:
    """What a cell prints: a line per measure, and how many runs that is."""
    if cell is None:
        return [NOTHING]
    is_delta = row.startswith(DELTA)
    gone = cell.diverged > 0 and math.isnan(cell.mean[0])
    absent = form.unpublished if row in form.rows.values() else NOTHING
    lines = []
    for index, (mean, sd) in enumerate(zip(cell.mean, cell.sd, strict=True)):
        ours = "diverged" if gone else _number(mean, sd, is_delta)
        lines.append(f"{ours} [{_number(cell.published[index], math.nan, is_delta) if cell.published else absent}]")
    if not is_delta:
        lines.append(f"n {cell.n}" + (f" ({cell.diverged} diverged)" if cell.diverged and cell.n else ""))
    return lines


def _number(mean: float, sd: float, is_delta: bool) -> str:
    if math.isnan(mean):
        return NOTHING
    if is_delta:
        return f"{mean:+.1f}"
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _gains(table: PaperTable) -> SideTable:
    titles, family = {column.key: column.title for column in table.columns}, table.family
    rows = []
    for (row, column), of_cell in table.effects.items():
        effect = of_cell.effect
        rows.append(
            {
                "row": row,
                "column": titles[column],
                "measure": metric_named(of_cell.metric).title,
                f"gain over {table.form.rows['I']}": spread(effect and effect.gain_over_i),
                "nearest control": f"{effect.nearest_control.rival.name}: {spread(effect.nearest_control.over)}"
                if effect
                else NOTHING,
                "gap closed": spread(effect and effect.gap_closed, ".0%"),
                "p, Holm": family.p_values.get(of_cell.head),
                "verdict": of_cell.verdict,
            }
        )
    title = "Is it guidance? Gains with 95 % intervals"
    return SideTable("gains", f"{title}; {family.sentence}" if family.sentence else title, tuple(rows))
