"""The report's tables of numbers: the input rows, what guidance gained in each section, and all of that at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guidestore.embeddings.runs import Head
from guidestore.flows.report.sections import Section
from guidestore.flows.results.effects import RowEffect, spread
from guidestore.flows.results.evaluation import TableRow, tabulate
from guidestore.flows.results.families import family_of
from guidestore.flows.results.training_warnings import training_warnings
from guidestore.heads.input_rows import I
from guidestore.heads.metrics import metric_named
from guidestore.heads.significance import Gain as SurelyGained

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class InputTable:
    """Label, cells by metric and number of runs of each input row, and notes."""

    rows: tuple[tuple[str, tuple[str, ...], int], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gain:
    """One guided row as the tables print it."""

    row: str
    metric: str
    """Its title."""
    over_i: str
    nearest: str
    """The nearest control and the gain over it."""
    reference: str
    """The best reference for I and the gain over it."""
    gap_closed: str
    p: str
    """p of `guidance helps`."""
    verdict: str
    note: str


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One guided row of one section, for the table at the top."""

    section: Section
    inferior: str
    """Mean of row I in the metric of the gain, and of the guided row."""
    guided: str
    metric: str
    gain: Gain
    p_holm: str
    """p of `guidance helps` over all rows of the table (Holm)."""


def input_table(section: Section) -> InputTable:
    """Mean ± sd over folds and seeds, as `guidestore evaluate` prints it."""
    rows = tabulate(section.runs, section.scores, section.metric)
    shown = tuple((row.label, tuple(mean_sd(row, name) for name in row.mean), row.n) for row in rows)
    return InputTable(shown, tuple(_notes(section)))


def mean_sd(row: TableRow, metric: str) -> str:
    """0.867 ± 0.016; – where the metric is not defined."""
    mean, sd = row.mean[metric], row.sd[metric]
    return _number(mean) if math.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def _number(mean: float) -> str:
    return NOTHING if math.isnan(mean) else f"{mean:.3f}"


def _notes(section: Section) -> list[str]:
    folds, seeds = {run.fold for run in section.runs}, {run.seed for run in section.runs}
    notes = [
        f"Mean ± standard deviation on test cases over {count(len(folds), 'fold')} x {count(len(seeds), 'seed')}; "
        "shuffled pairs also over their permutations."
    ]
    if any(run.of_unknown_encoders for run in section.runs):
        notes.append("What the encoders were trained on is unknown (imported codes).")
    notes += [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in section.seen]
    notes += [f"{warning[:1].upper()}{warning[1:]}." for warning in training_warnings(section.runs)]
    diverged = sum(run.diverged for run in section.runs)
    if diverged:
        notes.append(f"{count(diverged, 'run')} diverged and left out; lower the learning rate, or standardise.")
    silent = [run for run in section.runs if not run.diverged and run.id not in section.predictions]
    if silent:
        notes.append(f"{count(len(silent), 'run')} without stored predictions of labelled test cases.")
    return notes


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def gain_of(effect: RowEffect) -> Gain:
    """The words and figures of one effect."""
    gains = effect.effect
    return Gain(
        effect.head.row,
        metric_named(effect.metric).title,
        spread(gains and gains.gain_over_i),
        _over(gains.nearest_control if gains else None),
        _over(gains.nearest_reference if gains else None),
        spread(gains and gains.gap_closed, "+.0%"),
        p_text(gains.p_helps) if gains else NOTHING,
        effect.verdict,
        effect.note,
    )


def _over(gain: SurelyGained | None) -> str:
    return f"{gain.rival.name}: {spread(gain.over)}" if gain else NOTHING


def p_text(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def summary_of(sections: Sequence[Section], effects: Mapping[int, Sequence[RowEffect]]) -> list[SummaryRow]:
    """All guided rows, each in the first section that has it; `effects` by number of its block. Holm corrects over
    those whose gain could be told."""
    first: dict[Head, tuple[Section, RowEffect]] = {}
    for section in sections:
        for effect in effects[section.block.number]:
            first.setdefault(effect.head, (section, effect))
    family = family_of(effect for _, effect in first.values())
    rows = []
    for section, effect in first.values():
        table = tabulate(section.runs, section.scores, section.metric)
        inferior = next((row for row in table if row.row == I and not row.control), None)
        guided = next((row for row in table if row.head == effect.head), None)
        of_i, of_guided = (_number(row.mean[effect.metric] if row else math.nan) for row in (inferior, guided))
        p, gain = family.p_values.get(effect.head), gain_of(effect)
        rows.append(SummaryRow(section, of_i, of_guided, gain.metric, gain, NOTHING if p is None else p_text(p)))
    return rows
