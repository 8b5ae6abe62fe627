"""What every row, control and reference says of the cases that one fold holds out, all of them smoothers.

Kernel and penalty are chosen by what leaving one out says on the cases that are fitted on, so nothing held out has a
part in any choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.advice.codes import STAND_INS, TrainingSet
from guidestore.heads.controls import OWN, SHUFFLED, WITHIN_CLASS
from guidestore.heads.input_rows import GUIDED_PLUS_I, MARGINS, PLUG, S_PLUS_I, TAUGHT, I, S
from guidestore.heads.kernels.outcomes import Scoring
from guidestore.heads.kernels.smoother import ALPHAS, KERNELS, Decomposition, Decompositions, Kernel
from guidestore.heads.margins.train import MARGIN
from guidestore.heads.outcomes import strata
from guidestore.heads.transfer.inner_cv import Split

EXACT_ROWS = 400
"""Up to so many cases RBF kernels are tried too, as the rows themselves do."""
G_ALPHAS = ALPHAS[::3]
"""Penalties of a G."""
TINY = 1e-9
type Arm = tuple[str, str]
"""Row and control; '' for the row itself."""
REFERENCE: Arm = (I, "by score")


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A smoother with its choice made."""

    of: Decomposition
    targets_nc: np.ndarray
    alpha: float
    left_nc: np.ndarray
    """What leaving one out says of the rows that it is fitted on."""

    def says(self, z_md: np.ndarray) -> np.ndarray:
        return self.of.predictions(self.targets_nc, self.of.features(z_md), [self.alpha])[0]

    @property
    def deviation(self) -> float:
        return float(self.left_nc.std()) or 1.0


