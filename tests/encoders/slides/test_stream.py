from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from typing import Any

import numpy as np
import pytest
import tifffile

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.embeddings.records import FileRef
from guidestore.encoders.slides import stream
from guidestore.encoders.slides.reader import Slide
from guidestore.encoders.slides.stream import SlideFailure, SlideJob, TileBatch, stream_slides
from guidestore.encoders.slides.tiling import TilingSettings, lay_tiles
from guidestore.encoders.sources import ImageFile
from tests.encoders.making import write_tiff

REAL = "slides/CMU-1-Small-Region.svs"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """(1200, 1100, 3) pink noise with a white corner, every pixel told from its neighbours."""
    rng = np.random.default_rng(0)
    slide_hwc = np.clip(rng.normal((200, 110, 170), 25, (1200, 1100, 3)), 0, 255).astype(np.uint8)
    slide_hwc[:500, :400] = 255
    return slide_hwc


def tiles_of(jobs, settings, **options) -> list[dict[tuple[int, int], np.ndarray]]:
    """Per slide: place -> tile."""
    slides = []
    is_new = True
    for event in stream_slides(jobs, settings, **options):
        assert isinstance(event, TileBatch)
        if is_new:
            slides.append({})
        is_new = event.is_last
        for row, tile_hwc in zip(event.rows_b, event.tiles_bhwc, strict=True):
            slides[-1][tuple(event.grid.coords_n2[row].tolist())] = tile_hwc
    return slides


def readers_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("slide-reader")]


@pytest.mark.parametrize("target_mpp", [0.5, 0.6, 1.0, 2.0, 3.1])
@pytest.mark.parametrize("levels", [1, 3])
def test_tiles_are_those_that_a_slide_reads_one_by_one(tmp_path, picture, target_mpp, levels):
    path = write_tiff(tmp_path / "s.tiff", picture, levels=levels)
    settings = TilingSettings(target_mpp, 32, min_tissue_fraction=0.2)
    with Slide(path) as slide:
        grid = lay_tiles(slide, settings)
        (streamed,) = tiles_of([SlideJob(path)], settings, batch_size=7)
        assert len(streamed) == len(grid.coords_n2) > 5
        for place in grid.coords_n2.tolist():
            alone = slide.read(place[0], place[1], 32, 32, grid.tile_size_level0_px / 32)
            assert np.array_equal(streamed[tuple(place)], alone)


