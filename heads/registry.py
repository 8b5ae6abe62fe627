"""Names and presets -> guidance models, decoders and fusions. Implementations are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.heads.checks import check_choice
from guidestore.heads.fusion.protocol import Fusion
from guidestore.heads.protocol import Decoder, FrozenDecoder, GuidanceModel

GUIDANCE: dict[str, str] = {
    "autoencoder": "guidestore.heads.guidance.autoencoder:Autoencoder",
    "cca": "guidestore.heads.guidance.cca:Cca",
    "contrastive": "guidestore.heads.guidance.contrastive:Contrastive",
    "kernel_ridge": "guidestore.heads.guidance.kernel_ridge:KernelRidge",
    "linear": "guidestore.heads.guidance.linear:LeastSquares",
    "pls": "guidestore.heads.guidance.pls:Pls",
    "residual_mlp": "guidestore.heads.guidance.residual_mlp:ResidualMlp",
    "retrieval": "guidestore.heads.guidance.retrieval:Retrieval",
    "ridge": "guidestore.heads.guidance.ridge:Ridge",
    "task_aware": "guidestore.heads.guidance.task_aware:TaskAware",
    "variational": "guidestore.heads.guidance.variational:Variational",
}
"""Guidance models by name: module:class."""

CONTROLS: dict[str, str] = {
    "noise": "guidestore.heads.guidance.controls:Noise",
    "repeated": "guidestore.heads.guidance.controls:Repeated",
}
"""What stands in for G(z_I) in a control: loaded as a guidance model, never asked for as one."""

DECODERS: dict[str, str] = {
    "knn": "guidestore.heads.decoders.knn:Knn",
    "linear_svm": "guidestore.heads.decoders.linear_svm:LinearSvm",
    "logistic": "guidestore.heads.decoders.logistic:Logistic",
    "mlp": "guidestore.heads.decoders.mlp:Mlp",
    "prototype": "guidestore.heads.decoders.prototype:Prototype",
    "random_forest": "guidestore.heads.decoders.random_forest:RandomForest",
    "xgboost": "guidestore.heads.decoders.xgboost_trees:Xgboost",
}
"""Decoders that can be fitted, by name."""

CALIBRATED: dict[str, str] = {"calibrated": "guidestore.heads.decoders.calibrated:Calibrated"}
"""What goes around a decoder that is built with `calibration`; loaded by its own name."""

CONCATENATION = "concatenation"
"""The fusion that is none: a decoder reads the two codes side by side."""

FUSIONS: dict[str, str] = {
    "gated": "guidestore.heads.fusion.gated:Gated",
    "kronecker": "guidestore.heads.fusion.kronecker:Kronecker",
    "late": "guidestore.heads.fusion.late:Late",
    "orthogonal": "guidestore.heads.fusion.orthogonal:Orthogonal",
}
"""How else two codes are combined, by name."""

FUSED: dict[str, str] = {"fused": "guidestore.heads.fusion.fused:FusedDecoder"}
"""A fusion and its decoders: loaded as a decoder, never asked for as one."""

_STUDENT = "guidestore.heads.transfer.decoder:StudentDecoder"

FROZEN_DECODERS: dict[str, str] = {
    "linear": "guidestore.heads.decoders.linear:Linear",
    "ridge-student": _STUDENT,
    "logistic-student": _STUDENT,
    "random_forest-student": _STUDENT,
    "mlp-student": _STUDENT,
}
"""Decoders that can only be loaded; students are fitted by heads.transfer."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A model with parameters of a publication."""

    name: str
    """Of the guidance model or decoder."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What differs from, or must not follow, the model's defaults."""
    class_order: tuple[str, ...] = ()
    """The classes that per-class numbers among `params` are given for, in that order; () where there are none."""
    by_target: Mapping[str, Preset] = field(default_factory=dict)
    """Target -> what the preset is for it. Where there are any, the preset serves these targets alone."""


_DERM7PT_GUIDANCE: dict[str, Any] = {
    "hidden": (512,),
    "dropout": 0.25,
    "standardise": False,
    "output": "relu",
    "learning_rate": 0.5,
    "weight_decay": 1e-6,
    "epochs": 500,
    "batch_size": 100,
}

