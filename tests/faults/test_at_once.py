"""Purges, a compaction, sweeps and writers at once, some of them killed: nothing is lost, nothing withdrawn is back."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.purge import purge
from guidestore.embeddings.store import EmbeddingStore
from tests.embeddings.making import commit_bag, commit_codes, make_bag, make_codes, mri_key, slide_key
from tests.faults.test_killed_writers import check, reports, writer

ROOT = Path(__file__).parents[2]
CASES = [f"C{i}" for i in range(12)]


@contextmanager
def changers(root: Path, go: Path, *actions: tuple[str, ...]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that stand ready to begin at once."""
    command = [sys.executable, "-m", "tests.faults.changer", str(root), str(go)]
    with ExitStack() as stack:
        started = []
        for action in actions:
            process = subprocess.Popen([*command, *action], stdout=subprocess.PIPE, text=True, cwd=ROOT)
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """Two code sets in many small files that share cases, and a bag."""
    root = tmp_path_factory.mktemp("at-once") / "store"
    store = EmbeddingStore.create(root)
    for i in range(len(CASES) - 1):
        for key in (mri_key(), slide_key()):
            commit_codes(store, make_codes(CASES[i : i + 1], key, seed=i))
    commit_bag(store, make_bag(20), CASES[0])
    return root


def left_of(store: EmbeddingStore, *cases: str) -> list[str]:
    snapshot = store.snapshot()
    held = {case for key in (mri_key(), slide_key()) for case in snapshot.codes(key).case_ids}
    return sorted(held & set(cases))


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 30))])
def test_two_purges_and_a_compaction_at_once_one_killed_or_none(pristine, tmp_path, seed):
    root = Path(shutil.copytree(pristine, tmp_path / "store"))
    go = tmp_path / "go"
    moments = random.Random(seed)
    with changers(root, go, ("purge", "C0"), ("compact",), ("purge", "C1")) as started:
        go.touch()
        if killed := moments.choice(started) if seed > 1 else None:
            time.sleep(moments.uniform(0.01, 0.5))
            killed.send_signal(signal.SIGKILL)
        said = {process: process.communicate(timeout=120)[0] for process in started}
        for process in started:
            assert process is killed or (process.returncode, said[process]) == (0, "")
    problems = {finding.problem for finding in fsck(EmbeddingStore.open(root).storage).findings}
    assert problems <= {"orphan", *(["unfinished purge"] if killed else [])}

    store = EmbeddingStore.open(root)
    for case in ("C0", "C1"):
        purge(store, "glioma", case)
    for key in store.snapshot().code_sets:
        compact(store, key)
    collect(store, dry_run=False, older_than_h=-1)
    assert fsck(store.storage).findings == ()
    assert left_of(store, *CASES) == sorted(CASES[2:-1])
    assert len(store.snapshot().codes(mri_key()).case_ids) == len(CASES) - 3
    with pytest.raises(NotFoundInStoreError):
        purge(store, "glioma", "C99")


def test_sweeps_that_take_everything_for_old_take_nothing_of_writers_at_work(tmp_path):
    root = tmp_path / "store"
    EmbeddingStore.create(root)
    go = tmp_path / "go"
    go.touch()
    with changers(root, go, ("gc",), ("gc",)) as sweeps:
        writers = [writer(root, f"w{n}", "all", 6) for n in range(2)]
        reported = [report for process in writers for report in reports(process)]
        assert [process.poll() for process in sweeps] == [None, None]
    assert [process.returncode for process in writers] == [0, 0]
    assert len(reported) == 12
    store = check(root, reported)
    collect(store, dry_run=False, older_than_h=-1)
    assert fsck(store.storage).findings == ()
    assert len(store.snapshot().codes(mri_key()).case_ids) == 12 + 6
