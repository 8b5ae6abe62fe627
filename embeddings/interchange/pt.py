"""Tensors that torch.save wrote, read without pickle's powers: numbers alone, as they lie in the file."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.limits import check_fits, reason_of


def read_tensors(path: Path) -> np.ndarray | list[np.ndarray]:
    """The tensor in a .pt file, or its list of tensors; of a zip file (torch since 1.6) mapped, not read.

    bfloat16 comes as float32, which holds it exactly. Raises InvalidInputError for anything else: dictionaries, numpy
    arrays (TRIDENT's .pt) and whatever would have to run code.
    """
    import torch

    try:
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip or None)
    except InvalidInputError:
        raise
    except Exception as error:  # zipfile and torch's unpickler raise what the bytes make of them
        said = str(error)
        if "numpy" in said:
            raise InvalidInputError(
                f"{path} is a pickle of a numpy array, as TRIDENT's .pt files are, and pickles can run code; let the "
                "tool write .h5 (TRIDENT: its default), which has the coordinates too"
            ) from error
        reason = "it holds more than tensors" if "weights_only" in said or "Weights only" in said else reason_of(error)
        raise InvalidInputError(f"{path} cannot be read as a tensor ({reason}); save one plain tensor") from error
    if isinstance(held, list | tuple) and held:
        return [_values(path, tensor) for tensor in held]
    return _values(path, held)


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise InvalidInputError(f"{path} is a compressed archive, which torch does not write; save it again")
    check_fits(path, sum(member.file_size for member in members))


def _values(path: Path, tensor: Any) -> np.ndarray:
    import torch

    if not isinstance(tensor, torch.Tensor):
        keys = f" of {', '.join(map(str, list(tensor)[:5]))}" if isinstance(tensor, dict) else ""
        raise InvalidInputError(
            f"{path} holds a {type(tensor).__name__}{keys}, and one plain tensor is read; save the features alone"
        )
    plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
    if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InvalidInputError(f"{path} holds a tensor that is not stored as its values; save it with .contiguous()")
    tensor = tensor.detach()
    try:
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    except (TypeError, RuntimeError) as error:  # complex ones that are stored conjugate, say
        raise InvalidInputError(
            f"{path} holds a tensor of {tensor.dtype} that numpy cannot hold; save it as float32"
        ) from error
