"""Fits many guidance models or decoders: those that can share one batched problem together, the rest one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from guidestore.heads.decoders.common.calibrated import Calibrated
from guidestore.heads.errors import DivergedError
from guidestore.heads.protocol import (
    BatchDecoder,
    BatchGuidanceModel,
    Decoder,
    DecoderProblem,
    Foreteller,
    GuidanceModel,
    GuidanceProblem,
)


def fit_decoders(
    problems: Sequence[DecoderProblem], *, device: str = "cpu"
) -> list[Decoder | Foreteller | DivergedError]:
    """The decoders of `problems`, fitted, in their order; a fit that diverged is its error, and harms no other.

    Problems that share codes share work: pass the same array object. A result does not depend on what else is in the
    list (but for rounding: see heads.protocol). device: where networks train, "cpu" or "cuda"; other models ignore it.
    Raises InvalidInputError where a problem is none; of networks, all are checked before any is trained.
    """
    within = [p.decoder.problem_within(p) if isinstance(p.decoder, Calibrated) else p for p in problems]
    fitted = _fit_uncalibrated(within, device)
    return [
        _calibrate(p.decoder, own, done) if isinstance(p.decoder, Calibrated) else done
        for p, own, done in zip(problems, within, fitted, strict=True)
    ]


def _calibrate(
    decoder: Calibrated, within: DecoderProblem, fitted: Decoder | Foreteller | DivergedError
) -> Calibrated | DivergedError:
    """`decoder`, once the problem within it came out as `fitted`."""
    if isinstance(fitted, DivergedError):
        return fitted
    try:
        return decoder.calibrate(within)
    except DivergedError as error:
        return error


def _fit_uncalibrated(problems: Sequence[DecoderProblem], device: str) -> list[Decoder | Foreteller | DivergedError]:
    """`fit_decoders` of decoders that are not Calibrated."""
    batched = _by_class([problem.decoder for problem in problems], "fit_many")
    fitted: dict[int, Decoder | Foreteller | DivergedError] = {}
    for kind, places in batched.items():
        many = cast(type[BatchDecoder], kind).fit_many([problems[i] for i in places], device=device)
        fitted |= zip(places, many, strict=True)
    for i, p in enumerate(problems):
        if i not in fitted:
            try:
                fitted[i] = p.decoder.fit(
                    p.x_nd, p.labels, p.x_val_nd, p.labels_val, n_classes=p.n_classes, seed=p.seed
                )
            except DivergedError as error:
                fitted[i] = error
    return [fitted[i] for i in range(len(problems))]


def fit_guidance(problems: Sequence[GuidanceProblem], *, device: str = "cpu") -> list[GuidanceModel | DivergedError]:
    """The guidance models of `problems`, fitted, in their order; as `fit_decoders`."""
    batched = _by_class([problem.model for problem in problems], "fit_many")
    fitted: dict[int, GuidanceModel | DivergedError] = {}
    for kind, places in batched.items():
        many = cast(type[BatchGuidanceModel], kind).fit_many([problems[i] for i in places], device=device)
        fitted |= zip(places, many, strict=True)
    for i, p in enumerate(problems):
        if i not in fitted:
            try:
                fitted[i] = p.model.fit(p.z_inferior_nd, p.z_superior_nd, seed=p.seed)
            except DivergedError as error:
                fitted[i] = error
    return [fitted[i] for i in range(len(problems))]


def needs_decoder(model: GuidanceModel) -> bool:
    """Whether it is trained through the frozen D_S (heads.protocol.DecoderGuidedModel)."""
    return getattr(model, "needs_decoder", False)


def _by_class(models: Sequence[object], method: str) -> dict[type, list[int]]:
    """Class -> places of its models in `models`; of classes that have `method` alone."""
    places: dict[type, list[int]] = {}
    for i, model in enumerate(models):
        if hasattr(type(model), method):
            places.setdefault(type(model), []).append(i)
    return places
