"""How large batches are: long enough to be worth a task, and enough of them for every worker.

Nothing here knows Ray: `in_batches` drives whatever `submit` and `wait` are.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

BATCH_SECONDS = 5.0
"""Of work in a task, or more: starting one and telling Prefect of it takes some 0.1 s."""
START_UPS = 4
"""A batch takes this many times what a worker needs before its first unit (to load weights, say)."""
PILOT_UNITS = 3
"""Of each worker's first batch, by which the others are sized. The first unit warms up and is not counted."""
GROWTH = 16
"""A batch is at most this many times the largest that was measured."""


@dataclass(frozen=True, slots=True)
class Measured[R]:
    """What came out of a batch, the seconds that its units took, and those before the first."""

    result: R
    seconds: float
    start_up: float = 0.0


@dataclass
class Stopwatch:
    """A `Progress` that measures: the work before the first unit, and each unit."""

    started: float = field(default_factory=time.monotonic)
    ticks: list[float] = field(default_factory=list)

    def __call__(self, what: str, done: int, total: int) -> None:
        self.ticks.append(time.monotonic())

    def measured[R](self, result: R) -> Measured[R]:
        """n units tick n + 1 times. Where there are two, the first is taken to be as long as the others."""
        ticks = self.ticks
        if len(ticks) < 2:
            return Measured(result, 0.0)
        units = len(ticks) - 1
        from_tick = min(1, units - 1)
        each = (ticks[-1] - ticks[from_tick]) / (units - from_tick)
        return Measured(result, each * units, max(0.0, ticks[-1] - self.started - each * units))


@dataclass
class Pace:
    """How long a unit takes, as far as batches told, and how many of them make a batch."""

    units: int = 0
    seconds: float = 0.0
    start_up: float = math.inf
    """The shortest: a worker's first one imports, too."""
    largest: int = 0

    def add(self, units: int, measured: Measured) -> None:
        if measured.seconds > 0:
            self.units += units
            self.seconds += measured.seconds
            self.start_up = min(self.start_up, measured.start_up)
            self.largest = max(self.largest, units)

    def size(self, remaining: int, workers: int) -> int:
        """Of the next batch: BATCH_SECONDS or more, twice that where there is work for all workers, in units."""
        fair = remaining / workers
        if not self.units:
            return math.ceil(min(fair, PILOT_UNITS))
        least = max(BATCH_SECONDS, START_UPS * self.start_up) / (self.seconds / self.units)
        return min(math.ceil(min(max(fair, least), 2 * least)), remaining, GROWTH * self.largest)


def in_batches[U, F: Hashable, R](
    units: Sequence[U],
    *,
    submit: Callable[[list[U]], F],
    wait: Callable[[Sequence[F]], Iterable[F]],
    outcome: Callable[[F], Measured[R] | None],
    workers: Callable[[], int],
    finished: Callable[[list[U], R], None],
    most: int | None = None,
) -> list[U]:
    """Submits the units in batches, and calls `finished` with each as it is done. The units that were lost.

    wait: those that are done of what was submitted. outcome: None where the batch was lost for good; what it raises
    ends the work. workers: how many batches can run at once at the moment. most: units of a batch.
    """
    waiting, lost = deque(units), []
    flying: dict[F, list[U]] = {}
    pace = Pace()
    while waiting or flying:
        at_once = workers()
        # One more for each worker lies ready, so that none waits for the driver.
        while waiting and len(flying) < (2 * at_once if pace.units else at_once):
            size = min(pace.size(len(waiting), at_once), most or len(waiting))
            batch = [waiting.popleft() for _ in range(size)]
            flying[submit(batch)] = batch
        for one in wait(list(flying)):
            batch = flying.pop(one)
            measured = outcome(one)
            if measured is None:
                lost += batch
            else:
                pace.add(len(batch), measured)
                finished(batch, measured.result)
    return lost
