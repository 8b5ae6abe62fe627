"""G and both penalties of the decoder, chosen together: by what [G(z_I), z_I] says of cases that neither saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.input_rows import S_PLUS_I, I
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.smoother import ALPHAS, KERNELS, Decomposition, Decompositions, Kernel, Weights
from guidestore.heads.plug.superior import Superior
from guidestore.heads.transfer.inner_cv import Split

SHARES = (0.0, 0.1, 0.3, 0.6, 1.0)
"""Of the S block in the decoder's kernel: a share r and a penalty a are the penalties a / r on z_S and a / (1 - r) on
z_I. 0 leaves z_S out: then the decoder is a ridge on z_I, fitted on all labelled cases that have it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """G and the penalties."""

    share: float
    penalty: float
    kernel: Kernel
    """Of G."""
    alpha: float
    """Of G."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A decoder's weights on prepared codes: (d_S, c), (d_I, c), (c,)."""

    of_s: np.ndarray
    of_i: np.ndarray
    constant: np.ndarray


def fit_block(
    cases: Cases, superior: Superior, share: float, penalties: Sequence[float], both: np.ndarray, own: np.ndarray
) -> list[Block]:
    """The decoder for each penalty. both, own: rows of the labelled cases that have z_S and z_I, and that have z_I."""
    z_i_nd, d_s = cases.sources[I].codes_nd, superior.codes_nd.shape[1]
    if not share:
        of = Decomposition.of("linear", z_i_nd[own])
        fits = [of.weights(cases.targets_nk[own], alpha) for alpha in penalties]
        return [Block(np.zeros((d_s, len(w.constant_c))), w.linear_dc, w.constant_c) for w in fits]
    scale_s, scale_i = share**0.5, (1 - share) ** 0.5
    of = Decomposition.of("linear", np.hstack([scale_s * superior.codes_nd[both], scale_i * z_i_nd[both]]))
    fits: list[Weights] = [of.weights(cases.targets_nk[both], alpha) for alpha in penalties]
    return [Block(scale_s * w.linear_dc[:d_s], scale_i * w.linear_dc[d_s:], w.constant_c) for w in fits]


def held_pairs(cases: Cases, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the labelled pairs that a fold holds out, and of all pairs that it does not."""
    held_n = cases.held_in(split, S_PLUS_I)
    return held_n, np.setdiff1d(cases.pairs, held_n)


def errors_in(cases: Cases, split: Split, superior: Superior, codes: Decompositions) -> np.ndarray:
    """(shares, penalties, kernels, alphas) summed squared error to the label scores of the held-out pairs.

    codes: of z_I, shared by all arms.
    """
    held_n, fit_n = held_pairs(cases, split)
    z_i_md, targets_mk = cases.sources[I].codes_nd[held_n], cases.targets_nk[held_n]
    of_g = [codes.of(kernel, fit_n) for kernel in KERNELS]
    onto = [(of.features(z_i_md), of.features_nr.T @ superior.codes_nd[fit_n]) for of in of_g]
    errors = np.empty((len(SHARES), len(ALPHAS), len(KERNELS), len(ALPHAS)))
    for s, share in enumerate(SHARES):
        fits = fit_block(cases, superior, share, ALPHAS, cases.fitted_in(split, S_PLUS_I), cases.fitted_in(split, I))
        missing_mpk = np.stack([targets_mk - z_i_md @ block.of_i - block.constant for block in fits], axis=1)
        if not share:
            errors[s] = (missing_mpk**2).sum(axis=(0, 2))[:, None, None]
            continue
        # G is linear in what it regresses, so G(z_I) times a block's weights is a smoother of z_S times them.
        of_s_dc = np.hstack([block.of_s for block in fits])
        for g, (of, (features_mr, onto_rd)) in enumerate(zip(of_g, onto, strict=True)):
            said_amc = of.shrunk_predictions(onto_rd @ of_s_dc, features_mr, ALPHAS)
            left_ampk = missing_mpk - said_amc.reshape(len(ALPHAS), *missing_mpk.shape)
            errors[s, :, g] = (left_ampk**2).sum(axis=(1, 3)).T
    return errors


def choose(errors: np.ndarray) -> Chosen:
    """Of the least error over all folds; of equals the least share and the strongest penalties."""
    s, p, g, a = np.unravel_index(int(errors.argmin()), errors.shape)
    return Chosen(SHARES[s], ALPHAS[p], KERNELS[g], ALPHAS[a])


def said_in(cases: Cases, split: Split, superior: Superior, codes: Decompositions, chosen: Chosen) -> np.ndarray:
    """(m, k) what the chosen G and decoder say of the held-out pairs."""
    held_n, fit_n = held_pairs(cases, split)
    (block,) = fit_block(
        cases, superior, chosen.share, [chosen.penalty], cases.fitted_in(split, S_PLUS_I), cases.fitted_in(split, I)
    )
    z_i_md, of = cases.sources[I].codes_nd[held_n], codes.of(chosen.kernel, fit_n)
    guided_md = of.predictions(superior.codes_nd[fit_n], of.features(z_i_md), [chosen.alpha])[0]
    return guided_md @ block.of_s + z_i_md @ block.of_i + block.constant