def test_a_tile_larger_than_one_read_is_read_in_parts(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(stream, "MAX_READ_PX", 100)
    monkeypatch.setattr("guidestore.encoders.slides.reader.MAX_READ_PX", 100)
    path = write_tiff(tmp_path / "s.tiff", picture)
    settings = TilingSettings(4.0, 32, mask_mpp=4.0)  # 256 level pixels for each tile.
    (streamed,) = tiles_of([SlideJob(path)], settings)
    with Slide(path) as slide:
        for place, tile_hwc in streamed.items():
            assert np.array_equal(tile_hwc, slide.read(place[0], place[1], 32, 32, 8.0))


@pytest.fixture(scope="module")
def odd_pyramid(tmp_path_factory, picture):
    """A slide whose second level is no whole number of times smaller: 2.2."""
    path = tmp_path_factory.mktemp("odd") / "odd.tiff"
    small = np.asarray(picture[:: 1200 // 545, :: 1100 // 500][:545, :500])
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate((picture, small)):
            tiff.write(
                level,
                tile=(256, 256),
                photometric="rgb",
                compression="deflate",
                subfiletype=int(number > 0),
                metadata=None,
                resolution=(2e4, 2e4),
                resolutionunit="CENTIMETER",
            )
    return path


def test_a_tile_does_not_depend_on_which_neighbours_are_kept(odd_pyramid):
    job = SlideJob(odd_pyramid)
    with Slide(odd_pyramid) as slide:
        assert slide.level_downsamples[1] == pytest.approx(2.2, abs=0.01)
    (few,) = tiles_of([job], TilingSettings(1.2, 32, min_tissue_fraction=0.95))
    (many,) = tiles_of([job], TilingSettings(1.2, 32, min_tissue_fraction=0.1), batch_size=9)
    assert few.keys() < many.keys()
    for place, tile_hwc in few.items():
        assert np.array_equal(tile_hwc, many[place])


def test_readers_batches_and_company_change_nothing(tmp_path, picture, test_data, odd_pyramid):
    settings = TilingSettings(1.2, 48)
    jobs = [SlideJob(odd_pyramid), SlideJob(test_data / REAL), SlideJob(write_tiff(tmp_path / "s.tiff", picture), 0.6)]
    alone = [tiles_of([job], settings)[0] for job in jobs]
    for options in ({"readers": 1}, {"readers": 5, "prefetch_tiles": 1, "batch_size": 3}):
        for mine, other in zip(alone, tiles_of(jobs, settings, **options), strict=True):
            assert mine.keys() == other.keys()
            assert all(np.array_equal(mine[place], other[place]) for place in mine)


def test_batches_are_full_and_of_one_slide(cohort):
    jobs = [SlideJob(path, key=path.stem) for path in sorted((cohort / "Pathology").iterdir())]
    events = list(stream_slides(jobs, TilingSettings(1.0, 32), batch_size=10))
    order = [event.job.key for event in events]
    assert [key for i, key in enumerate(order) if order[i - 1 : i] != [key]] == [job.key for job in jobs]
    for event in events:
        assert isinstance(event, TileBatch)
        assert len(event.tiles_bhwc) == 10 or event.is_last
    for job in jobs:
        rows = np.concatenate([event.rows_b for event in events if isinstance(event, TileBatch) and event.job is job])
        assert sorted(rows) == list(range(len(rows)))
    assert readers_left() == []


def cut_short(tmp_path, picture):
    """A slide whose header and first level are whole, and whose last tiles are not there."""
    path = write_tiff(tmp_path / "cut.tiff", picture, levels=2)
    with tifffile.TiffFile(path) as tiff:
        offsets = tiff.pages[0].dataoffsets  # pyright: ignore[reportAttributeAccessIssue]
    with path.open("r+b") as file:
        file.seek(offsets[-1])
        file.write(b"\xff" * 4096)
    return path


def test_a_bad_slide_fails_alone(tmp_path, picture):
    good = write_tiff(tmp_path / "good.tiff", picture)
    white = write_tiff(tmp_path / "white.tiff", np.full_like(picture, 255))
    unscaled = write_tiff(tmp_path / "unscaled.tiff", picture, mpp=None)
    paths = [good, tmp_path / "none.tiff", cut_short(tmp_path, picture), white, unscaled, good]
    ends: list[Any] = [
        event
        for event in stream_slides([SlideJob(path) for path in paths], TilingSettings(0.5, 64), batch_size=4)
        if isinstance(event, SlideFailure) or event.is_last
    ]
    assert [event.job.path for event in ends] == paths
    assert [isinstance(event, SlideFailure) for event in ends] == [False, True, True, False, True, False]
    assert ends[3].tiles_bhwc.shape == (0, 64, 64, 3)
    for event, text in zip(
        (ends[1], ends[2], ends[4]), ("no slide file", "copy it again", "um per pixel"), strict=True
    ):
        assert text in str(event.error)
        assert "\n" not in str(event.error)


def test_no_more_tiles_are_read_ahead_than_allowed(tmp_path, picture):
    jobs = [SlideJob(write_tiff(tmp_path / "s.tiff", picture))] * 3
    events = stream_slides(jobs, TilingSettings(0.5, 256, min_tissue_fraction=0.1), batch_size=4, prefetch_tiles=8)
    batches: list[Any] = [next(events)]
    time.sleep(0.5)
    batches.append(next(events))
    # 4 yielded, and at most a batch and a block of 4 x 4 ahead of them.
    assert 8 <= batches[1].tiles_read <= 4 + 4 + 16
    batches += events
    assert sum(len(batch.tiles_bhwc) for batch in batches) == batches[-1].tiles_read > 24


def test_the_next_slide_is_opened_while_the_consumer_is_busy(tmp_path, picture):
    """So that what happens to its name meanwhile is no longer its concern."""
    paths = [write_tiff(tmp_path / f"{i}.tiff", picture) for i in range(4)]
    jobs = [SlideJob(path) for path in paths]
    events = stream_slides(jobs, TilingSettings(0.5, 64), readers=1, batch_size=16)
    next(events)
    time.sleep(1.0)
    for path in paths[1:]:
        path.unlink()
    unread = [event.job.path for event in events if isinstance(event, SlideFailure)]
    assert unread == paths[3:]  # the first had been read whole, so the second was next and the third ahead


def test_closing_early_stops_the_threads(tmp_path, picture):
    jobs = [SlideJob(write_tiff(tmp_path / "s.tiff", picture))] * 50
    events = stream_slides(jobs, TilingSettings(0.5, 32), batch_size=4, readers=3)
    next(events)
    assert readers_left()
    start = time.perf_counter()
    events.close()
    assert time.perf_counter() - start < 5
    assert readers_left() == []
    assert list(stream_slides([], TilingSettings())) == []


def test_whatever_one_slide_raises_is_said_of_it_and_the_others_go_on(tmp_path, picture, monkeypatch):
    def broken(slide, settings):
        if slide.path.name == "b.tiff":
            raise MemoryError("no memory")
        return lay_tiles(slide, settings)

    monkeypatch.setattr(stream, "lay_tiles", broken)
    jobs = [SlideJob(write_tiff(tmp_path / f"{name}.tiff", picture)) for name in "abc"]
    events = list(stream_slides(jobs, TilingSettings()))
    assert [isinstance(event, SlideFailure) for event in events if event.job is jobs[1]] == [True]
    (failure,) = (event for event in events if isinstance(event, SlideFailure))
    assert re.search(r"b.tiff cannot be read \(MemoryError: no memory\)", str(failure.error))
    assert {event.job for event in events if isinstance(event, TileBatch) and event.is_last} == {jobs[0], jobs[2]}


def test_a_defect_in_a_reader_reaches_the_consumer(tmp_path, picture, monkeypatch):
    def broken(*_):
        raise GuidestoreError("the disk is full")

    monkeypatch.setattr(stream, "lay_tiles", broken)
    with pytest.raises(GuidestoreError, match="the disk is full"):
        list(stream_slides([SlideJob(write_tiff(tmp_path / "s.tiff", picture))] * 3, TilingSettings()))
    assert readers_left() == []


def test_a_slide_coarser_than_asked_for_is_refused_where_it_stands(tmp_path, picture):
    jobs = [SlideJob(write_tiff(tmp_path / "s.tiff", picture), mpp) for mpp in (2.0, 0.5)]
    first, *_ = stream_slides(jobs, TilingSettings(0.5, 64))
    assert isinstance(first, SlideFailure)
    assert isinstance(first.error, InvalidInputError)


def image_of(path) -> ImageFile:
    data = path.read_bytes()
    return ImageFile("histology", path, (FileRef("", len(data), hashlib.sha256(data).hexdigest()),))


def test_a_slide_that_is_written_while_it_is_read_fails_whatever_was_yielded_before(tmp_path, picture):
    """The bytes stay the same, and so do size and mtime: only what the file system says of the change tells."""
    path = write_tiff(tmp_path / "s.tiff", picture)
    stat = path.stat()
    job = SlideJob(path, image=image_of(path))
    events = stream_slides([job], TilingSettings(0.5, 64), readers=2, batch_size=4, prefetch_tiles=1)
    first = next(events)
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    rest = list(events)
    assert isinstance(first, TileBatch)
    assert isinstance(rest[-1], SlideFailure)
    assert str(rest[-1].error).startswith(f"{path} changed since cohort add, while it was read")
    assert not any(event.is_last for event in (first, *rest[:-1]) if isinstance(event, TileBatch))
    (again,) = tiles_of([job], TilingSettings(0.5, 64))  # the bytes are those of the cohort
    assert again


def test_a_slide_whose_files_are_others_is_not_opened(tmp_path, picture):
    path = write_tiff(tmp_path / "s.tiff", picture)
    before = image_of(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    (event,) = stream_slides([SlideJob(path, image=before)], TilingSettings())
    assert isinstance(event, SlideFailure)
    assert f"its sha256 is {hashlib.sha256(data).hexdigest()[:12]}" in str(event.error)
