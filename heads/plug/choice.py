"""G and both penalties of the decoder, chosen together: by what [G(z_I), z_I] says of cases that neither saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.heads.input_rows import S_PLUS_I, I
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.smoother import ALPHAS, KERNELS, Decomposition, Decompositions, Kernel
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


def fit_blocks(
    cases: Cases,
    superior: Superior,
    decoder: BlockDecoder,
    share: float,
    penalties: Sequence[float],
    splits: Sequence[Split | None],
) -> list[list[Block]]:
    """Per fold the decoder for each penalty; None: of all labelled cases."""
    reads, targets_nk = S_PLUS_I if share else I, decoder.targets(cases)
    z_i_nd, d_s = cases.sources[I].codes_nd, superior.codes_nd.shape[1]
    rows_n = cases.sources[reads].labelled
    left_out = [np.searchsorted(rows_n, cases.held_in(split, reads) if split else rows_n[:0]) for split in splits]
    if not share:
        fits = decoder.fits(z_i_nd[rows_n], targets_nk[rows_n], left_out, penalties)
        return [
            [Block(np.zeros((d_s, len(fit.constant_c))), fit.weights_dc, fit.constant_c) for fit in of_fold]
            for of_fold in fits
        ]
    scale_s, scale_i = share**0.5, (1 - share) ** 0.5
    x_nd = np.hstack([scale_s * superior.codes_nd[rows_n], scale_i * z_i_nd[rows_n]])
    return [
        [Block(scale_s * fit.weights_dc[:d_s], scale_i * fit.weights_dc[d_s:], fit.constant_c) for fit in of_fold]
        for of_fold in decoder.fits(x_nd, targets_nk[rows_n], left_out, penalties)
    ]


def losses(cases: Cases, superiors: Sequence[Superior], decoder: BlockDecoder, codes: Decompositions) -> np.ndarray:
    """(arms, shares, penalties, kernels, alphas) loss on the held-out pairs, summed over all folds.

    superiors: of each arm. codes: of z_I.
    """
    summed = np.zeros((len(superiors), len(decoder.shares), len(decoder.penalties), len(KERNELS), len(ALPHAS)))
    targets_nk, z_i_nd = decoder.targets(cases), cases.sources[I].codes_nd
    for s, share in enumerate(decoder.shares):
        # Without the S block all arms are the same.
        arms = superiors if share else superiors[:1]
        every = [fit_blocks(cases, arm, decoder, share, decoder.penalties, cases.splits) for arm in arms]
        for split, of_fold in zip(cases.splits, zip(*every, strict=True), strict=True):
            held_n = cases.held_in(split, S_PLUS_I)
            of_i_rpmk = np.stack([[z_i_nd[held_n] @ b.of_i + b.constant for b in blocks] for blocks in of_fold])
            if not share:
                summed[:, s] += decoder.losses(of_i_rpmk[0], targets_nk[held_n])[:, None, None]
                continue
            for g, kernel in enumerate(KERNELS):
                of_s_armc = _through_g(cases, held_n, arms, of_fold, codes.of(kernel, cases.pairs), ALPHAS)
                of_s_arpmk = np.stack(np.split(of_s_armc, len(decoder.penalties), axis=-1), axis=2)
                loss_arp = decoder.losses(of_i_rpmk + of_s_arpmk, targets_nk[held_n])
                summed[:, s, :, g] += loss_arp.transpose(1, 2, 0)
    return summed


def _through_g(
    cases: Cases,
    held_n: np.ndarray,
    arms: Sequence[Superior],
    blocks: Sequence[Sequence[Block]],
    of_g: Decomposition,
    alphas: Sequence[float],
) -> np.ndarray:
    """(alphas, arms, m, penalties * k) what the S blocks say of G(z_I) of held-out pairs, G of all other pairs.

    G is linear in what it regresses, so G(z_I) times a block's weights is a smoother of z_S times them.
    """
    held_m, fit_n = np.searchsorted(cases.pairs, held_n), np.setdiff1d(cases.pairs, held_n)
    of_s = [
        arm.codes_nd[fit_n] @ np.hstack([block.of_s for block in of_arm])
        for arm, of_arm in zip(arms, blocks, strict=True)
    ]
    said_amc = of_g.features_nr[held_m] @ of_g.without(held_m, np.hstack(of_s), alphas)
    return np.stack(np.split(said_amc, len(arms), axis=-1), axis=1)


def choose(loss: np.ndarray, decoder: BlockDecoder) -> Chosen:
    """Of the least loss over all folds; of equals the least share and the strongest penalties."""
    s, p, g, a = map(int, np.unravel_index(int(loss.argmin()), loss.shape))
    return Chosen(decoder.shares[s], decoder.penalties[p], KERNELS[g], ALPHAS[a])


def said_of_held(
    cases: Cases, superior: Superior, decoder: BlockDecoder, codes: Decompositions, chosen: Chosen
) -> np.ndarray:
    """(m, k) what the chosen G and decoder say of the held-out pairs, fold by fold."""
    every, z_i_nd, parts = (
        fit_blocks(cases, superior, decoder, chosen.share, [chosen.penalty], cases.splits),
        cases.sources[I].codes_nd,
        [],
    )
    for split, blocks in zip(cases.splits, every, strict=True):
        held_n, (block,) = cases.held_in(split, S_PLUS_I), blocks
        of_g = codes.of(chosen.kernel, cases.pairs)
        of_s_mk = _through_g(cases, held_n, [superior], [blocks], of_g, [chosen.alpha])[0, 0]
        parts.append(of_s_mk + z_i_nd[held_n] @ block.of_i + block.constant)
    return np.concatenate(parts)
