"""Run ids: what decides a head is in them, and nothing else; stored runs are found again by later checkouts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from guidestore.embeddings.canonical import sha256_of
from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.guiding.jobs import run_id
from guidestore.flows.guiding.recipes import (
    BaselinesRecipe,
    HeadRecipe,
    MarginsRecipe,
    PlugRecipe,
    RowsRecipe,
    TransferRecipe,
    check_guidance,
    references,
)
from guidestore.heads.choice import Choice

DATA = "0" * 64
DEEP = Choice.of("autoencoder", {"hidden": [16, 8], "learning_rate": 0.1})
ROWS = RowsRecipe("matched", 0, DEEP, Choice.of("mlp"), 2, ("shuffled", "noise", "repeated"))
TRANSFER = TransferRecipe(0, Choice.of("logistic", {"c": 2.0}), noisy_labels=True, permutations=2)


def ids(recipe: HeadRecipe) -> dict[tuple[str, str, int], str]:
    return {tuple(arm): run_id(DATA, recipe, arm) for arm in recipe.arms}


@pytest.mark.parametrize(
    ("recipe", "digest"),
    [
        (ROWS, "03a2e46e496793be"),
        (replace(ROWS, mode="as-published", fusion=Choice.of("late"), cross_fit=4, seed=3), "08981e1dd4c4e913"),
        (BaselinesRecipe(("KD(I)", "GD(I)", "E(I)"), "matched", 0, Choice.of("mlp"), 2, DEEP), "3d3dbcbb1accabca"),
        (TRANSFER, "34960b8cc6f5c17a"),
        (replace(TRANSFER, guidance=DEEP), "91c54659c50911f1"),
    ],
    ids=["rows", "rows, fused and cross-fitted", "baselines", "transfer", "transfer with G"],
)
def test_ids_are_those_of_the_runs_that_stores_have(recipe: HeadRecipe, digest: str) -> None:
    """Where heads change on purpose, bump IMPLEMENTATION and write the new digests here."""
    assert sha256_of(list(ids(recipe).values()))[:16] == digest


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({"guidance": Choice.of("ridge")}, {"G(I)", "G(I)+I"}),
        ({"fusion": Choice.of("late")}, {"S+I", "G(I)+I"}),
        ({"cross_fit": 4}, {"G(I)+I"}),
        ({"decoder": Choice.of("logistic")}, {"S+I", "S", "I", "G(I)", "G(I)+I"}),
        ({"seed": 1}, {"S+I", "S", "I", "G(I)", "G(I)+I"}),
        ({"permutations": 1, "controls": ("shuffled",)}, set()),
    ],
    ids=["guidance", "fusion", "cross_fit", "decoder", "seed", "fewer controls"],
)
def test_a_change_makes_other_runs_of_those_rows_alone_that_it_concerns(
    changed: dict[str, Any], rows: set[str]
) -> None:
    before, after = ids(ROWS), ids(replace(ROWS, **changed))
    assert {arm[0] for arm, run in after.items() if before[arm] != run} == rows


def test_label_transfer_reads_a_g_in_row_t_alone() -> None:
    plain, guided = ids(TRANSFER), ids(replace(TRANSFER, guidance=DEEP))
    assert {arm[0] for arm in plain if plain[arm] != guided[arm]} == {"T(I)"}
    assert [arm for arm in plain if arm[1]] == [
        ("T(I)", "shuffled", 0),
        ("T(I)", "shuffled", 1),
        ("T(I)", "within class", 0),
        ("T(I)", "within class", 1),
        ("T(I)", "own", 0),
    ]


def test_margins_have_their_own_rows_and_a_scheme_takes_no_parameters() -> None:
    assert [*ids(MarginsRecipe(0, permutations=1))] == [
        *((row, "", -1) for row in ("S+I", "S", "I", "M(I)")),
        *(("M(I)", control, 0) for control in ("shuffled", "within class", "own")),
    ]
    plain = {arm: run for arm, run in ids(MarginsRecipe(0, 1)).items() if arm[0] != "M(I)"}
    plugged = ids(PlugRecipe(0, 1))
    assert {arm for arm, run in plugged.items() if plain.get(arm) == run} == {*plain}  # both share them
    assert {arm[0] for arm in plugged} == {"S+I", "S", "I", "P(I)"}
    logistic = ids(PlugRecipe(0, 1, "logistic"))
    assert {arm for arm, run in logistic.items() if plugged[arm] == run} == {*plain}
    for name in ("margins", "plug", "plug-logistic", "ridge"):
        check_guidance(Choice.of(name))
    with pytest.raises(InvalidInputError, match="guidance margins has no parameter depth; leave it out"):
        check_guidance(Choice.of("margins", {"depth": 2}))
    with pytest.raises(InvalidInputError, match="did you mean 'margins'"):
        check_guidance(Choice.of("margin"))


def test_references_have_an_id_for_each_decoder_and_seed() -> None:
    runs = [run_id(DATA, recipe, arm) for seed in (0, 1) for recipe in references(seed) for arm in recipe.arms]
    assert len(set(runs)) == 12
