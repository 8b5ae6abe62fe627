"""Figures of a study: matplotlib Figures of their own, without pyplot, so that nothing is shown or kept elsewhere."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.flows.report.bars import bar_rows_of, fill_bars
from guidestore.flows.report.calibration import calibrations_of, fill_calibration
from guidestore.flows.report.confusion import confusions_of
from guidestore.flows.report.figures import drawing
from guidestore.flows.report.sections import Section, sections_of
from guidestore.flows.work.colours import INK, ROW_COLOURS
from guidestore.heads.metrics import drawn_metrics

if TYPE_CHECKING:
    from guidestore.flows.results.effects import RowEffect
    from guidestore.warehouse.runs import Scores


class Drawing(Figure):
    """A figure on white that a notebook shows. ``savefig`` writes SVG, PDF and PNG."""

    def __repr__(self) -> str:
        width, height = self.get_size_inches()
        return f"Figure of {width:.1f} x {height:.1f} in; savefig('figure.svg') writes SVG, PDF or PNG"

    def _repr_svg_(self) -> str:
        buffer = io.StringIO()
        self.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


class Plots:
    """The figures of a study. Each returns a new matplotlib Figure. Made by `Study.plot`."""

    def __init__(
        self,
        runs: Sequence[Run],
        scores: Scores,
        predictions: Mapping[str, RunPredictions],
        effects: Sequence[RowEffect],
    ) -> None:
        self._sections = sections_of(runs, scores, predictions)
        self._effects = effects

    def __repr__(self) -> str:
        return "Plots: bars(), gains(), calibration(), confusion()"

    def _section(self, block: int) -> Section:
        if not 1 <= block <= len(self._sections):
            raise InvalidInputError(
                f"there is no block {block}; `Study.table` numbers them from 1 to {len(self._sections)}"
            )
        section = self._sections[block - 1]
        if not section.predictions:
            raise InvalidInputError(f"no run of block {block} has predictions to draw")
        return section

    def bars(self, block: int = 1) -> Figure:
        """The metrics of each input row and control of a block, with 95 % intervals over the cases.

        block: as `Study.table` numbers them. Raises InvalidInputError.

        >>> len(study.plot.bars().axes)
        3
        """
        section = self._section(block)
        rows, _ = bar_rows_of(section)
        with drawing(8.0, 0.75 + 0.3 * len(rows), Drawing) as figure:
            figure.set_facecolor("white")
            fill_bars(figure, section, rows)
        return figure

    def gains(self) -> Figure:
        """The gain of every guided head over I, over its nearest control and its best reference, with 95 % intervals.

        >>> study.plot.gains()
        Figure of ... x ... in; savefig('figure.svg') writes SVG, PDF or PNG
        """
        told = [of for of in self._effects if of.effect is not None]
        if not told:
            raise InvalidInputError("no guided row of the study has a gain to draw")
        with drawing(7.0, 0.9 + 0.62 * len(told), Drawing) as figure:
            figure.set_facecolor("white")
            panel = figure.subplots()
            panel.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
            for y, of in enumerate(told):
                assert of.effect is not None  # noqa: S101  (of `told`)
                nearest, reference = of.effect.nearest_control, of.effect.nearest_reference
                gains = [(of.effect.gain_over_i.gain, "o", "over I")]
                gains += [(nearest.over.gain, "s", "over the nearest control")] if nearest else []
                gains += [(reference.over.gain, "^", "over the best reference")] if reference else []
                for place, (gain, marker, name) in enumerate(gains):
                    at, colour = y + 0.22 * (place - 1), ROW_COLOURS.get(of.head.row, INK)
                    panel.plot([gain.low, gain.high], [at, at], color=colour, linewidth=1.3)
                    label = name if y == 0 else None
                    panel.plot([gain.value], [at], marker=marker, color=colour, markersize=5, linestyle="", label=label)
            panel.set_yticks(range(len(told)), [f"{of.head.target}, {of.head.name}\n{of.verdict}" for of in told])
            panel.set_ylim(len(told) - 0.4, -0.6)
            metrics = " or ".join(dict.fromkeys(drawn_metrics()[of.metric].title for of in told))
            panel.set_xlabel(f"gain in {metrics}")
            panel.grid(axis="x")
            figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return figure

    def calibration(self, block: int = 1) -> Figure:
        """Of I, G(I)+I and S+I of a block: the share that is right over the confidence in it, folds and seeds together.

        >>> len(study.plot.calibration().axes)
        1
        """
        rows = calibrations_of(self._section(block))
        with drawing(3.8, 3.4, Drawing) as figure:
            figure.set_facecolor("white")
            fill_calibration(figure, rows)
        return figure

    def confusion(self, block: int = 1) -> Figure:
        """Of I, G(I)+I and S+I of a block: the share of each true class that is taken for each class.

        >>> [axes.get_title() for axes in study.plot.confusion().axes]
        ['I', 'G(I)+I', 'S+I']
        """
        section = self._section(block)
        confusions = confusions_of(section)
        k = len(section.classes)
        with drawing(0.6 + len(confusions) * (1.0 + 0.24 * k), 1.2 + 0.24 * k, Drawing) as figure:
            figure.set_facecolor("white")
            panels = figure.subplots(1, len(confusions), sharey=True, squeeze=False)[0]
            for panel, of in zip(panels, confusions, strict=True):
                shares = [[share or 0.0 for _, share in cells] for _, cells in of.lines]
                panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
                panel.set_title(of.row)
                panel.set_xticks(range(k), section.classes, rotation=90)
                panel.set_yticks(range(k), section.classes)
                panel.set_xlabel("taken for")
            panels[0].set_ylabel("true class")
        return figure