GUIDANCE_PRESETS: dict[str, Preset] = {
    "radpath-paper": Preset(
        "autoencoder",
        {
            "hidden": (512, 256, 256),
            "dropout": 0.25,
            "standardise": False,
            "output": "relu",
            "learning_rate": 0.5,
            "weight_decay": 1e-6,
            "epochs": 150,
            "batch_size": 50,
        },
    ),
    "derm7pt-paper": Preset("autoencoder", _DERM7PT_GUIDANCE),
    "derm7pt-released": Preset("autoencoder", _DERM7PT_GUIDANCE | {"hidden": (1024, 512, 512, 1024)}),
}
"""G as published, table of hyper-parameters, rows G(R) and G(C). For Derm7pt the paper gives the bottleneck of 512 and
no other width, nor dropout: that is the released code's, which has four hidden layers."""

_RADPATH_DECODER: dict[str, Any] = {
    "hidden_units": 50,
    "dropout": 0.3,
    "standardise": False,
    "class_weights": (1.0, 1.7, 1.6),
    "weighted_sampler": True,
    "learning_rate": 1e-3,
    "weight_decay": 1e-6,
    "epochs": 500,
    "patience": 200,
    "batch_size": 50,
    "relu_dropout_on_logits": False,
}

_DERM7PT_DECODER: dict[str, Any] = {
    "hidden_units": 100,
    "dropout": 0.25,
    "standardise": False,
    "weighted_sampler": False,
    "learning_rate": 1e-4,
    "weight_decay": 1e-6,
    "epochs": 500,
    "patience": 200,
    "batch_size": 100,
}
"""Width and dropout are of the released code's hidden layer, which its network leaves unconnected."""

_DERM7PT_WEIGHTS: dict[str, dict[str, float]] = {
    "DIAG": {"BCC": 15.0, "NEV": 0.07, "MEL": 1.4, "MISC": 4.0, "SK": 15.0},
    "PN": {"ABS": 0.9, "TYP": 0.9, "ATP": 1.8},
    "BWV": {"ABS": 0.6, "PRS": 12.0},
    "VS": {"ABS": 0.01, "REG": 20.0, "IR": 50.0},
    "PIG": {"ABS": 0.2, "REG": 45.0, "IR": 1.1},
    "STR": {"ABS": 0.06, "REG": 50.0, "IR": 4.0},
    "DaG": {"ABS": 0.3, "REG": 0.9, "IR": 0.9},
    "RS": {"ABS": 0.25, "PRS": 6.0},
}
"""Target -> class -> weight in the cross-entropy, as published."""

_DERM7PT_RELEASED: dict[str, dict[str, Any]] = {
    "VS": {"learning_rate": 1e-3},
    "STR": {"learning_rate": 5e-4, "epochs": 1000, "patience": 300},
}
"""What the released code (derm7pt/codes/guided_model.ipynb of its repository) sets apart for two targets."""

DECODER_PRESETS: dict[str, Preset] = {
    "radpath-paper": Preset("mlp", _RADPATH_DECODER, ("G", "O", "A")),
    "radpath-released": Preset("mlp", _RADPATH_DECODER | {"relu_dropout_on_logits": True}, ("G", "O", "A")),
    "derm7pt-paper": Preset(
        "mlp",
        by_target={
            target: Preset("mlp", _DERM7PT_DECODER | {"class_weights": tuple(weights.values())}, tuple(weights))
            for target, weights in _DERM7PT_WEIGHTS.items()
        },
    ),
    "derm7pt-released": Preset(
        "mlp",
        by_target={
            target: Preset(
                "mlp",
                _DERM7PT_DECODER | {"hidden_units": 0, "class_weights": "balanced"} | _DERM7PT_RELEASED.get(target, {}),
            )
            for target in _DERM7PT_WEIGHTS
        },
    ),
}
"""D_c as published (rows P+R head, G(R)+R and G(C)+C), and as released: RadPath's with ReLU and dropout on the logits,
Derm7pt's without a hidden layer and with balanced class weights. (Keras's decay=1e-6 there lowers the learning rate by
0.3 % over the run; we read it as RadPath's weight decay.)"""


