"""Writers, readers, sweeps, gc, compact, purge and indexing together on one store, each in a process that stays.

A line of figures every minute, `fresh` the memory of a process that begins then; at the end whether every commit is
there with its values, what fsck says, and a verdict: how much memory and CPU per commit grew from the middle third of
the run to the last. Exit code 1 where something was lost, wrong or raised, or where either grew beyond the bars.
Run: python -m tests.benchmarks.soak [--minutes 30] [--rate 5] [--folder /dev/shm]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.purge import purge
from guidestore.embeddings.retrying import until_undisturbed
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag, CaseCodes, CodeSetKey, EncoderSpec
from tests.report_store import make_store

ROOT = Path(__file__).parents[2]
COHORT = "soak"
CODES = tuple(CodeSetKey.of(COHORT, modality, EncoderSpec("net", "1", "volumes", 64)) for modality in ("mri", "ct"))
BAGS = CodeSetKey.of(COHORT, "histology", EncoderSpec("tiles", "1", "tiles", 32))
BAG_EVERY = 20
"""Cases of a writer."""
WRITERS = ("writer 0", "writer 1")
MOST_TIME, MOST_MEMORY, MOST_FRESH = 1.5, 1.15, 2
"""From the middle third to the last. CPU per commit: at most x. Memory of a process: at most x, and so many times what
a process needs more that begins and reads the same."""
SWEEP = """
name: soak{number}
cohort: skin
targets: [DIAG]
inferior: clinical/made
superior: dermoscopy/made
guidance: [ridge]
decoder: [logistic]
permutations: 1
seeds: [{number}]
"""


def values_of(case: str) -> np.ndarray:
    """(64,) float32 that every process can tell from the case's name."""
    return np.random.default_rng(zlib.crc32(case.encode())).normal(size=64).astype(np.float32)


def bag_of(case: str) -> Bag:
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    return Bag(rng.normal(size=(200, 32)).astype(np.float16), np.zeros((200, 2), np.int32), 0.5, 256, 512, 20.0)


@dataclass(frozen=True)
class Place:
    """Where a soak runs: the store, and a file per process for what it did."""

    folder: Path
    end: float

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def note(self, name: str, line: str) -> None:
        with (self.folder / f"{name}.txt").open("a") as file:
            file.write(f"{line}\n")

    def notes(self, name: str) -> list[str]:
        file = self.folder / f"{name}.txt"
        return file.read_text().splitlines() if file.exists() else []

    def committed(self) -> list[str]:
        return [line.split()[0] for name in ("first", *WRITERS) for line in self.notes(name)]


def write(place: Place, name: str, rate: float) -> Callable[[], None]:
    """A case at a time: a code of each modality and its row; of some a bag and weights too."""
    store, number = EmbeddingStore.open(place.store), 0

    def once() -> None:
        nonlocal number
        case, start, cpu = f"{name.replace(' ', '')}-{number}", time.monotonic(), time.process_time()
        with store.begin(case) as transaction:
            for key in CODES:
                transaction.write_codes(CaseCodes((case,), values_of(case)[None], key=key), input_digests=[("x",)])
            transaction.write_rows("cases", [{"cohort": COHORT, "case_id": case}], cohort=COHORT)
            if number % BAG_EVERY == 0:
                transaction.write_bag(BAGS, case, case, bag_of(case), input_digests=["x"])
                transaction.write_weights("decoder", "mlp", config={}, tensors={"w": np.ones(64)}, recipe={case: 1})
        place.note(name, f"{case} {time.process_time() - cpu:.6f}")
        number += 1
        time.sleep(max(0.0, 1 / rate - (time.monotonic() - start)))

    return once


def read(place: Place, name: str) -> Callable[[], None]:
    """Opens the store, and compares codes and a bag with what was written."""
    rng = random.Random(0)

    def once() -> None:
        cpu = time.process_time()
        store = EmbeddingStore.open(place.store)
        store.log.table()
        place.note(f"{name} opened", f"{time.process_time() - cpu:.6f}")
        until_undisturbed(store, lambda: compare(store, place, rng))
        time.sleep(2)

    return once


def compare(store: EmbeddingStore, place: Place, rng: random.Random) -> None:
    """Raises AssertionError where newer cases, or a bag, are not as they were written."""
    gone_or_going = set(place.notes("withdrawn"))
    cases = [case for case in place.committed() if case not in gone_or_going]
    snapshot = store.snapshot()
    for key in CODES:
        check_codes(snapshot.codes(key), cases[-1000:], place)
    case = rng.choice([case for case in cases if int(case.partition("-")[2]) % BAG_EVERY == 0])
    for bag in snapshot.bags(BAGS, case):
        if bag.features_nd.tobytes() != bag_of(case).features_nd.tobytes():
            raise AssertionError(f"the bag of {case} reads wrong")


