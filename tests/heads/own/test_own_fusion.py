"""A fusion of one's own does what its transformer does by itself, and comes back from what is stored."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.fusion.common.fused import FusedDecoder, fused_of
from guidestore.heads.registry import (
    build_decoder,
    build_decoder_of,
    build_fusion,
    decoder_choice,
    fusion_choice,
    load_any_decoder,
    load_decoder,
)
from guidestore.testing.decoder import labelled


class Product:
    """Each number of the left code with each of the right."""

    def fit(self, x_nd: np.ndarray, labels: np.ndarray, *, n_left: int) -> None:
        self.n_left = n_left

    def transform(self, x_nd: np.ndarray) -> np.ndarray:
        left, right = x_nd[:, : self.n_left], x_nd[:, self.n_left :]
        return (left[:, :, None] * right[:, None]).reshape(len(x_nd), -1)


def build(fusion: object):
    choice, reads = fusion_choice(fusion), decoder_choice(LogisticRegression(C=0.5))
    made = build_fusion(choice.name, **choice.params)
    assert made is not None
    return choice, FusedDecoder(made, build_decoder(reads.name, **reads.params), (2, 3))


def test_it_is_the_transformer_and_is_loaded_again() -> None:
    train, val = labelled(), labelled(30, seed=1)
    choice, decoder = build(PCA(n_components=3))
    assert choice.code
    decoder.fit(*train, *val, n_classes=3, seed=0)
    x_nd = labelled(20, seed=5)[0]
    pca = PCA(n_components=3).fit(train[0].astype(np.float64))
    views = [pca.transform(of.astype(np.float64)).astype(np.float32) for of in (train[0], x_nd)]
    reference = LogisticRegression(C=0.5).fit(views[0].astype(np.float64), train[1])
    expected = reference.predict_proba(views[1].astype(np.float64))
    np.testing.assert_allclose(decoder.predict_proba(x_nd), expected, atol=1e-5)
    loaded = load_decoder(json.loads(json.dumps(decoder.config)), decoder.tensors())
    assert np.array_equal(loaded.predict_proba(x_nd), decoder.predict_proba(x_nd))


def test_it_is_told_where_the_left_code_ends() -> None:
    train, val = labelled(), labelled(30, seed=1)
    _, decoder = build(Product())
    decoder.fit(*train, *val, n_classes=3, seed=0)
    fusion = decoder._fitted[0]  # pyright: ignore[reportOptionalSubscript]
    x_nd = labelled(4, seed=5)[0]
    (view,) = fusion.views((x_nd[:, :2], x_nd[:, 2:]))
    np.testing.assert_allclose(view, np.einsum("ni,nj->nij", x_nd[:, :2], x_nd[:, 2:]).reshape(4, 6), rtol=1e-6)
    with pytest.raises(InvalidInputError, match="3 and 2 wide, and were 2 and 3"):
        fusion.views((x_nd[:, :3], x_nd[:, 3:]))


def test_what_makes_no_codes_is_refused() -> None:
    class Flat(Product):
        def transform(self, x_nd: np.ndarray) -> np.ndarray:
            return x_nd.mean(axis=1)

    class Mute:
        def fit(self, x_nd: np.ndarray) -> None: ...

    _, decoder = build(Flat())
    with pytest.raises(InvalidInputError, match=r"of shape \(2,\) of 2 cases"):
        decoder.fit(*labelled(), *labelled(30, seed=1), n_classes=3, seed=0)
    with pytest.raises(InvalidInputError, match="has no transform, so it is no fusion"):
        build(Mute())


@pytest.mark.parametrize(
    ("kind", "decoder", "n_classes"),
    [
        ("value", "ridge", 1),
        ("survival", "ridge", 1),
        ("ordinal", "proportional_odds", 3),
        ("multilabel", "logistic", 2),
    ],
)
def test_of_every_kind_of_target_the_decoder_reads_what_it_makes(
    kind: TargetKind, decoder: str, n_classes: int
) -> None:
    """As the same decoder says, fitted on the product itself."""
    rng = np.random.default_rng(0)
    x_nd = rng.normal(size=(90, 5)).astype(np.float32)
    place_n = x_nd[:, 0] * x_nd[:, 3] + 0.3 * rng.normal(size=90)
    y = {
        "value": place_n,
        "survival": np.column_stack([np.exp(-place_n), rng.random(90) < 0.7]),
        "ordinal": np.digitize(place_n, [-0.5, 0.5]),
        "multilabel": np.where(rng.random((90, 2)) < 0.1, np.nan, np.column_stack([place_n, -place_n]) > 0.2),
    }[kind]
    choice = fusion_choice(Product)
    fusion = build_fusion(choice.name, **choice.params)
    assert fusion is not None
    fused: Any = fused_of(kind, fusion, build_decoder_of(kind, decoder), (2, 3))
    fused.fit(x_nd[:60], y[:60], x_nd[60:], y[60:], n_classes=n_classes, seed=0)
    product_nd = Product.transform(cast(Any, SimpleNamespace(n_left=2)), x_nd)
    alone: Any = build_decoder_of(kind, decoder)
    alone.fit(product_nd[:60], y[:60], product_nd[60:], y[60:], n_classes=n_classes, seed=0)
    says = "predict_proba" if kind == "ordinal" else "predict"
    expected = getattr(alone, says)(product_nd)
    np.testing.assert_allclose(getattr(fused, says)(x_nd), expected, rtol=1e-6, atol=1e-9)
    loaded = load_any_decoder(json.loads(json.dumps(fused.config)), fused.tensors())
    assert np.array_equal(getattr(loaded, says)(x_nd), getattr(fused, says)(x_nd))


def test_a_torch_module_is_no_fusion() -> None:
    """It would be trained as a classifier, and its probabilities taken for codes."""

    class Net(torch.nn.Module):
        def __init__(self, d_in: int, d_out: int) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(d_in, d_out)

    with pytest.raises(InvalidInputError, match="is a torch module, which nothing here trains to make codes"):
        build(Net)
