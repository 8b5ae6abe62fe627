"""What the report shows of survival and values, held against numbers of statsmodels' own and of textbooks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.runs import RunPredictions
from guidestore.flows.report.calibration import calibrated_runs
from guidestore.flows.report.code_map import Places, code_map
from guidestore.flows.report.figures import drawing
from guidestore.flows.report.guided_codes import GuidedPairs
from guidestore.flows.report.outcomes import _curve, groups_of, outcome_shown

CASES = tuple(f"c{i:02}" for i in range(40))


def section(kind: str, runs: dict[str, list[RunPredictions]], unit: str = "") -> Any:
    heads = [SimpleNamespace(row=row, head=SimpleNamespace(row=row, control="")) for row in runs]
    return SimpleNamespace(
        kind=kind, unit=unit, name="section-1", runs=heads, of_row=lambda row: runs.get(row, []), classes=("a", "b")
    )


def predictions(run: str, y: np.ndarray, said: np.ndarray, kind: Any, seed: int = 0) -> RunPredictions:
    return RunPredictions(run, ("s", 0, seed), CASES, y, said[:, None], kind, reference=30.0)


@pytest.fixture
def survival() -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.stack([rng.exponential(20, 40).round(1) + 0.1, rng.integers(0, 2, 40)], axis=1).astype(float)


def test_curves_are_those_of_kaplan_and_meier_of_halves_by_risk(survival):
    from statsmodels.duration.survfunc import SurvfuncRight

    risk = -survival[:, 0] + np.random.default_rng(1).normal(0, 8, 40)
    runs = [
        predictions("r0", survival, risk, "survival"),
        predictions("r1", survival, 1000 * risk + 5, "survival", seed=1),  # another scale, the same order
    ]
    shown = outcome_shown(section("survival", {"I": runs, "G(I)+I": runs[:1]}, "months"))
    assert shown is not None
    assert shown.columns[:4] == ("row, half", "events", "median, months", "p")
    assert [line[0] for line in shown.rows] == [
        f"{row}, {half} risk" for row in ("I", "G(I)+I") for half in ("lower", "higher")
    ]
    higher = risk > np.median(risk)
    for line, part in zip(shown.rows, (~higher, higher), strict=False):
        assert line[1] == f"{int(survival[part, 1].sum())} of {int(part.sum())}"
        times = [float(column.rpartition(" ")[2]) for column in shown.columns[4:]]
        assert line[4:] == tuple(str(int((survival[part, 0] >= time).sum())) for time in times)
        assert line[2] == f"{SurvfuncRight(*survival[part].T).quantile(0.5):.4g}"
    assert shown.rows[0][3].startswith((".0", "<.0001"))
    assert shown.rows[1][3] == ""
    assert 'role="img"' in shown.picture.inline("section-1")


def test_a_half_without_an_event_stays_at_one(survival):
    risk = survival[:, 0]
    survival[risk > np.median(risk), 1] = 0.0
    shown = outcome_shown(section("survival", {"I": [predictions("r0", survival, risk, "survival")]}))
    assert shown is not None
    assert shown.rows[1][1:3] == ("0 of 20", "–")
    assert 'role="img"' in shown.picture.inline("section-1")


def test_the_band_is_that_of_kalbfleisch_and_prentice():
    # R's survfit(..., conf.type = "log-log") on aml, the maintained group (Miller, Survival analysis, 1981): at 13
    # weeks .8182, .4474 to .9512; at 48 weeks .1841, .0117 to .5251.
    from statsmodels.duration.survfunc import SurvfuncRight

    time = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161]
    event = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]
    x, share, low, high = _curve(SurvfuncRight(time, event), 161.0)
    at = dict(zip(x.tolist(), zip(share, low, high, strict=True), strict=True))
    assert at[13.0] == pytest.approx((0.8182, 0.4474, 0.9512), abs=1e-4)
    assert at[48.0] == pytest.approx((0.1841, 0.0117, 0.5251), abs=1e-3)
    assert (x[0], share[0], x[-1]) == (0.0, 1.0, 161.0)


def test_values_have_slope_and_residuals(survival):
    y = survival[:, 0]
    said = 10 + 0.5 * y
    runs = {"I": [predictions("a", y, said - 1, "value"), predictions("b", y, said + 1, "value", seed=1)]}
    shown = outcome_shown(section("value", runs, "mm"))
    assert shown is not None
    assert shown.rows == (
        ("I", "40", "2", "-20", f"{(y - said).mean():.4g}", f"{(y - said).std():.4g}"),
    )  # fmt: skip
    assert outcome_shown(section("classes", runs)) is None
    assert outcome_shown(section("value", {})) is None


def test_cases_are_coloured_by_their_outcome(survival):
    nan = np.nan
    assert groups_of(section("survival", {}), np.array([[3, 1], [4, 0], [nan, nan]]))[0].tolist() == [1, 0, -1]
    groups, names = groups_of(section("value", {}, "mm"), np.array([1.0, 2, 3, 4, 5, 6, nan]))
    assert groups.tolist() == [0, 0, 1, 1, 2, 2, -1]
    assert names == ("up to 2.667 mm", "up to 4.333 mm", "above 4.333 mm")
    assert groups_of(section("multilabel", {}), np.array([[1, 1], [nan, 0], [nan, nan]]))[0].tolist() == [2, 0, -1]


def test_cases_of_which_nothing_is_known_are_told_from_those_without_a_label():
    y = np.array([[0, 0], [1, 0], [1, 1], [np.nan, np.nan]])
    codes_nd = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    of = section("multilabel", {})
    of.inferior, of.superior, of.target = "us/made", "ct/made", "findings"
    pairs = GuidedPairs(("s", 0, 0), CASES[:4], y, codes_nd, codes_nd, "", ())
    shown = code_map(of, pairs, codes_nd, Places(), named=True)
    names = ["no label", "1 label", "2 labels", "not known"]
    assert [name for _, name in shown.legend] == names
    with drawing(*shown.picture.size_in) as figure:
        shown.picture.fill(figure)
        (legend,) = figure.legends
    assert [text.get_text().strip("\u200b") for text in legend.get_texts()] == names


def test_a_grade_is_said_as_surely_as_the_one_in_the_middle_is_likely() -> None:
    said = np.tile([0.45, 0.15, 0.4], (40, 1))
    run = RunPredictions("r", ("s", 0, 0), CASES, np.ones(40, dtype=np.int64), said, "ordinal")
    told = calibrated_runs("I", [run])
    assert (told.confidence_b.tolist(), told.accuracy_b.tolist()) == ([pytest.approx(0.15)], [1.0])
