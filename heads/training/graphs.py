"""An epoch of a batch as one CUDA graph: captured once for a set of heads, started by one call, never waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch

from guidestore.heads.training.memory import is_out_of_memory


def captured(body: Callable[[], None]) -> Callable[[], None]:
    """`body` as a graph of the current device, not yet run; it must have run once, so that all libraries are awake.

    What `body` reads must stay in its place in memory. A body that cannot be captured is given back as it is.
    """
    graph, stream, now = torch.cuda.CUDAGraph(), torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(now)
    try:
        with torch.cuda.stream(stream):
            # Others may read and prepare meanwhile: this thread alone must keep to what can be captured.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                body()
            except BaseException:
                with suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return body
    finally:
        now.wait_stream(stream)
    return graph.replay
