"""How many heads one batch holds, and what happens when it was too many."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.training.head import Diverged, Head, Trained, Watched

CPU_BYTES = 32 * 2**20
"""Of what every step touches: about a last-level cache. On one core with 32 MB of L3, a step of a 1536-50-3 head took
0.58 ms alone, 0.33 in a batch of 4 or 8, 0.34 of 16 and 0.37 of 32, so larger batches gain nothing on a CPU."""
GPU_SHARE = 0.6
"""Of the free memory of a GPU: the allocator's rounding and temporary values take the rest."""


def step_bytes(head: Head, dtype: torch.dtype) -> int:
    """What one step of `head` touches: weights, gradients, momenta and its rows."""
    return dtype.itemsize * (3 * _n_weights(head) + head.batch_size * sum(head.widths))


def _n_weights(head: Head) -> int:
    return sum((d_in + 1) * d_out for d_in, d_out in itertools.pairwise(head.widths))


def resident_bytes(head: Head, dtype: torch.dtype) -> int:
    """What `head` keeps on the device if it shares nothing: that, its data, its best weights and its epoch's draws."""
    n, d = head.x_nd.shape
    task = head.task
    val_rows, y_dims = (len(task.x_val_nd), 2) if isinstance(task, Watched) else (0, task.y_nd.shape[1])
    draws = n * sum(head.hidden or (d,))
    activations = 4 * (head.batch_size + val_rows) * sum(head.widths)
    return step_bytes(head, dtype) + dtype.itemsize * (
        (n + val_rows) * d + n * y_dims + _n_weights(head) + draws + activations
    )


def heads_at_once(head: Head, *, device: str, dtype: torch.dtype, memory_bytes: int | None = None) -> int:
    """How many heads like `head` one batch may hold, at least 1, in `memory_bytes` (None: what the device has)."""
    if device == "cpu":
        return max(1, (CPU_BYTES if memory_bytes is None else memory_bytes) // step_bytes(head, dtype))
    if memory_bytes is None:
        memory_bytes = int(torch.cuda.mem_get_info(device)[0] * GPU_SHARE)
    return max(1, memory_bytes // resident_bytes(head, dtype))


def in_batches(
    heads: Sequence[Head], at_once: int, train: Callable[[Sequence[Head]], list[Trained | Diverged]]
) -> list[Trained | Diverged]:
    """`train` over `heads`, `at_once` at a time; where memory runs out, half as many from there on.

    Raises InvalidInputError where one head alone does not fit.
    """
    results: list[Trained | Diverged] = []
    while len(results) < len(heads):
        part = heads[len(results) : len(results) + at_once]
        try:
            results += train(part)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(part) == 1:
                raise InvalidInputError(
                    f"one network of widths {'-'.join(map(str, part[0].widths))} on {len(part[0].x_nd)} rows does not "
                    "fit into the device's memory; make it narrower, or train on another device"
                ) from error
            at_once = len(part) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results


def is_out_of_memory(error: Exception) -> bool:
    """The errors of CUDA, of its libraries and of the CPU's allocator."""
    signs = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error).lower() for sign in signs)
