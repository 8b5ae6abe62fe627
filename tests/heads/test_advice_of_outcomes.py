"""Advice on values, survival, grades and several labels: figures as the metrics have them, and the sign of a gain."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.advice.advise import advise
from guidestore.heads.advice.figures import figure_of
from guidestore.heads.links.table import LINKS
from guidestore.heads.metrics import main_metric_of
from guidestore.heads.metrics.metric import Scored
from guidestore.heads.metrics.table import truth_of
from guidestore.heads.outcomes import reference_of
from tests.heads.mediated import mediated_pairs
from tests.outcome_store import TARGETS


def _scores(paired: PairedCodes, rng: np.random.Generator) -> np.ndarray:
    """(n, c) of a weak scorer."""
    c = {"value": 1, "survival": 1}.get(paired.kind, len(paired.classes) - (paired.kind == "ordinal"))
    shown = paired.superior_nd[:, :c] if paired.kind == "multilabel" else paired.superior_nd[:, :1]
    return shown.astype(float) + 0.5 * rng.normal(size=(len(paired), c))


@pytest.mark.parametrize("target", TARGETS)
def test_a_figure_is_the_main_metric_and_its_error_that_of_a_bootstrap(target: str) -> None:
    paired = mediated_pairs(target, 240, train=240, val=0)
    rng, rows = np.random.default_rng(1), np.flatnonzero(paired.has_label)
    said_nc = _scores(paired, rng)
    found = figure_of(paired, rows, said_nc[rows][None])
    assert found.value == pytest.approx(_metric(paired, rows, said_nc), abs=1e-6)
    drawn = [_metric(paired, rng.choice(rows, len(rows)), said_nc) for _ in range(200)]
    assert np.sqrt((found.influence_n**2).sum()) == pytest.approx(np.std(drawn), rel=0.25)


def _metric(paired: PairedCodes, rows: np.ndarray, said_nc: np.ndarray) -> float:
    """As heads are scored: what the link says of the scores."""
    y, kind = paired.y[rows], paired.kind
    said = LINKS[kind].fit(said_nc[rows], y, len(paired.classes)).say(said_nc[rows])
    reference = float(y.mean()) if kind == "value" else reference_of(paired)
    scored = Scored(truth_of(kind, y, reference), said[:, None] if said.ndim == 1 else said)
    return cast(float, main_metric_of(kind).value(scored))


def _weak_i(target: str, seed: int) -> PairedCodes:
    """60 outcomes of 460 pairs, and a z_I that shows z_S among many other things."""
    return mediated_pairs(target, 700, train=460, labelled=60, seed=seed, d_i=40)


@pytest.mark.parametrize(
    "target", [pytest.param(target, marks=[] if target in ("length", "os") else pytest.mark.slow) for target in TARGETS]
)
def test_what_s_mediates_is_foretold_to_gain_and_noise_is_not(target: str) -> None:
    """z_S knows what no label says yet; noise in place of it knows nothing."""
    gains = [advise([_weak_i(target, seed)]) for seed in range(3)]
    assert [advice.kind for advice in gains] == [TARGETS[target]["kind"]] * 3
    assert np.mean([cast(Any, advice.gain).value for advice in gains]) > 0.005
    assert sum(bool(advice.row) for advice in gains) >= 2
    title = main_metric_of(TARGETS[target]["kind"]).title
    assert f"{title} over the nearest rival" in gains[0].sentences[-1]
    paired = mediated_pairs(target, 300, train=240, val=30)
    noise = np.random.default_rng(99).normal(size=paired.superior_nd.shape).astype(np.float32)
    of_noise = advise([replace(paired, superior_nd=noise)])
    assert not of_noise.row
    assert of_noise.gain
    assert of_noise.gain.includes_zero


def test_an_outcome_that_s_settles_is_said() -> None:
    paired = mediated_pairs("length", 400, train=200)
    settled = paired.with_y(paired.superior_nd.astype(float) @ np.array([1.0, -0.7, 0.5, 0.3]))
    advice = advise([settled])
    assert advice.saturated
    assert "S above 0.9 all but settles the label" in advice.sentences[1]


def test_too_few_outcomes_foretell_nothing_and_bad_ones_are_a_sentence() -> None:
    for target in TARGETS:
        few = advise([mediated_pairs(target, 200, train=120, labelled=6)])
        assert few.gain is None
        assert "give 10 pairs or more an outcome" in few.sentences[-1]
    paired = mediated_pairs("os", 200)
    y = paired.y.copy()
    y[:, 1] = np.where(np.isnan(y[:, 1]), np.nan, 0.0)
    assert advise([paired.with_y(y)]).gain is None
    with pytest.raises(InvalidInputError, match="500 labels are asked for, but"):
        advise([paired], labelled=500)


def test_where_nothing_tells_cases_apart_no_gain_and_no_smallest_one_is_said() -> None:
    paired = mediated_pairs("os", 200)
    y = paired.y.copy()
    y[:, 0] = np.where(np.isnan(y[:, 0]), np.nan, 12.0)
    at_once = advise([paired.with_y(y)])
    assert at_once.gain is None
    assert "5 events before the horizon" in at_once.sentences[-1]
    y = paired.y.copy()
    events = np.flatnonzero((y[:, 1] == 1) & (paired.parts == "train"))
    y[events[4:], 1] = 0.0
    assert advise([paired.with_y(y)]).gain is None
    noise = np.random.default_rng(0).normal(size=(2, 200, 3)).astype(np.float32)
    one_grade = replace(mediated_pairs("grade", 200), inferior_nd=noise[0], superior_nd=noise[1])
    rare = np.where(np.arange(200) % 20 < 2, np.arange(200) % 20 * 2, 1)
    told = advise([one_grade.with_y(rare)])
    assert told.gain is None
    assert told.smallest_shown is None
    assert "quadratic kappa 0.000 without any spread" in told.sentences[-1]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["os", "grade"])
def test_two_thousand_cases_of_1024_columns_cost_less_than_five_seconds(target: str) -> None:
    paired = mediated_pairs(target, 2_100, train=2_000, val=50)
    rng = np.random.default_rng(0)
    wide = {
        name: np.hstack([of, rng.normal(size=(2_100, 1_024 - of.shape[1]))]).astype(np.float32)
        for name, of in (("inferior_nd", paired.inferior_nd), ("superior_nd", paired.superior_nd))
    }
    start = time.process_time()
    advise([replace(paired, **wide)])
    assert time.process_time() - start < 5.0
