from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.runs import RunPredictions
from guidestore.heads.controls import CONTROLS
from guidestore.heads.metrics import drawn_metrics, evaluate
from guidestore.heads.metrics.classes import drawn_auroc, drawn_balanced_accuracy, drawn_f1_micro
from guidestore.heads.significance import (
    VERDICTS,
    Comparison,
    Gain,
    GuidanceEffect,
    GuidedRow,
    Interval,
    Rival,
    compare,
    draw_metrics,
    guidance_effect,
    holm,
    on_common_cases,
)
from guidestore.heads.significance.bootstrap import draw_counts
from guidestore.heads.significance.comparison import OVER_FOLDS, wider_over_folds
from guidestore.heads.significance.guidance_effect import decide
from guidestore.heads.significance.intervals import interval_of, p_value_of
from guidestore.heads.significance.training_luck import luck_against_control, luck_over_seeds, spread_of_runs

BA = "balanced_accuracy"
UNIT = ("published", 0, 0)


def make_run(run: str, labels: np.ndarray, *, skill: float = 1.0, k: int = 3, seed: int = 0, unit=UNIT, first: int = 0):
    """Predictions that are right the more often the greater the skill, on cases C<first> …"""
    rng = np.random.default_rng(seed)
    scores = skill * np.eye(k)[labels] + rng.normal(size=(len(labels), k))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return RunPredictions(run, unit, tuple(f"C{first + i:05d}" for i in range(len(labels))), labels, probabilities)


def balanced_labels(n: int, k: int = 3) -> np.ndarray:
    return np.arange(n) % k


@given(st.integers(2, 5), st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_a_draw_has_the_metrics_of_its_cases_repeated(k, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, 25)])
    # Coarse probabilities, so that scores tie.
    probabilities_rnk = rng.integers(1, 5, (2, len(labels), k)).astype(float)
    probabilities_rnk /= probabilities_rnk.sum(axis=2, keepdims=True)
    # `evaluate` divides once more, and ties are ties to the last bit.
    given_rnk, probabilities_rnk = probabilities_rnk, probabilities_rnk / probabilities_rnk.sum(axis=2, keepdims=True)
    counts_bn = draw_counts(len(labels), 6, seed)
    values = {
        BA: drawn_balanced_accuracy(counts_bn, labels, probabilities_rnk),
        "f1_micro": drawn_f1_micro(counts_bn, labels, probabilities_rnk),
        "auroc": drawn_auroc(counts_bn, labels, probabilities_rnk),
    }
    assert (counts_bn[0] == 1).all()
    assert (counts_bn.sum(axis=1) == len(labels)).all()
    for b, counts in enumerate(counts_bn):
        cases = np.repeat(np.arange(len(labels)), counts.astype(int))
        for r in range(2):
            expected = evaluate(labels[cases], given_rnk[r, cases], [str(c) for c in range(k)])
            for metric in drawn_metrics():
                # Without a class `evaluate` leaves AUROC out; a draw leaves out that class alone.
                if metric in expected:
                    assert values[metric][b, r] == pytest.approx(expected[metric], abs=1e-12)


