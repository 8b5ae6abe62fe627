"""The contract of heads.transfer.students.common.protocol, over every family, and of the decoders that they become."""

from __future__ import annotations

import json

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.registry import STUDENTS, build_decoder, build_student, load_decoder
from guidestore.heads.transfer.decoder import StudentDecoder
from guidestore.heads.transfer.preparation import CLIP_SD, MAX_DIMS, Preparation
from guidestore.heads.transfer.targets import balanced, one_hot, to_probabilities

SMALL: dict[str, dict[str, int]] = {
    "random_forest": {"trees": 20}, "mlp": {"hidden_units": 16}, "kernel": {"landmarks": 40},
}  # fmt: skip
SEEDLESS = {"ridge", "logistic"}
FAMILIES = [pytest.param(name, SMALL.get(name, {}), name not in SEEDLESS, id=name) for name in STUDENTS.names()]
"""Every name, parameters that keep it small, whether its seed matters."""
K = 3


def cases(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 5) codes of mean squared norm about 1 and labels of three classes that lie apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % K
    centres = np.random.default_rng(98).normal(scale=0.5, size=(K, 5))
    return centres[labels] + rng.normal(scale=0.2, size=(n, 5)), labels


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def test_every_family_is_under_the_contract_and_its_decoder_is_registered():
    assert all(build_student(name).name == f"{name}-student" for name in STUDENTS.names())
    with pytest.raises(InvalidInputError, match="'rigde' is unknown: did you mean 'ridge'"):
        build_student("rigde")
    with pytest.raises(InvalidInputError, match="holds given weights"):
        build_decoder("ridge-student")


@pytest.mark.parametrize(("name", "params", "random"), FAMILIES)
class TestStudents:
    def path(self, name, params, *, seed=3, soft=None, weights=None, n=90):
        x_nr, labels = cases(n)
        student = build_student(name, **params)
        targets_nk = one_hot(labels, K) if soft is None else soft
        return student, student.fit_path(x_nr, targets_nk, np.ones(n) if weights is None else weights, seed=seed)

    def test_the_path_has_a_model_per_regularisation_and_the_weakest_learns(self, name, params, random):
        student, path = self.path(name, params)
        assert len(path) == len(student.regularisations) > 1
        x_nr, labels = cases(300, seed=5)
        for tensors in path:
            probabilities = student.probabilities(tensors, x_nr)
            assert probabilities.shape == (300, K)
            assert probabilities.dtype == np.float64
            np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-12)
        assert (student.probabilities(path[-1], x_nr).argmax(axis=1) == labels).mean() > 0.85

    def test_learns_soft_targets(self, name, params, random):
        """Targets of .9 and .1 at two places: predictions there lie between the classes as they do."""
        rng = np.random.default_rng(0)
        x_nr = np.repeat(np.eye(2), 60, axis=0) + 0.02 * rng.normal(size=(120, 2))
        targets_nk = np.repeat([[0.9, 0.1], [0.3, 0.7]], 60, axis=0)
        student = build_student(name, **params)
        path = student.fit_path(x_nr, targets_nk, np.ones(120), seed=0)
        (first, second) = student.probabilities(path[-1], np.eye(2))[:, 0]
        assert first > 0.75
        assert second < 0.45

    def test_a_row_of_no_weight_teaches_next_to_nothing(self, name, params, random):
        """Wrong rows: with weight they turn the predictions round, without they do not."""
        x_nr, labels = cases(90)
        wrong_nk = one_hot((labels + 1) % K, K)
        both_nr, both_nk = np.vstack([x_nr] * 4), np.vstack([one_hot(labels, K), *[wrong_nk] * 3])
        student = build_student(name, **params)
        accuracies = []
        for weight in (1e-6, 1.0):
            path = student.fit_path(both_nr, both_nk, np.repeat([1.0, weight], [90, 270]), seed=0)
            accuracies.append((student.probabilities(path[-1], x_nr).argmax(axis=1) == labels).mean())
        assert accuracies[0] > 0.85
        assert accuracies[1] < 0.3

    def test_the_seed_alone_decides(self, name, params, random):
        import torch

        torch.manual_seed(1)
        np.random.seed(1)
        expected = (torch.rand(1), np.random.rand())
        torch.manual_seed(1)
        np.random.seed(1)
        first, again, other = (self.path(name, params, seed=seed)[1][-1] for seed in (3, 3, 4))
        assert (torch.rand(1), np.random.rand()) == expected
        assert same(first, again)
        assert same(first, other) is not random

    def test_as_a_decoder_it_comes_back_from_the_store_bit_for_bit(self, name, params, random):
        x_nd = cases()[0].astype(np.float32) * 100 + 7
        preparation = Preparation.fit(x_nd, "z")
        student = build_student(name, **params)
        path = student.fit_path(preparation.apply(x_nd), one_hot(cases()[1], K), np.ones(90), seed=0)
        decoder = StudentDecoder(student, preparation, path[-1], {"inner_cv": 0.5})
        kept = {k: np.ascontiguousarray(v) for k, v in decoder.tensors().items()}
        loaded = load_decoder(json.loads(json.dumps(decoder.config)), kept)
        held_out_nd = cases(19, seed=5)[0].astype(np.float32) * 100 + 7
        probabilities = decoder.predict_proba(held_out_nd)
        assert np.array_equal(loaded.predict_proba(held_out_nd), probabilities)
        assert loaded.config == decoder.config
        assert same(loaded.tensors(), decoder.tensors())
        assert all(tensor.flags.c_contiguous for tensor in decoder.tensors().values())
        np.testing.assert_allclose(decoder.predict_proba(held_out_nd[4:5])[0], probabilities[4], rtol=1e-9)
        with pytest.raises(InvalidInputError, match="have 4 dimensions, but 5"):
            decoder.predict_proba(held_out_nd[:, 1:])
        with pytest.raises(InvalidInputError, match="is missing"):
            load_decoder(decoder.config, {})
        with pytest.raises(InvalidInputError, match="lacks"):
            load_decoder({"name": student.name}, decoder.tensors())
        own = next(key for key in decoder.tensors() if not key.startswith("input_"))
        with pytest.raises(InvalidInputError, match="is missing"):
            load_decoder(decoder.config, {k: v for k, v in decoder.tensors().items() if k != own})


