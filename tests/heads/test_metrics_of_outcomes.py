"""Metrics of values, survival, grades and several labels: as packages that are not ours say, and under draws."""

from __future__ import annotations

import numpy as np
import pytest

from guidestore.heads.metrics import Metric, drawn_metrics, evaluate, main_metric_of, truth_of
from guidestore.heads.metrics import table as metrics_table
from guidestore.heads.metrics.survival import TIMES, brier_scores, drawn_auc_at, drawn_harrell_c, times_up_to

ONCE = np.ones((1, 60), dtype=np.float32)
KINDS = ("ordinal", "multilabel", "value", "survival")


def survival_cases() -> tuple[np.ndarray, np.ndarray, float]:
    """(60, 2) times and events, 60 % of them, no two times alike; risks, with ties; the .8 quantile of the times."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=60)
    died = np.round(rng.exponential(np.exp(-0.8 * x)) * 10 + 0.05 * np.arange(60) / 60 + 0.01, 4)
    left = np.round(rng.exponential(12, size=60) + 0.0123, 4)
    risk = np.round(x + rng.normal(size=60), 1)
    return np.column_stack([np.minimum(died, left), died <= left]), risk, 9.862


def survival_outputs(risk: np.ndarray, horizon: float) -> np.ndarray:
    return np.column_stack([risk, np.exp(-np.outer(np.exp(0.5 * risk), times_up_to(horizon)) / 12)])


class TestSurvival:
    """Expected values are those of scikit-survival 0.28.0 and lifelines 0.30.3, each in an environment of its own (the
    former is GPL, the latter wants pandas < 3), on `survival_cases`:

    y = Surv.from_arrays(event, time); concordance_index_ipcw(y, y, risk, tau=horizon),
    concordance_index_censored(event, time, risk), cumulative_dynamic_auc(y, y, risk, [horizon / 2, horizon]),
    brier_score(y, y, S, times), integrated_brier_score(y, y, S, times); logrank_test(time[high], time[~high],
    event[high], event[~high]).
    """

    def test_every_figure_is_that_of_the_references(self):
        y, risk, horizon = survival_cases()
        told = evaluate(y, survival_outputs(risk, horizon), (), kind="survival", reference=horizon)
        assert told == pytest.approx(
            {
                "uno_c": 0.5115404609956226,
                "harrell_c": 0.4755083179297597,
                "auc_at_horizon": 0.65712585,
                "integrated_brier": 0.224277827840351,
                "log_rank_p": 0.4910785569643782,
            },
            rel=1e-7,
        )
        truth, outputs = truth_of("survival", y, horizon), survival_outputs(risk, horizon)
        assert drawn_auc_at(ONCE, truth, outputs[None], horizon / 2)[0, 0] == pytest.approx(0.50848874, rel=1e-7)
        expected = [0.11208587, 0.16746366, 0.20444183, 0.23801077, 0.25359047, 0.27926403, 0.25546461, 0.23133299]
        np.testing.assert_allclose(brier_scores(truth, outputs[:, 1:], times_up_to(horizon)), expected, rtol=1e-6)

    def test_equal_times(self):
        y, risk, horizon = survival_cases()
        truth = truth_of("survival", np.column_stack([np.ceil(y[:, 0]), y[:, 1]]), horizon)
        told = drawn_harrell_c(ONCE, truth, risk[None, :, None])[0, 0]
        assert told == pytest.approx(0.4735621521335807)

    def test_a_risk_turned_round_is_as_bad_as_it_was_good(self):
        """No figure picks its own sign: a larger risk is worse."""
        y = np.column_stack([np.arange(1.0, 31.0), np.tile([1.0, 1.0, 0.0], 10)])
        good = evaluate(y, -y[:, :1], (), kind="survival", reference=25.0)
        bad = evaluate(y, y[:, :1], (), kind="survival", reference=25.0)
        assert [good[name] for name in ("uno_c", "harrell_c", "auc_at_horizon")] == pytest.approx([1.0] * 3)
        assert [bad[name] for name in ("uno_c", "harrell_c", "auc_at_horizon")] == pytest.approx([0.0] * 3)
        assert "integrated_brier" not in good  # nothing was said of who survives

    def test_no_log_rank_where_no_event_has_both_halves_at_risk(self):
        y = np.column_stack([np.arange(1.0, 21.0), np.arange(20) >= 17])
        told = evaluate(y, y[:, :1], (), kind="survival", reference=25.0)
        assert "log_rank_p" not in told
        assert told["harrell_c"] == 0.0

    def test_without_an_event_nothing_is_told(self):
        y = np.column_stack([np.arange(1.0, 6.0), np.zeros(5)])
        assert evaluate(y, np.arange(5.0)[:, None], (), kind="survival", reference=4.0) == {}


class TestValue:
    def test_is_what_scikit_learn_and_scipy_say(self):
        from scipy.stats import linregress, spearmanr
        from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

        rng = np.random.default_rng(0)
        y = np.round(rng.normal(50, 10, 80), 0)
        said = np.round(y + rng.normal(0, 8, 80), 0)
        told = evaluate(y, said[:, None], (), kind="value", reference=float(y.mean()))
        assert told == pytest.approx(
            {
                "r2": r2_score(y, said),
                "mae": mean_absolute_error(y, said),
                "rmse": root_mean_squared_error(y, said),
                "spearman": spearmanr(y, said).statistic,
                "calibration_slope": linregress(said, y).slope,
            }
        )
        assert evaluate(y, np.full((80, 1), 40.0), (), kind="value", reference=40.0)["r2"] == 0.0

    def test_what_is_constant_has_no_correlation(self):
        told = evaluate(np.array([1.0, 2.0, 4.0]), np.full((3, 1), 2.0), (), kind="value", reference=0.0)
        assert told.keys() == {"r2", "mae", "rmse"}


class TestOrdinal:
    def test_is_what_scikit_learn_says_of_the_grade_in_the_middle(self):
        from sklearn.metrics import cohen_kappa_score, mean_absolute_error, recall_score

        rng = np.random.default_rng(1)
        labels, probabilities = rng.integers(0, 4, 90), rng.dirichlet(np.full(4, 0.4), 90)
        probabilities[np.arange(90), labels] += 0.7
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        grades = [int(np.flatnonzero(np.cumsum(row) >= 0.5)[0]) for row in probabilities]
        assert grades != list(probabilities.argmax(axis=1))
        told = evaluate(labels, probabilities, ("0", "1", "2", "3"), kind="ordinal")
        assert told["quadratic_kappa"] == pytest.approx(cohen_kappa_score(labels, grades, weights="quadratic"))
        assert told["mae_grades"] == pytest.approx(mean_absolute_error(labels, grades))
        recalls = [told[f"recall:{grade}"] for grade in range(4)]
        assert recalls == pytest.approx(recall_score(labels, grades, average=None))

    def test_between_two_likely_ends_lies_the_middle(self):
        probabilities = np.array([[0.45, 0.1, 0.45], [0.1, 0.1, 0.8]])
        assert evaluate(np.array([1, 2]), probabilities, ("a", "b", "c"), kind="ordinal")["mae_grades"] == 0.0


class TestMultilabel:
    def test_is_the_mean_over_labels_of_what_scikit_learn_says(self):
        from sklearn.metrics import average_precision_score, roc_auc_score

        rng = np.random.default_rng(2)
        y = (rng.random((70, 3)) < [0.5, 0.2, 0.3]).astype(float)
        said = np.round(np.clip(0.3 * y + 0.7 * rng.random((70, 3)), 0, 1), 1)
        y[rng.random((70, 3)) < 0.2] = np.nan
        told = evaluate(y, said, ("a", "b", "c"), kind="multilabel")
        known = ~np.isnan(y)
        for name, measure, macro in (
            ("auroc", roc_auc_score, "macro_auroc"),
            ("ap", average_precision_score, "macro_ap"),
        ):
            each = [measure(y[known[:, i], i], said[known[:, i], i]) for i in range(3)]
            assert [told[f"{name}:{label}"] for label in "abc"] == pytest.approx(each)
            assert told[macro] == pytest.approx(np.mean(each))

    def test_a_label_that_all_have_is_left_out(self):
        y = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, np.nan]])
        said = np.array([[0.9, 0.1], [0.2, 0.2], [0.8, 0.3]])
        told = evaluate(y, said, ("a", "b"), kind="multilabel")
        assert told["macro_auroc"] == told["auroc:a"] == 1.0
        assert "auroc:b" not in told


def example(kind: str, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and (2, n, k) outputs of two runs, with ties."""
    rng = np.random.default_rng(5)
    if kind == "ordinal":
        return rng.integers(0, 3, n), rng.dirichlet(np.ones(3), (2, n))
    if kind == "multilabel":
        return (rng.random((n, 2)) < 0.4).astype(float), np.round(rng.random((2, n, 2)), 1)
    if kind == "value":
        return truth_of("value", np.round(rng.normal(size=n), 1), 0.1), np.round(rng.normal(size=(2, n, 1)), 1)
    y, risk, horizon = survival_cases()
    y[:, 0] = np.ceil(y[:, 0])
    return truth_of("survival", y, horizon), np.stack([risk, -risk])[:, :, None]


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_is_the_metric_of_the_cases_it_holds_as_often_as_it_holds_them(kind):
    truth, outputs = example(kind)
    counts = np.random.default_rng(3).multinomial(60, np.full(60, 1 / 60), size=4).astype(np.float32)
    for metric in drawn_metrics(kind).values():
        assert metric.drawn is not None
        drawn = metric.drawn(counts, truth, outputs)
        assert drawn.shape == (4, 2)
        for b, counted in enumerate(counts):
            rows = np.repeat(np.arange(60), counted.astype(int))
            alone = metric.drawn(ONCE, truth[rows], outputs[:, rows])
            np.testing.assert_allclose(drawn[b], alone[0], rtol=1e-6, err_msg=metric.name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_main_metric_that_is_drawn_and_better_when_higher(kind):
    main: Metric = main_metric_of(kind)
    assert main.name in drawn_metrics(kind)
    assert main.better == "higher"
    assert len({metric.name for metric in metrics_table.METRICS}) == len(metrics_table.METRICS)
    assert len(times_up_to(1.0)) == TIMES
