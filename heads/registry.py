"""Names and presets -> guidance models and decoders. Implementations are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, cast

import numpy as np

from embeddings.errors import InvalidInputError
from heads.checks import unknown_name
from heads.protocol import Decoder, FrozenDecoder, GuidanceModel

GUIDANCE: dict[str, str] = {
    "autoencoder": "heads.guidance.autoencoder:Autoencoder",
    "ridge": "heads.guidance.ridge:Ridge",
}
"""Guidance models by name: module:class."""

DECODERS: dict[str, str] = {
    "logistic": "heads.decoders.logistic:Logistic",
    "mlp": "heads.decoders.mlp:Mlp",
}
"""Decoders that can be fitted, by name."""

FROZEN_DECODERS: dict[str, str] = {"linear": "heads.decoders.linear:Linear"}
"""Decoders that can only be loaded."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A model with parameters of a publication."""

    name: str
    """Of the guidance model or decoder."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What differs from, or must not follow, the model's defaults."""
    class_order: tuple[str, ...] = ()
    """The classes that per-class numbers among `params` are given for, in that order; () where there are none."""


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
}
"""G as published, table of hyper-parameters, row G(R)."""

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

DECODER_PRESETS: dict[str, Preset] = {
    "radpath-paper": Preset("mlp", _RADPATH_DECODER, ("G", "O", "A")),
    "radpath-released": Preset("mlp", _RADPATH_DECODER | {"relu_dropout_on_logits": True}, ("G", "O", "A")),
}
"""D_c as published (rows P+R head and G(R)+R), and with the released code's ReLU and dropout on the logits."""


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


def build_decoder(name_or_preset: str, **params: Any) -> Decoder:
    """An unfitted decoder; as `build_guidance`. `linear` has no fit and is refused: load it."""
    if name_or_preset in FROZEN_DECODERS:
        raise InvalidInputError(
            f"decoder {name_or_preset!r} holds given weights and has no fit; load it with load_decoder, or fit "
            f"{' or '.join(DECODERS)}"
        )
    preset = DECODER_PRESETS.get(name_or_preset) or Preset(name_or_preset)
    if preset.name not in DECODERS:
        raise unknown_name("decoder", name_or_preset, [*DECODERS, *DECODER_PRESETS])
    return cast(Decoder, _import(DECODERS[preset.name])(**{**preset.params, **params}))


def check_class_weights(decoder: str, classes: Sequence[str], params: Mapping[str, Any]) -> None:
    """Refuses per-class numbers that do not fit the classes, before anything is trained.

    One number per class; and a preset's own numbers only with its classes in its order (G, O, A, never A, G, O).
    Raises InvalidInputError.
    """
    preset = DECODER_PRESETS.get(decoder) or Preset(decoder)
    weights = {**preset.params, **params}.get("class_weights")
    if isinstance(weights, tuple | list) and len(weights) != len(classes):
        raise InvalidInputError(
            f"decoder {decoder!r} has {len(weights)} class weights, but the target has {len(classes)} classes; give "
            "one class weight per class in the target's order, or 'balanced'"
        )
    order = preset.class_order
    if order and "class_weights" not in params and tuple(classes) != order and sorted(classes) == sorted(order):
        raise InvalidInputError(
            f"preset {decoder!r} weights the classes in the order {', '.join(order)}, but the target lists them as "
            f"{', '.join(classes)}; reorder the target's classes, or give class_weights in its order"
        )


def load_guidance(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> GuidanceModel:
    """The fitted guidance model again, from what `config` and `tensors()` gave. Raises InvalidInputError."""
    if config.get("name") not in GUIDANCE:
        raise unknown_name("guidance model", config.get("name"), GUIDANCE)
    return cast(GuidanceModel, _import(GUIDANCE[config["name"]]).from_tensors(config, tensors))


def load_decoder(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> FrozenDecoder:
    """The fitted decoder again, `linear` among them. Raises InvalidInputError."""
    places = DECODERS | FROZEN_DECODERS
    if config.get("name") not in places:
        raise unknown_name("decoder", config.get("name"), places)
    return cast(FrozenDecoder, _import(places[config["name"]]).from_tensors(config, tensors))
