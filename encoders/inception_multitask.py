"""C_I and C_S of the paper for skin: an Inception-v3 whose pooled features serve every target at once (timm).

Szegedy et al. 2016; one linear decoder per target on one code is the multi-task network of Kawahara et al. 2019.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import nn

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.hub import file_sha256, read_weights
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.kinds.photographs import Photographs
from guidestore.encoders.photograph_augmentation import turned
from guidestore.encoders.trainable import Items, Preset, TrainableEncoder, TrainedEncoder
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.transfer import uploaded
from guidestore.encoders.weights import fit_state

INFO = EncoderInfo(
    name="inception_multitask",
    encoder_class="guidestore.encoders.inception_multitask:InceptionMultitaskEncoder",
    takes=("photographs",),
    code_dim="288 (demo), 2048 (paper)",
    weights="trained",
    multi_task=True,
)

DEMO_TRAINING = TrainingSettings(epochs=25, patience=15, batch_size=8, learning_rate=1e-3, weight_decay=1e-3)
"""For phantoms at 128 px: 82 train and 40 val cases take 80 s of CPU. On their dermoscopy the eight targets reach a
mean test balanced accuracy of .62; the whole network, which learns more slowly from nothing, .52 in 95 s at 96 px."""

PAPER_TRAINING = TrainingSettings(epochs=200, patience=30, batch_size=16, learning_rate=1e-4, weight_decay=1e-5)
"""With the whole Inception-v3 at 512 px. The paper took its networks for skin from Kawahara et al. and says nothing of
their training: the rate and the decay are those of its bags, batch and epochs ours."""

BLOCKS = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "Pool1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "Pool2",
    "Mixed_5b",
    "Mixed_5c",
    "Mixed_5d",
    "Mixed_6a",
    "Mixed_6b",
    "Mixed_6c",
    "Mixed_6d",
    "Mixed_6e",
    "Mixed_7a",
    "Mixed_7b",
    "Mixed_7c",
)
"""In the order of the forward pass, with the names of timm's and torchvision's files."""

CODE_DIMS: Mapping[str, int] = {"Mixed_5d": 288, "Mixed_6e": 768, "Mixed_7c": 2048}
"""Last block -> channels: where the map is next halved, or ends."""

MIN_EDGE_PX = 75
"""Of a photograph: a smaller one leaves nothing to the last block."""


@dataclass(frozen=True, slots=True)
class InceptionConfig:
    """Size of the network, and where its training started."""

    last_block: str = "Mixed_7c"
    """Whose features are pooled to the code: one of `CODE_DIMS`. The whole network gives 2,048."""
    start_sha256: str = ""
    """Of the file of the weights that training started from; '' for weights drawn anew."""
    start_trained_on: str = ""
    """What those saw: none of the cohort's cases, or unknown."""

    def __post_init__(self) -> None:
        if self.last_block not in CODE_DIMS:
            raise InvalidInputError(
                f"an Inception-v3 cannot end with {self.last_block!r}; use one of {', '.join(CODE_DIMS)}"
            )


class InceptionMultitask(TrainableEncoder):
    """photographs (b, 3, h, w) of 0 to 255 -> codes (b, code_dim), non-negative: a ReLU precedes the pooling."""

    encoder_name = "inception_multitask"
    input_kind = "photographs"
    encode_batch_size = 8
    """Eight photographs of 512 px take 0.4 GB on the CPU."""
    presets: ClassVar = {
        "demo": Preset(lambda *_: InceptionMultitask(InceptionConfig("Mixed_5d")), DEMO_TRAINING, 128),
        "paper": Preset(lambda *_: InceptionMultitask(), PAPER_TRAINING, 512),
    }

    def __init__(self, config: InceptionConfig | None = None) -> None:
        super().__init__()
        import timm

        self._config = config or InceptionConfig()
        self._start: dict[str, torch.Tensor] = {}
        with torch.device("meta"):  # timm draws weights, which `reset` or the stored ones replace.
            network = timm.create_model("inception_v3", pretrained=False, num_classes=0)
        names = BLOCKS[: BLOCKS.index(self._config.last_block) + 1]
        self.blocks = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in names))
        self.code_dim = CODE_DIMS[self._config.last_block]
        if torch.get_default_device().type != "meta":
            self.to_empty(device="cpu")

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(InceptionConfig(**config))

    @property
    def config(self) -> dict[str, Any]:
        return asdict(self._config)

    def forward(self, images_bchw: torch.Tensor) -> torch.Tensor:
        # To -1 … 1, as the published weights had it. Channels last is what convolutions are fast in.
        scaled = (images_bchw / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        return self.blocks(scaled).mean(dim=(2, 3))

    def start_from(self, path: Path, saw: Literal["none", "unknown"]) -> None:
        """Takes the blocks of a file of timm's or torchvision's Inception-v3; its classifiers are left out."""
        unused = ("fc.", "AuxLogits.", *(f"{name}." for name in BLOCKS[len(self.blocks) :]))
        state = {name: value for name, value in read_weights(path).items() if not name.startswith(unused)}
        fit_state(self.blocks, state, self.encoder_name, path)
        self._start = {name: value.clone() for name, value in self.blocks.state_dict().items()}
        self._config = replace(self._config, start_sha256=file_sha256(path), start_trained_on=saw)

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        if self._start:
            self.blocks.load_state_dict(self._start)

    def check(self, data: Items) -> None:
        self._check(np.asarray(data))

    def _check(self, photographs_bhwc: np.ndarray) -> None:
        Photographs().check(photographs_bhwc, self.encoder_name)
        if min(photographs_bhwc.shape[1:3]) < MIN_EDGE_PX:
            raise InvalidInputError(
                f"encoder {self.encoder_name} needs photographs of at least {MIN_EDGE_PX} px, not "
                f"{photographs_bhwc.shape[1]} x {photographs_bhwc.shape[2]}; give a larger --photograph-px"
            )

    def batch(self, data: Items, rows: Sequence[int]) -> torch.Tensor:
        photographs_bhwc = np.stack([np.asarray(data[row]) for row in rows])
        self._check(photographs_bhwc)
        # As bytes, a quarter of what a GPU would wait for; channels stay last in memory.
        return uploaded(photographs_bhwc, self.device).permute(0, 3, 1, 2)

    def augment(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return turned(batch, generator)

    def graph(self) -> nn.Module:
        return _ChannelsLast(self)


class _ChannelsLast(nn.Module):
    """photographs_bhwc uint8 -> codes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, photographs_bhwc: torch.Tensor) -> torch.Tensor:
        return self.module(photographs_bhwc.permute(0, 3, 1, 2))


class InceptionMultitaskEncoder(TrainedEncoder):
    """photographs_bhwc uint8 RGB -> (b, code_dim) float32, non-negative. See `Encoder`."""

    module_class = InceptionMultitask
