"""One training set as smoothers of several input rows read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import PairedCodes
from guidestore.heads.checks import check_seed
from guidestore.heads.input_rows import INPUT_ROWS, S_PLUS_I, I, S
from guidestore.heads.kernels.outcomes import Scoring
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.smoother import Decompositions
from guidestore.heads.outcomes import check_target
from guidestore.heads.transfer.inner_cv import Split, repeated_folds, repeats_of

FEWEST = 2
"""Cases that a smoother is fitted on, and labelled pairs that are held out over all folds, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What an input row reads: S+I, S or I."""

    preparation: Preparation
    codes_nd: np.ndarray
    """(N, d) prepared; NaN where a case lacks it."""
    raw_nd: np.ndarray
    """(N, d) as they came."""
    has: np.ndarray
    """(N,) bool."""
    labelled: np.ndarray
    """Rows of the labelled train cases that have it."""

    def decompositions(self, seed: int) -> Decompositions:
        """None made yet: they are large, and so are kept as long as they are needed."""
        return Decompositions(self.codes_nd, seed)


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """All N rows of the paired codes."""

    paired: PairedCodes
    seed: int
    sources: Mapping[str, Source]
    """By input row: S+I, S, I."""
    scoring: Scoring
    targets_nk: np.ndarray
    """(N, k) of the labels, `Scoring.targets`; 0 where there is none, or it may not be seen."""
    pairs: np.ndarray
    """Rows of the train pairs, labelled or not, ascending."""
    labelled_pairs: np.ndarray
    """(p,) bool: which of them have a label."""
    splits: list[Split]
    """Of the labelled train cases; those of one draw of the folds after those of another."""

    @classmethod
    def of(cls, paired: PairedCodes, row: str, *, seed: int) -> Cases:
        """For guided row `row`. Raises InvalidInputError where there are too few pairs or labels, or constant codes."""
        check_seed(seed)
        _check(paired, row)
        train = paired.parts == "train"
        of_i, of_s = (
            Preparation.fit(codes_nd[train & has], f"{name} of {paired.cohort}")
            for name, codes_nd, has in (
                ("z_I", paired.inferior_nd, paired.has_inferior),
                ("z_S", paired.superior_nd, paired.has_superior),
            )
        )
        both = Preparation.side_by_side(of_s, of_i)
        raw = {
            S: paired.superior_nd,
            I: paired.inferior_nd,
            S_PLUS_I: np.hstack([paired.superior_nd, paired.inferior_nd]),
        }
        sources = {}
        for of, preparation in ((S_PLUS_I, both), (S, of_s), (I, of_i)):
            has = INPUT_ROWS[of].has(paired)
            labelled = paired.rows("train", paired.has_label, has)
            sources[of] = Source(preparation, preparation.apply(raw[of]), raw[of], has, labelled)
        shown = paired.rows("train", paired.has_label)
        scoring = Scoring.of(paired)
        targets_nk = np.zeros((len(paired), scoring.n_columns))
        targets_nk[shown] = scoring.targets(shown)
        pairs = paired.rows("train", paired.is_pair)
        labelled_pairs = paired.has_label[pairs]
        splits = repeated_folds(paired, shown, repeats_of(int(labelled_pairs.sum())))
        cases = cls(paired, int(seed), sources, scoring, targets_nk, pairs, labelled_pairs, splits)
        if any(len(cases.fitted_in(split, of)) < FEWEST for split in splits for of in sources):
            raise InvalidInputError(
                f"{_where(paired)}: {len(shown)} labelled train cases are too few to hold some out; label more"
            )
        return cases

    def of_one_draw(self) -> Cases:
        """With one draw of the folds alone, for fits that are dear."""
        return replace(self, splits=self.splits[: len(self.splits) // repeats_of(int(self.labelled_pairs.sum()))])

    def fitted_in(self, split: Split, row: str) -> np.ndarray:
        """The labelled cases that a smoother on that input row is fitted on in this fold."""
        return split.fit_n[self.sources[row].has[split.fit_n]]

    def held_in(self, split: Split, row: str) -> np.ndarray:
        """Those of the held-out cases that it can read."""
        return split.held_n[self.sources[row].has[split.held_n]]


def _where(paired: PairedCodes) -> str:
    return f"{paired.cohort}/{paired.split}/{paired.fold}"


def _check(paired: PairedCodes, guided: str) -> None:
    """There is something to learn of each modality and of both, and there are pairs."""
    if len(paired.rows("train", paired.is_pair)) < FEWEST:
        raise InvalidInputError(
            f"{_where(paired)} has fewer than {FEWEST} train pairs, so nothing can be taught; "
            + paired.why_unpaired("materialize both modalities")
        )
    for row in (I, S, S_PLUS_I):
        of = INPUT_ROWS[row]
        check_target(paired, paired.rows("train", paired.has_label, of.has(paired)), guided, of.needs)
