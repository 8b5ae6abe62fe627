"""Whether a head is right as often as it says: reliability diagram and expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.runs import RunPredictions
from guidestore.flows.report.figures import drawing, inline_svg
from guidestore.flows.report.sections import Section
from guidestore.flows.work.colours import INK, ROW_COLOURS
from guidestore.heads.input_rows import GUIDED_PLUS_I, S_PLUS_I, I

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_BINS = 10
"""Of equal width, as usual; with a few hundred cases more bins hold too few to say anything."""

_STYLES = {I: ("o", "-"), GUIDED_PLUS_I: ("s", "-"), S_PLUS_I: ("^", (0, (4, 2)))}


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Of one input row, over b bins that hold a prediction: how sure the head was of the class it predicted, how often
    that was right, and the share of the predictions in the bin."""

    row: str
    confidence_b: np.ndarray
    accuracy_b: np.ndarray
    share_b: np.ndarray
    predictions: int

    @property
    def error(self) -> float:
        """Expected calibration error: |accuracy − confidence|, weighted by the bins' shares (Guo et al. 2017)."""
        return float(self.share_b @ np.abs(self.accuracy_b - self.confidence_b))

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy; below 0 the head is too modest."""
        return float(self.share_b @ (self.confidence_b - self.accuracy_b))


def calibrations_of(section: Section) -> list[Calibrated]:
    """Of I, G(I)+I and S+I, as far as they have test predictions; folds and seeds together. None where a case has no
    one class or grade."""
    rows = []
    if section.kind not in ONE_CLASS_KINDS:
        return rows
    for row, runs in ((row, section.of_row(row)) for row in _STYLES):
        if runs:
            rows.append(calibrated_runs(row, runs))
    return rows


def calibrated_runs(row: str, runs: Sequence[RunPredictions]) -> Calibrated:
    """Of the predictions of these runs together."""
    confidence_n = np.concatenate([run.probabilities.max(axis=1) for run in runs])
    return calibrated(row, confidence_n, np.concatenate([run.correct for run in runs]))


def calibrated(row: str, confidence_n: np.ndarray, correct_n: np.ndarray) -> Calibrated:
    """(n,) confidence in 0 … 1 of the predicted class, (n,) bool whether it was right, n >= 1."""
    from sklearn.calibration import calibration_curve

    confidence_n = np.minimum(confidence_n, 1.0)  # a sum of probabilities may round above 1
    accuracy_b, confidence_b = calibration_curve(correct_n, confidence_n, n_bins=N_BINS, pos_label=True)
    bins_n = np.searchsorted(np.linspace(0, 1, N_BINS + 1)[1:-1], confidence_n)  # those of calibration_curve
    counts = np.bincount(bins_n, minlength=N_BINS)
    return Calibrated(row, confidence_b, accuracy_b, counts[counts > 0] / len(bins_n), len(bins_n))


def draw_calibration(section: Section, rows: list[Calibrated]) -> Markup:
    """As an element of the page."""
    with drawing(3.8, 3.4) as figure:
        fill_calibration(figure, rows)
        told = "; ".join(f"{of_row.row} {of_row.error:.3f}" for of_row in rows)
        return inline_svg(
            figure, f"{section.name}-calibration", f"Reliability diagram; expected calibration error of {told}"
        )


def fill_calibration(figure: Figure, rows: Sequence[Calibrated]) -> None:
    """Accuracy over confidence; the size of a marker is the share of the predictions."""
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    for of_row in rows:
        marker, line = _STYLES[of_row.row]
        colour, points = ROW_COLOURS[of_row.row], (of_row.confidence_b, of_row.accuracy_b)
        panel.plot(*points, color=colour, linestyle=line, linewidth=1.4)
        panel.scatter(*points, 12 + 160 * of_row.share_b, color=colour, marker=marker)
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.03, 1.03)
    panel.set_aspect("equal")
    panel.grid()
    panel.set_xlabel("confidence in the predicted class")
    panel.set_ylabel("share that is right")
