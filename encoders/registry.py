"""Names of encoders -> what is known of them, and the encoders themselves, imported only when they are built."""

from __future__ import annotations

import difflib
import pkgutil
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from guidestore import encoders
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.plugins import Registry, names_object
from guidestore.embeddings.types import NEVER_TRAINED, EncoderSpec, FoldScope
from guidestore.encoders.info import EncoderInfo, Weights, infos_in
from guidestore.encoders.input_kind import InputKind
from guidestore.encoders.own import OwnEncoder, asked_for, own_class, own_info
from guidestore.encoders.pathology_models import MODELS, picture_info, timm_model
from guidestore.encoders.photograph_models import PHOTOGRAPH_MODELS
from guidestore.encoders.protocol import Encoder
from guidestore.encoders.radiology_models import RADIOLOGY_MODELS

if TYPE_CHECKING:  # torch loads with it
    from guidestore.encoders.trainable import Preset


@cache
def _built_in() -> Mapping[str, EncoderInfo]:
    """Of the files of this folder, by where their weights come from, and of the tables of models."""
    modules = [f"{encoders.__name__}.{module.name}" for module in pkgutil.iter_modules(encoders.__path__)]
    infos = [info for module in modules for info in infos_in(module)]
    infos.sort(key=lambda info: (get_args(Weights).index(info.weights), info.name))
    tables = (MODELS, PHOTOGRAPH_MODELS, RADIOLOGY_MODELS)
    infos += [picture_info(model) for table in tables for model in table.values()]
    return {info.name: info for info in infos}


@cache
def _classes() -> Registry[Any]:
    return Registry("encoder", "guidestore.encoders", {name: info.encoder_class for name, info in _built_in().items()})


@cache
def encoder_infos() -> Mapping[str, EncoderInfo]:
    """All encoders by name, those of entry points last. Any timm model's name is an encoder too.

    Raises InvalidInputError for an entry point whose module's file has no `EncoderInfo` of its name.
    """
    infos = dict(_built_in())
    for name in _classes().names():
        if name not in infos:
            module = _classes().target(name).partition(":")[0]
            info = next((info for info in infos_in(module) if info.name == name), None)
            if info is None:
                raise InvalidInputError(
                    f"encoder {name!r} is brought by module {module}, whose file has no EncoderInfo of that name; mend "
                    "or uninstall it"
                )
            infos[name] = info
    return infos


@cache
def encoder_info(name: str) -> EncoderInfo:
    """What is known of encoder `name`, which may be ``module:Class``. Raises InvalidInputError for an unknown name."""
    if names_object(name):
        return own_info(name)
    infos = encoder_infos()
    if name in infos:
        return infos[name]
    model = timm_model(name) if _occurs_in_timm(name) else None
    if model is None:
        near = difflib.get_close_matches(name, infos, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InvalidInputError(
            f"there is no encoder {name!r}; {hint}use one of {', '.join(infos)}, or the name of any timm model"
        )
    return picture_info(model)


def _occurs_in_timm(name: str) -> bool:
    """Whether timm can have a model of that name, told from its files: importing it takes seconds."""
    if "timm" in sys.modules:
        return True
    spec = find_spec("timm")
    folder = Path(spec.origin).parent / "models" if spec and spec.origin else Path()
    architecture = name.partition(".")[0]
    return any(architecture in file.read_text(encoding="utf-8") for file in folder.glob("*.py"))


def encoder_class(name: str) -> Any:
    """The class of encoder `name`, imported. Raises InvalidInputError for an unknown name."""
    encoder_info(name)
    if names_object(name):
        return own_class(name)
    name_of_class = name if name in _classes() else next(iter(MODELS))  # all models of timm have one class
    return _classes().load(name_of_class)


def preset_of(encoder: str, preset: str) -> Preset:
    """A preset of a trained encoder. Raises InvalidInputError on an unknown name or preset, and on another encoder."""
    if not encoder_info(encoder).is_trained:
        trained = ", ".join(info.name for info in encoder_infos().values() if info.is_trained)
        raise InvalidInputError(f"encoder {encoder} is not trained here; use one of {trained}")
    presets: dict[str, Preset] = encoder_class(encoder).module_class.presets
    if preset not in presets:
        raise InvalidInputError(f"encoder {encoder} has no preset {preset!r}; use one of {', '.join(presets)}")
    return presets[preset]


def build_encoder(
    name: str,
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    config: Mapping[str, Any] | None = None,
    weights_sha256: str = "",
    trained_on: FoldScope = NEVER_TRAINED,
    weights: str | Path | None = None,
    **params: Any,
) -> Encoder:
    """The encoder `name`.

    tensors, config: what `train_classifier` returned, for an encoder trained here; None for others.
    weights_sha256, trained_on: recorded in the spec, so that its digest covers them. Of weights that others trained,
    `trained_on` says none (they never saw the cohort) or unknown.
    weights: file of a network whose weights others trained; for one that the model hub has, None fetches it. There is
    no such encoder without weights.
    params: `preprocessing` (a JSON-able mapping that becomes part of the spec: `TilingSettings.as_dict()`,
    `VolumeSettings.as_dict()`, `PhotographSettings.as_dict()`, or the patch encoder's digest for a bag encoder), and
    what the encoder's class takes besides, such as `device` for a network, or `input_kind` for one of pictures.

    Raises InvalidInputError for an unknown name or parameter, for a trained encoder without weights, for weights that
    cannot be had or do not fit, and for weights given to an encoder that has none.
    """
    info = encoder_info(name)
    if info.is_trained:
        if tensors is None or config is None:
            raise InvalidInputError(
                f"encoder {name} is a trained one and was given no {'weights' if tensors is None else 'config'}; train "
                "it first, or name the weights in the store"
            )
        params |= {"config": config, "tensors": tensors, "weights_sha256": weights_sha256, "trained_on": trained_on}
    elif tensors is not None or config is not None or weights_sha256 or trained_on.kind == "fold":
        raise InvalidInputError(
            f"encoder {name} has no weights of ours; give it no tensors, config, digest or fold scope"
        )
    if info.weights in ("file", "pretrained"):
        if info.weights == "file" and weights is None:
            raise InvalidInputError(f"encoder {name} needs its weights: name their file with --weights")
        params |= {"weights": weights, "trained_on": trained_on}
    elif weights is not None:
        raise InvalidInputError(f"encoder {name} has no weights file; leave out --weights")
    try:
        encoder = encoder_class(name)(**params, **info.arguments)
        return OwnEncoder(encoder) if _classes().is_own(name) else encoder
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InvalidInputError(f"encoder {name} does not take these parameters: {error}") from error


def name_to_build(spec: EncoderSpec) -> str:
    """By what name `build_encoder` makes the encoder of a stored spec. Raises InvalidInputError."""
    return asked_for(spec, _classes())


def build_frozen(
    name: str,
    kind: InputKind,
    preprocessing: Mapping[str, Any],
    *,
    weights: str | Path | None = None,
    trained_on: FoldScope = NEVER_TRAINED,
    device: str = "cpu",
) -> Encoder:
    """An encoder that is not trained here, for input of `kind` that was prepared as `preprocessing` says.

    weights, trained_on, device: of a network; an encoder without weights computes on the CPU. Raises InvalidInputError
    as `build_encoder` does.
    """
    info = encoder_info(name)
    params = kind.encoder_arguments(preprocessing)
    if info.weights != "none":
        params["device"] = device
    if len(info.takes) > 1:
        params["input_kind"] = kind.name
    return build_encoder(name, preprocessing=preprocessing, weights=weights, trained_on=trained_on, **params)
