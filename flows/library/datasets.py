"""Example cohorts that need no file and no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from guidestore.flows.library.arguments import public
from guidestore.flows.library.store import Store

COHORT, TARGET, ENCODER = "digits", "digit", "pixels"
BLURRED, FULL = "blurred", "full"
NOISE = 4.0
"""Standard deviation, of grey values from 0 to 16."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Digits:
    """Two views of n = 1,797 handwritten digits (scikit-learn's, of UCI's Optical Recognition), and what they are."""

    case_ids: tuple[str, ...]
    """(n,) ``digit-0000`` … ``digit-1796``."""
    blurred_nd: np.ndarray
    """(n, 16) float32: the cheap image, 4 x 4 means of 2 x 2 grey values, with noise of standard deviation NOISE."""
    full_nd: np.ndarray
    """(n, 64) float32: the strong image, 8 x 8 grey values from 0 to 16."""
    labels: tuple[str, ...]
    """(n,) 0 to 9."""


def two_views(seed: int = 0) -> Digits:
    """The digits; seed: of the noise."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    full_nd = np.ascontiguousarray(bunch.data, dtype=np.float32)  # pyright: ignore[reportAttributeAccessIssue]
    labels = tuple(map(str, bunch.target.tolist()))  # pyright: ignore[reportAttributeAccessIssue]
    means = full_nd.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(full_nd), 16)
    noise = np.random.default_rng(seed).normal(scale=NOISE, size=means.shape)
    case_ids = tuple(f"digit-{number:04d}" for number in range(len(full_nd)))
    return Digits(case_ids, (means + noise).round(3).astype(np.float32), full_nd, labels)


@public
def digits(store: Store) -> str:
    """Adds the cohort ``digits`` to a store, and returns its name: 1,797 cases in two views, labelled, in five folds.

    Code sets ``blurred/pixels`` (d = 16: the cheap image, 4 x 4 with noise) and ``full/pixels`` (d = 64: 8 x 8 grey
    values from 0 to 16); target ``digit`` with ten classes; split ``cv5``. The images are those of scikit-learn
    (sklearn.datasets.load_digits). Adding them again changes nothing.

    >>> gs.datasets.digits(store)
    'digits'
    >>> store.cohorts()["cases"]
    [1797]
    """
    views = two_views()
    with store.writing():
        for modality, codes_nd in ((BLURRED, views.blurred_nd), (FULL, views.full_nd)):
            store.add_codes(COHORT, modality, ENCODER, codes_nd, views.case_ids, trained_on="none")
        store.add_labels(COHORT, {"case_id": list(views.case_ids), TARGET: list(views.labels)})
        store.add_split(COHORT, folds=5)
    return COHORT


@public
def diabetes(store: Store) -> str:
    """Adds the cohort ``diabetes`` to a store, and returns its name: 442 patients in two views, with a value, in five
    folds.

    Code sets ``clinical/table`` (age, sex, body mass index, blood pressure: the cheap view) and ``serum/table`` (six
    blood serum measurements); target ``progression``, that of the disease a year later; split ``cv5``, stratified by
    bins of it. The numbers are those of scikit-learn (sklearn.datasets.load_diabetes; Efron et al., Least angle
    regression, 2004). Adding them again changes nothing.

    >>> gs.datasets.diabetes(store)
    'diabetes'
    >>> store.pair("diabetes", "clinical/table", "serum/table").paired.y[:3]
    array([151.,  75., 141.])
    """
    from sklearn.datasets import load_diabetes

    bunch: Any = load_diabetes(scaled=False)
    codes_nd = np.ascontiguousarray(bunch.data, dtype=np.float32)
    case_ids = [f"patient-{number:03d}" for number in range(len(codes_nd))]
    with store.writing():
        for modality, columns in (("clinical", slice(0, 4)), ("serum", slice(4, 10))):
            store.add_codes("diabetes", modality, "table", codes_nd[:, columns], case_ids, trained_on="none")
        labels = {"case_id": case_ids, "progression": bunch.target.tolist()}
        store.add_labels("diabetes", labels, kinds={"progression": "value"}, units={"progression": "points"})
        store.add_split("diabetes", folds=5)
    return "diabetes"
