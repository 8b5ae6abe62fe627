"""Encoders that are trained on the phantoms see few epochs: what flows do with them does not depend on what they learn.

Another process that is to go on with what this one trained, or the other way round, calls `shorten` too.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from guidestore.encoders.attention_pooling import AttentionPooling
from guidestore.encoders.clam import ClamMB, ClamSB
from guidestore.encoders.densenet3d import DenseNet3d
from guidestore.encoders.mean_pooling import MeanPooling

EPOCHS = 8


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Gives them all the same number of epochs."""
    for module in (AttentionPooling, ClamMB, ClamSB, DenseNet3d, MeanPooling):
        demo = module.presets["demo"]
        short = replace(demo.training, epochs=EPOCHS, patience=EPOCHS)
        patch.setitem(module.presets, "demo", replace(demo, training=short))
