"""Names of encoders -> the functions that build them, imported only when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import NEVER_TRAINED, FoldScope, InputKind
from guidestore.encoders.pathology_models import MODELS, PatchModel, timm_model
from guidestore.encoders.photograph_models import PHOTOGRAPH_MODELS
from guidestore.encoders.protocol import Encoder

WEIGHTS_FREE = {
    "texture": "guidestore.encoders.texture:TextureEncoder",
    "first_order": "guidestore.encoders.first_order:FirstOrderEncoder",
    "colour_texture": "guidestore.encoders.colour_texture:ColourTextureEncoder",
}
"""Built from parameters alone."""

TRAINED = {
    "densenet3d": "guidestore.encoders.densenet3d:DenseNet3dEncoder",
    "inception_multitask": "guidestore.encoders.inception_multitask:InceptionMultitaskEncoder",
    "attention_pooling": "guidestore.encoders.attention_pooling:AttentionPoolingEncoder",
    "clam_sb": "guidestore.encoders.clam:ClamSBEncoder",
    "clam_mb": "guidestore.encoders.clam:ClamMBEncoder",
    "mean_pooling": "guidestore.encoders.mean_pooling:MeanPoolingEncoder",
}
"""Rebuilt from the `config` and `tensors` of a `TrainedClassifier`."""

MULTI_TASK = frozenset({"inception_multitask"})
"""Trained on all targets of a cohort at once, unless some are named."""

FROZEN_VOLUMES = {
    "resnet3d": "guidestore.encoders.resnet3d:ResNet3dEncoder",
    "swin_unetr": "guidestore.encoders.swin_unetr:SwinUnetrEncoder",
}
"""Case encoders of volumes whose weights others trained, from a file."""

PATCH_ENCODER = "guidestore.encoders.timm_patch:TimmPatchEncoder"
"""Builds all encoders of tiles and photographs whose weights others trained."""

INPUT_KINDS: Mapping[str, InputKind] = {
    "texture": "tiles",
    "first_order": "volumes",
    "colour_texture": "photographs",
    "densenet3d": "volumes",
    "inception_multitask": "photographs",
    "attention_pooling": "bags",
    "clam_sb": "bags",
    "clam_mb": "bags",
    "mean_pooling": "bags",
    "resnet3d": "volumes",
    "swin_unetr": "volumes",
}
"""What each of the above consumes, known without importing it."""

TEXTURE_FACTS = (256, 0.5)
"""Tile size in pixels and um per pixel that the texture encoder's statistics are scaled for."""


def encoder_names() -> tuple[str, ...]:
    """Names of the encoders that need no foreign weights, sorted: the weights-free and those trained here."""
    return tuple(sorted(WEIGHTS_FREE | TRAINED))


def patch_encoder_names() -> tuple[str, ...]:
    """Names of the networks for tiles and photographs whose weights others trained, sorted.

    Any timm model's name does as well.
    """
    return tuple(sorted({*MODELS, *PHOTOGRAPH_MODELS}))


def input_kinds(name: str) -> tuple[InputKind, ...]:
    """What encoder `name` can consume: one kind, but networks of pictures take tiles and photographs alike.

    Raises InvalidInputError for an unknown name.
    """
    if name in INPUT_KINDS:
        return (INPUT_KINDS[name],)
    _patch_model(name)
    return ("tiles", "photographs")


def needs_weights(name: str) -> bool:
    """Whether `build_encoder` needs foreign weights for encoder `name`. Raises as `input_kinds` does."""
    return name in FROZEN_VOLUMES or (name not in INPUT_KINDS and bool(_patch_model(name)))


def patch_encoder_facts(name: str) -> tuple[int, float]:
    """(tile size in pixels, um per pixel) to lay tiles with for patch encoder `name`.

    Raises InvalidInputError for an unknown name and for an encoder that takes no tiles.
    """
    if name == "texture":
        return TEXTURE_FACTS
    if name in INPUT_KINDS:
        raise InvalidInputError(f"encoder {name} takes {INPUT_KINDS[name]}, not tiles; name a patch encoder")
    model = _patch_model(name)
    return model.input_size_px, model.mpp


def photograph_size_px(name: str) -> int:
    """Edge of the square that frozen encoder `name` is given of a photograph: what its network takes.

    Raises InvalidInputError for an unknown name.
    """
    if name in WEIGHTS_FREE:
        from guidestore.encoders.photographs import DEFAULT_SETTINGS

        return DEFAULT_SETTINGS.size_px
    return _patch_model(name).input_size_px


def _patch_model(name: str) -> PatchModel:
    """Loads timm, which takes seconds, only for a name that nothing else knows."""
    model = MODELS.get(name) or PHOTOGRAPH_MODELS.get(name) or timm_model(name)
    if model is None:
        known = (*INPUT_KINDS, *patch_encoder_names())
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InvalidInputError(
            f"there is no encoder {name!r}; {hint}use one of {', '.join(known)}, or the name of any timm model"
        )
    return model


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
    weights: file of a network of pictures whose weights others trained; None fetches it from the model hub. There is no
    such encoder without weights.
    params: `preprocessing` (a JSON-able mapping that becomes part of the spec: `TilingSettings.as_dict()`,
    `VolumeSettings.as_dict()`, `PhotographSettings.as_dict()`, or the patch encoder's digest for a bag encoder), and
    what the encoder's class takes besides, such as `device` for a network, or `input_kind` for one of pictures.

    Raises InvalidInputError for an unknown name or parameter, for a trained encoder without weights, for weights that
    cannot be had or do not fit, and for weights given to an encoder that has none.
    """
    if name in TRAINED:
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
    if name in FROZEN_VOLUMES and weights is None:
        raise InvalidInputError(f"encoder {name} needs its weights: name their file with --weights")
    if name in INPUT_KINDS and name not in FROZEN_VOLUMES and weights is not None:
        raise InvalidInputError(f"encoder {name} has no weights file; leave out --weights")
    if name not in TRAINED and name not in WEIGHTS_FREE:
        params |= {"weights": weights, "trained_on": trained_on}
    place = (WEIGHTS_FREE | TRAINED | FROZEN_VOLUMES).get(name, PATCH_ENCODER)
    if place == PATCH_ENCODER:
        params["model"] = _patch_model(name)
    module, _, attribute = place.partition(":")
    factory = getattr(import_module(module), attribute)
    try:
        return factory(**params)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InvalidInputError(f"encoder {name} does not take these parameters: {error}") from error
