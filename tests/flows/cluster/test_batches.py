"""How batches are sized and driven, with a cluster made of lists."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from guidestore.flows.cluster.batches import BATCH_SECONDS, PILOT_UNITS, Measured, Pace, Stopwatch, in_batches


class Pretended:
    """A cluster on which a unit takes so many seconds and a batch 0.1 s before the first."""

    def __init__(self, each: float, broken: Sequence[int] = ()) -> None:
        self.each, self.broken = each, set(broken)
        self.batches: list[list[int]] = []
        self.most_flying = 0

    def submit(self, batch: list[int]) -> int:
        self.batches.append(batch)
        return len(self.batches) - 1

    def wait(self, flying: Sequence[int]) -> list[int]:
        self.most_flying = max(self.most_flying, len(flying))
        return [flying[-1]]  # in any order

    def outcome(self, place: int) -> Measured[int] | None:
        batch = self.batches[place]
        return None if self.broken & set(batch) else Measured(sum(batch), len(batch) * self.each, 0.1)

    def run(self, units: int, *, workers: int = 2, most: int | None = None) -> tuple[list[int], list[int]]:
        """(units that were lost, results)."""
        results: list[int] = []
        lost = in_batches(
            list(range(units)), submit=self.submit, wait=self.wait, outcome=self.outcome, workers=lambda: workers,
            finished=lambda batch, result: results.append(result), most=most,
        )  # fmt: skip
        return lost, results


@pytest.mark.parametrize("each", [0.01, 0.5, 3.0, 60.0])
def test_batches_last_five_seconds_but_for_pilots_and_the_rest(each: float) -> None:
    cluster = Pretended(each)
    lost, results = cluster.run(20_000)
    assert (lost, sum(results)) == ([], sum(range(20_000)))
    lengths = [len(batch) for batch in cluster.batches]
    assert lengths[:2] == [PILOT_UNITS] * 2
    grown = [length for length in lengths[2:-1] if length > 16 * PILOT_UNITS or length * each >= BATCH_SECONDS]
    assert len(grown) >= len(lengths) - 6  # batches grow from the pilots' size in steps
    assert cluster.most_flying <= 4


def test_long_start_ups_make_longer_batches() -> None:
    pace = Pace()
    assert pace.size(1000, 2) == PILOT_UNITS
    pace.add(3, Measured(None, 3.0, start_up=10.0))
    assert pace.size(1000, 2) == 48  # 16 times the pilot; 40 s or more, 80 at most
    pace.add(48, Measured(None, 48.0, start_up=10.0))
    assert pace.size(1000, 2) == 80
    assert pace.size(100, 2) == 50
    assert pace.size(60, 2) == 40
    assert pace.size(7, 2) == 7


def test_what_was_lost_is_told_and_the_rest_done() -> None:
    cluster = Pretended(5.0, broken=[4])
    lost, results = cluster.run(10, most=1)
    assert (lost, sorted(results)) == ([4], [0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert max(len(batch) for batch in cluster.batches) == 1


def test_a_stopwatch_leaves_the_first_unit_out() -> None:
    watch = Stopwatch(started=100.0, ticks=[102.0, 109.0, 110.0, 111.0])  # the first imported for 6 s
    measured = watch.measured("done")
    assert (measured.seconds, measured.start_up) == (3.0, 8.0)
    assert Stopwatch(100.0, [102.0, 109.0]).measured("one").seconds == 7.0
    assert Stopwatch(100.0, [102.0]).measured("none").seconds == 0.0
