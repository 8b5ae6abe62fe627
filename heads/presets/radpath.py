"""RadPath: G and D_c as published, table of hyper-parameters, rows G(R) and P+R head and G(R)+R; and as released."""

from __future__ import annotations

from typing import Any

from guidestore.heads.presets.preset import Preset

GUIDANCE: dict[str, Preset] = {
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

_DECODER: dict[str, Any] = {
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

DECODERS: dict[str, Preset] = {
    "radpath-paper": Preset("mlp", _DECODER, ("G", "O", "A")),
    "radpath-released": Preset("mlp", _DECODER | {"relu_dropout_on_logits": True}, ("G", "O", "A")),
}
"""As released with ReLU and dropout on the logits."""
