"""The contracts of heads.protocol, over every guidance model and decoder by name and preset."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.common.linear import Linear
from guidestore.heads.errors import DivergedError
from guidestore.heads.fitting import fit_decoders, fit_guidance, needs_decoder
from guidestore.heads.fusion.common.fused import FusedDecoder
from guidestore.heads.protocol import DecoderProblem, GuidanceProblem
from guidestore.heads.registry import (
    FUSIONS,
    build_decoder,
    build_fusion,
    build_guidance,
    decoder_names,
    decoder_preset,
    guidance_names,
    load_decoder,
    load_fusion,
    load_guidance,
)

SMALL: dict[str, Any] = {"hidden": (16,), "epochs": 60, "dropout": 0.1, "learning_rate": 0.01}
UNLIKE: dict[str, dict[str, Any]] = {
    "autoencoder": {"hidden": (16, 8), "epochs": 60},
    "task_aware": {"hidden": (16, 8), "epochs": 60},
    "radpath-paper": {"hidden": (32, 16), "dropout": 0.0, "learning_rate": 0.02},
    "derm7pt-paper": {"hidden": (32,), "dropout": 0.0, "learning_rate": 0.02, "batch_size": 30, "epochs": 150},
    "derm7pt-released": {
        "hidden": (32, 16, 16, 32), "dropout": 0.0, "learning_rate": 0.02, "batch_size": 30, "epochs": 150,
    },
    "kernel_ridge": {"bandwidths": (1.0, 2.0)},
    "variational": SMALL | {"latent": 8},
}  # fmt: skip
"""What keeps these small; of others, those settings of SMALL that they have."""


def is_random(config: dict[str, Any]) -> bool:
    """Whether the seed matters: to networks and bagged or boosted trees."""
    return not {"epochs", "trees", "rounds"}.isdisjoint(config.get("decoder", config))


def guidance_case(name: str, params: dict[str, Any] | None = None, label: str = "") -> Any:
    config = build_guidance(name).config
    small = UNLIKE.get(name, SMALL if SMALL.keys() <= config.keys() else {}) if params is None else params
    return pytest.param(name, small, is_random(config), id=label or name)


GUIDANCE_CASES = [
    *map(guidance_case, guidance_names()),
    guidance_case("autoencoder", SMALL | {"loss": "mse+cosine+smooth_l1+logits"}, "all-losses"),
    guidance_case("contrastive", SMALL | {"loss": {"smooth_l1": 1.0, "logits": 0.5}}, "contrastive-logits"),
]
"""Every name and preset, parameters that keep it small, whether its seed matters."""
BOUNDED = {"kernel_ridge", "retrieval"}
"""Far from all train cases these still predict what they have seen."""
SMALL_DECODERS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_units": 8, "epochs": 40},
    "radpath-paper": {"hidden_units": 8, "epochs": 40, "learning_rate": 0.05},
    "radpath-released": {"epochs": 40, "learning_rate": 0.05, "dropout": 0.1},
    "derm7pt-paper": {"target": "PN", "epochs": 40, "learning_rate": 0.05},
    "derm7pt-released": {"target": "PN", "epochs": 40, "learning_rate": 0.05},
    "demo": {"hidden_units": 8, "epochs": 40, "learning_rate": 0.05},
    "random_forest": {"trees": 20},
    "xgboost": {"rounds": 40},
}


def decoder_case(name: str, **more: Any) -> Any:
    params = SMALL_DECODERS.get(name, {}) | more
    return pytest.param(name, params, is_random(build_decoder(name, **params).config), id="-".join([*more, name]))


DECODER_CASES = [
    *map(decoder_case, decoder_names()),
    decoder_case("mlp", calibration="temperature"),
    decoder_case("knn", calibration="temperature"),
]
"""As GUIDANCE_CASES."""

UNSCALED = {"random_forest", "xgboost"}
"""Trees read codes as they are."""

SMALL_FUSIONS: dict[str, dict[str, Any]] = {
    "gated": {"width": 6, "epochs": 20},
    "kronecker": {"width": 4, "epochs": 20},
    "orthogonal": {"width": 4, "epochs": 20},
}
FUSION_CASES = [
    pytest.param(name, SMALL_FUSIONS.get(name, {}), is_random(cast(Any, build_fusion(name)).config), id=name)
    for name in FUSIONS.names()
]


def pairs(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """z_I (n, 6) and a non-negative z_S (n, 4) that mostly follows from it."""
    rng = np.random.default_rng(seed)
    z_inferior_nd = rng.normal(size=(n, 6))
    mix = np.random.default_rng(99).normal(size=(6, 4))
    z_superior_nd = np.maximum(z_inferior_nd @ mix + 3.0, 0.0) + 0.05 * rng.random((n, 4))
    return z_inferior_nd.astype(np.float32), z_superior_nd.astype(np.float32)


D_S = Linear(np.random.default_rng(97).normal(size=(3, 4)), np.zeros(3))
"""For those that are trained through it."""


def through(model: Any) -> dict[str, Any]:
    return {"decoder": D_S} if needs_decoder(model) else {}


def fit_model(name: str, params: dict[str, Any], *, seed: int = 3) -> Any:
    model = build_guidance(name, **params)
    return model.fit(*pairs(), seed=seed, **through(model))


def labelled(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 5) codes on an offset and labels of three classes that lie apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.random.default_rng(98).normal(scale=2.0, size=(3, 5))
    return (centres[labels] + rng.normal(size=(n, 5))).astype(np.float32), labels


def fit_decoder(name, params, *, seed=3, val_seed=1, train=None):
    x_nd, labels = labelled() if train is None else train
    return build_decoder(name, **params).fit(x_nd, labels, *labelled(30, val_seed), n_classes=3, seed=seed)


def few_epochs(params: dict[str, Any]) -> dict[str, Any]:
    """Training amplifies the rounding in which a batch differs from a fit alone; 3 epochs do not."""
    return params | {"epochs": 3} if "epochs" in params or "hidden" in params else params


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize(("name", "params", "random"), GUIDANCE_CASES)
class TestGuidance:
    def test_round_trip_predicts_bit_for_bit(self, name, params, random):
        model = fit_model(name, params)
        config = json.loads(json.dumps(model.config))
        loaded = load_guidance(config, {k: v.copy() for k, v in model.tensors().items()})
        held_out_nd = pairs(17, seed=5)[0]
        predicted_nd = model.predict(held_out_nd)
        assert predicted_nd.dtype == np.float32
        assert predicted_nd.shape == (17, 4)
        assert np.array_equal(loaded.predict(held_out_nd), predicted_nd)
        assert loaded.config == model.config
        assert same(loaded.tensors(), model.tensors())
        assert all(tensor.flags.c_contiguous for tensor in model.tensors().values())

    def test_explains_held_out_pairs(self, name, params, random):
        model = fit_model(name, params)
        x_nd, y_nd = pairs(200, seed=5)
        r2 = 1 - ((model.predict(x_nd) - y_nd) ** 2).sum() / ((y_nd - y_nd.mean(axis=0)) ** 2).sum()
        # The mean of neighbours is flat between them.
        assert r2 > (0.7 if name == "retrieval" else 0.8)

    def test_the_seed_alone_decides(self, name, params, random):
        first, again, other = (fit_model(name, params, seed=seed) for seed in (3, 3, 4))
        assert same(first.tensors(), again.tensors())
        assert same(first.tensors(), other.tensors()) is not random

    def test_neither_reads_nor_moves_the_global_generator(self, name, params, random):
        import torch

        torch.manual_seed(1)
        expected = torch.rand(1)
        torch.manual_seed(1)
        first = fit_model(name, params)
        assert torch.equal(torch.rand(1), expected)
        torch.manual_seed(2)
        assert same(fit_model(name, params).tensors(), first.tensors())

    def test_several_at_once_are_each_as_alone(self, name, params, random):
        params = few_epochs(params)
        models = [build_guidance(name, **params) for _ in range(3)]
        problems = [GuidanceProblem(m, *pairs(), 3 + i, **through(m)) for i, m in enumerate(models)]
        x_nd = pairs(17, seed=5)[0]
        for problem, fitted in zip(problems, fit_guidance(problems), strict=True):
            assert fitted is problem.model
            alone = fit_model(name, params, seed=problem.seed)
            np.testing.assert_allclose(problem.model.predict(x_nd), alone.predict(x_nd), rtol=1e-4, atol=1e-4)
            assert problem.model.facts.keys() == alone.facts.keys()

    def test_a_row_does_not_depend_on_its_neighbours(self, name, params, random):
        model = fit_model(name, params)
        x_nd = pairs(9, seed=5)[0]
        np.testing.assert_allclose(model.predict(x_nd[4:5])[0], model.predict(x_nd)[4], rtol=1e-6)

    def test_refuses_bad_input_in_one_sentence(self, name, params, random):
        x_nd, y_nd = pairs()
        model = build_guidance(name, **params)
        with pytest.raises(InvalidInputError, match="not fitted"):
            model.predict(x_nd)
        with pytest.raises(InvalidInputError, match="not fitted"):
            model.tensors()
        with pytest.raises(InvalidInputError, match="120 rows of z_I but 119 of z_S"):
            model.fit(x_nd, y_nd[1:], seed=0, **through(model))
        with pytest.raises(InvalidInputError, match=r"not finite float32 in 1 of 120 rows \(first: 7\)"):
            model.fit(np.where(np.arange(120)[:, None] == 7, np.nan, x_nd), y_nd, seed=0, **through(model))
        with pytest.raises(InvalidInputError, match="seed -1"):
            model.fit(x_nd, y_nd, seed=-1, **through(model))
        model.fit(x_nd, y_nd, seed=0, **through(model))
        with pytest.raises(InvalidInputError, match="have 5 dimensions, but 6 were fitted"):
            model.predict(x_nd[:, 1:])
        with pytest.raises(InvalidInputError, match="is missing"):
            load_guidance(model.config, {})
        with pytest.raises(InvalidInputError, match="lacks"):
            load_guidance({"name": model.name}, model.tensors())

    def test_a_constant_column_does_no_harm(self, name, params, random):
        x_nd, y_nd = pairs()
        x_nd[:, 0], y_nd[:, 0] = 2.0, 5.0
        model = build_guidance(name, **params)
        predicted_nd = model.fit(x_nd, y_nd, seed=0, **through(model)).predict(x_nd)
        assert abs(predicted_nd[:, 0].mean() - 5.0) < 0.3

    def test_refuses_predictions_beyond_float32(self, name, params, random):
        model = fit_model(name, params)
        far_nd = np.random.default_rng(0).uniform(-3e38, 3e38, size=(500, 6))
        if name in BOUNDED:
            assert np.isfinite(model.predict(far_nd)).all()
            return
        with pytest.raises(DivergedError, match="not finite"):
            model.predict(far_nd)

    def test_a_parameter_that_is_not_there_is_refused_with_the_nearest(self, name, params, random):
        with pytest.raises(InvalidInputError, match="parameter 'hiden' is unknown"):
            build_guidance(name, hiden=3)

    def test_a_few_cases_with_more_dimensions_are_enough(self, name, params, random):
        x_nd, y_nd = pairs(40)
        wide_nd = np.hstack([x_nd, np.random.default_rng(1).normal(size=(40, 60))])
        for n in (2, 3, 5, 40):
            model = build_guidance(name, **few_epochs(params))
            predicted_nd = model.fit(wide_nd[:n], y_nd[:n], seed=0, **through(model)).predict(wide_nd)
            assert predicted_nd.shape == (40, 4)

    def test_codes_that_are_all_equal_teach_their_mean(self, name, params, random):
        model = build_guidance(name, **few_epochs(params))
        x_nd, y_nd = np.full((20, 6), 2.0), np.full((20, 4), 5.0)
        predicted_nd = model.fit(x_nd, y_nd, seed=0, **through(model)).predict(x_nd)
        assert np.isfinite(predicted_nd).all()
        if not random:
            np.testing.assert_allclose(predicted_nd, 5.0)


@pytest.mark.parametrize(("name", "params", "random"), DECODER_CASES)
class TestDecoders:
    def test_round_trip_predicts_bit_for_bit(self, name, params, random):
        decoder = fit_decoder(name, params)
        loaded = load_decoder(
            json.loads(json.dumps(decoder.config)), {k: v.copy() for k, v in decoder.tensors().items()}
        )
        x_nd, _ = labelled(19, seed=5)
        probabilities = decoder.predict_proba(x_nd)
        assert probabilities.dtype == np.float64
        assert probabilities.shape == (19, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-12)
        assert np.array_equal(loaded.predict_proba(x_nd), probabilities)
        assert loaded.config == decoder.config
        assert same(loaded.tensors(), decoder.tensors())

    def test_learns_an_easy_problem(self, name, params, random):
        x_nd, labels = labelled(300, seed=5)
        accuracy = (fit_decoder(name, params).predict_proba(x_nd).argmax(axis=1) == labels).mean()
        # The released code's ReLU on the logits can kill a class for good.
        assert accuracy > (0.55 if name == "radpath-released" else 0.85)

    def test_two_classes(self, name, params, random):
        x_nd, labels = labelled(90)
        x_val_nd, labels_val = labelled(30, seed=1)
        if "class_weights" in decoder_preset(name, params.get("target", "")).params:
            params = params | {"class_weights": (1.0, 1.5)}
        decoder = build_decoder(name, **params)
        decoder.fit(x_nd, labels // 2, x_val_nd, labels_val // 2, n_classes=2, seed=0)
        x_nd, labels = labelled(300, seed=5)
        probabilities = decoder.predict_proba(x_nd)
        assert probabilities.shape == (300, 2)
        assert (probabilities.argmax(axis=1) == labels // 2).mean() > 0.8

    def test_the_seed_alone_decides(self, name, params, random):
        first, again, other = (fit_decoder(name, params, seed=seed).tensors() for seed in (3, 3, 4))
        assert same(first, again)
        assert same(first, other) is not random

    def test_neither_reads_nor_moves_the_global_generator(self, name, params, random):
        import torch

        torch.manual_seed(1)
        expected = torch.rand(1)
        torch.manual_seed(1)
        first = fit_decoder(name, params)
        assert torch.equal(torch.rand(1), expected)
        torch.manual_seed(2)
        assert same(fit_decoder(name, params).tensors(), first.tensors())

    def test_several_at_once_are_each_as_alone(self, name, params, random):
        params, train, val = few_epochs(params), labelled(), labelled(30, seed=1)
        problems = [DecoderProblem(build_decoder(name, **params), *train, *val, 3, seed) for seed in (3, 4, 5)]
        x_nd, _ = labelled(19, seed=5)
        for problem, fitted in zip(problems, fit_decoders(problems), strict=True):
            assert fitted is problem.decoder
            alone = fit_decoder(name, params, seed=problem.seed)
            np.testing.assert_allclose(problem.decoder.predict_proba(x_nd), alone.predict_proba(x_nd), atol=1e-4)
            assert problem.decoder.facts.keys() == alone.facts.keys()

    def test_val_only_chooses(self, name, params, random):
        """Val moves the scaling never, and the weights only among those that train alone would give."""
        single = {
            "logistic": {"Cs": (0.1,)},
            "linear_svm": {"Cs": (0.01,)},
            "knn": {"ks": (3,)},
            "prototype": {"temperatures": (1.0,)},
            "random_forest": {"min_leaves": (2,)},
            "xgboost": {"rounds": 1},
            "least_squares": {},
        }
        one_choice = params | single.get(name, {"epochs": 1}) | {"calibration": "none"}
        first, second = (fit_decoder(name, one_choice, val_seed=seed).tensors() for seed in (1, 2))
        if name == "linear_svm":  # one number that all margins are divided by is val's
            assert first.pop("temperature") != second.pop("temperature")
        assert same(first, second)
        scaling = {k: v for k, v in fit_decoder(name, params, val_seed=2).tensors().items() if k.startswith("input_")}
        expected_mean = labelled()[0].astype(np.float64).mean(axis=0)
        if not decoder_preset(name, params.get("target", "")).params.get("standardise", True):
            expected_mean = np.zeros(5)
        if name not in UNSCALED:
            np.testing.assert_allclose(scaling["input_mean"], expected_mean)

    def test_refuses_bad_input_in_one_sentence(self, name, params, random):
        x_nd, labels = labelled()
        val = labelled(30, seed=1)
        decoder = build_decoder(name, **params)
        with pytest.raises(InvalidInputError, match="not fitted"):
            decoder.predict_proba(x_nd)
        with pytest.raises(InvalidInputError, match="run from -1 to 1"):
            decoder.fit(x_nd, labels - 1, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="no train row has class 2"):
            decoder.fit(x_nd, labels % 2, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="val codes have 0 rows"):
            decoder.fit(x_nd, labels, x_nd[:0], labels[:0], n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="val codes have 4 dimensions, but 5"):
            decoder.fit(x_nd, labels, val[0][:, 1:], val[1], n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="at least 2 classes"):
            decoder.fit(x_nd, labels * 0, val[0], val[1] * 0, n_classes=1, seed=0)
        decoder.fit(x_nd, labels, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="not finite float32 in 90 of 90 rows"):
            decoder.predict_proba(x_nd * np.nan)
        with pytest.raises(InvalidInputError, match="is missing"):
            load_decoder(decoder.config, {})


WIDTHS = (2, 3)
"""Of the two codes that `labelled` shows side by side."""


def halves(x_nd: np.ndarray) -> list[np.ndarray]:
    return np.hsplit(x_nd, [WIDTHS[0]])


def fit_fusion(name: str, params: dict[str, Any], *, seed: int = 3, val_seed: int = 1) -> Any:
    (x_nd, labels), (x_val_nd, labels_val) = labelled(), labelled(30, val_seed)
    fusion: Any = build_fusion(name, **params)
    return fusion.fit(halves(x_nd), labels, halves(x_val_nd), labels_val, n_classes=3, seed=seed)


def fused(name: str, params: dict[str, Any], decoder: str = "logistic", **decoder_params: Any) -> FusedDecoder:
    fusion: Any = build_fusion(name, **params)
    return FusedDecoder(fusion, build_decoder(decoder, **decoder_params), WIDTHS)


@pytest.mark.parametrize(("name", "params", "random"), FUSION_CASES)
class TestFusions:
    def test_round_trip_is_bit_for_bit(self, name, params, random):
        fusion = fit_fusion(name, params)
        loaded = load_fusion(json.loads(json.dumps(fusion.config)), {k: v.copy() for k, v in fusion.tensors().items()})
        blocks = halves(labelled(19, seed=5)[0])
        views = fusion.views(blocks)
        assert len(views) == fusion.n_views
        for view_nd, again_nd in zip(views, loaded.views(blocks), strict=True):
            assert (view_nd.dtype, view_nd.ndim, len(view_nd)) == (np.float32, 2, 19)
            assert np.array_equal(view_nd, again_nd)
        assert loaded.config == fusion.config
        assert same(loaded.tensors(), fusion.tensors())
        assert all(tensor.flags.c_contiguous for tensor in fusion.tensors().values())

    @pytest.mark.parametrize(
        ("decoder", "settings"),
        [("logistic", {}), ("mlp", {"epochs": 5}), ("knn", {"calibration": "temperature"}), ("xgboost", {"rounds": 5})],
    )
    def test_with_a_decoder_it_is_a_decoder(self, name, params, random, decoder, settings):
        model = fused(name, params, decoder, **settings)
        config = json.loads(json.dumps(model.config))
        model.fit(*labelled(), *labelled(30, 1), n_classes=3, seed=0)
        assert json.loads(json.dumps(model.config)) == config
        x_nd, _ = labelled(19, seed=5)
        probabilities = model.predict_proba(x_nd)
        assert (probabilities.dtype, probabilities.shape) == (np.float64, (19, 3))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-12)
        np.testing.assert_allclose(model.predict_proba(x_nd[4:5])[0], probabilities[4], rtol=1e-4)
        loaded = load_decoder(config, {k: v.copy() for k, v in model.tensors().items()})
        assert np.array_equal(loaded.predict_proba(x_nd), probabilities)
        assert loaded.config == config
        assert same(loaded.tensors(), model.tensors())

    def test_learns_an_easy_problem(self, name, params, random):
        model = fused(name, params).fit(*labelled(), *labelled(30, 1), n_classes=3, seed=0)
        x_nd, labels = labelled(300, seed=5)
        # Late: the first code alone tells two of the classes apart badly.
        assert (model.predict_proba(x_nd).argmax(axis=1) == labels).mean() > 0.8

    def test_the_seed_alone_decides(self, name, params, random):
        first, again, other = (fit_fusion(name, params, seed=seed).tensors() for seed in (3, 3, 4))
        assert same(first, again)
        assert same(first, other) is not random

    def test_neither_reads_nor_moves_the_global_generator(self, name, params, random):
        import torch

        torch.manual_seed(1)
        expected = torch.rand(1)
        torch.manual_seed(1)
        first = fit_fusion(name, params)
        assert torch.equal(torch.rand(1), expected)
        torch.manual_seed(2)
        assert same(fit_fusion(name, params).tensors(), first.tensors())

    def test_several_at_once_are_each_as_alone(self, name, params, random):
        models = [fused(name, params, "mlp", epochs=3) for _ in range(3)]
        problems = [DecoderProblem(m, *labelled(), *labelled(30, 1), 3, 3 + i) for i, m in enumerate(models)]
        x_nd, _ = labelled(19, seed=5)
        fitted: Any
        for problem, fitted in zip(problems, fit_decoders(problems), strict=True):
            assert fitted is problem.decoder
            alone = fused(name, params, "mlp", epochs=3)
            alone.fit(*labelled(), *labelled(30, 1), n_classes=3, seed=problem.seed)
            np.testing.assert_allclose(fitted.predict_proba(x_nd), alone.predict_proba(x_nd), atol=1e-4)
            assert fitted.facts.keys() == alone.facts.keys()

    def test_val_only_stops(self, name, params, random):
        once = params | {"epochs": 1} if random else params
        first, second = (fit_fusion(name, once, val_seed=seed).tensors() for seed in (1, 2))
        assert same(first, second)

    def test_a_row_does_not_depend_on_its_neighbours(self, name, params, random):
        fusion = fit_fusion(name, params)
        blocks = halves(labelled(9, seed=5)[0])
        for view_nd, one_nd in zip(fusion.views(blocks), fusion.views([b[4:5] for b in blocks]), strict=True):
            np.testing.assert_allclose(one_nd[0], view_nd[4], rtol=1e-5, atol=1e-7)

    def test_refuses_bad_input_in_one_sentence(self, name, params, random):
        x_nd, labels = labelled()
        (left_nd, right_nd), val = halves(x_nd), (halves(labelled(30, 1)[0]), labelled(30, 1)[1])
        fusion: Any = build_fusion(name, **params)
        with pytest.raises(InvalidInputError, match="not fitted"):
            fusion.views([left_nd, right_nd])
        with pytest.raises(InvalidInputError, match="not fitted"):
            fusion.tensors()
        with pytest.raises(InvalidInputError, match="90 rows of the left code but 89 of the right"):
            fusion.fit([left_nd, right_nd[1:]], labels, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="a fusion combines two"):
            fusion.fit([left_nd], labels, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match=r"right codes are not finite float32 in 90 of 90 rows"):
            fusion.fit([left_nd, right_nd * np.nan], labels, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="no train row has class 2"):
            fusion.fit([left_nd, right_nd], labels % 2, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="val: left codes have 3 dimensions, but 2 were fitted"):
            fusion.fit([left_nd, right_nd], labels, val[0][::-1], val[1], n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="seed -1"):
            fusion.fit([left_nd, right_nd], labels, *val, n_classes=3, seed=-1)
        fusion.fit([left_nd, right_nd], labels, *val, n_classes=3, seed=0)
        with pytest.raises(InvalidInputError, match="left codes have 3 dimensions, but 2 were fitted"):
            fusion.views([right_nd, left_nd])
        with pytest.raises(InvalidInputError, match="is missing"):
            load_fusion(fusion.config, {})
        with pytest.raises(InvalidInputError, match="parameter 'widht' is unknown"):
            build_fusion(name, widht=3)

    def test_a_few_cases_with_more_dimensions_are_enough(self, name, params, random):
        rng = np.random.default_rng(1)
        wide_nd, labels = rng.normal(size=(6, 60)), np.arange(6) % 3
        wide_nd[:, 0] = 2.0
        fusion: Any = build_fusion(name, **params)
        fusion.fit([wide_nd[:, :20], wide_nd[:, 20:]], labels, [wide_nd[:1, :20], wide_nd[:1, 20:]], labels[:1],
                   n_classes=3, seed=0)  # fmt: skip
        assert all(np.isfinite(view_nd).all() for view_nd in fusion.views([wide_nd[:, :20], wide_nd[:, 20:]]))