def test_a_class_absent_from_a_draw_is_left_out_of_its_mean():
    labels = np.array([0, 0, 1, 2])
    probabilities = np.array([[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.1, 0.7, 0.2], [0.1, 0.5, 0.4]])
    counts_bn = np.array([[2, 0, 1, 0], [2, 2, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    assert drawn_balanced_accuracy(counts_bn, labels, probabilities[None])[:2, 0].tolist() == [1.0, 1.0]
    areas = drawn_auroc(counts_bn, labels, probabilities[None])[:, 0]
    assert areas[0] == 1.0  # classes 0 and 1; none of class 2 to find
    assert np.isnan(areas[1:]).all()  # one class, and no cases
    assert np.isnan(drawn_balanced_accuracy(counts_bn, labels, probabilities[None])[2, 0])
    assert np.isnan(drawn_f1_micro(counts_bn, labels, probabilities[None])[2, 0])
    assert np.isnan(drawn_auroc(counts_bn[:, :3], labels[:3], probabilities[None, :3])).all()


def test_large_cohorts_are_counted_in_float64():
    rng = np.random.default_rng(0)
    labels = np.arange(9_000) % 2
    scores = rng.random((1, 9_000)).astype(np.float64)
    probabilities = np.stack([1 - scores, scores], axis=2)
    area = drawn_auroc(np.ones((1, 9_000), dtype=np.float32), labels, probabilities)[0, 0]
    assert area == pytest.approx(evaluate(labels, probabilities[0], "ab")["auroc"], abs=1e-14)


@given(st.lists(st.integers(-3, 3), min_size=199, max_size=450), st.floats(-2.5, 2.5))
@settings(max_examples=60, deadline=None)
def test_p_is_at_most_5_percent_exactly_where_the_interval_excludes_0(draws, shift):
    values = np.array([0.0, *draws]) + shift
    assert (p_value_of(values) <= 0.05) == (not interval_of(values, "x").includes_zero)
    assert p_value_of(values) == p_value_of(-values)


def test_the_interval_ends_at_draws():
    values = np.array([0.5, *np.arange(1, 2000)])
    assert interval_of(values, "x") == Interval(0.5, 50.0, 1950.0)
    assert p_value_of(values) == pytest.approx(2 / 2000)
    assert p_value_of(np.zeros(200)) == 1.0


def test_the_interval_of_one_run_agrees_with_the_binomial():
    labels = balanced_labels(400, 2)
    drawn = draw_metrics([make_run("a", labels, k=2)])
    share = drawn.interval("a", "f1_micro")
    se = np.sqrt(share.value * (1 - share.value) / 400)
    assert share.low == pytest.approx(share.value - 1.96 * se, abs=0.004)
    assert share.high == pytest.approx(share.value + 1.96 * se, abs=0.004)
    assert drawn.interval("a", "auroc").low < drawn.interval("a", "auroc").value


def test_draws_are_fixed_by_the_seed_and_not_by_the_order_of_runs_or_cases():
    labels = balanced_labels(60)
    a, b = make_run("a", labels), make_run("b", labels, seed=1)
    order = np.random.default_rng(0).permutation(60)
    turned = RunPredictions(
        "a", UNIT, tuple(np.array(a.case_ids)[order].tolist()), labels[order], a.probabilities[order]
    )
    first, second = draw_metrics([a, b], draws=199), draw_metrics([b, turned], draws=199)
    for metric in drawn_metrics():
        assert compare(first, metric, ["a"], ["b"]) == compare(second, metric, ["a"], ["b"])
    other = compare(draw_metrics([a, b], draws=199, seed=1), BA, ["a"], ["b"])
    assert (other.seed, other.draws) == (1, 199)
    assert other.gain.low != compare(first, BA, ["a"], ["b"]).gain.low


def test_more_seeds_on_the_same_cases_do_not_narrow_the_interval():
    labels = balanced_labels(150)
    a, b = make_run("a0", labels, skill=1.5), make_run("b0", labels, seed=1)
    copies = [replace(run, run=f"{run.run[0]}{s}", unit=("published", 0, s)) for run in (a, b) for s in range(4)]
    single = compare(draw_metrics([a, b]), BA, ["a0"], ["b0"])
    four = compare(draw_metrics(copies), BA, [f"a{s}" for s in range(4)], [f"b{s}" for s in range(4)])
    assert four.gain.low == pytest.approx(single.gain.low, abs=1e-12)
    assert four.gain.high == pytest.approx(single.gain.high, abs=1e-12)


def test_folds_with_other_cases_narrow_it_and_splits_that_share_cases_do_not():
    def width(first_case_of_fold_1: int) -> float:
        runs = []
        for fold, first in enumerate((0, first_case_of_fold_1)):
            labels = balanced_labels(150)
            for name, skill in (("a", 1.5), ("b", 1.0)):
                # The same predictions for the same position, so a shared case is the same evidence.
                run = make_run(f"{name}{fold}", labels, skill=skill, seed=ord(name), unit=("s", fold, 0), first=first)
                runs.append(run)
        gain = compare(draw_metrics(runs), BA, ["a0", "a1"], ["b0", "b1"]).gain
        return gain.high - gain.low

    assert width(0) / width(150) == pytest.approx(np.sqrt(2), rel=0.08)


def test_a_control_counts_with_the_mean_of_its_permutations():
    labels = balanced_labels(90)
    runs = [make_run(f"p{p}", labels, seed=p) for p in range(5)] + [make_run("a", labels, seed=9)]
    drawn = draw_metrics(runs, draws=199)
    gain = compare(drawn, BA, ["a"], [f"p{p}" for p in range(5)]).gain
    each = [evaluate(run.labels, run.probabilities, "abc")[BA] for run in runs]
    assert gain.value == pytest.approx(each[5] - np.mean(each[:5]))


def test_equal_rows_have_no_difference_whatever_rounding_leaves():
    labels = balanced_labels(91)
    base = make_run("a", labels)
    runs = [base, *(replace(base, run=f"p{p}") for p in range(7))]
    comparison = compare(draw_metrics(runs, draws=499), BA, ["a"], [f"p{p}" for p in range(7)])
    assert comparison.gain == Interval(0.0, 0.0, 0.0)
    assert comparison.p_value == 1.0


def test_training_luck_is_the_spread_that_cases_do_not_explain():
    labels = balanced_labels(3_000)
    alike = [make_run(f"s{p}", labels, seed=p) for p in range(8)]
    apart = [make_run(f"d{p}", labels, seed=p, skill=1.0 + 0.2 * (p % 2)) for p in range(8)]
    drawn = draw_metrics([*alike, *apart], draws=499)
    values = [evaluate(run.labels, run.probabilities, "abc")[BA] for run in apart]
    luck = spread_of_runs(drawn, BA, [f"d{p}" for p in range(8)])
    none = spread_of_runs(drawn, BA, [f"s{p}" for p in range(8)])
    assert luck is not None
    assert none is not None
    assert luck.degrees == none.degrees == 7
    assert 0.75 * np.std(values, ddof=1) < luck.sd < 1.05 * np.std(values, ddof=1)
    assert none.sd < 0.4 * luck.sd
    assert spread_of_runs(drawn, BA, ["d0"]) is None


def test_a_control_has_the_luck_of_its_own_draws_or_of_what_it_is_like():
    """With one seed: draws within class and of random features move far, and shuffled pairs do not."""
    labels, ids, runs = balanced_labels(3_000), {}, []
    names = {"guided": 1, "inferior": 1, "shuffled": 8, "within class": 8, "self, principal directions": 1}
    names |= {"self, random features": 8, "own": 1}
    for place, (name, n_draws) in enumerate(names.items()):
        for p in range(n_draws):
            apart = {"within class": 0.3, "self, random features": 0.15}.get(name, 0.0) * (p % 2)
            runs.append(make_run(f"{name}{p}", labels, skill=1.0 + apart, seed=10 * place + p))
            ids.setdefault(name, []).append(runs[-1].run)
    drawn = draw_metrics(runs, draws=499)
    controls = [Rival(name, of) for name, of in ids.items() if name not in ("guided", "inferior")]
    effect = guidance_effect(drawn, BA, GuidedRow(ids["guided"], ids["inferior"], controls))
    luck = {gain.rival.name: gain.over.luck for gain in effect.over_controls}
    lenders = ("shuffled", "within class", "self, random features")
    spread = {name: spread_of_runs(drawn, BA, ids[name]) for name in lenders}
    for name, lender in (
        *((name, name) for name in spread),
        *(("self, principal directions", "self, random features"), ("own", "shuffled")),
    ):
        one, found = spread[lender], luck[name]
        assert one is not None
        assert found is not None
        assert (found.sd, found.degrees) == (pytest.approx(one.sd * np.sqrt(1 + 1 / len(ids[name]))), 7)
    sds = [one.sd for one in spread.values() if one]
    assert sds[0] < sds[2] < sds[1]


def test_with_several_seeds_z_s_is_one_more_draw_of_shuffled_pairs_and_of_codes_of_z_i_alone():
    """Whose draws move far, as those within class do, while the seeds alone move nothing."""
    labels, ids, runs = balanced_labels(3_000), {}, []
    names = {"guided": 1, "inferior": 1, "shuffled": 4, "within class": 4, "self, principal directions": 1}
    for place, (name, n_draws) in enumerate((names | {"self, random features": 4, "own": 1}).items()):
        for s, p in np.ndindex(3, n_draws):
            apart = 0.3 * (p % 2) if n_draws > 1 else 0.0
            runs.append(make_run(f"{name}{p} {s}", labels, skill=1.0 + apart, seed=100 * place + p, unit=("s", 0, s)))
            ids.setdefault(name, []).append(runs[-1].run)
    drawn = draw_metrics(runs, draws=499)
    controls = [Rival(name, of) for name, of in ids.items() if name not in ("guided", "inferior")]
    effect = guidance_effect(drawn, BA, GuidedRow(ids["guided"], ids["inferior"], controls))
    luck = {gain.rival.name: gain.over.luck.sd for gain in effect.over_controls if gain.over.luck}
    spreads = {name: spread_of_runs(drawn, BA, ids[name]) for name, n_draws in names.items() if n_draws > 1}
    spreads["self"] = spread_of_runs(drawn, BA, ids["self, random features"])
    one = {name: of.sd for name, of in spreads.items() if of}
    mean = 1 / np.sqrt(12)
    assert luck == pytest.approx(
        {
            "shuffled": one["shuffled"] * np.sqrt(1 + mean**2),
            "within class": one["within class"] * mean,
            "self, principal directions": one["self"],
            "self, random features": one["self"] * np.sqrt(1 + mean**2),
            "own": 0.0,
        },
        rel=0.15,
        abs=1e-9,
    )


def test_luck_over_seeds_is_that_of_the_mean_difference():
    labels = balanced_labels(3_000)
    g = [make_run(f"g{s}", labels, seed=s, skill=1.5 + 0.2 * (s % 2), unit=("s", 0, s)) for s in range(8)]
    i = [make_run(f"i{s}", labels, seed=50 + s, unit=("s", 0, s)) for s in range(8)]
    drawn = draw_metrics([*g, *i], draws=499)
    ids = [run.run for run in g], [run.run for run in i]
    luck = luck_over_seeds(drawn, BA, *ids, None)
    assert luck is not None
    each = [drawn.values[BA][0, drawn.runs[a]] - drawn.values[BA][0, drawn.runs[b]] for a, b in zip(*ids, strict=True)]
    assert luck.degrees == 7
    assert luck.sd == pytest.approx(np.std(each, ddof=1) / np.sqrt(8), rel=0.25)
    one = spread_of_runs(drawn, BA, ids[0])
    assert one is not None
    borrowed = luck_over_seeds(drawn, BA, ["g0"], ["i0"], one)
    assert borrowed is not None
    assert borrowed.sd == pytest.approx(one.sd * np.sqrt(2))
    assert luck_over_seeds(drawn, BA, ["g0"], ["i0"], None) is None


def test_over_folds_trained_once_the_wider_interval_counts():
    """Against the formula of Nadeau & Bengio by scipy's t, on folds whose gains differ far more than cases explain."""
    from scipy.stats import t

    runs, gains = [], []
    for fold in range(5):
        labels = balanced_labels(300)
        for name, skill in (("a", 1.0 + 0.5 * (fold % 3)), ("b", 1.0)):
            run = make_run(f"{name}{fold}", labels, skill=skill, seed=31 * fold + ord(name), unit=("s", fold, 0),
                           first=300 * fold)  # fmt: skip
            runs.append(run)
        values = [evaluate(run.labels, run.probabilities, "abc")[BA] for run in runs[-2:]]
        gains.append(values[0] - values[1])
    drawn = draw_metrics(runs, draws=499)
    a, b = ([f"{name}{fold}" for fold in range(5)] for name in "ab")
    found = wider_over_folds(compare(drawn, BA, a, b), drawn, a, b)
    half = t.ppf(0.975, 4) * np.sqrt((1 / 5 + 300 / 1_200) * np.var(gains, ddof=1))
    assert found.method == OVER_FOLDS
    assert (found.gain.low, found.gain.high) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half))
    assert (found.p_value <= 0.05) == (not found.gain.includes_zero)
    again = [replace(run, run=f"again {run.run}", unit=(*run.unit[:2], 1)) for run in runs]
    both, seeds = draw_metrics([*runs, *again], draws=499), [[*of, *(f"again {run}" for run in of)] for of in (a, b)]
    plain = compare(both, BA, *seeds)
    assert wider_over_folds(plain, both, *seeds) is plain  # seeds tell it
    once = wider_over_folds(plain, both, *seeds, once=True)  # seeds of the same classifiers do not
    assert (once.gain.low, once.gain.high) == pytest.approx((found.gain.low, found.gain.high))
    alike = compare(drawn, BA, a[:2], b[:2])
    assert wider_over_folds(alike, drawn, a[:2], b[:2]) is alike  # two folds have no spread to speak of


def test_p_goes_on_where_draws_end():
    """From 51 hypotheses on, 2 in 2,001 would be above .05 for every one of them (Holm)."""
    rng = np.random.default_rng(0)
    huge = np.concatenate([[0.3], 0.3 + 0.02 * rng.normal(size=2_000)])
    assert 300 * p_value_of(huge) < 1e-6
    assert p_value_of(huge) == p_value_of(-huge)
    corrected = holm({"huge": p_value_of(huge), **{f"null {i}": (i + 1) / 300 for i in range(299)}})
    assert corrected["huge"] <= 0.05 < corrected["null 0"]
    near = np.concatenate([[0.05], 0.05 + 0.02 * rng.standard_t(4, size=2_000)])
    assert p_value_of(near, 4) == pytest.approx(2 * (near[1:] <= 0).mean(), rel=0.5)


SKILLS = {"inferior": 0.5, "shuffled": 0.7, "self, random features": 0.8, "own": 0.8, "reference": 0.6, "s_plus_i": 4.0}
OUTCOMES = {
    "guidance helps": {},
    "capacity, not guidance": {"shuffled": 2.0},
    "I alone, re-expressed": {"self, random features": 2.0},
    "self-training, not guidance": {"own": 2.0},
    "label, not guidance": {"within class": 2.0},
    "row I is under-trained": {"reference": 2.0},
    "S not shown to exceed I": {"s_plus_i": 0.45},
    "S holds nothing beyond I": {"s_plus_i": 0.1, "own": 2.0},
    "no effect": {"guided": 0.5},
    "cannot tell": {"guided": 0.52},
    "hurts": {"guided": 0.1},
}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("metric", drawn_metrics())
def test_every_outcome(verdict, metric):
    """Trained with three seeds, the control that is shuffled with four permutations each."""
    skills = {**SKILLS, "guided": 2.0, **OUTCOMES[verdict]}
    n = 900 if verdict != "cannot tell" else 150
    labels, ids, runs = balanced_labels(n), {}, []
    for i, (name, skill) in enumerate(skills.items()):
        for s in range(3):
            for p in range(4 if name == "shuffled" else 1):
                # No effect: the same predictions as row I, but for a few cases.
                seed = 17 * s + 100 * p + (0 if verdict == "no effect" and name in ("guided", "inferior") else i)
                run = make_run(f"{name}{s}{p}", labels, skill=skill, seed=seed, unit=("s", 0, s))
                runs.append(run)
                ids.setdefault(name, []).append(run.run)
    drawn = draw_metrics(runs, draws=499)
    controls = [Rival(name, ids[name]) for name in ids if name.partition(",")[0] in CONTROLS]
    row = GuidedRow(ids["guided"], ids["inferior"], controls, [Rival("ridge", ids["reference"])], (), ids["s_plus_i"])
    effect = guidance_effect(drawn, metric, row)
    assert effect.verdict == verdict
    assert (effect.p_helps <= 0.05) == (verdict == "guidance helps")
    assert effect.gain_over_shuffled.luck is not None
    assert effect.gain_over_i.luck is not None
    assert effect.gap is not None
    nearest = min(controls, key=lambda rival: -drawn.row(metric, rival.runs)[0])
    assert effect.nearest_control.rival.name == nearest.name
    if verdict == "guidance helps":
        assert effect.gap_closed is not None
        assert effect.gap_closed.value == pytest.approx(effect.gain_over_i.gain.value / effect.gap.gain.value)
        assert effect.gap_closed.low < effect.gap_closed.value < effect.gap_closed.high
        lacking = guidance_effect(drawn, metric, replace(row, lacking=("within class",)))
        assert (lacking.verdict, lacking.p_helps) == ("control within class not run", 1.0)
        without_s = guidance_effect(drawn, metric, replace(row, s_plus_i=()))
        assert (without_s.verdict, without_s.p_helps, without_s.gap) == ("S not shown to exceed I", 1.0, None)


ABOVE, AROUND, BELOW = Interval(0.1, 0.05, 0.2), Interval(0.1, 0.0, 0.2), Interval(-0.1, -0.2, -0.05)
INSIDE, LITTLE = Interval(0.001, -0.01, 0.019), Interval(-0.01, -0.03, 0.019)


def gains(**over: Interval) -> list[Gain]:
    names = {"within_class": "within class", "label_again": "label again"}
    return [Gain(Rival(names.get(k, k), ["r"]), Comparison(BA, gain, 0.5, 499, 0)) for k, gain in over.items()]


@pytest.mark.parametrize(
    ("over_i", "over", "beyond", "verdict"),
    [
        (BELOW, {"shuffled": BELOW}, [LITTLE], "hurts"),
        (INSIDE, {"shuffled": ABOVE}, [LITTLE], "no effect"),
        (AROUND, {"shuffled": ABOVE}, [ABOVE], "cannot tell"),
        (AROUND, {"shuffled": ABOVE}, [LITTLE, LITTLE], "S holds nothing beyond I"),
        (AROUND, {"shuffled": ABOVE}, [LITTLE, ABOVE], "cannot tell"),
        (AROUND, {"shuffled": ABOVE}, [], "cannot tell"),
        (ABOVE, {"shuffled": AROUND, "self": BELOW}, [ABOVE], "capacity, not guidance"),
        (ABOVE, {"shuffled": ABOVE, "self": BELOW}, [ABOVE], "I alone, re-expressed"),
        (ABOVE, {"shuffled": ABOVE, "self": BELOW}, [LITTLE], "S holds nothing beyond I"),
        (ABOVE, {"shuffled": ABOVE, "within_class": AROUND}, [ABOVE], "label, not guidance"),
        (ABOVE, {"shuffled": ABOVE, "label_again": AROUND}, [ABOVE], "label, not guidance"),
        (ABOVE, {"shuffled": ABOVE, "own": AROUND}, [ABOVE], "self-training, not guidance"),
        (ABOVE, {"shuffled": ABOVE, "ridge by loss": AROUND}, [ABOVE], "row I is under-trained"),
        (ABOVE, {"shuffled": ABOVE, "own": ABOVE}, [ABOVE], "guidance helps"),
    ],
)
def test_the_rule(over_i, over, beyond, verdict):
    assert decide(over_i, gains(**over), beyond=beyond, superior_exceeds=True) == verdict
    if verdict == "guidance helps":
        assert decide(over_i, gains(**over), beyond=beyond, superior_exceeds=False) == "S not shown to exceed I"
        assert decide(over_i, gains(**over), beyond=beyond, superior_exceeds=True, lacking=["self"]) == (
            "control self not run"
        )


@pytest.mark.parametrize("over_i", [INSIDE, AROUND])
def test_narrow_intervals_do_not_show_that_there_is_nothing(over_i):
    assert decide(over_i, gains(shuffled=ABOVE), beyond=[LITTLE], superior_exceeds=True, narrow=True) == "cannot tell"


def test_the_margin_is_an_option():
    wide = Interval(0.0, -0.04, 0.04)
    assert decide(wide, [], beyond=[], superior_exceeds=True) == "cannot tell"
    assert decide(wide, [], beyond=[], superior_exceeds=True, margin=0.05) == "no effect"


def test_p_helps_is_1_for_a_loss_however_sure():
    sure, loss = Comparison(BA, ABOVE, 0.001, 499, 0), Comparison(BA, BELOW, 0.001, 499, 0)
    rival = Rival("shuffled", ["c"])

    def effect(over: Comparison) -> GuidanceEffect:
        return GuidanceEffect(sure, (Gain(rival, over),), (), None, None, None, 0.002, "guidance helps")

    assert effect(sure).p_helps == 0.002
    assert effect(loss).p_helps == 1.0


def test_the_smallest_gain_that_cases_show_is_that_of_a_power_of_80_percent():
    from statsmodels.stats.power import NormalIndPower

    interval = Interval(0.03, 0.03 - 1.96 * 0.02, 0.03 + 1.96 * 0.02)
    power = NormalIndPower(ddof=0).power(interval.smallest_shown / 0.02, 1, 0.05, ratio=0, alternative="two-sided")
    assert power == pytest.approx(0.8, abs=0.005)


def test_no_share_of_a_gap_that_may_be_none():
    labels = balanced_labels(60)
    names = ("g", "i", "c", "b")
    drawn = draw_metrics([make_run(name, labels, seed=s) for s, name in enumerate(names)], draws=199)
    row = GuidedRow(["g"], ["i"], [Rival("shuffled", ["c"])], s_plus_i=["b"])
    effect = guidance_effect(drawn, BA, row)
    assert effect.gap is not None
    assert effect.gap.gain.includes_zero
    assert effect.gap_closed is None


def test_on_common_cases_keeps_what_every_run_of_a_unit_has():
    labels = balanced_labels(30)
    i, both = make_run("i", labels), make_run("b", labels[:20], first=5)
    other = make_run("x", labels, unit=("published", 1, 0))
    kept = on_common_cases([i, both, other])
    assert kept[0].case_ids == kept[1].case_ids == tuple(f"C{c:05d}" for c in range(5, 25))
    assert kept[0].probabilities == pytest.approx(i.probabilities[5:25])
    assert len(kept[2]) == 30


def row(**changes):
    shuffled = changes.pop("shuffled", ["c"])
    controls = [Rival("shuffled", shuffled)] if shuffled else []
    return GuidedRow(**{"guided": ["g"], "inferior": ["i"], "controls": controls, **changes})


def test_refuses_what_cannot_be_compared():
    labels = balanced_labels(30)
    g, i, c = (make_run(name, labels, seed=s) for s, name in enumerate("gic"))
    fewer, other_unit = make_run("f", labels[:20]), make_run("u", labels, unit=("published", 1, 0))
    drawn = draw_metrics([g, i, c, fewer, other_unit], draws=199)
    cases = {
        "no shuffled control": row(shuffled=[]),
        "different cases in unit": row(inferior=["f"]),
        r"only one row has unit \('published', 0, 0\)": row(inferior=["u"]),
        "run x was not drawn": row(inferior=["x"]),
        "without runs": row(guided=[]),
        "has other cases than its row": row(shuffled=["c", "f"]),
    }
    for sentence, wrong in cases.items():
        with pytest.raises(InvalidInputError, match=sentence):
            guidance_effect(drawn, BA, wrong)
    with pytest.raises(InvalidInputError, match="unknown"):
        compare(drawn, "accuracy", ["g"], ["i"])


def test_refuses_auroc_without_cases_of_a_class():
    labels = np.array([0, 0, 1, 1, 1])
    drawn = draw_metrics([make_run("a", labels), make_run("b", labels, seed=1)], draws=199)
    assert drawn.interval("a", BA).value >= 0
    with pytest.raises(InvalidInputError, match="auroc of run a is undefined"):
        drawn.interval("a", "auroc")
    with pytest.raises(InvalidInputError, match="a class has no cases"):
        compare(drawn, "auroc", ["a"], ["b"])


def test_refuses_runs_that_do_not_go_together():
    labels = balanced_labels(30)
    a = make_run("a", labels)
    with pytest.raises(InvalidInputError, match="or one occurs twice"):
        draw_metrics([a, a])
    with pytest.raises(InvalidInputError, match="there are no runs"):
        draw_metrics([])
    with pytest.raises(InvalidInputError, match="case C00000 has label 1 in run b"):
        draw_metrics([a, make_run("b", (labels + 1) % 3)])
    with pytest.raises(InvalidInputError, match="3 and 4 classes"):
        draw_metrics([a, make_run("b", labels, k=4)])
    with pytest.raises(InvalidInputError, match="draws is 10"):
        draw_metrics([a], draws=10)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"case_ids": ("C1",), "labels": np.array([0]), "probabilities": np.array([[0.5, 0.5]])},
            "1 cases; at least 2",
        ),
        ({"case_ids": ("C1", "C1")}, "case C1 occurs twice"),
        ({"probabilities": np.array([[0.5, 0.5], [np.nan, 0.5]])}, "not finite"),
        ({"probabilities": np.array([[0.5, 0.5], [0.9, 0.5]])}, "do not sum to 1"),
        ({"probabilities": np.array([[1.5, -0.5], [0.5, 0.5]])}, "negative"),
        ({"probabilities": np.array([[0.5, 0.5]])}, r"shape \(1, 2\); give one row"),
        ({"labels": np.array([0, -1])}, "leave unlabelled cases out"),
        ({"labels": np.array([0, 2])}, "integers from 0 to 1"),
        ({"labels": np.array([0])}, r"must be \(2,\) integers"),
    ],
)
def test_refuses_what_is_no_prediction(changes, sentence):
    good = RunPredictions("r", UNIT, ("C1", "C2"), np.array([0, 1]), np.array([[0.6, 0.4]] * 2))
    with pytest.raises(InvalidInputError, match=sentence):
        replace(good, **changes)


