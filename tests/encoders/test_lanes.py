"""Batches through encoders in threads: order, errors, and ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import Bag, EncoderSpec
from guidestore.encoders.lanes import in_lanes
from guidestore.encoders.registry import build_encoder
from guidestore.encoders.slides.encode import encode_slide, encode_slides
from guidestore.encoders.slides.stream import SlideJob
from guidestore.encoders.slides.tiling import TilingSettings

SETTINGS = TilingSettings(target_mpp=1.0, tile_size_px=64)


class Doubling:
    """codes = 2 * batch, after some time; a batch of 13 is refused."""

    spec = EncoderSpec("doubling", "1", "tiles", 1)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.seen = seconds, 0

    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        time.sleep(self.seconds)
        self.seen += 1
        if batch[0] == 13:
            raise InvalidInputError("thirteen")
        return 2 * batch


class Begun(Doubling):
    """The same, begun and fetched apart; `most` is how many batches were ever on their way."""

    under_way = most = 0

    def begin(self, batch: np.ndarray, /) -> Callable[[], np.ndarray]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)

        def codes() -> np.ndarray:
            self.under_way -= 1
            return self.encode(batch)

        return codes


def numbered(count: int) -> Iterator[tuple[int, np.ndarray | None]]:
    for i in range(count):
        yield i, None if i == 5 else np.array([i])


def lanes_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("encoder-")]


@pytest.mark.parametrize("kind", [Doubling, Begun])
@pytest.mark.parametrize("seconds", [(0.0,), (0.004, 0.0), (0.0, 0.002, 0.001)])
def test_codes_come_in_the_order_of_their_batches(kind, seconds):
    encoders = [kind(s) for s in seconds]
    coded = list(in_lanes(numbered(40), encoders, ahead=7))
    assert [companion for companion, _ in coded] == list(range(40))
    for i, codes in coded:
        if i == 5:
            assert codes is None
        elif i == 13:
            assert isinstance(codes, InvalidInputError)
        else:
            assert codes == [2 * i]
    assert sum(encoder.seen for encoder in encoders) == 39
    assert len(seconds) == 1 or all(encoder.seen for encoder in encoders)
    assert lanes_left() == []


def test_a_gpu_has_its_next_batch_before_the_last_is_fetched():
    encoder = Begun()
    list(in_lanes(numbered(5), [encoder]))
    assert encoder.most == 2


def test_no_more_batches_are_taken_than_may_wait():
    taken: list[int] = []

    def batches() -> Iterator[tuple[int, np.ndarray]]:
        for i in range(100):
            taken.append(i)
            yield i, np.array([i])

    coded = in_lanes(batches(), [Doubling()], ahead=4)
    next(coded)
    time.sleep(0.1)
    assert len(taken) == 5  # one given, four waiting
    coded.close()
    assert lanes_left() == []


def test_a_defect_of_the_source_reaches_the_consumer_after_what_was_whole():
    def batches() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, np.array([1])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_lanes(batches(), [Doubling(), Doubling()]))
    assert lanes_left() == []


def test_the_encoder_goes_on_while_a_bag_is_written():
    """How much that saves is measured by tests/benchmarks/feeding.py."""
    begun = [threading.Event() for _ in range(6)]

    class Telling(Doubling):
        def encode(self, batch: np.ndarray, /) -> np.ndarray:
            begun[int(batch[0])].set()
            return super().encode(batch)

    for number, _ in in_lanes(iter([(i, np.array([i])) for i in range(6)]), [Telling()]):
        assert begun[min(number + 1, 5)].wait(30), "the next batch waits for what is done with this one"


@pytest.mark.parametrize("others", [0, 2])
def test_readers_and_encoders_change_no_bit(cohort, others):
    encoder, *also = (build_encoder("texture", preprocessing=SETTINGS.as_dict()) for _ in range(1 + others))
    paths = sorted((cohort / "Pathology").iterdir())[:3]
    jobs = [SlideJob(path) for path in paths]
    bags = [bag for _, bag in encode_slides(jobs, encoder, SETTINGS, also=also, readers=4, batch_size=3)]
    for path, bag in zip(paths, bags, strict=True):
        assert isinstance(bag, Bag)
        assert np.array_equal(bag.features_nd, encode_slide(path, encoder, SETTINGS).features_nd)
