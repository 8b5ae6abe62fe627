"""Models of one's own follow the contract whatever they are, and a store makes nothing run that it should not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.choice import Choice
from guidestore.heads.errors import DivergedError
from guidestore.heads.registry import (
    build_decoder,
    build_decoder_of,
    build_guidance,
    decoder_choice,
    guidance_choice,
    load_decoder,
    load_guidance,
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
from guidestore.testing.guidance import pairs
from tests.heads.own.mine import Net, Odd, Shrunk, scaled

MINE = "tests.heads.own.mine"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(GuidanceCase(f"{MINE}:Shrunk"), id="fit and predict"),
        pytest.param(GuidanceCase(f"{MINE}:Kept"), id="tensors"),
        pytest.param(GuidanceCase(Ridge(alpha=0.1)), id="scikit-learn"),
        pytest.param(GuidanceCase(f"{MINE}:Net", {"epochs": 60, "learning_rate": 0.02}, random=True), id="torch"),
    ],
)
class TestGuidance(GuidanceContract):
    def test_a_parameter_that_is_not_there_is_refused_with_the_nearest(self, case):
        if isinstance(case.model, str):
            super().test_a_parameter_that_is_not_there_is_refused_with_the_nearest(case)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(DecoderCase(make_pipeline(StandardScaler(), LogisticRegression(C=0.5))), id="pipeline"),
        pytest.param(DecoderCase(f"{MINE}:scaled", {"C": 0.5}), id="function"),
        pytest.param(DecoderCase(f"{MINE}:forest", random=True), id="forest"),
        pytest.param(DecoderCase(f"{MINE}:Stopped", random=True), id="with val"),
        pytest.param(DecoderCase(f"{MINE}:Net", {"epochs": 30, "learning_rate": 0.02}, random=True), id="torch"),
        pytest.param(DecoderCase("sklearn.naive_bayes:GaussianNB", {"calibration": "temperature"}), id="calibrated"),
    ],
)
class TestDecoders(DecoderContract):
    pass


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(ForetellerCase(Ridge(alpha=0.1)), id="scikit-learn"),
        pytest.param(
            ForetellerCase(f"{MINE}:Net", params={"epochs": 60, "learning_rate": 0.03}, random=True), id="torch"
        ),
        pytest.param(ForetellerCase(f"{MINE}:Hazard", "survival"), id="survival"),
    ],
)
class TestForetellers(ForetellerContract):
    pass


def test_a_decoder_is_asked_for_what_it_learns() -> None:
    for name, kind, sentence in (
        ("sklearn.naive_bayes:GaussianNB", "value", "learns classes, and the target is of kind value"),
        ("sklearn.linear_model:Ridge", "survival", "learns value, and the target is of kind survival"),
        (f"{MINE}:Net", "survival", "learns value, and the target is of kind survival"),
        (f"{MINE}:Hazard", "value", "learns survival, and the target is of kind value"),
        (f"{MINE}:Hazard", "classes", "learns survival, and the target is of classes"),
        ("sklearn.linear_model:Ridge", "classes", "has no predict_proba, so it is no decoder"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            build_decoder_of(kind, name)  # pyright: ignore[reportArgumentType]
    # Grades are learnt as classes, several labels by one decoder each.
    assert build_decoder_of("ordinal", "sklearn.naive_bayes:GaussianNB").name == "sklearn.naive_bayes:GaussianNB"
    assert build_decoder_of("multilabel", "sklearn.naive_bayes:GaussianNB").name == "per_label"


def test_predictions_are_those_of_the_estimator_itself() -> None:
    z_i, z_s = pairs()
    choice = guidance_choice(Ridge(alpha=3.0))
    guided = build_guidance(choice.name, **choice.params).fit(z_i, z_s, seed=0).predict(z_i)
    np.testing.assert_allclose(guided, Ridge(alpha=3.0).fit(z_i, z_s).predict(z_i), rtol=1e-4, atol=1e-4)
    (x_nd, labels), val = labelled(), labelled(30, 1)
    decoder = _decoder(GaussianNB()).fit(x_nd, labels, *val, n_classes=3, seed=0)
    expected = GaussianNB().fit(x_nd.astype(float), labels).predict_proba(val[0])
    np.testing.assert_allclose(decoder.predict_proba(val[0]), expected, rtol=1e-6)


def _decoder(given: Any, **params: Any) -> Any:
    choice = decoder_choice(given, params or None)
    return build_decoder(choice.name, **choice.params)


def test_an_object_stands_for_its_class_and_parameters() -> None:
    by_name, by_class = guidance_choice(f"{MINE}:Shrunk", {"by": 0.5}), guidance_choice(Shrunk, {"by": 0.5})
    assert by_name == by_class == guidance_choice(Shrunk(by=0.5))
    assert str(by_name) == f"{MINE}:Shrunk@{by_name.code[:8]}(by=0.5)"
    assert guidance_choice(Shrunk(by=1.0)) == guidance_choice(Shrunk)
    # scikit-learn's by its public name, with what differs from the defaults.
    forest = decoder_choice(RandomForestClassifier(30, max_depth=3))
    assert (forest.name, dict(forest.params)) == (
        "sklearn.ensemble:RandomForestClassifier",
        {"max_depth": 3, "n_estimators": 30},
    )
    nested = decoder_choice(make_pipeline(StandardScaler(), LogisticRegression(C=0.5)))
    assert "sklearn.linear_model:LogisticRegression(C=0.5)" in str(nested)
    assert guidance_choice("ridge", {"alphas": [1.0]}) == Choice.of("ridge", {"alphas": [1.0]})
    # Ours, as a class or an object, is ours.
    from guidestore.heads.guidance.ridge import Ridge as OurRidge

    assert guidance_choice(OurRidge).name == "ridge"
    assert guidance_choice(OurRidge(alphas=(1.0,))).name == "ridge"


def test_what_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"parameter by of .*Shrunk is a Generator, which no run can record"):
        guidance_choice(Shrunk(by=np.random.default_rng(0)))  # pyright: ignore[reportArgumentType]
    hidden = Shrunk()
    del hidden.by
    with pytest.raises(InvalidInputError, match="does not keep its parameter by as an attribute"):
        guidance_choice(hidden)


@pytest.mark.parametrize(
    ("how", "error", "sentence"),
    [
        ("narrow", InvalidInputError, r"predicts float64 of shape \(2, 3\) of 2 cases; it must be numbers of shape"),
        ("nan", DivergedError, "predictions are not finite"),
        ("raises", InvalidInputError, r"failed to fit \(ValueError: a bad day\)"),
    ],
)
def test_what_it_says_is_checked(how: str, error: type[Exception], sentence: str) -> None:
    model = build_guidance(f"{MINE}:Odd", how=how)
    with pytest.raises(error, match=sentence):
        model.fit(*pairs(), seed=0)
    with pytest.raises(InvalidInputError, match="not fitted"):
        model.predict(pairs()[0])


def test_what_are_no_probabilities_is_refused() -> None:
    assert Odd().how == "narrow"
    for how in ("negative", "halves"):
        with pytest.raises(InvalidInputError, match="what are no probabilities"):
            _decoder(f"{MINE}:Odd", how=how).fit(*labelled(), *labelled(30, 1), n_classes=3, seed=0)
    with pytest.raises(InvalidInputError, match=r"LinearSVC' has no predict_proba, so it is no decoder"):
        _decoder(LinearSVC())
    with pytest.raises(InvalidInputError, match=r"failed to fit \(ValueError: y should be a 1d array"):
        build_guidance("sklearn.svm:SVR").fit(*pairs(), seed=0)


# Stored --------------------------------------------------------------------------------------------------------------


def _stored(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return json.loads(json.dumps(model.config)), model.tensors()


def _say(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(sys.modules, name, None)  # remembers that there was none
    monkeypatch.delitem(sys.modules, name)


def test_a_fit_that_comes_out_otherwise_is_refused() -> None:
    """As with another version of its package."""
    decoder = _decoder(GaussianNB()).fit(*labelled(), *labelled(30, 1), n_classes=3, seed=0)
    config, tensors = _stored(decoder)
    config["code"]["source"] = "0" * 64
    load_decoder(config, tensors)
    tensors["said"] = tensors["said"][::-1].copy()
    with pytest.raises(InvalidInputError, match="came out otherwise than when it was trained"):
        load_decoder(config, tensors)


def test_its_weights_are_named_as_codes_of_train_cases() -> None:
    decoder = _decoder(GaussianNB()).fit(*labelled(), *labelled(30, 1), n_classes=3, seed=0)
    assert decoder.keeps_train_codes
    assert any("train" in name.split("_") for name in decoder.tensors())
    net = build_guidance(f"{MINE}:Net", epochs=1).fit(*pairs(), seed=0)
    assert not getattr(net, "keeps_train_codes", None)
    assert not any("train" in name.split("_") for name in net.tensors())


@pytest.mark.parametrize("edited", [pytest.param("def weigh(x):\n    return 2 * x\n", id="edited"), None])
def test_code_that_was_changed_or_taken_away_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str | None
) -> None:
    helper = "def weigh(x):\n    return x\n"
    model = (
        "from helpers_of_mine import weigh\n"
        "class G:\n"
        "    def fit(self, x, y):\n        self.mean = y.mean(axis=0)\n"
        "    def predict(self, x):\n        return weigh(self.mean + 0 * x[:, :1])\n"
    )
    _say(helper, tmp_path, monkeypatch, "helpers_of_mine")
    _say(model, tmp_path, monkeypatch, "models_of_mine")
    before = guidance_choice("models_of_mine:G")
    config, tensors = _stored(build_guidance("models_of_mine:G").fit(*pairs(), seed=0))
    for name in ("helpers_of_mine", "models_of_mine"):
        monkeypatch.delitem(sys.modules, name)
    load_guidance(config, tensors)
    for name in ("helpers_of_mine", "models_of_mine"):
        monkeypatch.delitem(sys.modules, name)
    # What it imports from beside it is part of it. What nobody asked for is not even imported.
    helpers = tmp_path / "helpers_of_mine.py"
    if edited:
        helpers.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n{edited}")
        with pytest.raises(InvalidInputError, match=r"other code \(source .* than what was trained"):
            load_guidance(config, tensors)
        assert not (tmp_path / "ran").exists()
        assert guidance_choice("models_of_mine:G") != before
    else:
        (tmp_path / "models_of_mine.py").unlink()
        with pytest.raises(InvalidInputError, match="is code of the module models_of_mine, which is not on"):
            load_guidance(config, tensors)
        config["code"]["package"] = "mine 1.2"
        with pytest.raises(InvalidInputError, match=r"is code of mine 1.2 \(module models_of_mine\)"):
            load_guidance(config, tensors)


def test_the_code_of_its_parameters_is_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaler = "from sklearn.preprocessing import StandardScaler\nclass Mine(StandardScaler):\n    pass\n"
    _say(scaler, tmp_path, monkeypatch, "parts_of_mine")
    import parts_of_mine  # pyright: ignore[reportMissingImports]

    before = decoder_choice(make_pipeline(parts_of_mine.Mine(), GaussianNB()))
    decoder = build_decoder(before.name, **before.params).fit(*labelled(), *labelled(30, 1), n_classes=3, seed=0)
    config, tensors = _stored(decoder)
    monkeypatch.delitem(sys.modules, "parts_of_mine")
    load_decoder(config, tensors)
    monkeypatch.delitem(sys.modules, "parts_of_mine")
    (tmp_path / "parts_of_mine.py").write_text(scaler + "    more = 1\n")
    with pytest.raises(InvalidInputError, match="object 'parts_of_mine:Mine' has other code"):
        load_decoder(config, tensors)
    assert "parts_of_mine" not in sys.modules
    import parts_of_mine as changed  # pyright: ignore[reportMissingImports]

    assert decoder_choice(make_pipeline(changed.Mine(), GaussianNB())).code != before.code


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("os:system", {"command": "touch ran"}, "names a module of Python itself"),
        ("numpy:load", {"file": "x.npy", "allow_pickle": True}, "installed function that is no model"),
        ("joblib:load", {"filename": "x"}, "installed function that is no model"),
        ("sklearn.pipeline:Pipeline", {"steps": [], "memory": "cache"}, "may name a place on disk"),
        ("sklearn.pipeline:Pipeline", {"steps": [["a", {"object": "os:system", "params": {}}]]}, "of Python itself"),
        ("sklearn.feature_extraction.text:CountVectorizer", {"input": "/etc/passwd"}, "may name a place on disk"),
    ],
)
def test_a_store_cannot_have_anything_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, params: dict[str, Any], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    decoder = _decoder(GaussianNB()).fit(*labelled(), *labelled(30, 1), n_classes=3, seed=0)
    config, tensors = _stored(decoder)
    with pytest.raises(InvalidInputError, match=sentence):
        load_decoder(config | {"name": name, "params": params}, tensors)
    assert not list(tmp_path.iterdir())


def test_functions_and_nets_are_what_they_say() -> None:
    assert scaled(C=2.0)[-1].C == 2.0
    assert Net(2, 3)(__import__("torch").zeros(1, 2)).shape == (1, 3)


class Careless:
    """A decoder of values that writes into all it is given."""

    kinds = ("value",)

    def fit(self, x_nd: np.ndarray, y: np.ndarray, x_val_nd: np.ndarray, y_val: np.ndarray) -> None:
        self.mean = float(y.mean())
        for given in (x_nd, y, x_val_nd, y_val):
            given[:] = 0

    def predict(self, x_nd: np.ndarray) -> np.ndarray:
        x_nd -= 1
        return np.full(len(x_nd), self.mean)


class CarelessKept(Careless):
    """The same, which keeps itself."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}

    def tensors(self) -> dict[str, np.ndarray]:
        return {"mean": np.array([self.mean])}

    @classmethod
    def from_tensors(cls, config: Any, tensors: Any) -> CarelessKept:
        model = cls()
        model.mean = float(tensors["mean"][0])
        return model


@pytest.mark.parametrize("of", [Careless, CarelessKept])
def test_it_never_writes_into_what_others_read(of: type) -> None:
    choice = decoder_choice(of)
    rng = np.random.default_rng(0)
    given = [rng.normal(size=size).astype(dtype) for n in (20, 9) for size, dtype in (((n, 3), "f4"), ((n,), "f8"))]
    kept = [array.copy() for array in given]
    model: Any = build_decoder_of("value", choice.name).fit(*given, n_classes=1, seed=0)
    model.predict(given[0])
    assert all(map(np.array_equal, given, kept))


class Moved(torch.nn.Module):
    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(d_in, d_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x - 0.5)


class MovedInPlace(Moved):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x -= 0.5
        return self.layer(x)


def fitted_net(net: type) -> Any:
    choice = decoder_choice(net, {"epochs": 4})
    return build_decoder(choice.name, **choice.params).fit(*labelled(60), *labelled(30, seed=1), n_classes=3, seed=0)


def test_a_net_that_writes_into_its_input_is_judged_by_val_as_it_is() -> None:
    """As one that does not: val codes would be others in each epoch."""
    careful, careless = (fitted_net(of) for of in (Moved, MovedInPlace))
    assert careful.facts == careless.facts