class Fold:
    """One fold of one training set."""

    def __init__(self, of: TrainingSet, split: Split, seed: int) -> None:
        self.set, self.paired, self.held = of, of.paired, split.held_n[of.paired.is_pair[split.held_n]]
        self.seed, self.scoring = seed, Scoring.of(of.paired)
        self.k = self.scoring.n_columns
        self.known = np.zeros(len(of.paired), dtype=bool)
        """Whose outcome may be seen."""
        self.known[split.fit_n] = True
        self.alike = np.where(self.known, strata(of.paired), -1)
        self.targets_nk = np.zeros((len(self.known), self.k))
        self.targets_nk[split.fit_n] = self.scoring.targets(split.fit_n)
        has = {I: self.paired.has_inferior, S: self.paired.has_superior, S_PLUS_I: self.paired.is_pair}
        self.shown = {row: split.fit_n[has[row][split.fit_n]] for row in has}
        kept = np.ones(len(self.known), dtype=bool)
        kept[split.held_n] = False
        self.pairs = np.flatnonzero(self.paired.is_pair & kept)
        self.kernels: Sequence[Kernel] = KERNELS if len(self.pairs) <= EXACT_ROWS else KERNELS[:1]
        self.codes = {name: Decompositions(codes_nd, seed) for name, codes_nd in of.codes.items()}

    # Fits ---------------------------------------------------------------------------------------------------------

    def fit(self, codes: Decompositions, rows_n: np.ndarray, targets_nc: np.ndarray, *, by_score: bool = False) -> Fit:
        best: tuple[float, Fit] | None = None
        for kernel in self.kernels:
            of = codes.of(kernel, rows_n)
            for alpha, left_nc in zip(ALPHAS, of.left_out(targets_nc, ALPHAS), strict=True):
                loss = -self.scoring.score(rows_n, left_nc) if by_score else float(((left_nc - targets_nc) ** 2).mean())
                if best is None or loss < best[0]:
                    best = loss, Fit(of, targets_nc, alpha, left_nc)
        assert best is not None  # noqa: S101  (there are kernels and penalties)
        return best[1]

    def on_labels(self, row: str, *, by_score: bool = False) -> Fit:
        rows_n = self.shown[row]
        return self.fit(self.codes[row], rows_n, self.targets_nk[rows_n], by_score=by_score)

    def scores_of(self, row: str, teacher: Fit) -> np.ndarray:
        """(N, k) of all cases that have it, those that it was fitted on left out one by one."""
        codes_nd = self.set.codes[row]
        scores_nk = np.full_like(self.targets_nk, np.nan)
        there = ~np.isnan(codes_nd).any(axis=1)
        scores_nk[there] = teacher.says(codes_nd[there])
        scores_nk[self.shown[row]] = teacher.left_nc
        return scores_nk

    # Rows ---------------------------------------------------------------------------------------------------------

    def says(self) -> Mapping[Arm, np.ndarray]:
        """(m, k) of the held-out pairs."""
        plain = {row: self.on_labels(row) for row in (S_PLUS_I, S, I)}
        said: dict[Arm, np.ndarray] = {
            (row, ""): fit.says(self.set.codes[row][self.held]) for row, fit in plain.items()
        }
        said[REFERENCE] = self.on_labels(I, by_score=True).says(self.set.codes[I][self.held])
        inferior, score = plain[I], self.scoring.score
        known = score(self.shown[I], inferior.left_nc)
        teachers = {row: self.scores_of(row, plain[row]) for row in (S, I)}
        knows = score(self.shown[S], plain[S].left_nc) >= known + MARGIN
        for arm, scores_nk in self.lessons(teachers):
            for row, student in self.students(arm, scores_nk):
                averaged = self.averaged(student, inferior)
                is_open = knows and score(*self.on_shown(student, inferior)) >= known
                said[row, arm] = averaged if arm or is_open else said[I, ""]
        for arm in ("", *STAND_INS):
            name = arm or S
            if name not in self.codes:
                continue
            said[PLUG, arm] = self.plug(name, inferior)
            said[GUIDED_PLUS_I, arm] = self.guided(name)
        return said

    def lessons(self, teachers: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """(N, k) of the fit pairs: the teacher's scores, and what controls make of them."""
        scores_nk = teachers[S]
        yield "", scores_nk
        rng = np.random.default_rng([self.seed, 3])
        labels_p = self.alike[self.pairs]
        for control in (SHUFFLED, WITHIN_CLASS):
            order = np.arange(len(self.pairs))
            groups = [order] if control == SHUFFLED else [np.flatnonzero(labels_p == c) for c in np.unique(labels_p)]
            for group in groups:
                order[group] = rng.permutation(group)
            other_nk = scores_nk.copy()
            other_nk[self.pairs] = scores_nk[self.pairs[order]]
            yield control, other_nk
        yield OWN, teachers[I]

    def students(self, control: str, scores_nk: np.ndarray) -> Iterator[tuple[str, Fit]]:
        """M(I)'s, which regresses scores alone; T(I)'s, which has labels where there are some."""
        yield MARGINS, self.fit(self.codes[I], self.pairs, scores_nk[self.pairs])
        if not self.known[self.pairs].all():
            rows_n = np.union1d(self.pairs, self.shown[I])
            targets_nk = np.where(self.known[:, None], self.targets_nk, scores_nk)
            yield TAUGHT, self.fit(self.codes[I], rows_n, targets_nk[rows_n])

    def averaged(self, student: Fit, inferior: Fit) -> np.ndarray:
        z_md = self.set.codes[I][self.held]
        return student.says(z_md) / student.deviation + inferior.says(z_md) / inferior.deviation

    def on_shown(self, student: Fit, inferior: Fit) -> tuple[np.ndarray, np.ndarray]:
        """Rows and averaged scores of the labelled pairs, left out one by one."""
        at_i, at_p = (
            np.flatnonzero(np.isin(self.shown[I], self.pairs)),
            np.searchsorted(self.pairs, self.shown[S_PLUS_I]),
        )
        mixed = student.left_nc[at_p] / student.deviation + inferior.left_nc[at_i] / inferior.deviation
        return self.shown[S_PLUS_I], mixed

    def plug(self, name: str, inferior: Fit) -> np.ndarray:
        """P(I) whose decoder reads z_S alone, where that foretells the labels better than I does; else I.

        G is linear in what it regresses, so G(z_I) times the decoder's weights is a smoother of z_S times them.
        """
        z_nd, rows_n = self.set.codes[name], self.shown[S_PLUS_I]
        decoder = self.codes[name].of("linear", rows_n)
        onto_rk = decoder.features_nr.T @ self.targets_nk[rows_n]
        means = decoder.shrunk_predictions(onto_rk, decoder.features(z_nd[self.pairs]), ALPHAS)
        targets_pc = np.concatenate(list(means), axis=1)
        at = np.searchsorted(self.pairs, rows_n)
        wanted = self.targets_nk[rows_n]
        least, best = float(((inferior.left_nc - self.targets_nk[self.shown[I]]) ** 2).mean()), None
        for kernel in self.kernels:
            of = self.codes[I].of(kernel, self.pairs)
            for alpha, left_pc in zip(ALPHAS, of.left_out(targets_pc, ALPHAS), strict=True):
                for place in range(len(ALPHAS)):
                    column = slice(place * self.k, (place + 1) * self.k)
                    error = float(((left_pc[at, column] - wanted) ** 2).mean())
                    if error < least:
                        least, best = error, Fit(of, targets_pc[:, column], alpha, left_pc[:, column])
        return (best or inferior).says(self.set.codes[I][self.held])

    def guided(self, name: str) -> np.ndarray:
        """G(I)+I of a linear G and a ridge on [G(z_I), z_I], both of the same mean squared norm."""
        of, z_s = self.codes[I].of("linear", self.pairs), self.set.codes[name][self.pairs]
        errors = [((left - z_s) ** 2).sum() for left in of.left_out(z_s, G_ALPHAS)]
        weights_dr = of.weights(z_s, G_ALPHAS[int(np.argmin(errors))]).linear_dc
        z_i = self.set.codes[I]
        size = float(((z_i[self.pairs] @ weights_dr) ** 2).sum(axis=1).mean())
        # z_I (1 + W W') z_I' is the kernel of both side by side, in no more columns than z_I has.
        kernel_dd = 0.5 * (np.eye(len(weights_dr)) + weights_dr @ weights_dr.T / max(size, TINY))
        both = Decompositions(z_i @ np.linalg.cholesky(kernel_dd), self.seed)
        rows_n = self.shown[I]
        return self.fit(both, rows_n, self.targets_nk[rows_n]).says(both.codes_nd[self.held])
