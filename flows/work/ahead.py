"""Reads items in threads a little ahead of the consumer, in order; an item that cannot be read is its own error."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from guidestore.embeddings.errors import InvalidInputError

READERS = 2


def read_ahead[I, T](
    load: Callable[[I], T], items: Iterable[I], readers: int = READERS
) -> Generator[tuple[I, T | InvalidInputError]]:
    """(item, what `load` gave or the InvalidInputError it raised), at most 2 * readers ahead; other errors raise."""

    def outcome(item: I) -> T | InvalidInputError:
        try:
            return load(item)
        except InvalidInputError as error:
            return error

    waiting: deque[tuple[I, Future[T | InvalidInputError]]] = deque()
    pool = ThreadPoolExecutor(readers)
    try:
        for item in items:
            waiting.append((item, pool.submit(outcome, item)))
            if len(waiting) >= 2 * readers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
