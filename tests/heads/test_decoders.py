"""What is particular to each decoder."""

from __future__ import annotations

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.decoders.logistic import Logistic
from guidestore.heads.decoders.mlp import Mlp
from guidestore.heads.errors import DivergedError
from guidestore.heads.registry import build_decoder, build_decoder_of, load_any_decoder


def blobs(counts: tuple[int, ...], seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(5).normal(size=(len(counts), 4))
    return (centres[labels] + spread * rng.normal(size=(len(labels), 4))).astype(np.float32), labels


def test_logistic_equals_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    for counts in ((40, 20, 15), (40, 20)):
        x_nd, labels = blobs(counts, 0)
        x_val_nd, labels_val = blobs(counts, 1)
        decoder = Logistic(Cs=(0.3,)).fit(x_nd, labels, x_val_nd, labels_val, n_classes=len(counts), seed=0)
        scaled_nd = (x_nd - x_nd.mean(axis=0)) / x_nd.std(axis=0)
        reference = LogisticRegression(C=0.3, class_weight="balanced", max_iter=1000).fit(scaled_nd, labels)
        np.testing.assert_allclose(decoder.predict_proba(x_nd), reference.predict_proba(scaled_nd), atol=2e-3)


def test_logistic_chooses_its_penalty_on_val():
    x_nd, labels = blobs((12, 12), 0, spread=3.0)
    x_val_nd, labels_val = blobs((40, 40), 1, spread=3.0)
    honest = Logistic().fit(x_nd, labels, x_val_nd, labels_val, n_classes=2, seed=0)
    contrary = Logistic().fit(x_nd, labels, x_val_nd, 1 - labels_val, n_classes=2, seed=0)
    same = Logistic().fit(x_nd, labels, x_nd, labels, n_classes=2, seed=0)
    assert contrary.facts["C"] == 0.001
    assert same.facts["C"] == 10.0
    assert 0.001 <= honest.facts["C"] <= 10.0
    assert honest.facts["converged"] == 1.0


def test_logistic_records_that_it_did_not_converge():
    x_nd, labels = blobs((30, 30, 30), 0)
    decoder = Logistic(Cs=(10.0,), max_iter=1).fit(x_nd, labels, x_nd, labels, n_classes=3, seed=0)
    assert decoder.facts["converged"] == 0.0


def test_mlp_restores_the_epoch_with_the_least_val_loss():
    """Val labels that contradict train: the loss on val can only rise, so the best epoch comes early and is kept."""
    x_nd, labels = blobs((30, 30, 30), 0)
    x_val_nd, labels_val = blobs((10, 10, 10), 1)
    params = {"epochs": 60, "patience": 5, "learning_rate": 0.05}
    wrong = Mlp(**params).fit(x_nd, labels, x_val_nd, (labels_val + 1) % 3, n_classes=3, seed=0)
    right = Mlp(**params).fit(x_nd, labels, x_val_nd, labels_val, n_classes=3, seed=0)
    assert wrong.facts["best_epoch"] <= 3 < right.facts["best_epoch"]
    for decoder, truth in ((wrong, (labels_val + 1) % 3), (right, labels_val)):
        chosen = decoder.predict_proba(x_val_nd)[np.arange(30), truth]
        assert -np.log(chosen).mean() == pytest.approx(decoder.facts["val_loss"], rel=1e-4)


def test_mlp_stops_once_patience_is_used_up():
    x_nd, labels = blobs((30, 30, 30), 0)
    wrong = (labels + 1) % 3
    first, longer = (
        Mlp(epochs=epochs, patience=4).fit(x_nd, labels, x_nd, wrong, n_classes=3, seed=0) for epochs in (30, 10**9)
    )
    assert first.facts == longer.facts


def test_mlp_balances_rare_classes():
    x_nd, labels = blobs((200, 20), 0, spread=1.5)
    x_val_nd, labels_val = blobs((100, 10), 1, spread=1.5)
    test_nd, truth = blobs((500, 500), 2, spread=1.5)

    def rare_recall(**params: object) -> float:
        decoder = Mlp(epochs=40, **params).fit(x_nd, labels, x_val_nd, labels_val, n_classes=2, seed=0)
        return float((decoder.predict_proba(test_nd).argmax(axis=1) == truth)[truth == 1].mean())

    plain = rare_recall(class_weights=(1.0, 1.0))
    balanced = rare_recall()
    sampled = rare_recall(class_weights=(1.0, 1.0), weighted_sampler=True)
    assert balanced > plain + 0.15
    assert sampled > plain + 0.15


def test_the_papers_decoder():
    decoder = build_decoder("radpath-paper")
    wanted = {
        "name": "mlp", "hidden_units": 50, "dropout": 0.3, "standardise": False, "class_weights": [1.0, 1.7, 1.6],
        "weighted_sampler": True, "learning_rate": 1e-3, "weight_decay": 1e-6, "epochs": 500, "patience": 200,
        "batch_size": 50, "relu_dropout_on_logits": False,
    }  # fmt: skip
    assert decoder.config == wanted
    x_nd, labels = blobs((20, 20), 0)
    with pytest.raises(InvalidInputError, match="class_weights has 3 values but there are 2 classes"):
        decoder.fit(x_nd, labels, x_nd, labels, n_classes=2, seed=0)


@pytest.mark.parametrize("kind", ["classes", "value"])
def test_more_neighbours_than_train_cases_are_not_loaded(kind: TargetKind):
    x_nd, labels = blobs((30, 30), 0)
    decoder = build_decoder_of(kind, "knn")
    decoder.fit(x_nd, labels, x_nd, labels, n_classes=2 if kind == "classes" else 1, seed=0)
    for k in (0.0, 61.0, 1e38):
        with pytest.raises(InvalidInputError, match=r"knn: k is .* up to 60"):
            load_any_decoder(decoder.config, decoder.tensors() | {"k": np.array([k])})


def test_the_released_decoder_cannot_go_below_a_logit_of_zero():
    x_nd, labels = blobs((30, 30, 30), 0)
    decoder = build_decoder("radpath-released", epochs=30, learning_rate=0.05)
    decoder.fit(x_nd, labels, x_nd, labels, n_classes=3, seed=0)
    probabilities = decoder.predict_proba(x_nd)
    # Logits clipped at 0 make ties of the least likely classes, which the paper's never has.
    ties = (np.sort(probabilities, axis=1)[:, 0] == np.sort(probabilities, axis=1)[:, 1]).mean()
    paper = build_decoder("radpath-paper", epochs=30, learning_rate=0.05)
    paper.fit(x_nd, labels, x_nd, labels, n_classes=3, seed=0)
    paper_sorted = np.sort(paper.predict_proba(x_nd), axis=1)
    assert ties > 0.2
    assert (paper_sorted[:, 0] == paper_sorted[:, 1]).mean() == 0.0


def test_mlp_says_when_it_diverges():
    x_nd, labels = blobs((30, 30, 30), 0)
    with pytest.raises(DivergedError, match=r"mlp: training diverged in epoch \d+ .* at learning rate 1000; lower"):
        Mlp(standardise=False, learning_rate=1000.0).fit(x_nd * 1e6, labels, x_nd * 1e6, labels, n_classes=3, seed=0)