def test_imports_without_scipy_and_statsmodels():
    import subprocess
    import sys

    heavy = {"scipy", "statsmodels", "sklearn", "torch"}
    code = f"import sys, guidestore.heads.significance; sys.exit(bool({heavy} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_draw_and_two_seeds_are_enough_for_an_interval():
    """Then every spread has a single degree of freedom."""
    labels, ids, runs = balanced_labels(300), {}, []
    for place, name in enumerate(("guided", "inferior", "shuffled", "own")):
        for s in range(2):
            runs.append(make_run(f"{name}{s}", labels, skill=1.0 + 0.5 * s, seed=10 * place + s, unit=("s", 0, s)))
            ids.setdefault(name, []).append(runs[-1].run)
    drawn = draw_metrics(runs, draws=499)
    row = GuidedRow(ids["guided"], ids["inferior"], [Rival(name, ids[name]) for name in ("shuffled", "own")])
    for gain in guidance_effect(drawn, BA, row).over_controls:
        assert gain.over.luck is not None
        assert gain.over.luck.degrees == pytest.approx(1, abs=1)
        assert gain.over.gain.low < gain.over.gain.value < gain.over.gain.high


@pytest.mark.parametrize("of_units", [(1, 1, 6), (4, 4, 4), (12,)])
def test_units_count_alike_in_the_luck_of_a_mean_however_often_each_was_drawn(of_units):
    """Figures that neither cases nor seeds move: the spread of draws by numpy, and how far their mean moves."""
    labels = balanced_labels(30)
    runs = [make_run(f"guided {s}", labels, unit=("s", 0, s)) for s in range(len(of_units))]
    control = [make_run(f"{p} {s}", labels, unit=("s", 0, s)) for s, n in enumerate(of_units) for p in range(n)]
    drawn, rng = draw_metrics([*runs, *control], metrics=[BA], draws=199), np.random.default_rng(0)
    guided, ids = [run.run for run in runs], [run.run for run in control]
    often = replace(drawn, values={BA: rng.normal(size=(20_000, len(drawn.runs)))}).row(BA, ids)
    of_draws = [of - of.mean() for of in np.split(rng.normal(size=len(ids)), np.cumsum(of_units)[:-1])]
    figures = np.zeros(len(drawn.runs))
    figures[[drawn.runs[run] for run in ids]] = np.concatenate(of_draws)
    values = {BA: np.tile(figures, (200, 1))}
    luck = luck_against_control(replace(drawn, values=values), BA, guided, ids, one_more=True)
    one = sum((of**2).sum() for of in of_draws) / sum(n - 1 for n in of_units)
    assert luck is not None
    assert luck.sd == pytest.approx(np.sqrt(one * (1 + often.var())), rel=0.01)
