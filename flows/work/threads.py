"""Where a step computes, and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guidestore.embeddings.errors import InvalidInputError


def check_device(device: str) -> None:
    """Raises InvalidInputError for a device that PyTorch does not have here, before anything is read."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise InvalidInputError(f"device {device!r} cannot be used here ({said}); give --device cpu") from error


@contextmanager
def one_thread() -> Iterator[None]:
    """For small networks and heads: a second thread mostly waits for the first, on a busy machine for very long."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
