"""What every guided row gained, as a figure: over I, over the nearest control and over the best reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from guidestore.flows.report.figures import Picture, in_lines
from guidestore.flows.results.effects import RowEffect
from guidestore.flows.work.colours import CONTROL_COLOUR, INK, ROW_COLOURS
from guidestore.heads.metrics import metric_named
from guidestore.heads.significance import GuidanceEffect, Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {"over I": "o", "over the nearest control": "s", "over the best reference": "^"}
_APART = 0.22
_LABEL_IN = 3.4
"""Half of the figure's width."""


def gains_picture(told: Sequence[RowEffect]) -> Picture | None:
    """Of effects of any targets; None where no gain could be told."""
    told = [of for of in told if of.effect is not None]
    if not told:
        return None
    label = "Gains: " + "; ".join(f"{of.head.target}, {of.head.row}: {of.verdict}" for of in told)
    return Picture("gains", gains_size(len(told)), label, lambda figure: fill_gains(figure, told))


def gains_size(rows: int) -> tuple[float, float]:
    """Width and height in inches of the figure of so many guided rows."""
    return 7.0, 1.0 + 0.62 * rows


def fill_gains(figure: Figure, told: Sequence[RowEffect], labels: Sequence[str] = ()) -> None:
    """A line per guided row with its verdict and its cases, a marker with its 95 % interval per gain; arrows where one
    goes on beyond the axis.

    told: those whose gain could be told. labels: of them; (): target and head.
    """
    labels = labels or [f"{of.head.target}, {of.head.name}" for of in told]
    panel = figure.subplots()
    panel.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    far = _far(told)
    panel.set_xlim(-far, far)
    named: set[str] = set()
    for y, of in enumerate(told):
        assert of.effect is not None  # noqa: S101  (of `told`)
        for place, (name, gain) in enumerate(_gains(of.effect)):
            colour = CONTROL_COLOUR if place else ROW_COLOURS.get(of.head.row, INK)
            at = y + _APART * (place - 1)
            panel.plot([max(gain.low, -far), min(gain.high, far)], [at, at], color=colour, linewidth=1.3)
            for beyond, end, arrow in ((gain.low < -far, -far, "<"), (gain.high > far, far, ">")):
                if beyond:
                    panel.plot([end], [at], marker=arrow, color=colour, markersize=4.5, clip_on=False)
            label = name if name not in named else None
            named.add(name)
            panel.plot([gain.value], [at], marker=_MARKERS[name], color=colour, markersize=5, linestyle="", label=label)
    titles = [metric_named(of.metric).title for of in told]
    metrics = list(dict.fromkeys(titles))
    ends = [f" in {title}" if len(metrics) > 1 else "" for title in titles]
    lines = [
        f"{in_lines(f'{label}{end}', _LABEL_IN, most=2)}\n{of.verdict}, n = {of.n_cases}"
        for label, end, of in zip(labels, ends, told, strict=True)
    ]
    panel.set_yticks(range(len(told)), lines)
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(len(told) - 0.4, -0.6)
    panel.set_xlabel(in_lines(f"gain in {' or '.join(metrics)}, 95 % intervals", _LABEL_IN))
    panel.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=len(named), frameon=False)


def _far(told: Sequence[RowEffect]) -> float:
    """What the axis must hold: the gains over I, and where the others lie. One control of which little is known has an
    interval that would hide all others; where it goes on, an arrow says so."""
    ends = [0.02]
    for of in told:
        assert of.effect is not None  # noqa: S101
        ends += map(abs, (of.effect.gain_over_i.gain.low, of.effect.gain_over_i.gain.high))
        ends += [1.4 * abs(gain.value) for _, gain in _gains(of.effect)]
    return 1.1 * max(ends)


def _gains(effect: GuidanceEffect) -> list[tuple[str, Interval]]:
    reference = effect.nearest_reference
    gains = [effect.gain_over_i.gain, effect.nearest_control.over.gain, *([reference.over.gain] if reference else [])]
    return list(zip(_MARKERS, gains, strict=False))
