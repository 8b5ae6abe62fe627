"""Random forest and boosted trees: as their packages predict, and back from the store bit for bit."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.random_forest import RandomForest
from guidestore.heads.decoders.xgboost import Xgboost
from guidestore.heads.forest import flatten, take_forest, walk
from guidestore.heads.registry import build_decoder, load_decoder


def blobs(n: int, seed: int, d: int = 6, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.random.default_rng(5).normal(size=(3, d))
    return (centres[labels] + spread * rng.normal(size=(n, d))).astype(np.float32), labels


TRAIN, VAL, TEST = blobs(90, 0), blobs(30, 1), blobs(200, 2)


class TestForest:
    def test_is_walked_as_scikit_learn_walks_it(self):
        from sklearn.ensemble import RandomForestClassifier

        (x_nd, labels), (x_test_nd, _) = TRAIN, TEST
        decoder = RandomForest(trees=9, min_leaves=(2,), class_weights="none").fit(*TRAIN, *VAL, n_classes=3, seed=7)
        generator = np.random.RandomState(np.random.MT19937(7))
        reference = RandomForestClassifier(9, min_samples_leaf=2, random_state=generator)
        reference.fit(x_nd, labels, sample_weight=np.ones(90))
        thresholds = np.concatenate([tree.tree_.threshold[tree.tree_.feature >= 0] for tree in reference.estimators_])
        columns = np.concatenate([tree.tree_.feature[tree.tree_.feature >= 0] for tree in reference.estimators_])
        at_thresholds_nd = np.zeros((len(thresholds), 6), dtype=np.float32)
        at_thresholds_nd[np.arange(len(thresholds)), columns] = thresholds
        for codes_nd in (x_test_nd, at_thresholds_nd):
            expected = np.asarray(reference.predict_proba(codes_nd))
            np.testing.assert_allclose(walk(decoder.tensors(), codes_nd) / 9, expected, atol=1e-6)
            np.testing.assert_allclose(decoder.predict_proba(codes_nd), (9 * expected + 1 / 3) / 10, atol=1e-6)

    def test_no_class_is_impossible_and_the_likeliest_is_the_forests(self):
        decoder = RandomForest(trees=20, min_leaves=(1,)).fit(*TRAIN, *VAL, n_classes=3, seed=0)
        scores_nk = walk(decoder.tensors(), TEST[0])
        probabilities = decoder.predict_proba(TEST[0])
        assert (scores_nk == 0).any()
        assert probabilities.min() > 0
        assert probabilities.argmax(axis=1).tolist() == scores_nk.argmax(axis=1).tolist()

    def test_leaves_are_of_the_size_with_the_least_val_loss(self):
        train, val = blobs(90, 0, spread=3.0), blobs(90, 1, spread=3.0)
        decoder = RandomForest(trees=30).fit(*train, *val, n_classes=3, seed=0)
        losses = {
            size: RandomForest(trees=30, min_leaves=(size,)).fit(*train, *val, n_classes=3, seed=0).facts["val_loss"]
            for size in (1, 3, 10)
        }
        assert decoder.facts["min_leaf"] == min(losses, key=lambda size: losses[size])
        assert decoder.facts["val_loss"] == min(losses.values())

    def test_neither_reads_nor_moves_numpys_generator(self):
        np.random.seed(1)
        expected = np.random.rand()
        for name in ("random_forest", "xgboost", "linear_svm"):
            np.random.seed(1)
            build_decoder(name).fit(*TRAIN, *VAL, n_classes=3, seed=0)
            assert np.random.rand() == expected

    @pytest.mark.parametrize(
        ("name", "change", "sentence"),
        [
            ("left", lambda left: left + 1000.0, "'left' leads outside the trees"),
            ("column", lambda column: column + 6, "'column' leads outside the trees"),
            ("right", lambda right: np.zeros_like(right), "lead back to where they came from"),
            ("threshold", lambda threshold: threshold[1:], "'threshold' is float64 of shape"),
            ("scores", lambda scores: scores * np.nan, "must be finite floats"),
        ],
    )
    def test_what_is_no_forest_is_refused_before_it_is_walked(self, name, change, sentence):
        decoder = RandomForest(trees=3).fit(*TRAIN, *VAL, n_classes=3, seed=0)
        broken = decoder.tensors() | {name: change(decoder.tensors()[name])}
        with pytest.raises(InvalidInputError, match=f"random_forest: .*{sentence}"):
            load_decoder(decoder.config, broken)

    def test_classifiers_and_regressors_are_kept_alike(self):
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        x_nd, labels = TRAIN
        classifier = DecisionTreeClassifier(random_state=0, max_depth=2).fit(x_nd, labels)
        regressor = DecisionTreeRegressor(random_state=0, max_depth=2).fit(x_nd, np.eye(3)[labels])
        both = [take_forest(flatten([tree.tree_]), 6, "test") for tree in (classifier, regressor)]
        np.testing.assert_allclose(walk(both[0], TEST[0]), classifier.predict_proba(TEST[0]), atol=1e-6)
        np.testing.assert_allclose(walk(both[1], TEST[0]), regressor.predict(TEST[0]), atol=1e-6)


class TestXgboost:
    def test_predicts_what_the_package_does_with_its_best_rounds(self):
        import xgboost

        decoder = Xgboost(rounds=60, patience=5).fit(*TRAIN, *VAL, n_classes=3, seed=3)
        assert 1 <= decoder.facts["rounds"] < 60
        codes, _ = TRAIN
        rows = xgboost.DMatrix(codes, TRAIN[1], nthread=1)
        params = {
            "objective": "multi:softprob", "num_class": 3, "max_depth": 2, "learning_rate": 0.1, "subsample": 0.8,
            "tree_method": "hist", "seed": 3, "nthread": 1,
        }  # fmt: skip
        booster = xgboost.train(params, rows, int(decoder.facts["rounds"]))
        expected = booster.predict(xgboost.DMatrix(TEST[0]))
        np.testing.assert_allclose(decoder.predict_proba(TEST[0]), expected, atol=1e-5)
        chosen = decoder.predict_proba(VAL[0])[np.arange(30), VAL[1]]
        assert decoder.facts["val_loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-5)

    def test_comes_back_from_a_safetensors_file_bit_for_bit(self):
        from safetensors.numpy import load, save

        decoder = Xgboost(rounds=20).fit(*TRAIN, *VAL, n_classes=3, seed=2**63 - 1)
        loaded = load_decoder(decoder.config, load(save(decoder.tensors())))
        assert np.array_equal(loaded.predict_proba(TEST[0]), decoder.predict_proba(TEST[0]))
        assert np.array_equal(loaded.tensors()["trees"], decoder.tensors()["trees"])

    def test_damaged_bytes_are_refused_in_a_sentence(self):
        decoder = Xgboost(rounds=3).fit(*TRAIN, *VAL, n_classes=3, seed=0)
        tensors = decoder.tensors()
        flipped = tensors["trees"].copy()
        flipped[len(flipped) // 2] ^= 1
        for trees in (flipped, tensors["trees"][:-9], np.array([], dtype=np.uint8)):
            with pytest.raises(InvalidInputError, match="xgboost: the bytes of its trees are damaged; train it again"):
                load_decoder(decoder.config, tensors | {"trees": trees})
        with pytest.raises(InvalidInputError, match="'trees' is float64 of shape"):
            load_decoder(decoder.config, tensors | {"trees": np.zeros(3)})
        foreign = np.frombuffer(b"no model", dtype=np.uint8)
        checked = {"trees": foreign, "trees_crc32": np.array([float(zlib.crc32(b"no model"))])}
        with pytest.raises(InvalidInputError, match="xgboost: its trees cannot be read"):
            load_decoder(decoder.config, checked)

    def test_reads_some_columns_of_wide_codes(self):
        """64 of 400 columns for each tree: with one round, three trees of three splits."""
        train, val = blobs(90, 0, d=400), blobs(30, 1, d=400)
        first, second = (Xgboost(rounds=1).fit(*train, *val, n_classes=3, seed=seed) for seed in (0, 1))
        assert not np.array_equal(first.predict_proba(val[0]), second.predict_proba(val[0]))
        with pytest.raises(InvalidInputError, match="have 399 dimensions, but 400 were fitted"):
            first.predict_proba(val[0][:, 1:])


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("xgboost", {"row_share": 1.5}, "row_share is 1.5; it must be a number above 0 up to 1"),
        ("xgboost", {"n_jobs": 2}, "parameter 'n_jobs' is unknown"),
        ("random_forest", {"min_leaves": (0,)}, "an entry is 0; it must be an integer of at least 1"),
        ("linear_svm", {"Cs": ()}, "Cs is .*; it must be a list of at least 1"),
    ],
)
def test_parameters_are_refused_in_a_sentence(name, params, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        build_decoder(name, **params)
