"""G and both penalties of the decoder, chosen together: by what [G(z_I), z_I] says of cases that neither saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.input_rows import S_PLUS_I, I
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.smoother import ALPHAS, KERNELS, Decompositions, Kernel
from guidestore.heads.plug.blocks import BlockDecoder
from guidestore.heads.plug.superior import Superior
from guidestore.heads.transfer.inner_cv import Split


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
    cases: Cases,
    superior: Superior,
    decoder: BlockDecoder,
    share: float,
    penalties: Sequence[float],
    both: np.ndarray,
    own: np.ndarray,
) -> list[Block]:
    """The decoder for each penalty. both, own: rows of the labelled cases that have z_S and z_I, and that have z_I."""
    z_i_nd, d_s, targets_nk = cases.sources[I].codes_nd, superior.codes_nd.shape[1], decoder.targets(cases)
    if not share:
        fits = decoder.fit(z_i_nd[own], targets_nk[own], penalties)
        return [Block(np.zeros((d_s, len(fit.constant_c))), fit.weights_dc, fit.constant_c) for fit in fits]
    scale_s, scale_i = share**0.5, (1 - share) ** 0.5
    x_nd = np.hstack([scale_s * superior.codes_nd[both], scale_i * z_i_nd[both]])
    fits = decoder.fit(x_nd, targets_nk[both], penalties)
    return [Block(scale_s * fit.weights_dc[:d_s], scale_i * fit.weights_dc[d_s:], fit.constant_c) for fit in fits]


def held_pairs(cases: Cases, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the labelled pairs that a fold holds out, and of all pairs that it does not."""
    held_n = cases.held_in(split, S_PLUS_I)
    return held_n, np.setdiff1d(cases.pairs, held_n)


def losses_in(
    cases: Cases, split: Split, superiors: Sequence[Superior], decoder: BlockDecoder, codes: Decompositions
) -> np.ndarray:
    """(arms, shares, penalties, kernels, alphas) summed loss on the held-out pairs; superiors: of each arm.

    codes: of z_I.
    """
    held_n, fit_n = held_pairs(cases, split)
    both, own = cases.fitted_in(split, S_PLUS_I), cases.fitted_in(split, I)
    z_i_md, targets_mk = cases.sources[I].codes_nd[held_n], decoder.targets(cases)[held_n]
    of_g = [codes.of(kernel, fit_n) for kernel in KERNELS]
    features = [of.features(z_i_md) for of in of_g]
    losses = np.empty((len(superiors), len(decoder.shares), len(decoder.penalties), len(KERNELS), len(ALPHAS)))
    for s, share in enumerate(decoder.shares):
        for arm, superior in enumerate(superiors):
            if not share and arm:  # the same for all
                losses[arm, s] = losses[0, s]
                continue
            fits = fit_block(cases, superior, decoder, share, decoder.penalties, both, own)
            of_i_pmk = np.stack([z_i_md @ block.of_i + block.constant for block in fits])
            if not share:
                losses[arm, s] = decoder.losses(of_i_pmk, targets_mk)[:, None, None]
                continue
            # G is linear in what it regresses, so G(z_I) times a block's weights is a smoother of z_S times them.
            of_s_dc = np.hstack([block.of_s for block in fits])
            for g, (of, features_mr) in enumerate(zip(of_g, features, strict=True)):
                onto_rc = (of.features_nr.T @ superior.codes_nd[fit_n]) @ of_s_dc
                said_amc = of.shrunk_predictions(onto_rc, features_mr, ALPHAS)
                said_apmk = said_amc.reshape(len(ALPHAS), len(held_n), len(fits), -1).swapaxes(1, 2)
                losses[arm, s, :, g] = decoder.losses(of_i_pmk + said_apmk, targets_mk).T
    return losses


def choose(losses: np.ndarray, decoder: BlockDecoder) -> Chosen:
    """Of the least loss over all folds; of equals the least share and the strongest penalties."""
    s, p, g, a = map(int, np.unravel_index(int(losses.argmin()), losses.shape))
    return Chosen(decoder.shares[s], decoder.penalties[p], KERNELS[g], ALPHAS[a])


def said_in(
    cases: Cases, split: Split, superior: Superior, decoder: BlockDecoder, codes: Decompositions, chosen: Chosen
) -> np.ndarray:
    """(m, k) what the chosen G and decoder say of the held-out pairs."""
    held_n, fit_n = held_pairs(cases, split)
    both, own = cases.fitted_in(split, S_PLUS_I), cases.fitted_in(split, I)
    (block,) = fit_block(cases, superior, decoder, chosen.share, [chosen.penalty], both, own)
    z_i_md, of = cases.sources[I].codes_nd[held_n], codes.of(chosen.kernel, fit_n)
    guided_md = of.predictions(superior.codes_nd[fit_n], of.features(z_i_md), [chosen.alpha])[0]
    return guided_md @ block.of_s + z_i_md @ block.of_i + block.constant
