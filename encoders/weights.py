"""Weights between a torch module and the plain arrays that the store keeps; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from guidestore.embeddings.errors import InvalidInputError


def tensors_of(module: nn.Module) -> dict[str, np.ndarray]:
    """A copy of all parameters and buffers by name, as safetensors can hold them."""
    return {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}


def load_tensors(module: nn.Module, tensors: Mapping[str, np.ndarray], encoder: str) -> None:
    """Puts `tensors` into `module`; names and shapes must agree, otherwise raises InvalidInputError."""
    own = module.state_dict()
    odd = sorted(own.keys() ^ tensors.keys()) or sorted(
        name for name, value in own.items() if tuple(value.shape) != np.shape(tensors[name])
    )
    if odd:
        raise InvalidInputError(
            f"the weights do not fit encoder {encoder} of this config: {len(odd)} tensors are missing, unknown or of "
            f"another shape (first: {odd[0]}); give the config that was stored with the weights"
        )
    module.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in tensors.items()})


def fit_state(module: nn.Module, state: Mapping[str, torch.Tensor], encoder: str, path: Path) -> None:
    """Makes the float32 tensors of a foreign weights file the parameters and buffers of `module`.

    Every tensor must be there in its shape and none besides, otherwise raises InvalidInputError that names the first.
    """
    own = module.state_dict()
    # A counter that only training reads; files of torchvision before 0.3 lack it.
    counters = {name for name in own.keys() - state.keys() if name.endswith(".num_batches_tracked")}
    state = {**state, **{name: torch.zeros((), dtype=torch.int64) for name in counters}}
    odd = [f"{name} is missing" for name in own.keys() - state.keys()]
    odd += [f"{name} is unknown" for name in state.keys() - own.keys()]
    odd += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    if odd:
        raise InvalidInputError(
            f"weights file {path} does not fit encoder {encoder}: {len(odd)} tensors are odd "
            f"({', '.join(sorted(odd)[:3])}); give the file of this very model, with its blocks and without its heads"
        )
    whole = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    module.load_state_dict(whole, assign=True)
