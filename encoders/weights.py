"""Weights between a torch module and the plain arrays that the store keeps; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from embeddings.errors import InvalidInputError


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
