"""Advice on one training set: what there is, which guided row to try, and what to expect of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind
from guidestore.embeddings.types import PairedCodes
from guidestore.embeddings.words import count_of
from guidestore.heads.advice.areas import OVERLAP, Area, Gain
from guidestore.heads.advice.codes import TrainingSet, together, training_set
from guidestore.heads.advice.figures import figure_of
from guidestore.heads.advice.fold import REFERENCE, Arm, Fold
from guidestore.heads.checks import check_seed
from guidestore.heads.decoders.common.temperature import fit_temperature
from guidestore.heads.input_rows import GUIDED_PLUS_I, MARGINS, PLUG, S_PLUS_I, TAUGHT, I, S
from guidestore.heads.label_budget import hide_labels
from guidestore.heads.metrics import main_metric_of
from guidestore.heads.metrics.metric import Metric
from guidestore.heads.networks import softmax
from guidestore.heads.outcomes import reference_of
from guidestore.heads.redundancy import redundancy
from guidestore.heads.significance.intervals import Interval
from guidestore.heads.transfer.inner_cv import draw_folds, shows_all_classes

WIDTH = 1.96
SATURATED: Mapping[TargetKind, float] = {
    "classes": 0.95,
    "multilabel": 0.95,
    "ordinal": 0.9,
    "value": 0.9,
    "survival": 0.9,
}
"""The main metric of S from which on it says what the label says: an AUROC of .95 on real cohorts, where no margin was
worth its while. Of a value that S decides guidance gains exactly nothing (LuPTS); that .9 is near it is a guess."""
MARGIN = 0.02
"""By which S or S+I must be expected to beat I."""
STAND_IN_ERROR: Mapping[TargetKind, float] = {
    "classes": 0.008,
    "multilabel": 0.008,
    "ordinal": 0.02,
    "value": 0.02,
    "survival": 0.01,
}
"""Standard deviation over kinds of simulated cohorts of the mean foretold gain less the true one: what is foretold from
are linear stand-ins for rows, controls and references (tests/evidence/test_advice.py)."""
FEWEST_PAIRS = 10
"""With an outcome, of a target that has no classes."""
FEWEST_EVENTS = 5
"""Before the horizon: of fewer no verdict is given either."""
ROUNDING = 1e-12
"""Far above what float64 sums of metrics lose."""
MANY_DOUBTED = 0.1
"""Share of labels."""
CANDIDATES = (MARGINS, PLUG, TAUGHT, GUIDED_PLUS_I)


@dataclass(frozen=True, slots=True)
class Advice:
    """What was foretold of one target; areas are of the kind's main metric in inner cross-validation of train."""

    kind: TargetKind
    n_labelled: int
    """Labelled cases that have z_I, within the label budget where one was asked for."""
    n_pairs: int
    n_unlabelled_pairs: int
    n_archive: int
    """Labelled cases with z_S and without z_I."""
    n_test: int
    """Labelled test cases that have z_I, of all folds."""
    redundant: str
    """heads.redundancy; '' where z_S is no copy."""
    areas: Mapping[str, float]
    """Of I, S and S+I; empty where nothing could be foretold."""
    s_over_i: Interval | None
    s_plus_i_over_s: Interval | None
    doubted: float | None
    """Of classes: share of labels that the best of these three, asked of cases that it has not seen, is surer of
    another class than it is on average of cases of that class: labels that are wrong, or cases that are hard."""
    row: str
    """The row to try; '' where none can be expected to gain."""
    gain: Interval | None
    """Of that row, else of the one that comes closest to gaining, over its nearest control or reference: expected on
    new cases of a training set like this one, with its 95 % interval."""
    candidate: str
    """Which row `gain` is of."""
    nearest: str
    """Which control or reference it is over."""
    smallest_shown: float | None
    """The smallest such gain that the test cases could show in 80 % of such cohorts; None where there are none, or that
    row says what its rival says (a gate is closed)."""

    @property
    def mediates(self) -> bool:
        """Whether z_I is not shown to know anything of the class beside z_S."""
        return self.s_plus_i_over_s is not None and not self.s_plus_i_over_s.above_zero

    @property
    def saturated(self) -> bool:
        """Whether z_S all but settles the label."""
        return self.areas.get(S, 0.0) > SATURATED[self.kind]

    @property
    def metric(self) -> Metric:
        """What areas and gains are in."""
        return main_metric_of(self.kind)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What there is, what it says of S, and what to expect."""
        counted = (
            f"Train has {count_of(self.n_labelled, 'labelled case')} with the inferior modality, "
            f"{count_of(self.n_pairs, 'pair')} of which {self.n_unlabelled_pairs:,} without a label, and "
            f"{count_of(self.n_archive, 'labelled case')} with the superior modality alone."
        )
        if self.gain is None and self.areas:
            return counted, (
                f"Nothing can be foretold: in inner cross-validation I, S and S+I tell no two cases apart, which is "
                f"{self.metric.title} {abs(self.areas[I]):.3f} without any spread; give more cases an outcome, or "
                "bring other codes, and ask again."
            )
        if self.gain is None:
            label = (
                "label at least two pairs of every class, and ask again"
                if self.kind == "classes"
                else f"give {FEWEST_PAIRS} pairs or more an outcome, so that what is left without a fifth of them has "
                f"something to learn ({FEWEST_EVENTS} events before the horizon, every grade, each label with and "
                "without it), and ask again"
            )
            why = (
                label
                if self.n_pairs >= 2
                else "without pairs nothing leads from the superior modality to the inferior one"
            )
            return counted, f"Nothing can be foretold: {why}."
        return counted, self._of_s, *([self._of_labels] if self.kind == "classes" else []), self._expected

    @property
    def _of_s(self) -> str:
        assert self.s_over_i is not None  # noqa: S101  (known where a gain is)
        assert self.s_plus_i_over_s is not None  # noqa: S101
        shown = ", ".join(f"{row} {self.areas[row]:.3f}" for row in (I, S, S_PLUS_I))
        mediates = "so z_S stands for all that z_I knows" if self.mediates else "so z_I knows what z_S does not"
        saturated = f"; S above {SATURATED[self.kind]:g} all but settles the label" if self.saturated else ""
        title = self.metric.title[:1].upper() + self.metric.title[1:]
        return (
            f"{title} in inner cross-validation: {shown}; S - I {_shown(self.s_over_i)}, S+I - S "
            f"{_shown(self.s_plus_i_over_s)}, {mediates}{saturated}."
        )

    @property
    def _of_labels(self) -> str:
        doubted = f"{self.doubted or 0:.0%} of the labels are doubted out of fold"
        if (self.doubted or 0) > MANY_DOUBTED:
            doubted += (
                ": if they are wrong rather than hard, guidance pays more, and noisy_labels of a sweep is worth it"
            )
        return f"{doubted}."

    @property
    def _expected(self) -> str:
        assert self.gain is not None  # noqa: S101  (asked where there is one)
        gain = f"{_shown(self.gain)} {self.metric.title} over the nearest rival, {self.nearest}"
        shown = f"; {count_of(self.n_test, 'test case')} could show a gain of "
        shown = f"{shown}{self.smallest_shown:.3f} at least" if self.smallest_shown is not None else ""
        if self.row:
            return f"Try {self.row}: expect {gain}{shown}."
        why = ""
        if self.redundant:
            why = " since z_S is z_I again"
        elif max(self.areas[S], self.areas[S_PLUS_I]) < self.areas[I] + MARGIN:
            why = f" since neither S nor S+I is expected to exceed I by {MARGIN:g}"
        return f"Expect no guidance to help{why}: {self.candidate} comes closest, with {gain}{shown}."


def _shown(gain: Interval) -> str:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def advise(folds: Sequence[PairedCodes], *, labelled: int | None = None, seed: int = 0) -> Advice:
    """From inner cross-validation on the train cases of the folds of one split and target.

    labelled: a label budget; the labels beyond it serve to see what guidance would give at it. Labels of cases that are
    train in none of the folds are not read. Raises InvalidInputError where the target has fewer than 2 classes, the
    codes of a modality are missing or constant in train, or there are fewer labels than the budget asks for.
    """
    check_seed(seed)
    first = folds[0]
    if first.kind in ONE_CLASS_KINDS and len(first.classes) < 2:
        raise InvalidInputError(f"target {first.target} has fewer than 2 classes; there is nothing to predict")
    for name, of in (("inferior", "has_inferior"), ("superior", "has_superior")):
        for fold in folds:
            if not len(fold.rows("train", getattr(fold, of))):
                raise InvalidInputError(
                    f"{fold.cohort}/{fold.split}/{fold.fold}: no train case has a usable {name} code; "
                    + fold.why_unpaired("materialize it")
                )
    sets = together(folds)
    told = redundancy(first)
    foretold = None
    if all(_is_enough(of) for of in sets):
        foretold = _Foretold.of([training_set(of, labelled, seed=seed) for of in sets], seed)
    of, tested = hide_labels(sets[0], labelled, seed=seed), _tested(folds)
    counts: dict[str, Any] = {
        "kind": first.kind,
        "n_labelled": int((of.has_label & of.has_inferior).sum()),
        "n_pairs": int(of.is_pair.sum()),
        "n_unlabelled_pairs": int((of.is_pair & ~of.has_label).sum()),
        "n_archive": int((of.has_label & of.has_superior & ~of.has_inferior).sum()),
        "n_test": tested,
        "redundant": told,
    }
    areas = {name: foretold.value((name, "")) for name in (I, S, S_PLUS_I)} if foretold else {}
    if foretold is None or foretold.is_constant:
        return Advice(**counts, areas=areas, s_over_i=None, s_plus_i_over_s=None, doubted=None, row="", gain=None,
                      candidate="", nearest="", smallest_shown=None)  # fmt: skip
    row, nearest, gain = foretold.best
    over_i = [foretold.gain((of_row, ""), (I, "")) for of_row in (S, S_PLUS_I)]
    wanted = not told and gain.value > 0 and max(known.value for known in over_i) >= MARGIN
    n_held = foretold.n_held
    smallest = Interval(0, -WIDTH * gain.error / OVERLAP, WIDTH * gain.error / OVERLAP).smallest_shown
    return Advice(
        **counts,
        areas=areas,
        s_over_i=_interval(over_i[0]),
        s_plus_i_over_s=_interval(foretold.gain((S_PLUS_I, ""), (S, ""))),
        doubted=foretold.doubted,
        row=row if wanted else "",
        gain=_interval(Gain(gain.value, float(np.hypot(gain.error, STAND_IN_ERROR[first.kind])))),
        candidate=row,
        nearest=nearest,
        smallest_shown=smallest * (n_held / tested) ** 0.5 if tested and gain.error > ROUNDING else None,
    )


def _interval(gain: Gain) -> Interval:
    return Interval(gain.value, gain.value - WIDTH * gain.error, gain.value + WIDTH * gain.error)


def _is_enough(paired: PairedCodes) -> bool:
    """Whether each class has two labelled pairs; of other kinds whether there are some, and each fold of inner
    cross-validation has something to learn."""
    shown = np.flatnonzero(paired.has_label & paired.is_pair)
    if paired.kind == "classes":
        return bool((np.bincount(paired.labels[shown], minlength=len(paired.classes)) >= 2).all())
    if paired.kind == "survival":
        time_n, event_n = paired.y[shown].T
        if ((time_n < reference_of(paired)) & (event_n == 1)).sum() < FEWEST_EVENTS:
            return False
    folds = draw_folds(paired, shown, seed=0)
    return len(shown) >= FEWEST_PAIRS and all(shows_all_classes(paired, of.fit_n, paired.is_pair) for of in folds)


def _tested(folds: Sequence[PairedCodes]) -> int:
    """Labelled test cases with z_I."""
    found: set[str] = set()
    for fold in folds:
        found |= {fold.case_ids[row] for row in fold.rows("test", fold.has_label, fold.has_inferior)}
    return len(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Foretold:
    """Of one or several training sets, one area each."""

    areas: Mapping[Arm, Sequence[Area]]
    doubted: float | None
    n_held: int

    @classmethod
    def of(cls, sets: Sequence[TrainingSet], seed: int) -> _Foretold:
        areas: dict[Arm, list[Area]] = {}
        doubted: list[float] = []
        held_n = np.zeros(0, dtype=np.int64)
        for of in sets:
            paired = of.paired
            held_n = paired.rows("train", paired.has_label, paired.is_pair)
            said: dict[Arm, np.ndarray] = {}
            for r, splits in enumerate(of.repeats):
                for split in splits:
                    fold = Fold(of, split, seed)
                    for arm, said_mk in fold.says().items():
                        empty = (len(of.repeats), len(held_n), said_mk.shape[1])
                        into = said.setdefault(arm, np.full(empty, np.nan))
                        into[r, np.searchsorted(held_n, fold.held)] = said_mk
            found = {arm: figure_of(paired, held_n, said_rmk) for arm, said_rmk in said.items()}
            for arm, of_arm in found.items():
                areas.setdefault(arm, []).append(of_arm)
            if paired.kind == "classes":
                best = max((S_PLUS_I, S, I), key=lambda row: found[row, ""].value)
                doubted.append(_doubted(paired.labels[held_n], said[best, ""].mean(axis=0)))
        return cls(areas, float(np.mean(doubted)) if doubted else None, len(held_n))

    @property
    def is_constant(self) -> bool:
        """Whether neither I nor S nor S+I tells any two cases apart, in the metric."""
        return not any(
            (np.abs(of.influence_n) > ROUNDING).any() for row in (I, S, S_PLUS_I) for of in self.areas[row, ""]
        )

    def value(self, arm: Arm) -> float:
        return float(np.mean([of.value for of in self.areas[arm]]))

    def gain(self, row: Arm, other: Arm) -> Gain:
        """The training sets share most cases, so several are hardly surer than one."""
        gains = [Gain.of(*both) for both in zip(self.areas[row], self.areas[other], strict=True)]
        return Gain(*(float(np.mean([getattr(gain, name) for gain in gains])) for name in ("value", "error")))

    @property
    def best(self) -> tuple[str, str, Gain]:
        """The row that gains most over its nearest rival, that rival, and the gain."""
        found = []
        for row in CANDIDATES:
            if (row, "") not in self.areas:
                continue
            rivals = [arm for arm in self.areas if arm in ((I, ""), REFERENCE) or (arm[0] == row and arm[1])]
            gains = {arm: self.gain((row, ""), arm) for arm in rivals}
            nearest = min(gains, key=lambda arm: gains[arm].value)
            found.append((row, ", ".join(filter(None, nearest)), gains[nearest]))
        return max(found, key=lambda of_row: of_row[2].value)


def _doubted(labels_n: np.ndarray, said_nk: np.ndarray) -> float:
    """Confident learning (Northcutt, Jiang & Chuang, 2021): the share of cases with another class whose probability
    reaches the mean of the cases labelled so, and is the largest that does."""
    probabilities_nk = softmax(said_nk / fit_temperature(said_nk, labels_n))
    k = said_nk.shape[1]
    usual_k = np.array([probabilities_nk[labels_n == c, c].mean() for c in range(k)])
    sure_nk = np.where(probabilities_nk >= usual_k, probabilities_nk, -1.0)
    return float(((sure_nk.argmax(axis=1) != labels_n) & (sure_nk.max(axis=1) > 0)).mean())
