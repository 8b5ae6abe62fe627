"""What a section shows of outcomes that are no classes: survival by predicted risk, predicted against true values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guidestore.embeddings.runs import RunPredictions
from guidestore.flows.report.figures import Picture
from guidestore.flows.report.sections import Section
from guidestore.flows.results.effects import is_guided
from guidestore.flows.work.colours import INK, OKABE_ITO, ROW_COLOURS
from guidestore.heads.input_rows import GUIDED_PLUS_I, S_PLUS_I, I
from guidestore.heads.metrics.survival import log_rank_p

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HALVES = {"lower risk": (OKABE_ITO["blue"], "-"), "higher risk": (OKABE_ITO["vermilion"], (0, (4, 2)))}
_TIMES = 5
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class OutcomeShown:
    """A figure and a table below it."""

    title: str
    picture: Picture
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Cases:
    """The test cases of an input row, each once; n of them."""

    row: str
    y: np.ndarray
    said_n: np.ndarray
    """(n,) the mean over folds and seeds: of a value in its unit; of a risk its place among those of its run, 0 … 1."""


def outcome_shown(section: Section) -> OutcomeShown | None:
    """Of survival and values, of rows I, the guided one and S+I; None of other kinds, or without predictions."""
    draw = {"survival": _survival, "value": _value}.get(section.kind)
    rows = [] if draw is None else [_by_case(row, runs) for row in _rows(section) if (runs := section.of_row(row))]
    return draw(section, rows) if draw and rows else None


def groups_of(section: Section, y: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """(n,) int64 by which cases are coloured, -1 where there is no outcome, and what the groups are called.

    y: of these n cases. Of values thirds of the cases, of survival the event, of several labels how many a case has.
    """
    if section.kind in ("classes", "ordinal"):
        return y, section.classes
    known = ~np.isnan(y) if y.ndim == 1 else ~np.isnan(y).all(axis=1)
    groups = np.full(len(y), -1, dtype=np.int64)
    if section.kind == "survival":
        groups[known] = y[known, 1].astype(np.int64)
        return groups, ("censored", "event")
    if section.kind == "multilabel":
        groups[known] = np.minimum(np.nansum(y[known], axis=1), 3).astype(np.int64)
        return groups, ("no label", "1 label", "2 labels", "3 labels or more")
    if not known.any():
        return groups, ()
    low, high = np.quantile(y[known], (1 / 3, 2 / 3))
    groups[known] = np.searchsorted([low, high], y[known])
    unit = f" {section.unit}" if section.unit else ""
    return groups, (f"up to {low:.4g}{unit}", f"up to {high:.4g}{unit}", f"above {high:.4g}{unit}")


def truth_of_cases(section: Section, y: np.ndarray) -> list[str]:
    """The outcome of each of n cases in words, – where it is not known. y: of these, by the kind."""
    unit = f" {section.unit}" if section.unit else ""
    if section.kind in ("classes", "ordinal"):
        return [section.classes[label] if label >= 0 else "–" for label in y]
    if section.kind == "multilabel":
        return [_labels(section, [value == 1 for value in of_case]) for of_case in y]
    if section.kind == "survival":
        return ["–" if np.isnan(t) else f"{'event' if e else 'censored'} at {t:.4g}{unit}" for t, e in y]
    return ["–" if np.isnan(value) else f"{value:.4g}{unit}" for value in y]


def said_of(section: Section, run: RunPredictions) -> list[str]:
    """What a run says of each of its cases, in words."""
    if section.kind in ("classes", "ordinal"):
        top_n = run.probabilities[np.arange(len(run)), run.predicted]
        return [f"{section.classes[c]} (p {p:.2f})" for c, p in zip(run.predicted, top_n, strict=True)]
    if section.kind == "multilabel":
        return [_labels(section, [p >= 0.5 for p in of_case]) for of_case in run.probabilities]
    if section.kind == "survival":
        from scipy.stats import rankdata

        return [f"risk at {rank:.0%} of these cases" for rank in rankdata(run.probabilities[:, 0]) / len(run)]
    unit = f" {section.unit}" if section.unit else ""
    return [f"{value:.4g}{unit}" for value in run.probabilities[:, 0]]


def _labels(section: Section, has: Sequence[bool]) -> str:
    return ", ".join(name for name, one in zip(section.classes, has, strict=True) if one) or "none of the labels"


def _rows(section: Section) -> list[str]:
    """I, G(I)+I or else the first guided row, S+I."""
    guided = sorted((run.row for run in section.runs if is_guided(run.head)), key=lambda row: row != GUIDED_PLUS_I)
    return list(dict.fromkeys((I, *guided[:1], S_PLUS_I)))


def _by_case(row: str, runs: Sequence[RunPredictions]) -> _Cases:
    from scipy.stats import rankdata

    y: dict[str, np.ndarray] = {}
    said: dict[str, list[float]] = {}
    for run in runs:
        says_n = run.probabilities[:, 0]
        if run.kind == "survival":  # risks of two heads have no common scale
            says_n = (rankdata(says_n) - 0.5) / len(says_n)
        for case_id, outcome, value in zip(run.case_ids, run.labels, says_n, strict=True):
            y[case_id] = outcome
            said.setdefault(case_id, []).append(float(value))
    return _Cases(row, np.array(list(y.values())), np.array([np.mean(of_case) for of_case in said.values()]))


def _survival(section: Section, rows: list[_Cases]) -> OutcomeShown:
    """Kaplan-Meier curves of the halves of the cases by predicted risk."""
    from matplotlib.ticker import AutoLocator
    from statsmodels.duration.survfunc import SurvfuncRight

    unit = f", {section.unit}" if section.unit else ""
    longest = max(float(of_row.y[:, 0].max()) for of_row in rows)
    times = [float(time) for time in AutoLocator().tick_values(0, longest) if 0 <= time <= longest][: _TIMES + 1]
    lines: list[tuple[str, ...]] = []
    for of_row in rows:
        for number, (name, part) in enumerate(_halves(of_row)):
            time_n, event_n = of_row.y[part].T
            median = SurvfuncRight(time_n, event_n).quantile(0.5) if event_n.any() else np.nan
            lines.append(
                (
                    f"{of_row.row}, {name}",
                    f"{int(event_n.sum())} of {int(part.sum())}",
                    "–" if np.isnan(median) else f"{median:.4g}",
                    "" if number else _p(of_row),
                    *(str(int((time_n >= time).sum())) for time in times),
                )
            )
    label = "Kaplan-Meier curves of test cases by predicted risk"
    return OutcomeShown(
        "Survival by predicted risk",
        Picture("survival", (2.9 * len(rows), 3.1), label, lambda figure: _fill_survival(figure, rows, times, unit)),
        "Kaplan-Meier curves with 95 % bands (log-log) of the halves of the test cases by predicted risk, the mean "
        "place of a case among the cases of its runs. p: log-rank between the halves, uncorrected; no verdict.",
        ("row, half", "events", f"median{unit}", "p", *(f"at risk at {time:g}" for time in times)),
        tuple(lines),
    )


def _halves(of_row: _Cases) -> list[tuple[str, np.ndarray]]:
    """Name and (n,) bool of the halves that have cases, the lower first."""
    higher = of_row.said_n > np.median(of_row.said_n)
    return [(name, part) for name, part in zip(_HALVES, (~higher, higher), strict=True) if part.any()]


def _fill_survival(figure: Figure, rows: list[_Cases], times: list[float], unit: str) -> None:
    from statsmodels.duration.survfunc import SurvfuncRight

    panels = np.atleast_1d(figure.subplots(1, len(rows), sharey=True))
    for panel, of_row in zip(panels, rows, strict=True):
        for name, part in _halves(of_row):
            time_n, event_n = of_row.y[part].T
            x, share, low, high = _curve(SurvfuncRight(time_n, event_n), time_n.max())
            colour, line = _HALVES[name]
            panel.step(x, share, where="post", color=colour, linestyle=line, linewidth=1.4, label=name)
            panel.fill_between(x, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        panel.set_title(f"{of_row.row}, n = {len(of_row.y)}", loc="left")
        panel.set_xlim(0, of_row.y[:, 0].max())
        panel.set_xticks(times)
        panel.set_ylim(0, 1.02)
        panel.grid()
        panel.set_xlabel(f"time{unit}")
    panels[0].set_ylabel("share without the event")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=3)


def _curve(curve, last: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Times from 0 to the last follow-up, the share without the event, the ends of its band (log-log, pointwise)."""
    share, se = np.asarray(curve.surv_prob, float), np.asarray(curve.surv_prob_se, float)
    low, high = np.full_like(share, np.nan), np.full_like(share, np.nan)
    inside = (share > 0) & (share < 1)
    step = _Z * se[inside] / (share[inside] * np.abs(np.log(share[inside])))
    low[inside], high[inside] = share[inside] ** np.exp(step), share[inside] ** np.exp(-step)
    low, high = np.where(np.isnan(low), share, low), np.where(np.isnan(high), share, high)
    x = np.concatenate([[0.0], curve.surv_times, [last]])
    # Of a half without an event there is no time in between, and its share stays 1.
    share, low, high = (np.concatenate([[1.0], of, [of[-1] if len(of) else 1.0]]) for of in (share, low, high))
    return x, share, low, high


