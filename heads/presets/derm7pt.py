"""Derm7pt: G and D_c as published, table of hyper-parameters, rows G(C) and G(C)+C; and as released.

The released code is derm7pt/codes/guided_model.ipynb of its repository. Keras's decay=1e-6 there lowers the learning
rate by 0.3 % over the run; we read it as RadPath's weight decay.
"""

from __future__ import annotations

from typing import Any

from guidestore.heads.presets.preset import Preset

_GUIDANCE: dict[str, Any] = {
    "hidden": (512,),
    "dropout": 0.25,
    "standardise": False,
    "output": "relu",
    "learning_rate": 0.5,
    "weight_decay": 1e-6,
    "epochs": 500,
    "batch_size": 100,
}

GUIDANCE: dict[str, Preset] = {
    "derm7pt-paper": Preset("autoencoder", _GUIDANCE),
    "derm7pt-released": Preset("autoencoder", _GUIDANCE | {"hidden": (1024, 512, 512, 1024)}),
}
"""The paper gives the bottleneck of 512 and no other width, nor dropout: that is the released code's, which has four
hidden layers."""

_DECODER: dict[str, Any] = {
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

_WEIGHTS: dict[str, dict[str, float]] = {
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

_RELEASED: dict[str, dict[str, Any]] = {
    "VS": {"learning_rate": 1e-3},
    "STR": {"learning_rate": 5e-4, "epochs": 1000, "patience": 300},
}
"""What the released code sets apart for two targets."""

DECODERS: dict[str, Preset] = {
    "derm7pt-paper": Preset(
        "mlp",
        by_target={
            target: Preset("mlp", _DECODER | {"class_weights": tuple(weights.values())}, tuple(weights))
            for target, weights in _WEIGHTS.items()
        },
    ),
    "derm7pt-released": Preset(
        "mlp",
        by_target={
            target: Preset(
                "mlp",
                _DECODER | {"hidden_units": 0, "class_weights": "balanced"} | _RELEASED.get(target, {}),
            )
            for target in _WEIGHTS
        },
    ),
}
"""As released without a hidden layer and with balanced class weights."""