def check_codes(codes: CaseCodes, cases: list[str], place: Place) -> None:
    """Raises AssertionError where a case is not there, or not as it was written."""
    rows = {case: row for row, case in enumerate(codes.case_ids)}
    withdrawn = set(place.notes("withdrawn"))  # some since
    for case in cases:
        if case not in rows and case not in withdrawn:
            raise AssertionError(f"{case} is lost")
        if case in rows and codes.codes_nd[rows[case]].tobytes() != values_of(case).tobytes():
            raise AssertionError(f"{case} reads wrong")


def sweep(place: Place, name: str) -> Callable[[], None]:
    from guidestore.flows.sweeps.file import read_sweep
    from guidestore.flows.sweeps.run import run_sweep

    number = 0

    def once() -> None:
        nonlocal number
        number += 1
        file = place.folder / "sweep.yaml"
        file.write_text(SWEEP.format(number=number))
        report = run_sweep(EmbeddingStore.open(place.store), read_sweep(file), device="cpu")
        place.note(name, f"{report.trained} heads")
        time.sleep(5)

    return once


def index(place: Place, name: str) -> Callable[[], None]:
    from guidestore.warehouse.catalog import query_plain
    from guidestore.warehouse.indexer import build_index

    def once() -> None:
        before = len(place.committed())
        build_index(EmbeddingStore.open(place.store))
        asked = query_plain(place.store, f"SELECT count(DISTINCT case_id) FROM codes WHERE cohort = '{COHORT}'")
        (counted,) = asked.table.rows[0]
        if not before - len(place.notes("withdrawn")) <= counted <= len(place.committed()) + len(WRITERS):
            raise AssertionError(f"SQL counts {counted} cases of {before}")
        place.note(name, str(counted))
        time.sleep(8)

    return once


def sweep_up(place: Place, name: str) -> Callable[[], None]:
    """gc that takes whatever no writer holds for old."""

    def once() -> None:
        swept = collect(EmbeddingStore.open(place.store), dry_run=False, older_than_h=-1)
        place.note(name, f"{len(swept.swept)} files")
        time.sleep(7)

    return once


def merge(place: Place, name: str) -> Callable[[], None]:
    def once() -> None:
        time.sleep(11)
        store = EmbeddingStore.open(place.store)
        place.note(name, " ".join(str(compact(store, key)) for key in CODES))

    return once


def withdraw(place: Place, name: str) -> Callable[[], None]:
    rng = random.Random(1)

    def once() -> None:
        time.sleep(13)
        case = rng.choice(place.committed())
        if case not in place.notes("withdrawn"):
            place.note("withdrawn", case)
            purge(EmbeddingStore.open(place.store), COHORT, case)
            place.note(name, case)

    return once


def stay(begin: Callable[..., Callable[[], None]], place: Place, name: str, *given: float) -> None:
    """A process: does its work until the end; what it raises is an error of the soak."""
    once = begin(place, name, *given)
    while time.time() < place.end:
        try:
            once()
        except (GuidestoreError, AssertionError, OSError) as error:
            place.note("errors", f"{name}: {type(error).__name__}: {error}")
        except Exception:
            place.note("errors", f"{name}: {traceback.format_exc()!r}")
            time.sleep(1)


def fresh(root: str) -> None:
    """Prints what a process has that began just now, when it has read the log and the codes."""
    snapshot = EmbeddingStore.open(root).snapshot()
    kept = [snapshot.codes(key) for key in CODES], snapshot.log
    print(resident_mb(os.getpid()) if kept else 0)


def fresh_mb(root: Path) -> float:
    script = f"from tests.benchmarks.soak import fresh; fresh({str(root)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    return float(done.stdout) if done.stdout else fresh_mb(root)  # a purge took a file that it was about to read


def resident_mb(pid: int) -> float:
    """Of its own: files that it maps are the system's."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


@contextmanager
def processes(place: Place, rate: float) -> Iterator[dict[str, int]]:
    """Name -> process id of all that works on the store."""
    context = multiprocessing.get_context("spawn")
    work = dict.fromkeys(WRITERS, (write, rate))
    work |= {"reader": (read,), "sweep": (sweep,), "index": (index,)}
    work |= {"gc": (sweep_up,), "compact": (merge,), "purge": (withdraw,)}
    started = {
        name: context.Process(target=stay, args=(begin, place, name, *given)) for name, (begin, *given) in work.items()
    }
    for process in started.values():
        process.start()
    try:
        yield {name: process.pid for name, process in started.items() if process.pid}
        for process in started.values():
            process.join()
    finally:
        for process in started.values():
            process.kill()


@dataclass(frozen=True)
class Figures:
    """Of one minute."""

    seconds: float
    commits: int
    """In all."""
    cpu_ms: float
    """Per commit of a writer."""
    open_ms: float
    """CPU, with reading the log."""
    memory_mb: dict[str, float]

    def line(self, before: int, every: float, size: int, errors: int) -> str:
        memory = ", ".join(f"{name} {mb:.0f}" for name, mb in self.memory_mb.items())
        return (
            f"{self.seconds / 60:5.1f} min {self.commits:7,} commits {(self.commits - before) / every:6.1f}/s "
            f"{self.cpu_ms:6.2f} CPU ms each, open {self.open_ms:4.0f} ms, {size / 1e6:6.0f} MB, {errors} errors; "
            f"memory MB: {memory}"
        )


def size_of(folder: Path) -> int:
    """Bytes; files go while we look."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def since(place: Place, name: str, seen: dict[str, int]) -> list[float]:
    """The figures at the ends of the lines that a process noted since it was last asked."""
    lines = place.notes(name)
    new = lines[seen.get(name, 0) :]
    seen[name] = len(lines)
    return [float(line.split()[-1]) for line in new]


