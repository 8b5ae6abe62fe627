from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.metrics import evaluate


def test_hand_counted_example():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    metrics = evaluate(np.array([0, 0, 1, 2]), probabilities, ("a", "b", "c"))
    assert metrics["recall:a"] == 0.5
    assert metrics["recall:b"] == 1.0
    assert metrics["recall:c"] == 1.0
    assert metrics["balanced_accuracy"] == pytest.approx(2.5 / 3)
    assert metrics["f1_micro"] == 0.75
    assert metrics["log_loss"] == pytest.approx(-np.log([0.7, 0.2, 0.8, 0.4]).mean())
    # a: {.7, .2} against {.1, .3}: 3 of 4; b: {.8} against {.2, .7, .3}: all; c: {.4} against {.1, .1, .1}: all.
    assert metrics["auroc"] == pytest.approx((0.75 + 1 + 1) / 3)


@given(st.integers(2, 5), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_agrees_with_scikit_learn_where_every_class_occurs(k, seed):
    from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, 20)])
    probabilities = rng.dirichlet(np.ones(k), len(labels))
    metrics = evaluate(labels, probabilities, [f"c{i}" for i in range(k)])
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, probabilities.argmax(axis=1)))
    assert metrics["f1_micro"] == pytest.approx(f1_score(labels, probabilities.argmax(axis=1), average="micro"))
    assert metrics["log_loss"] == pytest.approx(log_loss(labels, probabilities))
    scores = probabilities[:, 1] if k == 2 else probabilities
    assert metrics["auroc"] == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_auroc_of_equal_scores_is_scikit_learns(decimals):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(decimals)
    for _ in range(20):
        labels, said = rng.permutation(np.arange(40) % 2), rng.random(40).round(decimals)
        metrics = evaluate(labels, np.column_stack([1 - said, said]), ["a", "b"])
        assert metrics["auroc"] == pytest.approx(roc_auc_score(labels, said), abs=1e-15)


def test_absent_classes_are_left_out_not_invented():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    metrics = evaluate(np.array([0, 1]), probabilities, ("a", "b", "c"))
    assert set(metrics) == {"balanced_accuracy", "f1_micro", "log_loss", "recall:a", "recall:b"}
    assert metrics["balanced_accuracy"] == 0.5
    of_one_case = evaluate(np.array([0]), probabilities[:1], ("a", "b", "c"))
    assert of_one_case["balanced_accuracy"] == 1.0
    assert of_one_case["log_loss"] == pytest.approx(-math.log(0.6))


def test_a_certain_mistake_has_a_finite_log_loss():
    assert 30 < evaluate(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]), ("a", "b"))["log_loss"] * 2 < 800


@pytest.mark.parametrize(
    ("labels", "probabilities", "sentence"),
    [
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], "run from -1 to 0"),
        ([], np.zeros((0, 2)), "at least one row"),
        ([0, 1], [[0.5, 0.6], [0.5, 0.5]], "do not sum to 1"),
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], "not finite"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], "negative"),
        ([0], [[0.2, 0.3, 0.5]], r"must be \(n, 2\)"),
    ],
)
def test_refuses_what_is_no_prediction(labels, probabilities, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        evaluate(np.array(labels, dtype=np.int64), np.array(probabilities), ("a", "b"))
