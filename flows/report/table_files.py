"""The tables of the report as files: LaTeX for a paper, CSV for those who go on with the numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.report.bars import BarRow
from guidestore.flows.report.plain_words import modality_words
from guidestore.flows.report.sections import Section
from guidestore.flows.report.tables import NOTHING, p_text
from guidestore.flows.results.effects import RowEffect, spread
from guidestore.flows.results.families import Family
from guidestore.flows.work.latex import latex_table
from guidestore.heads.metrics import metric_named
from guidestore.heads.significance import Interval


def file_stems(sections: Sequence[Section]) -> list[str]:
    """What the files of each section are called, no two alike: ``1-DIAG``."""
    return [f"{of.block.number}-{re.sub(r'[^A-Za-z0-9]+', '-', of.target).strip('-')[:60]}" for of in sections]


def write_tables(
    folder: Path,
    rows: Sequence[tuple[Section, Sequence[BarRow]]],
    effects: Mapping[int, Sequence[RowEffect]],
    family: Family,
) -> list[Path]:
    """``input-rows`` and ``gains``, each .tex and .csv. rows: of each section, those that have intervals.

    Raises InvalidInputError where the folder cannot be written.
    """
    told = {of.head: of for section, _ in rows for of in effects[section.block.number]}
    texts = {
        "input-rows.tex": "\n".join(_rows_tex(section, of) for section, of in rows if of),
        "input-rows.csv": _csv([line for section, of in rows for line in _rows_csv(section, of)]),
        "gains.tex": _gains_tex(list(told.values()), family),
        "gains.csv": _csv([{**of.as_row(), "p_holm": family.p_values.get(of.head)} for of in told.values()]),
    }
    files = []
    for name, text in texts.items():
        if text:
            files.append(folder / name)
            try:
                files[-1].write_text(text, encoding="utf-8")
            except OSError as error:
                raise InvalidInputError(
                    f"{files[-1]} cannot be written ({error.strerror}); name another --tables"
                ) from error
    return files


def _rows_tex(section: Section, rows: Sequence[BarRow]) -> str:
    metrics, words = section.metrics, modality_words(section)
    cases = len({case for run in section.predictions.values() for case in run.case_ids})
    return latex_table(
        ["input", *(metric.title for metric in metrics.values())],
        [[row.label, *(_cell(row.intervals.get(name)) for name in metrics)] for row in rows],
        caption=f"{section.target}: {words['I']} guided by {words['S']}, {section.heads}, split {section.split}; "
        f"{cases} test cases, means over folds and seeds with 95 % intervals over the cases.",
        label=f"tab:input-rows-{section.block.number}",
    )


def _cell(interval: Interval | None) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]" if interval else NOTHING


def _rows_csv(section: Section, rows: Sequence[BarRow]) -> list[dict[str, Any]]:
    cases = len({case for run in section.predictions.values() for case in run.case_ids})
    of_section = {"section": section.block.number, **section.block.keys(), "n_cases": cases}
    return [
        {
            **of_section,
            "row": row.row,
            "control": row.control,
            "label": row.label,
            "metric": name,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
        }
        for row in rows
        for name, interval in row.intervals.items()
    ]


def _gains_tex(told: Sequence[RowEffect], family: Family) -> str:
    if not told:
        return ""
    lines = []
    for of in told:
        effect = of.effect
        nearest = f"{effect.nearest_control.rival.name}\n{spread(effect.nearest_control.over)}" if effect else NOTHING
        p = family.p_values.get(of.head)
        lines.append(
            [
                of.head.target,
                f"{of.head.row}\n({', '.join(filter(None, (of.head.guidance, of.head.decoder)))})",
                of.verdict,
                str(of.n_cases),
                metric_named(of.metric).title,
                spread(effect and effect.gain_over_i),
                nearest,
                NOTHING if p is None else p_text(p),
            ]
        )
    return latex_table(
        ["target", "row", "verdict", "n", "metric", "gain over I", "over the nearest control", "p, Holm"],
        lines,
        caption="What guidance gained, with 95 % intervals over test cases and luck in training.",
        label="tab:gains",
        notes=[f"p: of `guidance helps'; {family.sentence}."] if family.sentence else [],
        align="lllrlrrr",
    )


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