def watch(place: Place, pids: dict[str, int], every: float, start: float) -> list[Figures]:
    """A line of figures now and then until the end."""
    taken: list[Figures] = []
    seen: dict[str, int] = {}
    last = place.end - 5  # while all of them are there
    while time.time() < last:
        time.sleep(max(0.0, min(start + every * (len(taken) + 1), last) - time.time()))
        cpu = [seconds for name in WRITERS for seconds in since(place, name, seen)]
        opened = since(place, "reader opened", seen)
        taken.append(
            Figures(
                seconds=time.time() - start,
                commits=len(place.committed()),
                cpu_ms=statistics.fmean(cpu) * 1e3 if cpu else float("nan"),
                open_ms=statistics.median(opened) * 1e3 if opened else float("nan"),
                memory_mb={name: resident_mb(pid) for name, pid in pids.items()} | {"fresh": fresh_mb(place.store)},
            )
        )
        before = taken[-2].commits if len(taken) > 1 else 0
        print(taken[-1].line(before, every, size_of(place.store), len(place.notes("errors"))), flush=True)
    return taken


def verdict(taken: list[Figures]) -> tuple[str, bool]:
    """How the last third compares with the middle third, and whether that is within the bars."""
    third = len(taken) // 3
    middle, last = taken[third : 2 * third], taken[-third:]

    def of(part: list[Figures], figure: Callable[[Figures], float]) -> float:
        return statistics.median(figure(one) for one in part)

    slower = of(last, lambda one: one.cpu_ms) / of(middle, lambda one: one.cpu_ms)
    more = of(last, lambda one: one.commits) - of(middle, lambda one: one.commits)

    def memory(part: list[Figures], name: str) -> float:
        return of(part, lambda one: one.memory_mb[name])

    needed = max(memory(last, "fresh") - memory(middle, "fresh"), 0)
    grew, said = slower > MOST_TIME, []
    for name in taken[0].memory_mb:
        before, after = memory(middle, name), memory(last, name)
        said.append(f"{name} {after - before:+.1f} of {before:.0f}")
        grew |= after > before * MOST_MEMORY + MOST_FRESH * needed
    growth = f"CPU per commit x{slower:.2f}; memory MB: {', '.join(said)}"
    return f"verdict: from the middle third to the last, {more:,.0f} commits on: {growth}: {_word(grew)}", not grew


def _word(grew: bool) -> str:
    return "GREW" if grew else "no growth"


def soak(folder: Path, minutes: float, rate: float, every: float) -> bool:
    """Whether it held."""
    made = make_store(folder, targets=("DIAG",))
    start = time.time()
    place = Place(folder, start + minutes * 60)
    assert made == place.store
    write(place, "first", rate)()  # there is something to read, and to withdraw
    with processes(place, rate) as pids:
        taken = watch(place, pids, every, start)
    store = EmbeddingStore.open(place.store)
    errors = place.notes("errors")
    cases = [case for case in place.committed() if case not in place.notes("purge")]
    for key in CODES:
        codes = store.snapshot().codes(key)
        try:
            check_codes(codes, cases, place)
        except AssertionError as error:
            errors.append(str(error))
        errors += [f"{case} is back" for case in set(codes.case_ids) & set(place.notes("purge"))]
    found = [str(finding) for finding in fsck(store.storage).findings if finding.problem != "orphan"]
    did = {name: len(place.notes(name)) for name in ("sweep", "index", "gc", "compact", "purge", "reader opened")}
    print(f"{store.log.head:,} commits; {', '.join(f'{name} {times}' for name, times in did.items())} times")
    for line, times in Counter([*errors, *found]).most_common(20):
        print(f"ERROR {times} x {line[:1000]}")
    said, held = verdict(taken)
    print(f"{len(errors)} errors, {len(found)} findings of fsck; {said}")
    return held and not errors and not found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="30 tells of growth")
    parser.add_argument("--rate", type=float, default=5, help="commits a second of each writer, at most")
    parser.add_argument("--every", type=float, default=None, help="seconds between two lines of figures")
    parser.add_argument("--folder", type=Path, default=None, help="where the store is made, e.g. /dev/shm")
    given = parser.parse_args()
    every = given.every or min(60.0, given.minutes * 60 / 9)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        return 0 if soak(Path(folder), given.minutes, given.rate, every) else 1


if __name__ == "__main__":
    sys.exit(main())
