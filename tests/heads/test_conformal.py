"""Intervals of values hold what they say they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guidestore.heads.conformal import conformal_of, half_width


@pytest.mark.parametrize("noise", ["normal", "heavy", "skew"])
def test_nine_of_ten_new_values_lie_within(noise: str) -> None:
    """Over 400 heads of 60 val cases the mean coverage is between 90 % and 90 % + 1 / 61, whatever the errors."""
    rng = np.random.default_rng(0)
    draw = {
        "normal": rng.normal,
        "heavy": lambda size: rng.standard_t(2, size),
        "skew": lambda size: rng.exponential(size=size),
    }
    covered = []
    for _ in range(400):
        val, new = draw[noise](size=60), draw[noise](size=400)
        covered.append(float(np.mean(np.abs(new) <= half_width(val, np.zeros(60)))))
    assert 0.9 - 3 * 0.04 / 20 <= np.mean(covered) <= 0.9 + 1 / 61 + 3 * 0.04 / 20


def test_too_few_cases_hold_nothing() -> None:
    assert half_width(np.arange(8.0), np.zeros(8)) == math.inf
    assert half_width(np.arange(9.0), np.zeros(9)) == 8.0
    assert conformal_of({}) is None
    assert conformal_of({"interval_half_width": 2.0}).half_width == 2.0  # pyright: ignore[reportOptionalMemberAccess]
