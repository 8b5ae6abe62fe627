"""Decoders of values, survival, grades and several labels: as others' packages say, and back from the store."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load, save
from sklearn.metrics import cohen_kappa_score

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.cox import Baseline, RidgePath, RiskSets, martingale_residuals
from guidestore.heads.fitting import fit_decoders
from guidestore.heads.metrics import evaluate
from guidestore.heads.onnx_graph.graph import Graph, Value
from guidestore.heads.outcomes import said
from guidestore.heads.proportional_odds import fit_odds, grade_probabilities
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.registry import build_decoder_of, decoder_names_of, load_any_decoder
from tests.outcome_store import mediated

OF = {"value": "length", "survival": "os", "ordinal": "grade", "multilabel": "findings"}
FAST: dict[str, dict[str, Any]] = {
    "mlp": {"epochs": 20, "patience": 20},
    "discrete_time": {"epochs": 20, "patience": 20},
    "random_forest": {"trees": 10, "min_leaves": (3,)},
    "xgboost": {"rounds": 20},
}
EVERY = [(kind, name) for kind in ("value", "survival") for name in decoder_names_of(kind)]
EVERY += [("ordinal", "proportional_odds"), ("ordinal", "mlp"), ("multilabel", "logistic")]


def cases(kind: str, n: int = 140, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Codes and outcomes of train and val."""
    made = mediated(n + 60, seed)
    x_nd, y = made["z_s"], made[OF[kind]]
    return x_nd[:n], y[:n], x_nd[n:], y[n:]


def fitted(kind: str, name: str, **params: Any) -> Any:
    n_classes = {"ordinal": 3, "multilabel": 2}.get(kind, 1)
    decoder: Any = build_decoder_of(kind, name, **{**FAST.get(name, {}), **params})  # pyright: ignore[reportArgumentType]
    return decoder.fit(*cases(kind), n_classes=n_classes, seed=3)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_decoder_learns_comes_back_bit_for_bit_and_is_the_same_in_onnx(kind: str, name: str) -> None:
    decoder = fitted(kind, name)
    *_, new_nd, new_y = cases(kind)
    told = said(decoder, new_nd, 20.0)
    loaded = load_any_decoder(decoder.config, load(save(decoder.tensors())))
    assert decoder.config["kind"] == kind
    np.testing.assert_array_equal(said(loaded, new_nd, 20.0), told)
    known = ~np.isnan(new_y).all(axis=1) if kind == "multilabel" else slice(None)
    names = {"ordinal": ("a", "b", "c"), "multilabel": ("a", "b")}.get(kind, ())
    reference, of = (20.0 if kind == "survival" else 50.0), cast(Any, kind)
    scores = evaluate(new_y[known], told[known], names, kind=of, reference=reference)
    main, least = {
        "value": ("r2", 0.1),
        "survival": ("uno_c", 0.6),
        "ordinal": ("quadratic_kappa", 0.2),
        "multilabel": ("macro_auroc", 0.7),
    }[kind]
    assert scores[main] > least
    graph = Graph()
    width = told.shape[1] if kind in ("ordinal", "multilabel") else 1
    out = decoder.onnx(Value(graph, "z").cast(np.float64))
    model = onnxruntime.InferenceSession(graph.serialize({"z": ("n", new_nd.shape[1])}, {"out": (out, "n", width)}))
    (run,) = model.run(None, {"z": new_nd})
    np.testing.assert_allclose(run, told[:, :width], rtol=1e-5, atol=1e-5)


def test_a_label_that_no_val_case_was_looked_at_for_is_told_and_not_stopped_on_train() -> None:
    x_nd, y, x_val_nd, y_val = cases("multilabel")
    y_val = np.where(np.arange(2) == 1, np.nan, y_val)
    decoder: Any = build_decoder_of("multilabel", "logistic")
    with pytest.raises(InvalidInputError, match="no val case was looked at for label 2 of 2"):
        decoder.fit(x_nd, y, x_val_nd, y_val, n_classes=2, seed=3)


