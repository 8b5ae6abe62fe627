"""D_S as a network that guidance is trained through: logit distillation, task-aware guidance (paper, Fig. 1c).

What is matched are D_S's logits on G(z_I) and on z_S (Ba & Caruana 2014: squared error of logits), as functions of
standardised z_S. They are centred over the classes, which no probability depends on, and divided by their standard
deviation over the train pairs, so that the weight of the term means the same for a sure D_S and for an unsure one.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.common.calibrated import Calibrated
from guidestore.heads.networks import Layers, run_layers
from guidestore.heads.protocol import FrozenDecoder, FrozenForeteller, LayeredDecoder
from guidestore.heads.scaling import Standardiser


def teacher_layers(
    decoder: FrozenDecoder | FrozenForeteller | None, scale_out: Standardiser, y_nd: np.ndarray, what: str
) -> Layers:
    """Layers y -> logits as above, float32, for y = z_S standardised by `scale_out`; y_nd: (n, d_S) of the train pairs.

    The ReLU that the released code puts on its logits is left out. Raises InvalidInputError where there is no decoder,
    one without layers, or one of other codes.
    """
    if decoder is None:
        raise InvalidInputError(
            f"{what}: its loss compares logits of the frozen D_S, which is missing; pass decoder=, or leave logits out "
            "of the loss"
        )
    if isinstance(decoder, Calibrated):
        decoder = decoder.decoder
    if not hasattr(decoder, "layers"):
        raise InvalidInputError(
            f"{what}: its loss goes through D_S, and {decoder.name!r} has no layers to go through; use logistic or mlp"
        )
    layers = cast(LayeredDecoder, decoder).layers()
    (weight, bias), *rest = layers
    if weight.shape[1] != y_nd.shape[1]:
        raise InvalidInputError(
            f"{what}: D_S reads {weight.shape[1]} dimensions, but z_S has {y_nd.shape[1]}; pass the D_S of these codes"
        )
    layers = [(weight * scale_out.scale, bias + weight @ scale_out.mean), *rest]
    weight, bias = layers[-1]
    layers[-1] = (weight - weight.mean(axis=0), bias - bias.mean())
    weight, bias = layers[-1]
    spread = float(run_layers(layers, y_nd).std()) or 1.0
    layers[-1] = (weight / spread, bias / spread)
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers]
