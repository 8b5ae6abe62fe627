"""Figures of a study: matplotlib Figures of their own, without pyplot, so that nothing is shown or kept elsewhere."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import Run, RunPredictions
from guidestore.flows.library.arguments import public
from guidestore.flows.report.bars import bar_rows_of, fill_bars
from guidestore.flows.report.calibration import calibrations_of, fill_calibration
from guidestore.flows.report.confusion import confusion_size, confusions_of, fill_confusions
from guidestore.flows.report.figures import drawing
from guidestore.flows.report.gains import fill_gains, gains_size
from guidestore.flows.report.sections import Section, sections_of

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


@public
class Plots:
    """The figures of a study. Each returns a new matplotlib Figure. Made by `Study.plot`."""

    def __init__(
        self,
        runs: Sequence[Run],
        scores: Scores,
        predictions: Mapping[str, RunPredictions],
        effects: Sequence[RowEffect],
        metric: str = "",
    ) -> None:
        self._sections = sections_of(runs, scores, predictions, metric)
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
        Raises InvalidInputError where there is none.

        >>> study.plot.gains()
        Figure of ... x ... in; savefig('figure.svg') writes SVG, PDF or PNG
        """
        told = [of for of in self._effects if of.effect is not None]
        if not told:
            raise InvalidInputError("no guided row of the study has a gain to draw")
        with drawing(*gains_size(len(told)), Drawing) as figure:
            figure.set_facecolor("white")
            fill_gains(figure, told)
        return figure

    def calibration(self, block: int = 1) -> Figure:
        """Of I, G(I)+I and S+I of a block: the share that is right over the confidence in it, folds and seeds together.

        Raises InvalidInputError where the target has no one class or grade a case.

        >>> len(study.plot.calibration().axes)
        1
        """
        rows = _of_one_class(calibrations_of(self._section(block)), "calibration", block)
        with drawing(3.8, 3.9, Drawing) as figure:
            figure.set_facecolor("white")
            fill_calibration(figure, rows)
        return figure

    def confusion(self, block: int = 1) -> Figure:
        """Of I, G(I)+I and S+I of a block: the share of each true class that is taken for each class.

        Raises InvalidInputError where the target has no one class or grade a case.

        >>> [axes.get_title() for axes in study.plot.confusion().axes]
        ['I, n = ...', 'G(I)+I, n = ...', 'S+I, n = ...']
        """
        section = self._section(block)
        confusions = _of_one_class(confusions_of(section), "confusion", block)
        with drawing(*confusion_size(confusions), Drawing) as figure:
            figure.set_facecolor("white")
            fill_confusions(figure, confusions)
        return figure


def _of_one_class[Drawn](rows: list[Drawn], what: str, block: int) -> list[Drawn]:
    """Raises InvalidInputError where there are none."""
    if not rows:
        raise InvalidInputError(
            f"block {block} has no {what}: its target has no one class a case; draw bars() or gains()"
        )
    return rows