@pytest.mark.parametrize("kind", ["value", "survival", "ordinal"])
def test_networks_of_a_batch_are_those_that_are_fitted_alone(kind: str) -> None:
    train, n_classes = cases(kind), {"ordinal": 3}.get(kind, 1)
    problems = [
        DecoderProblem(build_decoder_of(kind, "mlp", **FAST["mlp"]), *train, n_classes, seed)  # pyright: ignore[reportArgumentType]
        for seed in (3, 4)
    ]
    together: list[Any] = fit_decoders(problems)
    np.testing.assert_allclose(said(together[0], train[2]), said(fitted(kind, "mlp"), train[2]), rtol=1e-3, atol=1e-4)
    assert not np.allclose(said(together[0], train[2]), said(together[1], train[2]))


def test_ridge_and_least_squares_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    x_nd, y, new_nd, _ = cases("value")
    scale = StandardScaler().fit(x_nd.astype(float))
    scaled, new = scale.transform(x_nd.astype(float)), scale.transform(new_nd.astype(float))
    expected = Ridge(alpha=0.3 * len(y)).fit(scaled, y).predict(new)
    np.testing.assert_allclose(fitted("value", "ridge", alphas=(0.3,)).predict(new_nd), expected, rtol=1e-6)
    expected = LinearRegression().fit(scaled, y).predict(new)
    np.testing.assert_allclose(fitted("value", "least_squares").predict(new_nd), expected, rtol=1e-6)


