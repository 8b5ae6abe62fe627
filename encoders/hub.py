"""Weights of patch encoders: from a file that the user names, or from the model hub. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path

from torch import Tensor

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import reason
from guidestore.encoders.pathology_models import PatchModel

_NESTS = ("state_dict", "model", "teacher")
"""Under which training scripts keep the tensors of a checkpoint."""

_PREFIXES = ("module.", "backbone.", "encoder.", "model.", "vit.", "dinov2.")
"""That wrappers put before the name of every tensor."""


def fetch_weights(model: PatchModel, endpoint: str | None = None, cache_dir: Path | None = None) -> Path:
    """The model's weights file, downloaded from the hub unless it is in the hub's cache already.

    endpoint, cache_dir: other than those of huggingface_hub's own settings (HF_ENDPOINT, HF_HOME). Raises
    InvalidInputError, with what to do, for a gated model, a repository or file that is not there, and a hub that
    cannot be reached.
    """
    from huggingface_hub import errors, hf_hub_download

    by_hand = f"download {model.hub_file} of {model.hub_repo} on another machine and give it with --weights FILE"
    if not model.hub_repo:
        raise InvalidInputError(f"no weights of encoder {model.name} are on the model hub; give them by --weights FILE")
    try:
        return Path(hf_hub_download(model.hub_repo, model.hub_file, endpoint=endpoint, cache_dir=cache_dir))
    except Exception as error:  # huggingface_hub raises its own, its HTTP library's and OSError.
        status = _status(error)
        if isinstance(error, errors.GatedRepoError) or status in (401, 403):
            raise InvalidInputError(
                f"the model hub did not give out the weights of encoder {model.name} ({status or 'gated'}): accept the "
                f"licence ({model.licence}) on the hub's page of {model.hub_repo} and log in with `hf auth login` or "
                f"HF_TOKEN, or {by_hand}"
            ) from error
        if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
            raise InvalidInputError(
                f"the model hub has no {model.hub_file} of {model.hub_repo} for encoder {model.name}; it was moved or "
                "removed, so find its new place and give the file with --weights FILE"
            ) from error
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EACCES, EROFS, EPERM):
            raise InvalidInputError(
                f"the weights of encoder {model.name} cannot be kept ({reason(error)}); free space in the hub's cache "
                "or set HF_HOME to a folder that can be written"
            ) from error
        raise InvalidInputError(
            f"the model hub cannot be reached for the weights of encoder {model.name}; connect this machine, or "
            f"{by_hand}"
        ) from error


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that `error` or what caused it carries."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__
    return None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name, unwrapped, on the CPU.

    Takes safetensors, or what torch.save wrote of tensors alone: a state dict, also under "state_dict", "model" or
    "teacher", also with "module." or "backbone." before its names. Raises InvalidInputError for anything else; a file
    that holds code is refused, not run.
    """
    if not path.is_file():
        raise InvalidInputError(f"there is no weights file {path}; correct --weights")
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except Exception as error:  # A foreign file fails in many ways.
        raise InvalidInputError(
            f"weights file {path} cannot be read safely ({_short(error)}); give a .safetensors file, or a file of "
            "tensors alone that torch.save wrote"
        ) from error
    tensors = _tensors_in(content)
    if not tensors:
        raise InvalidInputError(f"weights file {path} holds no tensors; give the state dict of the encoder")
    for prefix in _PREFIXES:
        inner = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if len(inner) == len(tensors) or (inner and prefix == "backbone."):  # Beside a backbone there are only heads.
            tensors = inner
    return tensors


def _read_safetensors(path: Path) -> object:
    from safetensors.torch import load_file

    return load_file(path)


def _read_pickle(path: Path) -> object:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # Written before torch 1.6.


def _tensors_in(content: object) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        nest = next((name for name in _NESTS if isinstance(content.get(name), Mapping)), None)
        if nest is None:
            return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        content = content[nest]
    return {}


def _short(error: Exception) -> str:
    """The first sentence of a library's error: torch appends advice to switch its checks off."""
    said = reason(error).split(". ")[0][:200]
    return said if any(letter.isalpha() for letter in said) else "it is no such file"  # pickle may say just a number


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
