"""The parts of MONAI that we use, imported in half the time: without torchvision, which they do not need.

MONAI imports all of itself, and with it torchvision where that is installed (for its FCN, FPN and perceptual loss);
torchvision 0.29 imports torch's compiler: 10 of 20 s of a command that reads one MRI. MONAI takes torchvision for an
optional package, so it is told that it is missing, for the length of the import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HIDDEN = ("torchvision", "torchvision.models")


@contextmanager
def _without_torchvision() -> Iterator[None]:
    hidden = [name for name in _HIDDEN if "torchvision" not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


with _without_torchvision():
    from monai.data.meta_tensor import MetaTensor
    from monai.data.utils import zoom_affine
    from monai.networks.nets.densenet import DenseNet
    from monai.networks.nets.resnet import ResNet
    from monai.networks.nets.segresnet import SegResNet
    from monai.networks.nets.segresnet_ds import SegResEncoder
    from monai.networks.nets.swin_unetr import SwinTransformer
    from monai.transforms.compose import Compose
    from monai.transforms.croppad.array import CropForeground, ResizeWithPadOrCrop
    from monai.transforms.intensity.array import NormalizeIntensity, RandScaleIntensity
    from monai.transforms.spatial.array import (
        Orientation,
        RandFlip,
        RandRotate,
        RandZoom,
        ResampleToMatch,
        Resize,
    )

__all__ = [
    "Compose",
    "CropForeground",
    "DenseNet",
    "MetaTensor",
    "NormalizeIntensity",
    "Orientation",
    "RandFlip",
    "RandRotate",
    "RandScaleIntensity",
    "RandZoom",
    "ResNet",
    "ResampleToMatch",
    "Resize",
    "ResizeWithPadOrCrop",
    "SegResEncoder",
    "SegResNet",
    "SwinTransformer",
    "zoom_affine",
]
