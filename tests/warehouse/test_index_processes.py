"""Real processes: readers during commits and swaps, two indexers at once, kill -9 at random moments."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import query
from guidestore.warehouse.indexer import build_index
from tests.warehouse.making import MRI, codes_of, commit_codes, commit_cohort

REPOSITORY = Path(__file__).parents[2]
READER = """
import sys, time
from pathlib import Path
from guidestore.warehouse.catalog import query
root, stop, seen = sys.argv[1], Path(sys.argv[2]), []
while True:
    last = stop.exists()
    result = query(root, "SELECT (SELECT count(*) FROM codes) AS n, (SELECT max(version) FROM snapshots) AS v, "
                         "(SELECT count(*) FROM labels) AS labels")
    (row,) = result.table.to_pylist()
    # Commit 1 is the cohort, and each later one adds one code.
    assert row["v"] == result.at == row["n"] + 1 and row["labels"] == 12, row
    seen.append(row["n"])
    if last:
        break
assert seen == sorted(seen), seen
print(len(seen), len(set(seen)), seen[-1])
"""
INDEXER = """
import sys, time
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.indexer import build_index
store = EmbeddingStore.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    build_index(store, rebuild=sys.argv[3] == "rebuild")
print("done", flush=True)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def cases(count: int) -> list[tuple[str, ...]]:
    return [(f"late_{number:03d}",) for number in range(count)]


def test_readers_see_whole_snapshots_while_a_writer_commits_and_indexes(
    store: EmbeddingStore, root: Path, tmp_path: Path
):
    commit_cohort(store)
    build_index(store)
    stop = tmp_path / "stop"
    readers = [start(READER, root, stop) for _ in range(2)]
    for number, case in enumerate(cases(6)):
        commit_codes(store, codes_of(MRI, number, case))
        build_index(store)
    stop.touch()
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        looks, _, last = map(int, out.split())
        assert looks >= 2
        assert last == 6


def test_two_indexers_at_once_both_work(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    indexers = [start(INDEXER, root, 4, mode) for mode in ("rebuild", "grow")]
    for process in indexers:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in indexers:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for number, case in enumerate(cases(5)):
        commit_codes(store, codes_of(MRI, number, case))
    for process in indexers:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "done\n"), err
    build_index(store)
    assert query(root, "SELECT count(*) AS n FROM codes").table["n"][0].as_py() == 5
    left = sorted(path.name for path in (root / "index").iterdir() if path.name.startswith(("building", "CURRENT.")))
    assert left == []


def test_kill_9_at_any_moment_leaves_a_usable_index(store: EmbeddingStore, root: Path):
    commit_cohort(store)
    build_index(store)
    rng = random.Random(0)
    killed_while_building = 0
    for number, case in enumerate(cases(4)):
        commit_codes(store, codes_of(MRI, number, case))
        process = start(INDEXER, root, 1000, "rebuild")
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(rng.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
        killed_while_building += process.returncode == -signal.SIGKILL
        result = query(root, "SELECT (SELECT count(*) FROM codes) AS codes, (SELECT count(*) FROM labels) AS labels")
        (row,) = result.table.to_pylist()
        assert row == {"codes": result.at - 1, "labels": 12}
        assert result.at + result.commits_behind == number + 2
    assert killed_while_building == 4
    assert build_index(store).version == 5
    assert query(root, "SELECT count(*) AS n FROM codes").table["n"][0].as_py() == 4
