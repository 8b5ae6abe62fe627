"""The contracts of guidestore.testing over every guidance model and decoder by name and preset; that of fusions."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.fusion.common.fused import FusedDecoder
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.registry import (
    DECODERS_OF,
    FUSIONS,
    build_decoder,
    build_decoder_of,
    build_fusion,
    build_guidance,
    decoder_names,
    decoder_preset,
    guidance_names,
    load_decoder,
    load_fusion,
)
from guidestore.testing import (
    DecoderCase,
    DecoderContract,
    ForetellerCase,
    ForetellerContract,
    GuidanceCase,
    GuidanceContract,
)
from guidestore.testing.decoder import labelled
from guidestore.testing.guidance import same

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


BOUNDED = {"kernel_ridge", "retrieval"}
"""Far from all train cases these still predict what they have seen."""


def is_random(config: dict[str, Any]) -> bool:
    """Whether the seed matters: to networks and bagged or boosted trees."""
    return not {"epochs", "trees", "rounds"}.isdisjoint(config.get("decoder", config))


def guidance_case(name: str, params: dict[str, Any] | None = None, label: str = "") -> Any:
    config = build_guidance(name).config
    small = UNLIKE.get(name, SMALL if SMALL.keys() <= config.keys() else {}) if params is None else params
    # The mean of neighbours is flat between them.
    least_r2 = 0.7 if name == "retrieval" else 0.8
    case = GuidanceCase(name, small, is_random(config), least_r2, bounded=name in BOUNDED)
    return pytest.param(case, id=label or name)


GUIDANCE_CASES = [
    *map(guidance_case, guidance_names()),
    guidance_case("autoencoder", SMALL | {"loss": "mse+cosine+smooth_l1+logits"}, "all-losses"),
    guidance_case("contrastive", SMALL | {"loss": {"smooth_l1": 1.0, "logits": 0.5}}, "contrastive-logits"),
]
"""Every name and preset, parameters that keep it small, whether its seed matters."""
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
    weighted = "class_weights" in decoder_preset(name, params.get("target", "")).params
    case = DecoderCase(
        name,
        params,
        is_random(build_decoder(name, **params).config),
        # The released code's ReLU on the logits can kill a class for good.
        least_accuracy=0.55 if name == "radpath-released" else 0.85,
        of_two_classes={"class_weights": (1.0, 1.5)} if weighted else {},
    )
    return pytest.param(case, id="-".join([*more, name]))


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


@pytest.mark.parametrize("case", GUIDANCE_CASES)
class TestGuidance(GuidanceContract):
    pass


@pytest.mark.parametrize("case", DECODER_CASES)
class TestDecoders(DecoderContract):
    def test_val_only_chooses(self, case):
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
        one_choice = {**case.params, **single.get(case.model, {"epochs": 1}), "calibration": "none"}
        first, second = (replace(case, params=one_choice).fitted(val_seed=seed).tensors() for seed in (1, 2))
        if case.model == "linear_svm":  # one number that all margins are divided by is val's
            assert first.pop("temperature") != second.pop("temperature")
        assert same(first, second)
        scaling = {k: v for k, v in case.fitted(val_seed=2).tensors().items() if k.startswith("input_")}
        expected_mean = labelled()[0].astype(np.float64).mean(axis=0)
        if not decoder_preset(case.model, case.params.get("target", "")).params.get("standardise", True):
            expected_mean = np.zeros(5)
        if case.model not in UNSCALED:
            np.testing.assert_allclose(scaling["input_mean"], expected_mean)


SMALL_FORETELLERS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_units": 8, "epochs": 60, "learning_rate": 0.02},
    "random_forest": {"trees": 20},
    "xgboost": {"rounds": 40},
}


def foreteller_case(kind: TargetKind, name: str) -> Any:
    params = SMALL_FORETELLERS.get(name, {})
    case = ForetellerCase(name, kind, params, is_random(build_decoder_of(kind, name, **params).config))
    return pytest.param(case, id=f"{name}-of-{kind}")


@pytest.mark.parametrize(
    "case", [foreteller_case(kind, name) for kind in ("value", "survival") for name in DECODERS_OF[kind].names()]
)
class TestForetellers(ForetellerContract):
    pass


WIDTHS = (2, 3)
"""Of the two codes that `labelled` shows side by side."""


def halves(x_nd: np.ndarray) -> list[np.ndarray]:
    return np.hsplit(x_nd, [WIDTHS[0]])


def fit_fusion(name: str, params: dict[str, Any], *, seed: int = 3, val_seed: int = 1) -> Any:
    (x_nd, labels), (x_val_nd, labels_val) = labelled(), labelled(30, val_seed)
    fusion: Any = build_fusion(name, **params)
    return fusion.fit(halves(x_nd), labels, halves(x_val_nd), labels_val, n_classes=3, seed=seed)


@cache
def once(name: str) -> Any:
    """For tests that change nothing about it."""
    return fit_fusion(name, SMALL_FUSIONS.get(name, {}))


def fused(name: str, params: dict[str, Any], decoder: str = "logistic", **decoder_params: Any) -> FusedDecoder:
    fusion: Any = build_fusion(name, **params)
    return FusedDecoder(fusion, build_decoder(decoder, **decoder_params), WIDTHS)


@pytest.mark.parametrize(("name", "params", "random"), FUSION_CASES)
class TestFusions:
    def test_round_trip_is_bit_for_bit(self, name, params, random):
        fusion = once(name)
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
        first, again, other = (f.tensors() for f in (once(name), *(fit_fusion(name, params, seed=s) for s in (3, 4))))
        assert same(first, again)
        assert same(first, other) is not random

    def test_neither_reads_nor_moves_the_global_generator(self, name, params, random):
        import torch

        torch.manual_seed(2)
        first = once(name)
        torch.manual_seed(1)
        expected = torch.rand(1)
        torch.manual_seed(1)
        assert same(fit_fusion(name, params).tensors(), first.tensors())
        assert torch.equal(torch.rand(1), expected)

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
        fusion = once(name)
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