def _p(of_row: _Cases) -> str:
    p = log_rank_p(of_row.y, of_row.said_n)
    if p is None:
        return "–"
    return "<.0001" if p < 1e-4 else f"{p:.4f}"[1:] if p < 1 else "1"


def _value(section: Section, rows: list[_Cases]) -> OutcomeShown:
    """Predicted against true values, and what is left over predicted ones."""
    unit = f", {section.unit}" if section.unit else ""
    lines: list[tuple[str, ...]] = []
    for of_row in rows:
        left_n = of_row.y - of_row.said_n
        slope = intercept = np.nan
        if np.ptp(of_row.said_n) > 0:
            slope, intercept = np.polyfit(of_row.said_n, of_row.y, 1)
        lines.append(
            (of_row.row, str(len(left_n)), *(f"{of:.4g}" for of in (slope, intercept, left_n.mean(), left_n.std())))
        )
    label = "Predicted against true values of test cases, and residuals"
    return OutcomeShown(
        "Predicted against true",
        Picture("values", (2.7 * len(rows), 5.0), label, lambda figure: _fill_value(figure, rows, unit)),
        "A point is a test case with the mean of its predictions over folds and seeds. Dotted: right. A slope below 1 "
        "says that predictions are too far apart.",
        ("row", "cases", "slope", "intercept", f"mean residual{unit}", f"sd of residuals{unit}"),
        tuple(lines),
    )


def _fill_value(figure: Figure, rows: list[_Cases], unit: str) -> None:
    every = np.concatenate([of for row in rows for of in (row.y, row.said_n)])
    ends = every.min(), every.max()
    grid = figure.subplots(2, len(rows), sharex=True, sharey="row", squeeze=False)
    for column, of_row in enumerate(rows):
        upper, lower = grid[:, column]
        colour, left_n = ROW_COLOURS.get(of_row.row, INK), of_row.y - of_row.said_n
        upper.plot(of_row.said_n, of_row.y, "o", color=colour, markersize=2.6, alpha=0.7)
        upper.plot(ends, ends, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        lower.plot(of_row.said_n, left_n, "o", color=colour, markersize=2.6, alpha=0.7)
        lower.axhline(0, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        upper.set_title(f"{of_row.row}, n = {len(left_n)}", loc="left")
        lower.set_xlabel(f"predicted{unit}")
    grid[0, 0].set_ylabel(f"true{unit}")
    grid[1, 0].set_ylabel(f"true − predicted{unit}")
