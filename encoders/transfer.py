"""Arrays to a device and codes from it, without either side waiting for the other where that is possible."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def pinned_empty(shape: tuple[int, ...]) -> np.ndarray:
    """uint8 in memory that a GPU can read by itself, to be filled and given to `uploaded`."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()


def uploaded(array: np.ndarray, device: torch.device, copies: torch.cuda.Stream | None = None) -> torch.Tensor:
    """`array` on the device. To a GPU it travels while this thread goes on: `array` must stay as it is meanwhile.

    copies: a stream of its own for the journey, which then overlaps with what the GPU still has to do.
    """
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if device.type != "cuda":
        return tensor.to(device)
    if not tensor.is_pinned():
        tensor = tensor.pin_memory()
    if copies is None:
        return tensor.to(device, non_blocking=True)
    with torch.cuda.stream(copies):
        there = tensor.to(device, non_blocking=True)
    now = torch.cuda.current_stream(device)
    now.wait_stream(copies)
    there.record_stream(now)
    return there


def fetched(codes: torch.Tensor) -> Callable[[], np.ndarray]:
    """Starts the way back of `codes`; what it gives waits for the end of it."""
    if codes.device.type != "cuda":
        on_host = codes.cpu().numpy()
        return lambda: on_host
    pinned = torch.empty(codes.shape, dtype=codes.dtype, pin_memory=True)
    pinned.copy_(codes, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(codes.device))

    def wait() -> np.ndarray:
        arrived.synchronize()
        return pinned.numpy()

    return wait
