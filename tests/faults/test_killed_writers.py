"""Writers killed with SIGKILL at random moments, and many writers at once: nothing reported is lost or half there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guidestore.embeddings.commit_log import read_record
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.store import EmbeddingStore
from tests.embeddings.making import bag_key, make_bag, mri_key, same_bag

ROOT = Path(__file__).parents[2]


def writer(root: Path, name: str, kind: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.writer", str(root), name, kind, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def reports(process: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """(version, case) of every commit that the writer saw done; a last line cut short does not count."""
    assert process.stdout is not None
    with process.stdout as stream:
        lines = stream.read().splitlines(keepends=True)
    process.wait()
    words = [line.split() for line in lines if line.endswith("\n")]
    return [(int(version), case) for version, case in words]


def check(root: Path, reported: list[tuple[int, str]]) -> EmbeddingStore:
    """The store opens, its log is one line, nothing dangles, and every reported commit stands whole."""
    store = EmbeddingStore.open(root)
    parent = ""
    for version in range(1, store.log.head + 1):
        commit = read_record(store.storage, version)
        assert commit.parent_sha256 == parent
        parent = commit.sha256
    report = fsck(store.storage)
    assert {finding.problem for finding in report.findings} <= {"orphan"}
    committed = {case: version for version, case in reported}
    by = {commit_case(store, version): version for version in range(1, store.log.head + 1)}
    assert committed.items() <= by.items()
    assert len({version for version, _ in reported}) == len(reported)
    return store


def commit_case(store: EmbeddingStore, version: int) -> str:
    return read_record(store.storage, version).message.split()[0]


@pytest.mark.parametrize("turns", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_writers_killed_at_random_moments_leave_a_whole_store(tmp_path, turns):
    root = tmp_path / "store"
    EmbeddingStore.create(root)
    moments = random.Random(7)
    reported: list[tuple[int, str]] = []
    store = EmbeddingStore.open(root)
    for turn in range(turns):
        writers = [writer(root, f"w{turn}-{n}", "all", 0) for n in range(2)]
        # Counted from the first commit: starting Python takes longer than the moments we are after.
        before = EmbeddingStore.open(root).log.head
        give_up = time.monotonic() + 60
        while not (root / f"commits/{before + 2:012d}.json").exists() and time.monotonic() < give_up:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.05, 0.4))
        for process in writers:
            process.send_signal(signal.SIGKILL)
        for process in writers:
            reported += reports(process)
            assert process.returncode == -signal.SIGKILL
        store = check(root, reported)
    assert len(reported) >= turns
    snapshot = store.snapshot()
    codes = snapshot.codes(mri_key())
    for version, case in reported:
        (bag,) = store.snapshot(version).bags(bag_key(), case)
        assert same_bag(bag, make_bag(1500, seed=int(case.rsplit("-", 1)[1])))
        assert case in codes.case_ids
        assert case in snapshot.rows("cases")["case_id"].to_pylist()

    sweep = collect(store, dry_run=False, older_than_h=-1)
    assert fsck(store.storage).findings == ()
    assert list(store.storage.list("staging")) == []
    assert not sweep.kept
    assert store.snapshot().codes(mri_key()).codes_nd.tobytes() == codes.codes_nd.tobytes()


@pytest.mark.parametrize(("processes", "commits"), [(4, 10), pytest.param(8, 25, marks=pytest.mark.slow)])
def test_processes_at_once_keep_all_of_their_commits(tmp_path, processes, commits):
    root = tmp_path / "store"
    EmbeddingStore.create(root)
    writers = [writer(root, f"w{n}", "rows", commits) for n in range(processes)]
    reported = [report for process in writers for report in reports(process)]
    assert [process.returncode for process in writers] == [0] * processes
    assert sorted(version for version, _ in reported) == list(range(1, processes * commits + 1))
    store = check(root, reported)
    assert store.log.head == processes * commits
    expected = {f"w{n}-{i}" for n in range(processes) for i in range(commits)}
    assert set(store.snapshot().rows("cases")["case_id"].to_pylist()) == expected
    assert fsck(store.storage).findings == ()
