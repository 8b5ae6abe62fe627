"""Cross-fitting, task-aware rows, controls and missing labels, through train_rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.cross_fitting import left_out_with
from guidestore.heads.decoders.common.linear import Linear
from guidestore.heads.decoders.logistic import Logistic
from guidestore.heads.folds import fold_numbers
from guidestore.heads.guidance.common.stand_ins import Noise, Repeated
from guidestore.heads.guidance.ridge import Ridge
from guidestore.heads.input_rows import Arm, arms_of
from guidestore.heads.prediction import predict_row
from guidestore.heads.registry import GUIDANCE, build_guidance, load_guidance
from guidestore.heads.rows.train import train_rows
from tests.heads.test_guidance_models import PARAMS
from tests.heads.test_input_rows import FAST, make_paired
from tests.heads.training import job_of, train_one

N = 240
TASK_AWARE = FAST | {"guidance": "task_aware", "guidance_params": {"hidden": (8,), "epochs": 5}}


def same(first: Any, second: Any) -> bool:
    return all(np.array_equal(first[1][name], second[1][name]) for name in first[1])


@pytest.mark.parametrize("name", GUIDANCE.names())
def test_pairs_without_labels_count_as_much_as_others(name):
    """Hiding labels leaves G as it is (where it does not go through D_S); dropping those pairs changes it."""
    paired = make_paired()
    hidden = np.arange(N) % 2 == 0
    params = PARAMS.get(name, {}) | ({"epochs": 3} if name in PARAMS else {})
    options = FAST | {"guidance": name, "guidance_params": params, "rows": ("G(I)+I",), "permutations": 0}
    unlabelled = dataclasses.replace(paired, labels=np.where(hidden, -1, paired.labels))
    unpaired = dataclasses.replace(unlabelled, has_superior=paired.has_superior & ~hidden)
    full, semi, fewer = (train_one(p, mode="matched", **options)[0] for p in (paired, unlabelled, unpaired))
    assert (full.status, semi.status, fewer.status) == ("ok", "ok", "ok")
    assert semi.n_pairs == full.n_pairs > fewer.n_pairs
    assert semi.n_train < full.n_train
    assert same(full.components["guidance"], semi.components["guidance"]) is (name != "task_aware")
    z_nd = np.nan_to_num(paired.inferior_nd[:20])
    predicted = [load_guidance(*head.components["guidance"]).predict(z_nd) for head in (semi, fewer)]
    assert not np.allclose(*predicted, atol=1e-4)


def test_folds_are_seeded_even_and_cover_all():
    numbers = fold_numbers(23, 5, seed=3)
    assert sorted(np.bincount(numbers).tolist()) == [4, 4, 5, 5, 5]
    assert np.array_equal(numbers, fold_numbers(23, 5, seed=3))
    assert not np.array_equal(numbers, fold_numbers(23, 5, seed=4))
    pairs = np.array([4, 7, 9, 20])
    assert np.array_equal(left_out_with(np.array([9, 5, 4]), pairs, 2, seed=0)[[1]], [2])


def test_a_train_case_is_guided_by_a_g_that_did_not_see_it():
    """Against a D_c fitted here on G(z_I) put together by hand, unlabelled and unpaired train cases and all."""
    paired = make_paired()
    job = dataclasses.replace(job_of(paired, permutations=1, **FAST), cross_fit=4)
    plain_job = dataclasses.replace(job, cross_fit=0)
    heads, plain = ({(h.row, h.permutation): h for h in hs} for hs in train_rows([job, plain_job]))
    train, val, seen = (np.isin(paired.parts, p) for p in (["train"], ["val"], ["val", "test"]))
    has, known = paired.has_inferior, paired.has_label
    pairs = np.flatnonzero(train & paired.is_pair)
    fold_n = fold_numbers(len(pairs), 4, seed=0)
    z_i, z_s = paired.inferior_nd, paired.superior_nd
    full = Ridge().fit(z_i[pairs], z_s[pairs], seed=0)
    guided = np.zeros_like(z_s)
    guided[has] = full.predict(z_i[has])
    of_train = guided.copy()
    for k in range(4):
        kept, left = pairs[fold_n != k], pairs[fold_n == k]
        of_train[left] = Ridge().fit(z_i[kept], z_s[kept], seed=0).predict(z_i[left])
    fit, stop, shown = train & has & known, val & has & known, seen & has
    decoder = Logistic(Cs=(0.1, 1.0)).fit(
        np.hstack([of_train, z_i])[fit], paired.labels[fit], np.hstack([guided, z_i])[stop], paired.labels[stop],
        n_classes=3, seed=0,
    )  # fmt: skip
    crossed = heads["G(I)+I", -1]
    expected = decoder.predict_proba(np.hstack([guided, z_i])[shown])
    np.testing.assert_allclose(crossed.probabilities, expected, atol=1e-6)
    assert not np.allclose(crossed.probabilities, plain["G(I)+I", -1].probabilities, atol=1e-4)
    assert not np.allclose(heads["G(I)+I", 0].probabilities, plain["G(I)+I", 0].probabilities, atol=1e-4)
    assert crossed.facts["guidance_cross_fit"] == 4
    assert same(crossed.components["guidance"], plain["G(I)+I", -1].components["guidance"])
    for row in ("S", "I", "S+I", "G(I)"):
        assert np.array_equal(heads[row, -1].probabilities, plain[row, -1].probabilities)
        assert "guidance_cross_fit" not in heads[row, -1].facts


def test_cross_fitting_refuses_folds_that_leave_nothing():
    for k, sentence in ((1, "cannot be cross-fitted in 1 folds"), (500, "in 500 folds"), (-1, "cross_fit is -1")):
        with pytest.raises(InvalidInputError, match=sentence):
            train_rows([dataclasses.replace(job_of(make_paired(), **FAST), cross_fit=k)])


def test_task_aware_goes_through_the_decoder_of_row_s():
    """Matched: through the decoder that row S trains, even where S is not asked for; as-published: through D_S."""
    paired = make_paired()
    all_rows = {(h.row, h.permutation): h for h in train_one(paired, mode="matched", permutations=1, **TASK_AWARE)}
    assert {head.status for head in all_rows.values()} == {"ok"}
    (alone,) = train_one(paired, mode="matched", permutations=0, rows=("G(I)+I",), **TASK_AWARE)
    np.testing.assert_allclose(alone.probabilities, all_rows["G(I)+I", -1].probabilities, atol=1e-6)
    pairs = (paired.parts == "train") & paired.is_pair
    own, stored = Logistic(Cs=(0.1, 1.0)), Linear(np.random.default_rng(3).normal(size=(3, 4)), np.zeros(3))
    fit, stop = (np.isin(paired.parts, p) & paired.has_superior & paired.has_label for p in (["train"], ["val"]))
    z_s, labels = paired.superior_nd, paired.labels
    own.fit(z_s[fit], labels[fit], z_s[stop], labels[stop], n_classes=3, seed=0)
    options = {"mode": "as-published", "permutations": 0, "rows": ("G(I)+I",), **TASK_AWARE}
    (published,) = train_one(paired, d_s=stored, **options)
    for head, decoder in ((alone, own), (published, stored)):
        model: Any = build_guidance("task_aware", hidden=(8,), epochs=5)
        model.fit(paired.inferior_nd[pairs], z_s[pairs], seed=0, decoder=decoder)
        for name, tensor in model.tensors().items():
            np.testing.assert_allclose(head.components["guidance"][1][name], tensor, rtol=1e-5, atol=1e-6)
    with pytest.raises(InvalidInputError, match="d_s is missing"):
        train_one(paired, **options)


def test_noise_and_repeated_codes_stand_in_for_g():
    paired = make_paired()
    arms = arms_of(("I", "G(I)", "G(I)+I"), 1, ("shuffled", "noise", "repeated"))
    (heads,) = train_rows([dataclasses.replace(job_of(paired, **FAST), arms=arms)])
    assert [(h.row, h.control, h.permutation) for h in heads[3:]] == [
        ("G(I)", "shuffled", 0), ("G(I)+I", "shuffled", 0), ("G(I)+I", "noise", 0), ("G(I)+I", "repeated", 0),
    ]  # fmt: skip
    number = {case_id: i for i, case_id in enumerate(paired.case_ids)}
    for head in heads[-2:]:
        assert (head.status, head.guidance) == ("ok", "ridge")
        z_nd = paired.inferior_nd[[number[case_id] for case_id in head.case_ids]]
        np.testing.assert_allclose(predict_row(head.row, head.components, z_nd), head.probabilities, atol=1e-6)
        alone = predict_row(head.row, head.components, z_nd[5:6])
        np.testing.assert_allclose(alone[0], head.probabilities[5], atol=1e-9)
    (noise_alone,) = train_rows([dataclasses.replace(job_of(paired, **FAST), arms=(Arm("G(I)+I", "noise", 0),))])[0]
    assert np.array_equal(noise_alone.probabilities, heads[-2].probabilities)
    with pytest.raises(InvalidInputError, match="control 'nois' is unknown: did you mean 'noise'"):
        arms_of(("G(I)+I",), 1, ("nois",))
    with pytest.raises(InvalidInputError, match=r"control of row G\(I\) 'noise' is unknown"):
        train_rows([dataclasses.replace(job_of(paired, **FAST), arms=(Arm("G(I)", "noise", 0),))])


def test_noise_has_the_moments_of_g_and_belongs_to_the_case():
    rng = np.random.default_rng(0)
    z_nd, guided_nd = rng.normal(size=(4000, 3)).astype(np.float32), rng.normal([1, 5], [0.1, 3], size=(4000, 2))
    noise = Noise().fit(z_nd, guided_nd, seed=1)
    drawn_nd = noise.predict(z_nd)
    np.testing.assert_allclose(drawn_nd.mean(axis=0), [1, 5], atol=0.2)
    np.testing.assert_allclose(drawn_nd.std(axis=0), [0.1, 3], rtol=0.05)
    assert np.array_equal(noise.predict(z_nd[7:9]), drawn_nd[7:9])
    assert not np.array_equal(Noise().fit(z_nd, guided_nd, seed=2).predict(z_nd), drawn_nd)
    assert np.abs(np.corrcoef(z_nd.T, drawn_nd.T)[:3, 3:]).max() < 0.06
    loaded = Noise.from_tensors(noise.config, noise.tensors())
    assert np.array_equal(loaded.predict(z_nd), drawn_nd)


@pytest.mark.parametrize(("d_superior", "columns"), [(2, [0, 1]), (7, [0, 1, 2, 0, 1, 2, 0])])
def test_repeated_is_the_inferior_code_itself(d_superior, columns):
    z_nd = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    repeated = Repeated().fit(z_nd, np.zeros((5, d_superior)), seed=0)
    assert np.array_equal(repeated.predict(z_nd), z_nd[:, columns])
    assert np.array_equal(load_guidance(repeated.config, repeated.tensors()).predict(z_nd), z_nd[:, columns])
    with pytest.raises(InvalidInputError, match="guidance model 'repeated' is unknown"):
        build_guidance("repeated")