def tied() -> tuple[np.ndarray, np.ndarray]:
    """As tests.heads.test_metrics_of_outcomes.survival_cases, times rounded up: (60, 2) codes and outcomes."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=60)
    died = np.round(rng.exponential(np.exp(-0.8 * x)) * 10 + 0.05 * np.arange(60) / 60 + 0.01, 4)
    left = np.round(rng.exponential(12, size=60) + 0.0123, 4)
    return np.column_stack([x, np.sin(3 * x)]), np.column_stack([np.ceil(np.minimum(died, left)), died <= left])


class TestCox:
    def test_efrons_ties_are_those_of_lifelines_and_statsmodels(self) -> None:
        """lifelines 0.30.3: CoxPHFitter().fit(…) of `tied`: params_, log_likelihood_."""
        from statsmodels.duration.hazard_regression import PHReg

        x_nd, y = tied()
        sets = RiskSets.of(y)
        (weight_d,) = RidgePath.of(x_nd - x_nd.mean(axis=0), sets).fit((1e-10,))
        np.testing.assert_allclose(weight_d, [0.4864708, -0.06489689], atol=1e-5)
        assert sets.loss(x_nd @ weight_d)[0] == pytest.approx(111.7087413012892)
        model = PHReg(y[:, 0], x_nd, status=y[:, 1], ties="efron")
        at = np.array([0.3, -0.2])
        loss, gradient_n = sets.loss(x_nd @ at)
        assert -loss == pytest.approx(model.loglike(at))
        np.testing.assert_allclose(-x_nd.T @ gradient_n, model.score(at))
        np.testing.assert_allclose(-sets.curvature(x_nd), model.hessian(np.zeros(2)))

    def test_the_loss_of_networks_is_the_same_with_its_gradient(self) -> None:
        import torch

        from guidestore.heads.training.outcome_losses import cox

        x_nd, y = tied()
        risk = torch.tensor(np.stack([x_nd[:, 0], 2 * x_nd[:, 1]]), requires_grad=True)
        loss, delta = cox(risk[..., None], torch.tensor(np.stack([y, y])))
        for told, at in zip(loss.tolist(), (x_nd[:, 0], 2 * x_nd[:, 1]), strict=True):
            assert told == pytest.approx(RiskSets.of(y).loss(at)[0] / y[:, 1].sum())
        loss.sum().backward()
        np.testing.assert_allclose(delta[..., 0].detach(), risk.grad, atol=1e-12)

    def test_martingale_residuals_count_events_less_nelson_aalens_hazard(self) -> None:
        _, y = tied()
        told = martingale_residuals(y)
        time, event = y.T
        for case in range(60):
            up_to = np.unique(time[(time <= time[case]) & (event == 1)])
            hazard = sum(event[time == at].sum() / (time >= at).sum() for at in up_to)
            assert told[case] == pytest.approx(event[case] - hazard)
        assert told.sum() == pytest.approx(0)
        assert told[np.argmin(np.where(y[:, 1] == 1, y[:, 0], np.inf))] > 0.8

    def test_who_survives_where_nobody_is_at_more_risk_is_kaplan_meiers_twin(self) -> None:
        from statsmodels.duration.survfunc import SurvfuncRight

        _, y = tied()
        told = Baseline.fit(np.zeros(60), y).survival(np.zeros(1), np.array([3.0, 6.0]))[0]
        curve = SurvfuncRight(y[:, 0], y[:, 1])
        expected = [curve.surv_prob[np.searchsorted(curve.surv_times, time, side="right") - 1] for time in (3.0, 6.0)]
        np.testing.assert_allclose(told, expected, atol=0.02)  # Nelson-Aalen's

    def test_a_risk_that_is_turned_round_says_nothing_of_who_survives(self) -> None:
        x_nd, y = tied()
        assert Baseline.fit(x_nd[:, 0], y).slope > 0.2
        assert Baseline.fit(-x_nd[:, 0], y).slope == 0.0


def test_proportional_odds_are_those_of_statsmodels() -> None:
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    x_nd, labels, *_ = cases("ordinal")
    model: Any = OrderedModel(labels, x_nd.astype(float), distr="logit").fit(method="bfgs", disp=0)
    thresholds, weight_d = fit_odds(x_nd.astype(float), labels, 3, penalty=1e-12)
    np.testing.assert_allclose(weight_d, model.params[:4], atol=2e-3)
    expected = model.model.predict(model.params, exog=x_nd.astype(float))
    np.testing.assert_allclose(grade_probabilities(x_nd @ weight_d, thresholds), expected, atol=1e-3)


@pytest.mark.parametrize("places", [(0, 1, 3), (1, 2, 3), (0, 1, 2), (0, 3, 4)])
@pytest.mark.parametrize("name", ["proportional_odds", "mlp"])
def test_a_grade_that_no_train_case_has_keeps_its_place(name: str, places: tuple[int, ...]) -> None:
    """What is said of the others is what it is where there is no such grade."""
    x_nd, y, x_val_nd, y_val = cases("ordinal")
    decoders: list[Any] = [build_decoder_of("ordinal", name) for _ in range(2)]
    decoders[0].fit(x_nd, y, x_val_nd, y_val, n_classes=3, seed=0)
    at = np.array(places)
    decoders[1].fit(x_nd, at[y], x_val_nd, at[y_val], n_classes=5, seed=0)
    near, far = decoders[0].predict_proba(x_val_nd), decoders[1].predict_proba(x_val_nd)
    np.testing.assert_allclose(far.sum(axis=1), 1.0)
    if name == "proportional_odds":
        np.testing.assert_allclose(far[:, at], near, atol=2e-3)
    else:  # a network has other outputs, so other first weights
        kappas = [cohen_kappa_score(y_val, said.argmax(axis=1), weights="quadratic") for said in (near, far[:, at])]
        assert kappas[1] > kappas[0] - 0.1
        assert np.delete(far, at, axis=1).mean() < 0.1


@pytest.mark.parametrize(
    ("kind", "y", "sentence"),
    [
        ("value", np.full(140, 3.0), "every train value is 3"),
        ("survival", np.column_stack([np.arange(1.0, 141.0), np.zeros(140)]), "no train case has an event"),
        ("survival", np.column_stack([np.arange(140.0), np.ones(140)]), "a time that is not above 0"),
        ("ordinal", np.zeros(140, dtype=np.int64), "train has one grade alone"),
    ],
)
def test_what_cannot_be_learnt_is_said_in_a_sentence(kind: str, y: np.ndarray, sentence: str) -> None:
    x_nd, _, x_val_nd, y_val = cases(kind)
    decoder: Any = build_decoder_of(kind, "mlp")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInputError, match=sentence):
        decoder.fit(x_nd, y, x_val_nd, y_val, n_classes=3 if kind == "ordinal" else 1, seed=0)


def test_names_are_of_the_kind() -> None:
    with pytest.raises(InvalidInputError, match="decoder 'logistic' learns classes, and age is of kind value; choose"):
        build_decoder_of("value", "logistic", target="age")
    with pytest.raises(InvalidInputError, match="did you mean 'ridge'"):
        build_decoder_of("survival", "rigde")
    assert {"ridge", "mlp", "xgboost"} <= set(decoder_names_of("value")) & set(decoder_names_of("survival"))
