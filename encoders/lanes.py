"""Batches through one or several encoders, each in a thread of its own, and their codes in the order of the batches.

So a GPU has its next batch before the last one's codes are fetched, whoever takes the codes may write them meanwhile,
and several GPUs share one source of batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from guidestore.encoders.protocol import Encoder

CODES_AHEAD = 64
"""Batches whose codes may wait for the consumer: 16 MB of 64 codes of 1,024, the time of writing a bag."""

IN_FLIGHT = 2
"""Batches of one GPU that are begun and not yet fetched."""


@runtime_checkable
class Asynchronous(Protocol):
    """What an encoder on a GPU can do besides."""

    def begin(self, batch: Any, /) -> Callable[[], np.ndarray]:
        """Starts `encode`; what it gives waits for the codes. `batch` must stay as it is until then."""
        ...


_LATER: Any = object()

type Coded[C] = tuple[C, np.ndarray | Exception | None]


def in_lanes[C](
    batches: Iterator[tuple[C, Any]], encoders: Sequence[Encoder], *, ahead: int = CODES_AHEAD
) -> Generator[Coded[C]]:
    """(companion, codes) of (companion, batch), in order. Codes are None for a batch of None; what an encoder raised on
    a batch stands in their place.

    encoders: alike but for their device; each batch goes to one of them. Closing the generator ends the threads, and
    then closes `batches` where that can be closed.
    """
    lanes = _Lanes(batches, ahead)
    threads = [
        threading.Thread(target=lanes.work, args=(encoder,), name=f"encoder-{i}", daemon=True)
        for i, encoder in enumerate(encoders)
    ]
    try:
        for thread in threads:
            thread.start()
        yield from lanes.results()
    finally:
        lanes.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        if isinstance(batches, Generator):
            batches.close()


class _Lanes[C]:
    def __init__(self, batches: Iterator[tuple[C, Any]], ahead: int) -> None:
        self._batches, self._ahead = batches, ahead
        self._taking = threading.Lock()
        """Of whoever takes the next batch, which it may have to wait for."""
        self._changed = threading.Condition()
        self._taken = self._given = 0
        self._total: int | None = None
        self._results: dict[int, Coded[C]] = {}
        self._defect: BaseException | None = None
        self._is_closed = False

    def work(self, encoder: Encoder) -> None:
        """An encoder's life."""
        begin = encoder.begin if isinstance(encoder, Asynchronous) else None
        begun: list[tuple[int, C, Callable[[], np.ndarray]]] = []
        try:
            while (task := self._next(may_wait=not begun)) is not None:
                if task is _LATER:  # meanwhile, others may wait for what is begun here
                    self._fetch(*begun.pop(0))
                    continue
                number, companion, batch = task
                try:
                    if batch is None:
                        self._done(number, companion, None)
                    elif begin is None:
                        self._done(number, companion, encoder.encode(batch))
                    else:
                        begun.append((number, companion, begin(batch)))
                        if len(begun) >= IN_FLIGHT:
                            self._fetch(*begun.pop(0))
                except Exception as error:
                    self._done(number, companion, error)
                del task, batch  # else it would stay in memory until the next one is there
            for one in begun:
                self._fetch(*one)
        except BaseException as error:  # of the source: the consumer must hear of it
            with self._changed:
                self._defect = self._defect or error
                self._changed.notify_all()

    def _fetch(self, number: int, companion: C, codes: Callable[[], np.ndarray]) -> None:
        try:
            self._done(number, companion, codes())
        except Exception as error:
            self._done(number, companion, error)

    def _next(self, *, may_wait: bool) -> tuple[int, C, Any] | None:
        """The next batch with its number; None after the last; `_LATER` where it would have to be waited for."""
        if not self._taking.acquire(blocking=may_wait):
            return _LATER
        try:
            with self._changed:
                if not may_wait and not self._is_over and self._taken - self._given >= self._ahead:
                    return _LATER
                self._changed.wait_for(lambda: self._is_over or self._taken - self._given < self._ahead)
                if self._is_over:
                    return None
            taken = next(self._batches, None)
            with self._changed:
                if taken is None:
                    self._total = self._taken
                    self._changed.notify_all()
                    return None
                self._taken += 1
                return self._taken - 1, *taken
        finally:
            self._taking.release()

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._defect is not None or self._total is not None

    def _done(self, number: int, companion: C, codes: np.ndarray | Exception | None) -> None:
        with self._changed:
            self._results[number] = (companion, codes)
            self._changed.notify_all()

    def results(self) -> Generator[Coded[C]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._given in self._results or self._is_finished)
                if self._defect is not None:
                    raise self._defect
                if self._given not in self._results:
                    return
                result = self._results.pop(self._given)
                self._given += 1
                self._changed.notify_all()
            yield result
            del result

    @property
    def _is_finished(self) -> bool:
        return self._defect is not None or self._given == self._total

    def stop(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
