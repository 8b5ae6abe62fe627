"""Frozen networks that timm builds: CLAM's truncated ResNet-50, foundation models, any timm model.

On tiles of slides they are patch encoders, on photographs case encoders; the forward pass is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from guidestore.embeddings.types import NEVER_TRAINED, EncoderSpec, FoldScope
from guidestore.encoders.arithmetic import Arithmetic
from guidestore.encoders.clip_layout import clip_to_timm
from guidestore.encoders.conch import ConchVision, with_positions
from guidestore.encoders.hub import fetch_weights, file_sha256, read_weights
from guidestore.encoders.input_kind import input_kind as kind_called
from guidestore.encoders.pathology_models import CONCH, PatchModel
from guidestore.encoders.siglip_layout import siglip_to_timm
from guidestore.encoders.transfer import fetched, pinned_empty, uploaded
from guidestore.encoders.transformers_layout import to_timm
from guidestore.encoders.weights import fit_state

FORWARD_TILES = {"cpu": 8, "cuda": 128}
"""Tiles pushed through at a time: activations of a ResNet-50 in a CPU's cache; a ViT-g's well within a GPU's memory. A
GPU that has less takes half as many from there on."""

BATCH_TILES = {"cpu": 64, "cuda": 256}
"""Tiles that the encoder likes to be given at once: on a GPU so many that what a batch costs besides hides in it."""


RANDOM = "random"
"""In the place of a weights file: the network as it is before any training, a control of what pretraining brings."""


class TimmPatchEncoder:
    """tiles_bhwc or photographs_bhwc uint8 RGB -> (b, d) float32 codes of a frozen network. See `Encoder`.

    model: its row. weights: its file, or RANDOM; None fetches it from the hub. device: of the network. preprocessing:
    `TilingSettings.as_dict()` of the tiles, or `PhotographSettings.as_dict()` of the photographs, and
    `Arithmetic.as_dict()`.

    Pictures of another size than the network's are resized on the device with an antialiased bilinear filter. Raises
    InvalidInputError for weights that cannot be had, read, or do not fit the network.
    """

    def __init__(
        self,
        model: PatchModel,
        weights: str | Path | None = None,
        device: str = "cpu",
        preprocessing: Mapping[str, Any] | None = None,
        trained_on: FoldScope = NEVER_TRAINED,
        input_kind: Literal["tiles", "photographs"] = "tiles",
    ) -> None:
        if str(weights) == RANDOM:
            network, digest = random_network(model)
            preprocessing, trained_on = dict(preprocessing or {}) | {"weights": RANDOM}, NEVER_TRAINED
        else:
            path = Path(weights) if weights is not None else fetch_weights(model)
            network, digest = build_network(model), file_sha256(path)
            fit_state(network, own_names(model, network, read_weights(path)), model.name, path)
        self._model = model
        self._device, self._arithmetic = torch.device(device), Arithmetic.of(preprocessing)
        self.batch_tiles = BATCH_TILES.get(self._device.type, BATCH_TILES["cpu"])
        self._forward_tiles = FORWARD_TILES.get(self._device.type, FORWARD_TILES["cpu"])
        self._copies = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        network = network.eval().requires_grad_(False).to(self._device)
        self._network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._mean_c11, self._std_c11 = (
            torch.tensor(value, device=self._device).view(3, 1, 1) * 255 for value in (model.mean, model.std)
        )
        with torch.inference_mode():
            size = model.input_size_px
            code_dim = self._pooled(torch.zeros(1, 3, size, size, device=self._device)).shape[1]
        self.spec = EncoderSpec(
            model.name,
            "1",
            input_kind,
            code_dim,
            digest,
            dict(preprocessing or {}) | input_facts(model),
            trained_on,
        )

    def empty(self, shape: tuple[int, ...], dtype: type[np.uint8]) -> np.ndarray:
        """Memory for a batch, from where the network's device takes it fastest."""
        return pinned_empty(shape) if self._device.type == "cuda" else np.empty(shape, dtype)

    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        return self.begin(batch)()

    def begin(self, batch: np.ndarray, /) -> Callable[[], np.ndarray]:
        """As `encoders.lanes.Asynchronous` has it."""
        kind_called(self.spec.input_kind).check(batch, self.spec.name)
        if not len(batch):
            return lambda: np.empty((0, self.spec.code_dim), np.float32)
        with torch.inference_mode():
            codes = fetched(self._codes(uploaded(batch, self._device, self._copies)))
        return lambda _batch=batch: codes()  # the batch must outlive its journey

    def _codes(self, tiles_bhwc: Tensor) -> Tensor:
        while True:
            try:
                return torch.cat([self._forward(tiles) for tiles in tiles_bhwc.split(self._forward_tiles)])
            except torch.OutOfMemoryError:
                if self._forward_tiles == 1:
                    raise
            self._forward_tiles //= 2
            torch.cuda.empty_cache()

    def _forward(self, tiles_bhwc: Tensor) -> Tensor:
        images_bchw = tiles_bhwc.permute(0, 3, 1, 2).float()  # Channels stay last in memory.
        size = (self._model.input_size_px, self._model.input_size_px)
        if images_bchw.shape[2:] != size:
            images_bchw = nn.functional.interpolate(images_bchw, size, mode="bilinear", antialias=True)
        with self._arithmetic.on(self._device):
            return self._pooled((images_bchw - self._mean_c11) / self._std_c11).float()

    def _pooled(self, images_bchw: Tensor) -> Tensor:
        return pooled(self._network, self._model, images_bchw)


