"""Names of encoders -> the functions that build them, imported only when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from embeddings.errors import InvalidInputError
from embeddings.types import NEVER_TRAINED, FoldScope
from encoders.protocol import Encoder

WEIGHTS_FREE = {
    "texture": "encoders.texture:TextureEncoder",
    "first_order": "encoders.first_order:FirstOrderEncoder",
}
"""Built from parameters alone."""

TRAINED = {
    "densenet3d": "encoders.densenet3d:DenseNet3dEncoder",
    "attention_pooling": "encoders.attention_pooling:AttentionPoolingEncoder",
}
"""Rebuilt from the `config` and `tensors` of a `TrainedClassifier`."""


def encoder_names() -> tuple[str, ...]:
    """All names that `build_encoder` knows, sorted."""
    return tuple(sorted(WEIGHTS_FREE | TRAINED))


def build_encoder(
    name: str,
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    config: Mapping[str, Any] | None = None,
    weights_sha256: str = "",
    trained_on: FoldScope = NEVER_TRAINED,
    **params: Any,
) -> Encoder:
    """The encoder `name`.

    tensors, config: what `train_classifier` returned, for a trained encoder; None for a weights-free one.
    weights_sha256, trained_on: recorded in the spec of a trained encoder, so that its digest covers them.
    params: `preprocessing` (a JSON-able mapping that becomes part of the spec: `TilingSettings.as_dict()`,
    `VolumeSettings.as_dict()`, or the patch encoder's digest for a bag encoder), and what the encoder's class takes
    besides, such as `device` for a trained one.

    Raises InvalidInputError for an unknown name or parameter, for a trained encoder without weights, and for weights
    given to an encoder that has none.
    """
    place = (WEIGHTS_FREE | TRAINED).get(name)
    if place is None:
        near = difflib.get_close_matches(name, encoder_names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InvalidInputError(f"there is no encoder {name!r}; {hint}use one of {', '.join(encoder_names())}")
    if name in TRAINED:
        if tensors is None or config is None:
            raise InvalidInputError(
                f"encoder {name} is a trained one and was given no {'weights' if tensors is None else 'config'}; train "
                "it first, or name the weights in the store"
            )
        params |= {"config": config, "tensors": tensors, "weights_sha256": weights_sha256, "trained_on": trained_on}
    elif tensors is not None or config is not None or weights_sha256 or trained_on != NEVER_TRAINED:
        raise InvalidInputError(f"encoder {name} has no weights; give it no tensors, config, digest or fold scope")
    module, _, attribute = place.partition(":")
    factory = getattr(import_module(module), attribute)
    try:
        return factory(**params)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InvalidInputError(f"encoder {name} does not take these parameters: {error}") from error
