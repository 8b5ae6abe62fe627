"""Which class is taken for which, counted over the test predictions of all folds and seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guidestore.embeddings.outcomes import ONE_CLASS_KINDS
from guidestore.flows.report.figures import Picture
from guidestore.flows.report.sections import Section
from guidestore.heads.input_rows import GUIDED_PLUS_I, S_PLUS_I, I

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = (I, GUIDED_PLUS_I, S_PLUS_I)


@dataclass(frozen=True, slots=True)
class Confusion:
    """One input row. `lines`: the true class, then (count, share of the true class or None) per predicted class."""

    row: str
    runs: int
    predictions: int
    lines: tuple[tuple[str, tuple[tuple[int, float | None], ...]], ...]


def confusions_of(section: Section) -> list[Confusion]:
    """Of I, G(I)+I and S+I, as far as they have test predictions; none where a case has no one class or grade."""
    confusions = []
    if section.kind not in ONE_CLASS_KINDS:
        return confusions
    for row in ROWS:
        runs = section.of_row(row)
        if not runs:
            continue
        k = len(section.classes)
        counts_kk = np.zeros((k, k), dtype=np.int64)
        for run in runs:
            np.add.at(counts_kk, (run.labels, run.predicted), 1)
        lines = tuple(
            (name, tuple((int(n), float(n / counts_k.sum()) if counts_k.any() else None) for n in counts_k))
            for name, counts_k in zip(section.classes, counts_kk, strict=True)
        )
        confusions.append(Confusion(row, len(runs), int(counts_kk.sum()), lines))
    return confusions


def confusion_picture(confusions: Sequence[Confusion]) -> Picture:
    """For a folder of figures; the page has tables."""
    label = f"Confusion matrices of {', '.join(of.row for of in confusions)}"
    size_in = confusion_size(confusions)
    return Picture("confusion", size_in, label, lambda figure: fill_confusions(figure, confusions))


def confusion_size(confusions: Sequence[Confusion]) -> tuple[float, float]:
    """Width and height in inches of the figure of these matrices."""
    names = _names(confusions)
    longest = 0.085 * max(len(line) for name in names for line in name.split("\n"))
    side = max(1.0, max(0.36, 0.17 * max(name.count("\n") + 1 for name in names)) * len(names))
    return 0.6 + longest + len(confusions) * (0.25 + side), 1.1 + longest + side


def _names(confusions: Sequence[Confusion]) -> list[str]:
    """The classes in lines: in so many that no two are written alike."""
    names = [name for name, _ in confusions[0].lines]
    for most in range(2, _MOST_LINES):
        lines = [textwrap.fill(name, 20, max_lines=most, placeholder=" …") for name in names]
        if len(set(lines)) == len(set(names)):
            return lines
    return [textwrap.fill(name, 20) for name in names]


_MOST_LINES = 6


def fill_confusions(figure: Figure, confusions: Sequence[Confusion]) -> None:
    """A panel per row: the shares of each true class by colour, the counts as numbers."""
    names = _names(confusions)
    panels = figure.subplots(1, len(confusions), sharey=True, squeeze=False)[0]
    for panel, of in zip(panels, confusions, strict=True):
        shares = [[share or 0.0 for _, share in cells] for _, cells in of.lines]
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for y, (_, cells) in enumerate(of.lines):
            for x, (count, share) in enumerate(cells):
                colour = "white" if (share or 0) > _DARK else "black"
                panel.text(x, y, str(count), ha="center", va="center", color=colour, fontsize=8)
        panel.set_title(f"{of.row}, n = {of.predictions}")
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set_yticks(range(len(names)), names)
        panel.set_xlabel("taken for")
    panels[0].set_ylabel("true class")


_DARK = 0.55
"""Shares from which the colour of a cell wants white numbers."""