def _import(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def build_guidance(name_or_preset: str, **params: Any) -> GuidanceModel:
    """An unfitted guidance model; `params` override the preset's or the model's defaults.

    Raises InvalidInputError for an unknown name (suggesting the nearest), an unknown parameter or a bad value.
    """
    preset = GUIDANCE_PRESETS.get(name_or_preset) or Preset(name_or_preset)
    if preset.name not in GUIDANCE:
        raise unknown_name("guidance model", name_or_preset, [*GUIDANCE, *GUIDANCE_PRESETS])
    return cast(GuidanceModel, _import(GUIDANCE[preset.name])(**{**preset.params, **params}))


def decoder_preset(name_or_preset: str, target: str = "") -> Preset:
    """The preset of that name for `target`, or one without parameters for a decoder's own name.

    Raises InvalidInputError where the preset is for other targets.
    """
    preset = DECODER_PRESETS.get(name_or_preset) or Preset(name_or_preset)
    if not preset.by_target:
        return preset
    if target not in preset.by_target:
        raise InvalidInputError(
            f"preset {name_or_preset!r} has numbers for the targets {', '.join(preset.by_target)}, not for {target!r}; "
            f"name one of them, or use {preset.name!r} with parameters of your own"
        )
    return preset.by_target[target]


def build_decoder(name_or_preset: str, *, target: str = "", calibration: str = "none", **params: Any) -> Decoder:
    """An unfitted decoder; as `build_guidance`. `linear` has no fit and is refused: load it.

    target: what it will predict; presets may differ by it, decoders do not. calibration: "temperature" puts the decoder
    into a heads.decoders.calibrated.Calibrated, which any decoder can be.
    """
    check_choice(calibration, "calibration", ("none", "temperature"))
    if name_or_preset in CALIBRATED:
        raise InvalidInputError(
            f"decoder {name_or_preset!r} goes around another; build that one with calibration='temperature'"
        )
    if name_or_preset in FROZEN_DECODERS:
        raise InvalidInputError(
            f"decoder {name_or_preset!r} holds given weights and has no fit; load it with load_decoder, or fit "
            f"{' or '.join(DECODERS)}"
        )
    preset = decoder_preset(name_or_preset, target)
    if preset.name not in DECODERS:
        raise unknown_name("decoder", name_or_preset, [*DECODERS, *DECODER_PRESETS])
    decoder = cast(Decoder, _import(DECODERS[preset.name])(**{**preset.params, **params}))
    return decoder if calibration == "none" else cast(Decoder, _import(CALIBRATED["calibrated"])(decoder))


def build_fusion(name: str, **params: Any) -> Fusion | None:
    """An unfitted fusion, None for concatenation; as `build_guidance`."""
    if name == CONCATENATION and not params:
        return None
    if name == CONCATENATION:
        raise InvalidInputError(
            f"fusion concatenation has no parameters, so {', '.join(params)} has no meaning; leave it out, or choose "
            f"{' or '.join(FUSIONS)}"
        )
    if name not in FUSIONS:
        raise unknown_name("fusion", name, [CONCATENATION, *FUSIONS])
    return cast(Fusion, _import(FUSIONS[name])(**params))


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


def load_guidance(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> GuidanceModel:
    """The fitted guidance model again, from what `config` and `tensors()` gave. Raises InvalidInputError."""
    places = GUIDANCE | CONTROLS
    if config.get("name") not in places:
        raise unknown_name("guidance model", config.get("name"), places)
    return cast(GuidanceModel, _import(places[config["name"]]).from_tensors(config, tensors))


def load_decoder(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> FrozenDecoder:
    """The fitted decoder again, `linear`, `calibrated` and `fused` among them. Raises InvalidInputError."""
    places = DECODERS | CALIBRATED | FUSED | FROZEN_DECODERS
    if config.get("name") not in places:
        raise unknown_name("decoder", config.get("name"), places)
    return cast(FrozenDecoder, _import(places[config["name"]]).from_tensors(config, tensors))


def load_fusion(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Fusion:
    """The fitted fusion again. Raises InvalidInputError."""
    if config.get("name") not in FUSIONS:
        raise unknown_name("fusion", config.get("name"), FUSIONS)
    return cast(Fusion, _import(FUSIONS[config["name"]]).from_tensors(config, tensors))
