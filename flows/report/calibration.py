"""Whether a head is right as often as it says: reliability diagram and expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.embeddings.runs import RunPredictions
from guidestore.flows.report.figures import Picture
from guidestore.flows.report.sections import Section
from guidestore.flows.work.colours import INK, ROW_COLOURS
from guidestore.heads.input_rows import GUIDED_PLUS_I, S_PLUS_I, I

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BINS = 10
LEAST_CASES = 12
"""Of a bin on average: of fewer a share says nothing."""

_STYLES = {I: ("o", "-"), GUIDED_PLUS_I: ("s", "-"), S_PLUS_I: ("^", (0, (4, 2)))}
_Z = 1.959964


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Of one input row, over b bins of as equal counts as ties allow: how sure the head was of the class it predicted,
    how often that was right, with the ends of its 95 % interval, and the share of the predictions in the bin."""

    row: str
    confidence_b: np.ndarray
    accuracy_b: np.ndarray
    low_b: np.ndarray
    """Wilson's interval, of as many draws as the bin has different cases: heads of other seeds add none."""
    high_b: np.ndarray
    share_b: np.ndarray
    predictions: int
    cases: int

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
    if section.kind not in ONE_CLASS_KINDS:
        return []
    return [calibrated_runs(row, runs) for row in _STYLES if (runs := section.of_row(row))]


def calibrated_runs(row: str, runs: Sequence[RunPredictions]) -> Calibrated:
    """Of the predictions of these runs together; confidence is the probability of what is predicted, of grades the one
    in the middle."""
    said = [np.take_along_axis(run.probabilities, run.predicted[:, None], axis=1)[:, 0] for run in runs]
    confidence_n = np.concatenate(said)
    cases = [case_id for run in runs for case_id in run.case_ids]
    return calibrated(row, confidence_n, np.concatenate([run.correct for run in runs]), cases)


def calibrated(row: str, confidence_n: np.ndarray, correct_n: np.ndarray, cases: Sequence[str]) -> Calibrated:
    """(n,) confidence in 0 … 1 of the predicted class, (n,) bool whether it was right, and of which case, n >= 1."""
    confidence_n = np.minimum(confidence_n, 1.0)  # a sum of probabilities may round above 1
    _, case_n = np.unique(np.asarray(cases, dtype=object), return_inverse=True)
    n_cases = int(case_n.max()) + 1
    bins = int(np.clip(n_cases // LEAST_CASES, 1, MOST_BINS))
    parts = np.array_split(np.sort(confidence_n), bins)
    begins_b = np.unique([part[0] for part in parts if len(part)])  # equals are kept together
    bin_n = np.searchsorted(begins_b, confidence_n, side="right") - 1
    counts_b = np.bincount(bin_n)
    accuracy_b = np.bincount(bin_n, weights=correct_n) / counts_b
    different_b = np.array([len(np.unique(case_n[bin_n == b])) for b in range(len(counts_b))])
    low_b, high_b = _wilson(accuracy_b, different_b)
    confidence_b = np.bincount(bin_n, weights=confidence_n) / counts_b
    return Calibrated(row, confidence_b, accuracy_b, low_b, high_b, counts_b / len(bin_n), len(bin_n), n_cases)


def _wilson(share_b: np.ndarray, n_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of a share of n draws (Wilson 1927)."""
    middle_b = (share_b + _Z**2 / (2 * n_b)) / (1 + _Z**2 / n_b)
    half_b = _Z / (1 + _Z**2 / n_b) * np.sqrt(share_b * (1 - share_b) / n_b + _Z**2 / (4 * n_b**2))
    return np.maximum(middle_b - half_b, 0.0), np.minimum(middle_b + half_b, 1.0)


def calibration_picture(rows: Sequence[Calibrated]) -> Picture:
    """The reliability diagram."""
    told = "; ".join(f"{of_row.row} {of_row.error:.3f}" for of_row in rows)
    label = f"Reliability diagram; expected calibration error of {told}"
    return Picture("calibration", (3.8, 3.9), label, lambda figure: fill_calibration(figure, rows))


def fill_calibration(figure: Figure, rows: Sequence[Calibrated]) -> None:
    """Accuracy with its interval over confidence, a marker per bin."""
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    for of_row in rows:
        marker, line = _STYLES.get(of_row.row, ("o", "-"))
        colour = ROW_COLOURS.get(of_row.row, INK)
        ends = np.abs([of_row.accuracy_b - of_row.low_b, of_row.high_b - of_row.accuracy_b])
        panel.errorbar(
            of_row.confidence_b,
            of_row.accuracy_b,
            yerr=ends,
            color=colour,
            ecolor=(colour, 0.45),
            linestyle=line,
            marker=marker,
            markersize=4.5,
            linewidth=1.2,
            elinewidth=1.0,
            label=of_row.row,
        )
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.03, 1.03)
    panel.set_aspect("equal")
    panel.grid()
    panel.set_xlabel("confidence in the predicted class")
    panel.set_ylabel("share that is right")
    figure.legend(loc="outside lower center", ncols=len(rows), frameon=False, handlelength=3)
