"""Trains plug on paired codes: row P(I), its references S+I, S and I, and its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.types import PairedCodes
from guidestore.heads.input_rows import PLUG, S_PLUS_I, Arm, I, S, arms_of
from guidestore.heads.kernels.cases import Cases
from guidestore.heads.kernels.preparation import Preparation
from guidestore.heads.kernels.smoother import KERNELS, Decompositions, Weights
from guidestore.heads.margins.train import plain_heads
from guidestore.heads.outcomes import said
from guidestore.heads.plug.blocks import DECODERS, Family
from guidestore.heads.plug.choice import Chosen, choose, fit_blocks, losses, said_of_held
from guidestore.heads.plug.guidance import SmootherGuidance
from guidestore.heads.plug.superior import Superior
from guidestore.heads.trained import TrainedHead

PLUG_GUIDANCE = "plug"
"""The guidance of row P(I) with a ridge, as runs and options name it."""
PLUGS: Mapping[str, Family] = {PLUG_GUIDANCE: "ridge", "plug-logistic": "logistic"}
"""Guidance of row P(I) -> its decoder."""
PLUG_ROWS = (S_PLUS_I, S, I, PLUG)
"""In the order of tables."""


@dataclass(frozen=True, slots=True, eq=False)
class PlugJob:
    """One training set under one seed."""

    paired: PairedCodes
    seed: int
    permutations: int
    """Of the shuffled control."""
    family: Family = "ridge"
    """Of the decoder that is plugged into."""


def train_plug(jobs: Sequence[PlugJob]) -> list[list[TrainedHead]]:
    """Per job the PLUG_ROWS, then the controls of P(I).

    S+I, S and I are those of heads.margins. The decoder of P(I), a ridge on the labels' scores or a logistic
    regression, has a penalty for each block and is fitted on the labelled pairs' true z_S; G is a smoother on all train
    pairs. Both are chosen by the decoder's loss in inner cross-validation, in which neither has seen the cases that
    [G(z_I), z_I] is read of. Val serves the temperature alone, where there is one; val and test are predicted once.

    All input is checked before anything is trained. Raises InvalidInputError, also for a logistic decoder of what is no
    class.
    """
    every = [Cases.of(job.paired, PLUG, seed=job.seed) for job in jobs]
    for job, cases in zip(jobs, every, strict=True):
        DECODERS[job.family].targets(cases)
    return [_heads(cases, job.permutations, job.family) for job, cases in zip(jobs, every, strict=True)]


def _heads(cases: Cases, permutations: int, family: Family) -> list[TrainedHead]:
    arms = [arm for arm in arms_of(PLUG_ROWS, permutations) if arm.row == PLUG]
    superiors = [Superior.of(cases, arm) for arm in arms]
    decoder = DECODERS[family]
    every, codes = cases, cases.sources[I].decompositions(cases.seed)
    if family == "logistic":  # each of its fits is a descent
        cases = cases.of_one_draw()
    chosen = [choose(of_arm, decoder) for of_arm in losses(cases, superiors, decoder, codes)]
    guided = [
        _head(cases, arm, superior, family, of_arm, codes)
        for arm, superior, of_arm in zip(arms, superiors, chosen, strict=True)
    ]
    return plain_heads(every) + guided


def decoder_name(family: Family) -> str:
    """As runs have it."""
    return f"block {family}"


def _guidance_of(family: Family) -> str:
    return next(name for name, of in PLUGS.items() if of == family)


def _head(
    cases: Cases, arm: Arm, superior: Superior, family: Family, chosen: Chosen, codes: Decompositions
) -> TrainedHead:
    """P(I) or a control, predicted. codes: of z_I."""
    paired, inferior, of_g = cases.paired, cases.sources[I], codes.of(chosen.kernel, cases.pairs)
    held_mk = said_of_held(cases, superior, DECODERS[family], codes, chosen)
    to_s = of_g.weights(superior.codes_nd[cases.pairs], chosen.alpha)
    model = SmootherGuidance.of(inferior.preparation, to_s, superior.preparation)
    ((block,),) = fit_blocks(cases, superior, DECODERS[family], chosen.share, [chosen.penalty], [None])
    preparation = Preparation.side_by_side(superior.preparation, inferior.preparation)
    # Side by side, both codes are scaled down to a common norm of 1.
    weights_dk = np.vstack([block.of_s, block.of_i]) * 2**0.5
    none = np.zeros((0, len(weights_dk))), np.zeros((0, held_mk.shape[1]))
    weights = Weights(weights_dk, block.constant, *none)

    def read(rows_n: np.ndarray) -> np.ndarray:
        z_i_nd = paired.inferior_nd[rows_n]
        return np.hstack([model.predict(z_i_nd), z_i_nd])

    held_n = np.concatenate([cases.held_in(split, S_PLUS_I) for split in cases.splits])
    facts = {
        "guidance_alpha": chosen.alpha,
        "guidance_rbf": float(chosen.kernel == KERNELS[1]),
        "decoder_share_of_s": chosen.share,
        "decoder_alpha": chosen.penalty,
        "decoder_inner_score": cases.scoring.score(held_n, held_mk),
    }
    val = paired.rows("val", paired.has_label, paired.has_inferior)
    raw_nd = np.full((len(paired), len(weights_dk)), np.nan, dtype=np.float32)
    if len(val):
        raw_nd[val] = read(val)
    decoder = cases.scoring.decoder(preparation, weights, raw_nd, paired.has_inferior, held_mk, held_n)
    components = {"guidance": (model.config, model.tensors()), "decoder": (decoder.config, decoder.tensors())}
    head = TrainedHead(
        *(PLUG, "matched", _guidance_of(family), decoder_name(family), arm.control, arm.permutation, cases.seed),
        components=components,
        facts=facts,
        n_pairs=len(cases.pairs),
        n_train=len(cases.sources[S_PLUS_I if chosen.share else I].labelled),
    )
    return head.predicting(
        paired, paired.has_inferior, lambda rows_n: said(decoder, read(rows_n), cases.scoring.reference)
    )
