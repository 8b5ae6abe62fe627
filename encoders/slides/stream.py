"""Streams the tiles of many slides in order, read by threads that run ahead of the consumer across slide borders.

While the consumer works on slide k, the readers read on in it, open slide k + 1 and find its tissue. They read blocks
of neighbouring tiles, about BLOCK_PX on edge, on a grid fixed at level-0 (0, 0), and cut each tile from its block: so a
tile's pixels depend neither on which neighbours are kept nor on which thread comes first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.checks import said_of
from guidestore.encoders.slides.direct import DecodedTiles
from guidestore.encoders.slides.reader import MAX_READ_PX, Slide
from guidestore.encoders.slides.tiling import TileGrid, TilingSettings, lay_tiles
from guidestore.encoders.sources import ImageFile, Verified

BLOCK_PX = 1024
"""Edge of a block in output pixels: 16 tiles of 256 px, so that a call into OpenSlide costs little per tile."""

TILE_BATCH_SIZE = 64
"""Tiles in a batch: 13 MB at 256 px; more does not pay on a CPU."""

PREFETCH_TILES = 256
"""Tiles read ahead of the consumer: 50 MB at 256 px, one second of a fast encoder."""


type Empty = Callable[[tuple[int, ...], type[np.uint8]], np.ndarray]


@dataclass(frozen=True, slots=True)
class SlideJob:
    """A slide to read: `mpp` overrides the file's um per level-0 pixel; `key` is the caller's, never looked at.

    `image`: of a cohort, as it was when that was added: the slide fails unless its files are those, to the last tile.
    """

    path: str | Path
    mpp: float | None = None
    key: object = None
    image: ImageFile | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TileBatch:
    """The next tiles of a slide: tiles_bhwc (b, tile_size_px, tile_size_px, 3) uint8 of the grid's rows rows_b.

    A slide's batches come block by block, all of batch_size but the last; none holds tiles of two slides. A slide
    without tissue gives one batch of 0 tiles.
    """

    job: SlideJob
    grid: TileGrid
    mpp: float
    """Level-0 um per pixel."""
    magnification: float | None
    rows_b: np.ndarray
    tiles_bhwc: np.ndarray
    is_last: bool
    """Of its slide."""
    tiles_read: int
    """Of all slides so far: by how far the readers are ahead of the consumer, or no longer are."""


@dataclass(frozen=True, slots=True, eq=False)
class SlideFailure:
    """A slide that cannot be read (on), in the place of its last batch; batches that came before are void."""

    job: SlideJob
    error: InvalidInputError


def stream_slides(
    jobs: Iterable[SlideJob],
    settings: TilingSettings,
    *,
    readers: int = 2,
    batch_size: int = TILE_BATCH_SIZE,
    prefetch_tiles: int = PREFETCH_TILES,
    empty: Empty = np.empty,
) -> Generator[TileBatch | SlideFailure]:
    """The tiles of all slides, slide by slide in the order of `jobs`.

    readers: threads that read; prefetch_tiles: how many tiles they may be ahead, at least a batch and a block, which
    bounds memory. What is yielded depends on neither. empty: (shape, uint8) -> where a batch is put. Closing the
    generator stops the threads.
    """
    stream = _Stream(list(jobs), settings, readers, batch_size, prefetch_tiles, empty)
    threads = [threading.Thread(target=stream.read, name=f"slide-reader-{i}", daemon=True) for i in range(readers)]
    try:
        for thread in threads:
            thread.start()
        yield from stream.events()
    finally:
        stream.stop()
        for thread in threads:
            if thread.ident is not None:  # Else it never started.
                thread.join()
        stream.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What a reader found out about a slide: its tiles, and the blocks to read them in."""

    slide: Slide
    grid: TileGrid
    block_level0_px: int
    """Edge of a block; equal to the tile's where a block is one tile."""
    order_n: np.ndarray
    """Rows of the grid in the order of reading."""
    blocks: list[tuple[int, int]]
    """Start and stop of each block in order_n."""

    @classmethod
    def of(cls, slide: Slide, settings: TilingSettings) -> _Plan:
        grid = lay_tiles(slide, settings)
        pixels = slide.level_pixels_per_pixel(grid.tile_size_level0_px / grid.tile_size_px) * grid.tile_size_px
        block_px = grid.tile_size_level0_px * max(min(_block_tiles(settings), int(MAX_READ_PX / pixels)), 1)
        x_n, y_n = grid.coords_n2.T
        order_n = np.lexsort((x_n, y_n, x_n // block_px, y_n // block_px))
        block_n2 = grid.coords_n2[order_n] // block_px
        starts = np.flatnonzero(np.any(np.diff(block_n2, axis=0, prepend=-1), axis=1)).tolist()
        return cls(slide, grid, block_px, order_n, list(zip(starts, [*starts[1:], len(order_n)], strict=False)))

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """The tiles of one block."""
        size, edge = self.grid.tile_size_px, self.grid.tile_size_level0_px
        corners = [(x, y) for x, y in self.grid.coords_n2[self.order_n[start:stop]].tolist()]
        x, y = corners[0]
        if self.block_level0_px == edge:  # One tile may cover more pixels than are read at once.
            return [self.slide.read(x, y, size, size, edge / size)]
        anchor = x - x % self.block_level0_px, y - y % self.block_level0_px
        return self.slide.read_cut(corners, size, size, edge / size, anchor)


def _block_tiles(settings: TilingSettings) -> int:
    """Tiles along the edge of a block, at most."""
    return max(BLOCK_PX // settings.tile_size_px, 1)


@dataclass(slots=True, eq=False)
class _Work:
    """A slide on its way: planned by one reader, read by all, yielded by the consumer. Guarded by the stream's lock."""

    job: SlideJob
    plan: _Plan | None = None
    error: InvalidInputError | None = None
    verified: Verified | None = None
    blocks_taken: int = 0
    blocks_open: int = 0
    """Taken and not yet read."""
    blocks_read: int = 0
    tiles_taken: int = 0
    batches: dict[int, np.ndarray] = field(default_factory=dict)
    """By number, allocated with their first tile."""
    missing: dict[int, int] = field(default_factory=dict)
    """Tiles that each of `batches` still lacks."""

    @property
    def is_taken(self) -> bool:
        """No reader need look at it again."""
        return self.error is not None or (self.plan is not None and self.blocks_taken == len(self.plan.blocks))


class _Stream:
    def __init__(
        self,
        jobs: list[SlideJob],
        settings: TilingSettings,
        readers: int,
        batch_size: int,
        prefetch_tiles: int,
        empty: Empty,
    ) -> None:
        self._settings = settings
        self._batch_size, self._empty = batch_size, empty
        # Less could never fill a batch: the readers would wait for the consumer and it for them.
        # And all readers shall have something to do while a batch waits to be whole.
        block = _block_tiles(settings) ** 2
        self._prefetch_tiles = max(prefetch_tiles, batch_size + (block if readers <= 2 else 2 * readers * block))
        # One slide ahead hides opening and tissue finding; each holds a mask in memory.
        self._slides_ahead = max(readers - 1, 1)
        self._decoded = DecodedTiles()
        self._changed = threading.Condition()
        self._jobs = deque(jobs)
        self._works: deque[_Work] = deque()
        """Taken from the jobs and not yet wholly yielded, in order."""
        self._tiles_ahead = 0
        """Taken by readers and not yet yielded."""
        self._tiles_read = 0
        self._defect: BaseException | None = None
        self._is_closed = False

    # What the readers do.

    def read(self) -> None:
        """A reader's life."""
        try:
            while (task := self._next_task()) is not None:
                work, plan, block = task
                try:
                    with said_of(f"slide {work.job.path} cannot be read", "copy the file again, or convert it"):
                        if plan is None:
                            self._plan(work)
                        else:
                            self._read_block(work, plan, *block)
                except InvalidInputError as error:
                    with self._changed:
                        work.error = work.error or error
                with self._changed:
                    work.blocks_open -= plan is not None
                    if work.plan is not None and work.is_taken and not work.blocks_open:
                        work.plan.slide.close()
                    self._changed.notify_all()
        except BaseException as error:  # A defect: the consumer must hear of it.
            with self._changed:
                self._defect = self._defect or error
                self._changed.notify_all()

    def _next_task(self) -> tuple[_Work, _Plan | None, tuple[int, int]] | None:
        """A slide to plan (its plan is None) or a block to read, waited for; None when there is nothing left to do."""
        with self._changed:
            while not self._is_closed and self._defect is None:
                waiting = [work for work in self._works if not work.is_taken]
                if self._jobs and len(waiting) <= self._slides_ahead:
                    self._works.append(_Work(self._jobs.popleft()))
                    return self._works[-1], None, (0, 0)
                if not waiting:
                    return None
                # Strictly in order, so that tiles ahead are always those that the consumer needs next.
                work = waiting[0]
                if work.plan is not None:
                    start, stop = work.plan.blocks[work.blocks_taken]
                    if self._tiles_ahead + stop - start <= self._prefetch_tiles:
                        work.blocks_taken += 1
                        work.blocks_open += 1
                        work.tiles_taken += stop - start
                        self._tiles_ahead += stop - start
                        return work, work.plan, (start, stop)
                self._changed.wait()
            return None

    def _plan(self, work: _Work) -> None:
        work.verified = work.job.image.verify() if work.job.image else None
        slide = Slide(work.job.path, work.job.mpp, self._decoded)
        try:
            plan = _Plan.of(slide, self._settings)
            if not plan.blocks and work.verified:
                work.verified.check()
        except BaseException:
            slide.close()
            raise
        with self._changed:
            work.plan = plan

    def _read_block(self, work: _Work, plan: _Plan, start: int, stop: int) -> None:
        tiles = plan.read(start, stop)
        with self._changed:
            work.blocks_read += 1
            is_read = work.blocks_read == len(plan.blocks)
        if is_read and work.verified:  # Before the consumer gets the last batch.
            work.verified.check()
        size, total = self._batch_size, len(plan.order_n)
        touched = range(start // size, (stop - 1) // size + 1)
        with self._changed:
            for batch in touched:
                if batch not in work.batches:
                    work.missing[batch] = min(size, total - batch * size)
                    work.batches[batch] = self._empty((work.missing[batch], *tiles[0].shape), np.uint8)
            batches = {batch: work.batches[batch] for batch in touched}
        for number, tile_hwc in enumerate(tiles, start):
            batches[number // size][number % size] = tile_hwc
        with self._changed:
            self._tiles_read += len(tiles)
            for number in range(start, stop):
                work.missing[number // size] -= 1

    # What the consumer does.

    def events(self) -> Generator[TileBatch | SlideFailure]:
        while (work := self._head()) is not None:
            yielded, is_last = 0, False
            while not is_last:
                event = self._next_event(work, yielded)
                is_last = isinstance(event, SlideFailure) or event.is_last
                yielded += 0 if isinstance(event, SlideFailure) else len(event.tiles_bhwc)
                yield event
                del event  # Else its tiles would stay in memory until the next ones are there.
            with self._changed:
                self._works.popleft()
                self._tiles_ahead -= work.tiles_taken - yielded
                self._changed.notify_all()

    def _head(self) -> _Work | None:
        """The slide to yield next, waited for; None after the last."""
        with self._changed:
            while not self._works and self._jobs:
                self._wait_for_readers()
            return self._works[0] if self._works else None

    def _next_event(self, work: _Work, yielded: int) -> TileBatch | SlideFailure:
        number = yielded // self._batch_size
        with self._changed:
            while True:
                if work.error is not None:
                    return SlideFailure(work.job, work.error)
                if work.plan is not None and not work.plan.blocks:
                    size = self._settings.tile_size_px
                    return self._batch(work.job, work.plan, 0, np.empty((0, size, size, 3), np.uint8))
                if work.plan is not None and work.missing.get(number) == 0:
                    tiles_bhwc = work.batches.pop(number)
                    self._tiles_ahead -= len(tiles_bhwc)
                    self._changed.notify_all()
                    return self._batch(work.job, work.plan, yielded, tiles_bhwc)
                self._wait_for_readers()

    def _batch(self, job: SlideJob, plan: _Plan, start: int, tiles_bhwc: np.ndarray) -> TileBatch:
        stop = start + len(tiles_bhwc)
        slide, rows_b, is_last = plan.slide, plan.order_n[start:stop], stop == len(plan.order_n)
        return TileBatch(
            job, plan.grid, slide.mpp, slide.magnification, rows_b, tiles_bhwc, is_last, tiles_read=self._tiles_read
        )

    def _wait_for_readers(self) -> None:
        if self._defect is not None:
            raise self._defect
        self._changed.wait()

    # What both do at the end.

    def stop(self) -> None:
        """Tells the readers to end after what they are reading."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Closes the slides that are still open, once no reader is left."""
        for work in self._works:
            if work.plan is not None:
                work.plan.slide.close()
