"""Names of any length stay within a figure, and no two are written alike."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from guidestore.flows.report.code_map import _Drawn, _fill
from guidestore.flows.report.confusion import confusion_size, fill_confusions
from guidestore.flows.report.figures import class_colours, drawing, in_lines

NAMES = tuple(f"carcinoma of the upper outer quadrant, not otherwise specified, of grade {n}" for n in range(10))


def test_text_has_lines_of_a_width() -> None:
    lines = in_lines("word " * 30 + "a_name_without_a_blank_" * 4, 2.0).split("\n")
    assert len(lines) == 4
    assert lines[-1].endswith("…")
    assert max(map(len, lines)) <= 24
    assert in_lines("short", 2.0) == "short"


@pytest.mark.parametrize("names", [NAMES, NAMES[:2], ("a", "b")])
def test_the_legend_of_a_map_is_within_it(names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    points_n2 = rng.normal(size=(30, 2))
    maps = {f"z: {'a modality with a long name ' * 3}{n}": (points_n2, points_n2) for n in range(3)}
    drawn = _Drawn(maps, np.arange(30) % len(names), np.zeros(30, bool), class_colours(len(names)))
    with drawing(8.6, 5.0, saved=True) as figure:
        _fill(figure, drawn, list(range(len(names))), names)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
        titles = [panel.title if panel.title.get_text() else panel._left_title for panel in figure.axes]  # pyright: ignore[reportAttributeAccessIssue]
        ends = [title.get_window_extent() for title in titles]
        assert all(left.x1 <= right.x0 for left, right in pairwise(ends))
        assert len({text.get_text() for text in legend.get_texts()}) == len(names)


def test_no_two_classes_of_a_matrix_are_written_alike() -> None:
    lines = [(name, [(1, 0.1)] * len(NAMES)) for name in NAMES]
    confusions = cast(Any, [SimpleNamespace(row="I", lines=lines, predictions=10)])
    with drawing(*confusion_size(confusions), saved=True) as figure:
        fill_confusions(figure, confusions)
        (panel,) = figure.axes
        assert len({label.get_text() for label in panel.get_yticklabels()}) == len(NAMES)
