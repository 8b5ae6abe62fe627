"""Names and presets -> guidance models, decoders, fusions and students.

A file in heads/guidance, heads/decoders, heads/fusion or heads/transfer/students is the implementation of its name; an
installed distribution brings more through the entry-point groups ``guidestore.guidance``, ``guidestore.decoders`` and
``guidestore.fusions``, and ``module:Class`` names one's own (heads.own).
Names are listed without importing what they name; implementations are imported when they are asked for, and presets,
which stand beside the model that they are for, with ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.embeddings.outcomes import KINDS, TargetKind
from guidestore.embeddings.plugins import Registry, one_per_file
from guidestore.heads.checks import check_choice
from guidestore.heads.choice import Choice
from guidestore.heads.controls import CONTROLS
from guidestore.heads.fusion.common.protocol import Fusion
from guidestore.heads.own.code import choice_of, own_of
from guidestore.heads.own.decoder import OwnDecoder
from guidestore.heads.own.fusion import OwnFusion
from guidestore.heads.own.guidance import OwnGuidance
from guidestore.heads.presets.preset import Preset
from guidestore.heads.protocol import (
    Decoder,
    Foreteller,
    FrozenDecoder,
    FrozenForeteller,
    GuidanceModel,
)
from guidestore.heads.transfer.students.common.protocol import Student

GUIDANCE: Registry[type[GuidanceModel]] = Registry(
    "guidance model", "guidestore.guidance", one_per_file("guidestore.heads.guidance")
)
DECODERS: Registry[type[Decoder]] = Registry(
    "decoder", "guidestore.decoders", one_per_file("guidestore.heads.decoders")
)
DECODERS_OF: Mapping[TargetKind, Registry[type[Foreteller]]] = {
    kind: Registry(f"decoder of a target of kind {kind}", "", one_per_file(f"guidestore.heads.decoders.of_{kind}"))
    for kind in ("ordinal", "value", "survival")
}
"""Of outcomes that are no class, and of grades where their order counts: names are alike where it is the same thing,
and the kind of the target chooses. Grades can be learnt as classes too, by any name of DECODERS that ordinal has not;
several labels by any name of DECODERS, one of them for each label (heads.decoders.common.per_label)."""
FUSIONS: Registry[type[Fusion]] = Registry("fusion", "guidestore.fusions", one_per_file("guidestore.heads.fusion"))
STUDENTS: Registry[type[Student]] = Registry("student", "", one_per_file("guidestore.heads.transfer.students"))

_STORED_GUIDANCE: Registry[type[GuidanceModel]] = Registry(
    "guidance model",
    "",
    {control.name: control.stand_in for control in CONTROLS.values() if control.stand_in}
    | {"smoother": "guidestore.heads.plug.guidance:SmootherGuidance"},
)
"""Stored as guidance models, never asked for as one: stand-ins, and the G of heads.plug."""

CONCATENATION = "concatenation"
"""The fusion that is none: a decoder reads the two codes side by side."""

_CALIBRATED = "calibrated"
_STORED_DECODERS: Registry[type[FrozenDecoder]] = Registry(
    "decoder",
    "",
    {
        "linear": "guidestore.heads.decoders.common.linear:Linear",
        _CALIBRATED: "guidestore.heads.decoders.common.calibrated:Calibrated",
        "fused": "guidestore.heads.fusion.common.fused:FusedDecoder",
        "smoother": "guidestore.heads.kernels.decoder:Smoother",
    }
    | {f"{name}-student": "guidestore.heads.transfer.decoder:StudentDecoder" for name in STUDENTS.names()},
)
"""Decoders that are loaded by these names, never asked for by them: given weights, what goes around other decoders, the
smoothers of heads.kernels, and students, which heads.transfer fits."""


_STORED_FORETELLERS: Registry[type[FrozenForeteller]] = Registry(
    "decoder",
    "",
    {
        "per_label": "guidestore.heads.decoders.common.per_label:PerLabel",
        "fused": "guidestore.heads.fusion.common.fused:FusedForeteller",
        "smoother": "guidestore.heads.kernels.foreteller:SmootherOf",
    }
    | {f"{name}-student": "guidestore.heads.transfer.foreteller:StudentForeteller" for name in STUDENTS.names()},
)
"""As _STORED_DECODERS, of outcomes that are no class."""


# Presets -------------------------------------------------------------------------------------------------------------


def guidance_presets() -> Mapping[str, Preset]:
    """Presets of our guidance models by name."""
    return _presets("guidestore.heads.guidance")


def decoder_presets() -> Mapping[str, Preset]:
    """Presets of our decoders by name."""
    return _presets("guidestore.heads.decoders")


@cache
def _presets(package: str) -> Mapping[str, Preset]:
    presets: dict[str, Preset] = {}
    for target in one_per_file(package).values():
        presets |= getattr(import_module(target.partition(":")[0]), "PRESETS", {})
    return presets


def guidance_names() -> tuple[str, ...]:
    """Every name and preset that `build_guidance` takes."""
    return (*GUIDANCE.names(), *guidance_presets())


def decoder_names() -> tuple[str, ...]:
    """Every name and preset that `build_decoder` takes."""
    return (*DECODERS.names(), *decoder_presets())


def decoder_names_of(kind: TargetKind) -> tuple[str, ...]:
    """Every name and preset that `build_decoder_of` takes for that kind."""
    if kind in ("value", "survival"):
        return DECODERS_OF[kind].names()
    own = DECODERS_OF[kind].names() if kind in DECODERS_OF else ()
    return tuple(sorted({*own, *DECODERS.names()})) + tuple(decoder_presets())


def every_decoder_name() -> tuple[str, ...]:
    """Of whatever kind, each once: those of classes first."""
    return tuple(dict.fromkeys([*decoder_names(), *(name for of in DECODERS_OF.values() for name in of.names())]))


def decoder_preset(name_or_preset: str, target: str = "") -> Preset:
    """The preset of that name for `target`, or one without parameters for a decoder's own name.

    Raises InvalidInputError where the preset is for other targets.
    """
    preset = decoder_presets().get(name_or_preset) or Preset(name_or_preset)
    if not preset.by_target:
        return preset
    if target not in preset.by_target:
        raise InvalidInputError(
            f"preset {name_or_preset!r} has numbers for the targets {', '.join(preset.by_target)}, not for {target!r}; "
            f"name one of them, or use {preset.name!r} with parameters of your own"
        )
    return preset.by_target[target]


def check_class_weights(decoder: str, classes: Sequence[str], params: Mapping[str, Any], *, target: str = "") -> None:
    """Refuses per-class numbers that do not fit the classes, before anything is trained.

    One number per class; and a preset's own numbers only with its classes in its order (G, O, A, never A, G, O).
    Raises InvalidInputError.
    """
    preset = decoder_preset(decoder, target)
    weights = {**preset.params, **params}.get("class_weights")
    if isinstance(weights, tuple | list) and len(weights) != len(classes):
        raise InvalidInputError(
            f"decoder {decoder!r} has {len(weights)} class weights, but the target has {len(classes)} classes; give "
            "one class weight per class in the target's order, or 'balanced' or 'none'"
        )
    order = preset.class_order
    if order and "class_weights" not in params and tuple(classes) != order and sorted(classes) == sorted(order):
        raise InvalidInputError(
            f"preset {decoder!r} weights the classes in the order {', '.join(order)}, but the target lists them as "
            f"{', '.join(classes)}; reorder the target's classes, or give class_weights in its order"
        )


# Choices -----------------------------------------------------------------------------------------------------------


def guidance_choice(given: Any, params: Mapping[str, Any] | None = None) -> Choice:
    """A guidance model as it may be asked for, as the choice that recipes hold and `build_guidance` builds.

    given: a name or preset; ``module:Class``, of the working directory too; a class; or an object, which stands for its
    class and parameters. params: of a name or class. Code of others is digested, so that changed code is another
    choice; what has no source is ``unversioned``, which is another choice each time. Raises InvalidInputError.
    """
    return choice_of(GUIDANCE, given, params)


def decoder_choice(given: Any, params: Mapping[str, Any] | None = None) -> Choice:
    """As `guidance_choice`, of a decoder."""
    return choice_of(DECODERS, given, params)


def fusion_choice(given: Any, params: Mapping[str, Any] | None = None) -> Choice:
    """As `guidance_choice`, of a fusion."""
    return choice_of(FUSIONS, given, params)


# Unfitted ------------------------------------------------------------------------------------------------------------


def build_guidance(name_or_preset: str, **params: Any) -> GuidanceModel:
    """An unfitted guidance model; `params` override the preset's or the model's defaults.

    Raises InvalidInputError for an unknown name (suggesting the nearest), an unknown parameter or a bad value.
    """
    if GUIDANCE.is_own(name_or_preset):
        return cast(Any, OwnGuidance.named(GUIDANCE, name_or_preset, params))
    preset = guidance_presets().get(name_or_preset) or Preset(name_or_preset)
    if preset.name not in GUIDANCE:
        raise unknown_name(GUIDANCE.kind, name_or_preset, guidance_names())
    return GUIDANCE.load(preset.name)(**{**preset.params, **params})


def build_decoder(name_or_preset: str, *, target: str = "", calibration: str = "none", **params: Any) -> Decoder:
    """An unfitted decoder of classes; as `build_guidance`. `linear` has no fit and is refused: load it.

    target: what it will predict; presets may differ by it, decoders do not. calibration: "temperature" puts the decoder
    into a heads.decoders.common.calibrated.Calibrated, which any decoder can be.
    """
    check_choice(calibration, "calibration", ("none", "temperature"))
    if name_or_preset == _CALIBRATED:
        raise InvalidInputError(
            f"decoder {name_or_preset!r} goes around another; build that one with calibration='temperature'"
        )
    if name_or_preset in _STORED_DECODERS and name_or_preset != "fused":
        raise InvalidInputError(
            f"decoder {name_or_preset!r} holds given weights and has no fit; load it with load_decoder, or fit "
            f"{' or '.join(DECODERS.names())}"
        )
    if DECODERS.is_own(name_or_preset):
        decoder = cast(Any, OwnDecoder.named(DECODERS, name_or_preset, params))
        return decoder if calibration == "none" else cast(Any, _STORED_DECODERS.load(_CALIBRATED))(decoder)
    preset = decoder_preset(name_or_preset, target)
    if preset.name not in DECODERS:
        raise unknown_name(DECODERS.kind, name_or_preset, decoder_names())
    decoder = DECODERS.load(preset.name)(**{**preset.params, **params})
    return decoder if calibration == "none" else cast(Any, _STORED_DECODERS.load(_CALIBRATED))(decoder)


def build_decoder_of(kind: TargetKind, name_or_preset: str, *, target: str = "", **params: Any) -> Decoder | Foreteller:
    """An unfitted decoder for a target of that kind; otherwise as `build_decoder`."""
    if kind == "multilabel":
        _refuse_of_others(kind, name_or_preset, target)
        per_label = cast(Any, _STORED_FORETELLERS.load("per_label"))
        return per_label(Choice.of(name_or_preset, params), target=target)
    if kind in DECODERS_OF and (name_or_preset in DECODERS_OF[kind] or kind != "ordinal"):
        if DECODERS.is_own(name_or_preset):
            from guidestore.heads.own.foreteller import OwnForeteller

            return cast(Any, OwnForeteller(own_of(DECODERS, name_or_preset), params, kind))
        _refuse_of_others(kind, name_or_preset, target)
        return DECODERS_OF[kind].load(name_or_preset)(**params)
    _refuse_of_others(kind, name_or_preset, target)
    return build_decoder(name_or_preset, target=target, **params)


def _refuse_of_others(kind: TargetKind, name: str, target: str) -> None:
    """Raises InvalidInputError for a decoder of other kinds of targets alone."""
    learns = ["classes"] * (name in decoder_names()) + [other for other, of in DECODERS_OF.items() if name in of]
    if learns and name not in decoder_names_of(kind):
        raise InvalidInputError(
            f"decoder {name!r} learns {' and '.join(learns)}, and {target or 'the target'} is of kind {kind}; choose "
            f"among {', '.join(decoder_names_of(kind))}"
        )


def build_fusion(name: str, **params: Any) -> Fusion | None:
    """An unfitted fusion, None for concatenation; as `build_guidance`."""
    if name == CONCATENATION and not params:
        return None
    if name == CONCATENATION:
        raise InvalidInputError(
            f"fusion concatenation has no parameters, so {', '.join(params)} has no meaning; leave it out, or choose "
            f"{' or '.join(FUSIONS.names())}"
        )
    if FUSIONS.is_own(name):
        return cast(Any, OwnFusion.named(FUSIONS, name, params))
    if name not in FUSIONS:
        raise unknown_name(FUSIONS.kind, name, [CONCATENATION, *FUSIONS.names()])
    return FUSIONS.load(name)(**params)


def build_student(name: str, **params: Any) -> Student:
    """A student family by name; `params` override its defaults. Raises InvalidInputError."""
    return STUDENTS.load(name)(**params)


def build_stand_in(control: str) -> GuidanceModel:
    """What stands in for G in that control, unfitted."""
    return _STORED_GUIDANCE.load(control)()


# Fitted --------------------------------------------------------------------------------------------------------------


def load_guidance(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> GuidanceModel:
    """The fitted guidance model again, from what `config` and `tensors()` gave. Raises InvalidInputError."""
    name: Any = config.get("name")
    if _is_own(GUIDANCE, config):
        return cast(Any, OwnGuidance.stored(GUIDANCE, config, tensors))
    return (_STORED_GUIDANCE if name in _STORED_GUIDANCE else GUIDANCE).load(name).from_tensors(config, tensors)


def load_decoder(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> FrozenDecoder:
    """The fitted decoder of classes again, those that are only loaded among them. Raises InvalidInputError."""
    name: Any = config.get("name")
    if _is_own(DECODERS, config):
        return cast(Any, OwnDecoder.stored(DECODERS, config, tensors))
    return (_STORED_DECODERS if name in _STORED_DECODERS else DECODERS).load(name).from_tensors(config, tensors)


def load_any_decoder(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> FrozenDecoder | FrozenForeteller:
    """As `load_decoder`, of whatever kind of target: its config says which, where it is not classes."""
    kind: Any = config.get("kind", "classes")
    if kind not in KINDS:
        raise unknown_name("kind of target", kind, KINDS)
    if kind == "classes":
        return load_decoder(config, tensors)
    name: Any = config.get("name")
    if _is_own(DECODERS, config):
        from guidestore.heads.own.foreteller import OwnForeteller

        return cast(Any, OwnForeteller.stored(DECODERS, config, tensors))
    is_stored = name in _STORED_FORETELLERS or kind not in DECODERS_OF
    return (_STORED_FORETELLERS if is_stored else DECODERS_OF[kind]).load(name).from_tensors(config, tensors)


def _is_own(registry: Registry[Any], config: Mapping[str, Any]) -> bool:
    """Whether a stored config is of code of others: even where that is not installed any more."""
    return registry.is_own(config.get("name")) or "code" in config


def load_fusion(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Fusion:
    """The fitted fusion again. Raises InvalidInputError."""
    name: Any = config.get("name")
    if _is_own(FUSIONS, config):
        return cast(Any, OwnFusion.restored(FUSIONS, config, tensors))
    return FUSIONS.load(name).from_tensors(config, tensors)
