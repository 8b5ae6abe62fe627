"""Disks that are full, read-only or limited: one clear sentence, nothing half committed, and it goes on afterwards."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from guidestore.embeddings.errors import StorageError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from tests.embeddings.making import bag_key, files_of, make_bag, mri_key, same_bag

REPOSITORY = Path(__file__).parents[2]
DISK_BYTES = 3_000_000


def mounted(folder: Path, *options: str) -> bool:
    return subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs"):
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_bag(transaction):
    transaction.write_bag(bag_key(512), "C2", "C2", make_bag(2000, 512, seed=2), input_digests=["x"])


def write_codes(transaction):
    codes_nd = np.random.default_rng(2).normal(size=(400, 1024)).astype(np.float32)
    codes = CaseCodes(tuple(f"C{i}" for i in range(400)), codes_nd, (), mri_key(dim=1024))
    transaction.write_codes(codes, input_digests=[["x"]] * 400)


def write_rows(transaction):
    notes = [{"cohort": "glioma", "note": np.random.default_rng(i).bytes(60).hex()} for i in range(20_000)]
    transaction.write_rows("cohorts", notes, cohort="glioma")


def write_weights(transaction):
    tensors = {"w": np.random.default_rng(2).normal(size=200_000)}
    transaction.write_weights("decoder", "mlp", config={}, tensors=tensors, recipe={})


WRITES = [write_bag, write_codes, write_rows, write_weights]


def write(store: EmbeddingStore, what) -> None:
    with store.begin() as transaction:
        what(transaction)


def fill(folder: Path, spare: int = 0) -> Path:
    """A file that takes all of the disk but `spare` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
        file.truncate(max(file.tell() - spare, 0))
    return ballast


@pytest.mark.parametrize("what", WRITES)
def test_a_full_disk_is_said_in_one_sentence_and_nothing_is_half_committed(small_disk, what):
    store = EmbeddingStore.create(small_disk / "store")
    first = make_bag(100, seed=1)
    with store.begin() as transaction:
        transaction.write_bag(bag_key(), "C1", "C1", first, input_digests=["x"])
    committed = files_of(small_disk / "store")
    ballast = fill(small_disk, spare=300_000)
    with pytest.raises(StorageError) as caught:
        write(store, what)
    assert "the disk is full: free space and run again, what was committed is safe" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_of(small_disk / "store") == committed
    assert EmbeddingStore.open(small_disk / "store").snapshot().version == 1
    assert fsck(store.storage).findings == ()
    assert same_bag(store.snapshot().bags(bag_key(), "C1")[0], first)
    ballast.unlink()
    write(store, what)
    assert store.snapshot().version == 2
    assert fsck(store.storage).findings == ()


def test_a_disk_that_fills_up_before_the_commit_record_leaves_only_orphans(small_disk):
    store = EmbeddingStore.create(small_disk / "store")
    transaction = store.begin()
    transaction.__enter__()
    write_bag(transaction)
    ballast = fill(small_disk)
    with pytest.raises(StorageError, match="the disk is full"):
        transaction.__exit__(None, None, None)
    assert EmbeddingStore.open(small_disk / "store").log.head == 0
    report = fsck(store.storage)
    assert {finding.problem for finding in report.findings} <= {"orphan"}
    ballast.unlink()
    collect(store, dry_run=False, older_than_h=-1)
    write(store, write_bag)
    assert store.snapshot().version == 1
    assert fsck(store.storage).findings == ()
    assert same_bag(store.snapshot().bags(bag_key(512), "C2")[0], make_bag(2000, 512, seed=2))


def test_a_read_only_store_can_be_read_and_says_why_it_cannot_be_written(tmp_path):
    store = EmbeddingStore.create(tmp_path / "store")
    first = make_bag(100, seed=1)
    with store.begin() as transaction:
        transaction.write_bag(bag_key(), "C1", "C1", first, input_digests=["x"])
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    if not mounted(frozen, "--bind", str(tmp_path / "store")):
        pytest.skip("a read-only mount needs root")
    try:
        assert mounted(frozen, "-o", "remount,ro,bind")
        store = EmbeddingStore.open(frozen)
        assert same_bag(store.snapshot().bags(bag_key(), "C1")[0], first)
        assert fsck(store.storage).findings == ()
        before = files_of(frozen)
        attempts = [lambda what=what: write(store, what) for what in WRITES]
        attempts += [lambda: store.tag("paper"), lambda: store.move_alias("champion")]
        for attempt in attempts:
            with pytest.raises(StorageError, match="the disk is read-only: choose another store folder"):
                attempt()
        assert files_of(frozen) == before
    finally:
        subprocess.run(["umount", "--lazy", str(frozen)], check=True)


@pytest.mark.parametrize("what", [what.__name__ for what in WRITES])
def test_a_limit_on_file_sizes_is_a_clear_error_too(tmp_path, what):
    root = tmp_path / "store"
    EmbeddingStore.create(root)
    before = files_of(root)
    script = f"""
        import sys
        from guidestore.embeddings.errors import StorageError
        from guidestore.embeddings.store import EmbeddingStore
        from tests.faults import test_refusing_disks as disks
        try:
            disks.write(EmbeddingStore.open({str(root)!r}), disks.{what})
        except StorageError as error:
            print(error)
            sys.exit(error.exit_code)
    """
    limited = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert limited.returncode == StorageError.exit_code, limited.stderr
    assert "File too large: check the disk and run again" in limited.stdout
    assert files_of(root) == before
    store = EmbeddingStore.open(root)
    write(store, globals()[what])
    assert store.snapshot().version == 1
