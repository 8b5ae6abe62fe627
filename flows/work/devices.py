"""On which device a step computes: the one asked for, or `auto`, the best that is here."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError

AUTO, CPU = "auto", "cpu"

Work = Literal["encoders", "heads"]

Device = Annotated[
    str, Field(description="Where networks run: auto (cuda, else mps, else cpu), cpu, mps, cuda, cuda:1, …")
]
Devices = Annotated[
    str,
    Field(
        description="Where networks run: auto (cuda, else mps, else cpu), cpu, mps, cuda, cuda:1, …; with commas, as "
        "cuda:0,cuda:1, an encoder on each. What comes out does not depend on how many."
    ),
]


def one_device(asked: str, work: Work) -> str:
    """The device that is asked for, `auto` made out. Raises InvalidInputError for one that is not here, and several."""
    first, *more = devices_of(asked, work)
    if more:
        raise InvalidInputError(f"{asked!r} are {1 + len(more)} devices, and one is needed here; name one of them")
    return first


def devices_of(asked: str, work: Work = "encoders") -> tuple[str, ...]:
    """The devices that are asked for, `auto` made out: cpu, mps, cuda:0, …

    Raises InvalidInputError, before anything is read, for one that PyTorch does not have here.
    """
    if asked == AUTO:
        return (_best(work),)
    names = tuple("cuda:0" if name.strip() == "cuda" else name.strip() for name in asked.split(","))
    for name in dict.fromkeys(names):
        _check(name, work)
    return names


def in_words(devices: tuple[str, ...]) -> str:
    """As reports and lineage say them: a GPU with its name."""
    return ", ".join(_named(device) for device in devices)


def also_on(before: str, device: str) -> str:
    """Devices in words, with one more where it is not among them."""
    return before if device in before.split(", ") else f"{before}, {device}".lstrip(", ")


def readers_for(devices: tuple[str, ...]) -> int:
    """Threads that read images: two keep a CPU busy that encodes as well; a GPU is to have all cores."""
    if set(devices) == {CPU}:
        return 2
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return max(2, cores)


def _named(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def _best(work: Work) -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() and _mps_lacks(work) is None else CPU


def _check(device: str, work: Work) -> None:
    if device == CPU:
        return
    import torch

    try:
        torch.empty(0, device=device)
        said = _mps_lacks(work) if device.startswith("mps") else None
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0].split(". ")[0].rstrip(".")
    if said is not None:
        raise InvalidInputError(f"device {device!r} cannot be used here ({said}); give --device cpu")


def _mps_lacks(work: Work) -> str | None:
    """What this PyTorch cannot do on mps of what the work needs; None where it can all."""
    import torch
    from torch.nn import functional

    try:
        if work == "heads":
            torch.zeros(1, dtype=torch.float64, device="mps")
        else:
            images = torch.zeros(1, 3, 8, 8, device="mps")
            functional.interpolate(images, (4, 4), mode="bilinear", antialias=True)
            functional.avg_pool3d(functional.conv3d(images[None], torch.zeros(1, 1, 3, 3, 3, device="mps")), 1)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return str(error).splitlines()[0].split(". ")[0].rstrip(".")
    return None
