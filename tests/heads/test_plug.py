"""Plug on simulations whose answer is known: z_S mediates a noisy outcome, or tells nothing of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.onnx_graph.head import head_onnx, parts_with_train_codes
from guidestore.heads.plug.blocks import Family
from guidestore.heads.plug.train import PlugJob, train_plug
from guidestore.heads.prediction import predict_row
from guidestore.heads.registry import load_guidance
from guidestore.heads.trained import TrainedHead

type Heads = dict[tuple[str, str, int], TrainedHead]


def mediated(
    seed: int, *, own: float = 0.0, useless: bool = False, n_train: int = 150, unlabelled: int = 0, curved: bool = False
) -> PairedCodes:
    """z_I of 40 dimensions; z_S of 3 follows from it, but for noise; the noisy outcome follows from z_S (useless: from
    z_I alone), and z_I has an effect of its own of that size. 600 test cases."""
    rng = np.random.default_rng(seed)
    n = n_train + unlabelled + 600
    x, mixing = rng.normal(size=(n, 40)), rng.normal(size=(40, 3)) / 40**0.5
    told = np.abs(x @ mixing) * 2 if curved else x @ mixing
    z_s = rng.normal(size=(n, 3)) if useless else told + 0.5 * rng.normal(size=(n, 3))
    risk = (told if useless else z_s) @ np.array([1.0, -1.0, 0.7]) + own * x @ rng.normal(size=40) / 40**0.5
    y = (risk - np.median(risk) + 2 * risk.std() * rng.normal(size=n) > 0).astype(np.int64)
    i, yes = np.arange(n), np.ones(n, bool)
    return PairedCodes(
        cohort="toy", split="drawn", fold=0, target="y", classes=("no", "yes"),
        case_ids=tuple(f"case-{j}" for j in i), inferior_nd=x.astype(np.float32), superior_nd=z_s.astype(np.float32),
        has_inferior=yes, has_superior=yes, labels=np.where((i >= n_train) & (i < n_train + unlabelled), -1, y),
        parts=np.where(i < n_train + unlabelled, "train", "test"),
    )  # fmt: skip


def trained(paired: PairedCodes, seed: int = 0, permutations: int = 1, family: Family = "ridge") -> Heads:
    (heads,) = train_plug([PlugJob(paired, seed, permutations, family)])
    return {(head.row, head.control, head.permutation): head for head in heads}


def auroc(per_seed: list[Heads], *place: object) -> float:
    return float(np.mean([heads[place].metrics["test"]["auroc"] for heads in per_seed]))  # pyright: ignore


@pytest.fixture(scope="module")
def mediating() -> list[Heads]:
    return [trained(mediated(seed), seed) for seed in range(6)]


def test_it_gains_where_z_s_mediates_a_noisy_outcome_and_no_control_does(mediating: list[Heads]) -> None:
    assert [*mediating[0]] == [
        ("S+I", "", -1), ("S", "", -1), ("I", "", -1), ("P(I)", "", -1),
        ("P(I)", "shuffled", 0), ("P(I)", "within class", 0), ("P(I)", "self", 0), ("P(I)", "self", 1),
    ]  # fmt: skip
    assert auroc(mediating, "P(I)", "", -1) > auroc(mediating, "I", "", -1) + 0.03
    assert auroc(mediating, "P(I)", "", -1) <= auroc(mediating, "S+I", "", -1)
    for control in [place for place in mediating[0] if place[1]]:
        assert auroc(mediating, *control) < auroc(mediating, "I", "", -1) + 0.02
    head = mediating[0]["P(I)", "", -1]
    assert (head.guidance, head.decoder, head.n_pairs, head.n_train) == ("plug", "block ridge", 150, 150)


@pytest.mark.parametrize("other", [{"own": 3.0}, {"useless": True}])
def test_it_is_not_below_i_where_z_s_mediates_little_or_nothing(other: dict[str, float]) -> None:
    per_seed = [trained(mediated(seed, **other), seed, 0) for seed in range(12)]
    assert auroc(per_seed, "P(I)", "", -1) > auroc(per_seed, "I", "", -1) - 0.012


def test_the_decoder_is_the_one_of_s_and_i_frozen_and_g_stands_in_for_z_s() -> None:
    """On true z_S in place of G(z_I) the stored decoder is that of S+I: nearly as good as the row itself."""
    paired = mediated(1)
    heads, test = trained(paired), paired.parts == "test"
    head = heads["P(I)", "", -1]
    from guidestore.heads.metrics import evaluate
    from guidestore.heads.registry import load_decoder

    both = np.hstack([paired.superior_nd, paired.inferior_nd])[test]
    with_s = evaluate(paired.labels[test], load_decoder(*head.components["decoder"]).predict_proba(both), ("no", "yes"))
    assert abs(with_s["auroc"] - heads["S+I", "", -1].metrics["test"]["auroc"]) < 0.03
    guided = load_guidance(*head.components["guidance"]).predict(paired.inferior_nd[test])
    assert guided.dtype == np.float32
    assert np.corrcoef(guided[:, 0], paired.superior_nd[test][:, 0])[0, 1] > 0.6


def test_a_logistic_decoder_has_a_penalty_for_each_block() -> None:
    """Against scikit-learn's, fitted on true z_S beside z_I, each scaled by its share. The penalty of two classes is on
    both their weights."""
    from sklearn.linear_model import LogisticRegression

    paired = mediated(1)
    head = trained(paired, permutations=0, family="logistic")["P(I)", "", -1]
    assert (head.guidance, head.decoder, head.n_pairs, head.n_train) == ("plug-logistic", "block logistic", 150, 150)
    share, alpha, train = head.facts["decoder_share_of_s"], head.facts["decoder_alpha"], paired.parts == "train"
    assert 0 < share <= 1
    halves = []
    for codes, weight in ((paired.superior_nd, share), (paired.inferior_nd, 1 - share)):
        z = (codes - codes[train].mean(axis=0)) / codes[train].std(axis=0)
        assert np.abs(z[train]).max() < 5
        halves.append(z * (weight / (z[train] ** 2).sum(axis=1).mean()) ** 0.5)
    x = np.hstack(halves)
    model = LogisticRegression(C=2 / (alpha * 150), class_weight="balanced", tol=1e-10, max_iter=10_000)
    p = np.clip(model.fit(x[train], paired.labels[train]).predict_proba(x)[:, 1], 1e-12, 1 - 1e-12)
    from guidestore.heads.registry import load_decoder

    both = np.hstack([paired.superior_nd, paired.inferior_nd])
    q = load_decoder(*head.components["decoder"]).predict_proba(both)[:, 1]
    ours, theirs = np.log(q / (1 - q)), np.log(p / (1 - p))
    np.testing.assert_allclose(ours, theirs * (ours.std() / theirs.std()), atol=0.01 * ours.std())  # one temperature


def test_a_logistic_decoder_gains_where_z_s_mediates_and_is_not_below_i_where_it_does_not(
    mediating: list[Heads],
) -> None:
    per_seed = [trained(mediated(seed), seed, family="logistic") for seed in range(3)]
    assert auroc(per_seed, "P(I)", "", -1) > auroc(per_seed, "I", "", -1) + 0.03
    for control in [place for place in per_seed[0] if place[1]]:
        assert auroc(per_seed, *control) < auroc(per_seed, "I", "", -1) + 0.02
    assert per_seed[0]["I", "", -1].facts == mediating[0]["I", "", -1].facts  # margins' own, whatever is plugged into
    useless = [trained(mediated(seed, useless=True), seed, 0, "logistic") for seed in range(3)]
    assert auroc(useless, "P(I)", "", -1) > auroc(useless, "I", "", -1) - 0.012


def test_a_logistic_decoder_is_refused_where_there_are_no_classes() -> None:
    paired = mediated(0)
    values = replace(paired, kind="value", classes=(), outcomes=paired.labels * 1.0, labels=paired.labels * 0 - 1)
    with pytest.raises(InvalidInputError, match="y of toy is of kind value; ask for guidance plug"):
        train_plug([PlugJob(values, 0, 1, "logistic")])


def test_unlabelled_pairs_make_g_better_and_curves_are_followed() -> None:
    heads = trained(mediated(2, unlabelled=400, curved=True), permutations=0)
    assert heads["P(I)", "", -1].n_pairs == 550
    assert heads["P(I)", "", -1].n_train == 150


def test_predict_row_and_onnx_say_what_was_stored(mediating: list[Heads]) -> None:
    import onnxruntime

    logistic = trained(mediated(0), 0, 0, "logistic")
    for seed, heads in (*enumerate(mediating[:3]), (0, logistic)):
        head = heads["P(I)", "", -1]
        z_i = mediated(seed).inferior_nd[-600:]
        np.testing.assert_array_equal(predict_row("P(I)", head.components, z_i), head.probabilities)
        is_rbf = head.facts["guidance_rbf"] == 1.0
        assert parts_with_train_codes(head.components) == (["smoother"] if is_rbf else [])
        assert is_rbf == ("train" in head.components["guidance"][1])
        session = onnxruntime.InferenceSession(head_onnx("P(I)", head.components, z_i.shape[1]))
        (said,) = session.run(["probabilities"], {"z_inferior": z_i})
        np.testing.assert_allclose(said, head.probabilities, atol=1e-6)


def test_constant_columns_of_z_s_come_back_as_they_are() -> None:
    paired = mediated(0)
    superior_nd = np.hstack([paired.superior_nd, np.full((len(paired), 1), 4.5, np.float32)])
    head = trained(replace(paired, superior_nd=superior_nd), permutations=0)["P(I)", "", -1]
    guided = load_guidance(*head.components["guidance"]).predict(paired.inferior_nd[:5])
    np.testing.assert_allclose(guided[:, 3], 4.5, rtol=1e-6)