def test_ridge_is_that_of_scikit_learn_and_a_weight_counts_as_repeated_rows():
    from sklearn.linear_model import Ridge

    x_nr, labels = cases(90)
    targets_nk, weights_n = one_hot(labels, K), np.where(np.arange(90) < 30, 2.0, 1.0)
    student = build_student("ridge", alphas=(0.1,))
    (model,) = student.fit_path(x_nr, targets_nk, weights_n, seed=0)
    normal_n = balanced(targets_nk, weights_n)
    reference = Ridge(alpha=0.1).fit(x_nr, targets_nk, sample_weight=normal_n)
    np.testing.assert_allclose(model["weight"], reference.coef_, atol=1e-10)
    np.testing.assert_allclose(model["bias"], reference.intercept_, atol=1e-10)
    for name in ("ridge", "logistic"):
        student = build_student(name)
        repeated = np.repeat(np.arange(90), weights_n.astype(int))
        weighted, twice = (
            student.fit_path(x_nr[rows], targets_nk[rows], weights, seed=0)[0]["weight"]
            for rows, weights in ((np.arange(90), weights_n), (repeated, np.ones(len(repeated))))
        )
        np.testing.assert_allclose(weighted, twice, atol=1e-4)


def test_a_forest_is_walked_as_scikit_learn_walks_it():
    from sklearn.ensemble import RandomForestRegressor

    x_nr, labels = cases(90)
    student = build_student("random_forest", trees=7, min_leaves=(2,))
    (model,) = student.fit_path(x_nr, one_hot(labels, K), np.ones(90), seed=3)
    generator = np.random.RandomState(np.random.MT19937(3))
    forest = RandomForestRegressor(7, min_samples_leaf=2, max_features="sqrt", random_state=generator)
    forest.fit(x_nr.astype(np.float32), one_hot(labels, K), sample_weight=np.ones(90))
    held_out_nr = cases(50, seed=5)[0]
    expected = forest.predict(held_out_nr.astype(np.float32))
    np.testing.assert_allclose(student.probabilities(model, held_out_nr), expected, atol=1e-6)
    broken = model | {"left": model["left"] + 1000.0}
    with pytest.raises(InvalidInputError, match="leads outside the trees"):
        student.check(broken, 5)


class TestPreparation:
    def test_drops_clips_reduces_and_scales(self):
        rng = np.random.default_rng(0)
        x_nd = rng.normal(size=(200, 80)).astype(np.float32) * np.logspace(-3, 3, 80) + 5
        x_nd[:, 3] = 7.0
        prepared_nr = Preparation.fit(x_nd, "z").apply(x_nd)
        assert prepared_nr.shape == (200, MAX_DIMS)
        assert (prepared_nr**2).sum(axis=1).mean() == pytest.approx(1.0)
        np.testing.assert_allclose(prepared_nr.mean(axis=0), 0.0, atol=1e-12)
        far_nd = x_nd[:2].copy()
        far_nd[0] = x_nd.mean(axis=0) + CLIP_SD * x_nd.std(axis=0)
        far_nd[1] = x_nd.mean(axis=0) + 100 * x_nd.std(axis=0)
        far_nd[:, 3] = (7.0, -100.0)
        far, farther = Preparation.fit(x_nd, "z").apply(far_nd)
        np.testing.assert_allclose(far, farther, atol=1e-4)

    def test_side_by_side_is_each_as_alone_and_missing_rows_stay_missing(self):
        rng = np.random.default_rng(0)
        left_nd, right_nd = rng.normal(size=(30, 4)), rng.normal(size=(30, 6))
        left, right = Preparation.fit(left_nd, "a"), Preparation.fit(right_nd, "b")
        joined = Preparation.side_by_side(left, right)
        expected = np.hstack([left.apply(left_nd), right.apply(right_nd)])
        np.testing.assert_allclose(joined.apply(np.hstack([left_nd, right_nd])), expected, atol=1e-12)
        left_nd[3] = np.nan
        assert np.isnan(left.apply(left_nd)).all(axis=1).tolist() == [i == 3 for i in range(30)]

    def test_constant_codes_are_refused(self):
        with pytest.raises(InvalidInputError, match="z_S of toy: every column of the 5 train codes is constant"):
            Preparation.fit(np.ones((5, 3)), "z_S of toy")


def test_targets():
    targets_nk = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    weights_n = balanced(targets_nk, np.ones(3))
    assert weights_n.sum() == pytest.approx(1.0)
    # Class 0 has mass 2.5 and class 1 mass 0.5: shares of 1/2.5 each, and 0.5/2.5 + 0.5/0.5 for the mixed case.
    np.testing.assert_allclose(weights_n / weights_n[0], [1.0, 1.0, 3.0])
    scores = to_probabilities(np.array([[1.3, -0.2, -0.1], [0.4, 0.3, 0.3]]))
    assert scores.argmax(axis=1).tolist() == [0, 0]
    np.testing.assert_allclose(scores.sum(axis=1), 1.0)