def random_network(model: PatchModel) -> tuple[nn.Module, str]:
    """The network with the weights that it begins a training with, drawn from seed 0, and the sha256 of these."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(model, drawn=True)
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return network, digest.hexdigest()


def build_network(model: PatchModel, *, drawn: bool = False) -> nn.Module:
    """The network of `model` on torch's meta device: shapes without values, to be filled by `fit_state`.

    drawn: with values that are drawn instead.
    """
    import timm
    from timm.layers.mlp import SwiGLUPacked

    kwargs = dict(model.kwargs)
    if model.swiglu:
        kwargs |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    if model.pooling != "avg":  # features_only builds no classifier.
        kwargs["num_classes"] = 0

    def build() -> nn.Module:
        if model.architecture == CONCH:
            return ConchVision(**model.kwargs)
        return timm.create_model(model.architecture, pretrained=False, **kwargs)

    if drawn:
        return build()
    with torch.device("meta"):
        network = build()
    # Buffers that no weights file holds (attention masks, relative positions) need values: build those networks truly.
    held = network.state_dict().keys()
    return network if all(name in held for name, _ in network.named_buffers()) else build()


def own_names(model: PatchModel, network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published file under the names of `network`; those that no rule knows keep theirs."""
    state = dict(state)
    if model.part:
        inner = {name.removeprefix(model.part): v for name, v in state.items() if name.startswith(model.part)}
        known = network.state_dict().keys()
        state = {name: value for name, value in (inner or state).items() if name in known}
    if model.layout == "transformers" and "cls_token" not in state:
        state = to_timm(state, model.input_size_px // network.patch_embed.patch_size[0])  # pyright: ignore
    if model.layout == "clip":
        state = clip_to_timm(state)
    if model.layout == "siglip":
        state = siglip_to_timm(state)
    if model.layout == "own" and not state.keys() >= network.state_dict().keys():
        # timm keeps the translation of the authors' own files beside each family of networks.
        state = import_module(type(network).__module__).checkpoint_filter_fn(state, network)
    if model.architecture == CONCH:
        state = with_positions(state, network.trunk.patch_embed.grid_size[0])  # pyright: ignore
    return {name: value for name, value in state.items() if not name.startswith(model.ignored)}


def pooled(network: nn.Module, model: PatchModel, images_bchw: Tensor) -> Tensor:
    """codes_bd of normalised images."""
    if model.pooling == "own":
        return network(images_bchw)
    if model.pooling == "avg":
        return network(images_bchw)[0].mean(dim=(2, 3))
    tokens_bnd = network.forward_features(images_bchw)  # pyright: ignore[reportCallIssue]
    if model.pooling == "cls":
        return tokens_bnd[:, 0]
    patches_bnd = tokens_bnd[:, network.num_prefix_tokens :]  # pyright: ignore
    return torch.cat([tokens_bnd[:, 0], patches_bnd.mean(dim=1)], dim=1)


def input_facts(model: PatchModel) -> dict[str, Any]:
    """What happens to a picture before the network and to its tokens after it, for the spec."""
    return {
        "input_size_px": model.input_size_px,
        "resize": "bilinear, antialiased",
        "mean": list(model.mean),
        "std": list(model.std),
        "pooling": model.pooling,
    }
