"""Is z_S but z_I again? Copies in other axes are, a superior modality is not."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.redundancy import foretold_share, redundancy


def made(n: int, d_i: int, d_s: int, seed: int = 0) -> PairedCodes:
    rng = np.random.default_rng(seed)
    z_i, z_s = rng.normal(size=(n, d_i)), rng.normal(size=(n, d_s))
    yes = np.ones(n, bool)
    return PairedCodes(
        cohort="toy", split="drawn", fold=0, target="y", classes=("no", "yes"),
        case_ids=tuple(f"case-{i}" for i in range(n)), inferior_nd=z_i.astype(np.float32),
        superior_nd=z_s.astype(np.float32), has_inferior=yes, has_superior=yes,
        labels=np.arange(n) % 2, parts=np.where(np.arange(n) % 4 == 3, "test", "train"),
    )  # fmt: skip


def with_s(paired: PairedCodes, z_s: np.ndarray) -> PairedCodes:
    return dataclasses.replace(paired, superior_nd=z_s.astype(np.float32))


def turned(paired: PairedCodes, noise: float) -> PairedCodes:
    """z_I in other axes and units, with noise of that share of its deviation."""
    rng, z_i = np.random.default_rng(1), paired.inferior_nd
    d = z_i.shape[1]
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return with_s(paired, 7 * (z_i + noise * rng.normal(size=z_i.shape)) @ axes + 3)


def test_the_same_codes_are_said_however_few() -> None:
    paired = made(20, 300, 3)
    assert "holds the codes" in redundancy(with_s(paired, paired.inferior_nd))
    assert "R²" not in redundancy(with_s(paired, paired.inferior_nd))


@pytest.mark.parametrize(("noise", "said"), [(0.0, True), (0.1, True), (0.25, False), (1.0, False)])
def test_a_copy_in_other_axes_is_said_and_one_that_is_worse_than_98_percent_is_not(noise: float, said: bool) -> None:
    told = redundancy(turned(made(800, 20, 1), noise))
    assert ("z_I foretells z_S with R² 0.9" in told or "R² 1.000" in told) == said
    assert bool(told) == said


def test_the_share_is_that_of_a_ridge_of_another_library() -> None:
    paired = turned(made(400, 12, 1), 0.5)
    train = paired.parts == "train"
    z_i, z_s = ((x[train] - x[train].mean(0)) / x[train].std(0) for x in (paired.inferior_nd, paired.superior_nd))
    said = cross_val_predict(Ridge(1e-3), z_i, z_s, cv=10)
    assert foretold_share(paired) == pytest.approx(1 - ((said - z_s) ** 2).sum() / (z_s**2).sum(), abs=0.01)


def test_what_nothing_foretells_is_not_said_with_few_pairs_either() -> None:
    for n, d in ((12, 300), (60, 40), (400, 20)):
        assert not redundancy(made(n, d, d))


def test_val_test_labels_and_missing_codes_are_left_out() -> None:
    paired = turned(made(200, 10, 1), 0.0)
    rng, test = np.random.default_rng(2), paired.parts == "test"
    there = paired.has_superior & (rng.random(200) < 0.8)
    z_s = np.where(test[:, None], rng.normal(size=(200, 10)), paired.superior_nd)
    z_s[~there] = np.nan
    other = dataclasses.replace(with_s(paired, z_s), has_superior=there, labels=np.full(200, -1))
    assert foretold_share(other) > 0.999
    constant = with_s(paired, np.ones((200, 3)))
    assert np.isnan(foretold_share(constant))
    assert not redundancy(constant)


def test_large_code_sets_cost_little() -> None:
    paired = made(2_000, 512, 512)
    start = time.process_time()
    assert foretold_share(turned(paired, 0.0)) > 0.999
    assert time.process_time() - start < 5
