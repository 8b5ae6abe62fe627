"""What a writer is about to commit is no orphan, whatever a clock says; and what was swept wrongly comes back."""

from __future__ import annotations

import json
import multiprocessing
import os
import time

import pytest

from guidestore.embeddings import commit_log, gc, leases, trash
from guidestore.embeddings.errors import CorruptArtifactError, StorageError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.leases import Lease, leased
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.transaction import Transaction
from tests.embeddings.making import commit_codes, files_of, make_codes, mri_key


def age(root, path: str, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(root / path, (then, then))


def swept(root) -> list[str]:
    """What a sweep takes for which every file is old enough."""
    return [file.path for file in collect(EmbeddingStore.open(root), dry_run=False, older_than_h=-1).swept]


def test_a_sweep_leaves_what_is_staged_and_what_is_published(store, root, monkeypatch):
    real = store.log.append

    def sweep_first(**changes):
        assert swept(root) == []
        return real(**changes)

    monkeypatch.setattr(store.log, "append", sweep_first)
    codes = make_codes(["C1"], mri_key())
    with store.begin() as transaction:
        transaction.write_codes(codes, input_digests=[["x"]])
        assert swept(root) == []
    assert store.snapshot().codes(mri_key()).codes_nd.tobytes() == codes.codes_nd.tobytes()
    assert files_of(root, "leases") == {}
    assert fsck(store.storage).findings == ()


@pytest.mark.parametrize("second", [False, True])
def test_a_sweep_leaves_the_entries_of_a_large_commit(store, root, monkeypatch, second):
    real = LocalStorage.create
    firsts = [lambda: commit_codes(EmbeddingStore.open(root), make_codes(["C1"], mri_key(), seed=9))] * second

    def sweep_first(self, path, data):
        if path.startswith("commits/") and self is store.storage:
            assert swept(root) == []
            if firsts:
                firsts.pop()()
        return real(self, path, data)

    monkeypatch.setattr(LocalStorage, "create", sweep_first)
    monkeypatch.setattr(commit_log, "INLINE_ENTRIES", 1)
    commit_codes(store, make_codes(["C1", "C2", "C3"], mri_key()))
    assert store.snapshot().codes(mri_key()).case_ids == ("C1", "C2", "C3")
    assert {finding.problem for finding in fsck(store.storage).findings} == ({"orphan"} if second else set())


def test_what_an_aborted_writer_staged_needs_no_lease(store, root):
    transaction = store.begin().__enter__()
    transaction.write_codes(make_codes(["C1"], mri_key()), input_digests=[["x"]])
    assert len(files_of(root, "leases")) == 1
    transaction.__exit__(KeyError, KeyError(), None)
    assert files_of(root, "leases") == {}


def test_a_writer_that_fails_after_publishing_leaves_word(store, root, monkeypatch):
    def refuse(**changes):
        raise StorageError("the disk is full")

    monkeypatch.setattr(store.log, "append", refuse)
    with pytest.raises(StorageError, match="full"):
        commit_codes(store, make_codes(["C1"], mri_key()))
    (orphan,) = files_of(root, "objects")
    held = leased(store.storage)
    assert held.is_explained(orphan)
    assert not held.is_at_work(orphan)
    assert swept(root) == [orphan]


def test_a_writer_that_was_second_leaves_word(store, root, monkeypatch):
    real = store.log.append

    def second(**changes):
        commit_codes(EmbeddingStore.open(root), make_codes(["C1"], mri_key()))
        return real(**changes)

    monkeypatch.setattr(store.log, "append", second)
    commit_codes(store, make_codes(["C1"], mri_key(), seed=9))
    named = {file.path for entry in store.snapshot().entries() for file in entry.files}
    (orphan,) = files_of(root, "objects").keys() - named
    assert leased(store.storage).is_explained(orphan)
    assert swept(root) == [orphan]


def hold(root, path, held) -> None:
    Lease(LocalStorage(root)).cover([path])
    held.set()
    time.sleep(60)


def test_a_lease_ends_with_its_process_and_not_before(store, root):
    context = multiprocessing.get_context("fork")
    held = context.Event()
    writer = context.Process(target=hold, args=(root, "objects/rows/a", held))
    writer.start()
    assert held.wait(30)
    (lease,) = files_of(root, "leases")
    age(root, lease, 1000)  # a clock that jumped ahead
    assert leased(store.storage).is_at_work("objects/rows/a/b.parquet")
    assert not leased(store.storage).is_at_work("objects/rows/abc")
    writer.kill()
    writer.join()
    assert not leased(store.storage).is_at_work("objects/rows/a")
    assert not leased(store.storage).is_explained("objects/rows/a")
    age(root, lease, 0)
    assert leased(store.storage).is_explained("objects/rows/a")


@pytest.mark.parametrize(("hours", "lives"), [(23.9, True), (24.1, False)])
def test_of_another_machine_only_the_age_is_known(store, root, hours, lives):
    lease = Lease(store.storage)
    lease.cover(["objects/rows/a"])
    (path,) = files_of(root, "leases")
    record = json.loads((root / path).read_bytes())
    (root / path).write_text(json.dumps({**record, "host": "elsewhere"}))
    age(root, path, hours)
    held = leased(store.storage)
    assert held.is_at_work("objects/rows/a") == held.is_explained("objects/rows/a") == lives
    collect(store, dry_run=False)
    assert bool(files_of(root, "leases")) == lives


@pytest.mark.parametrize("damage", [b"", b"[1]", b'{"host": 1}', b"[" * 100_000])
def test_a_damaged_lease_covers_nothing_and_goes(store, root, damage):
    store.storage.note("leases/x.json", damage)
    assert leased(store.storage).at_work == frozenset()
    collect(store, dry_run=False)
    assert files_of(root, "leases") != {}
    age(root, "leases/x.json", 25)
    collect(store, dry_run=False)
    assert files_of(root, "leases") == {}


def test_a_lease_is_renewed_while_its_writer_works(store, root, monkeypatch):
    lease = Lease(store.storage)
    lease.cover(["objects/rows/a"])
    (path,) = files_of(root, "leases")
    age(root, path, 5)
    lease.renew()
    assert (root / path).stat().st_mtime < time.time() - 3600
    monkeypatch.setattr(leases, "_RENEWED_S", -1)
    lease.renew()
    assert (root / path).stat().st_mtime > time.time() - 3600


# A sweep that went wrong all the same: as if there were no leases -----------------------------------------------------


@pytest.fixture
def blind(monkeypatch):
    """Sweeps do not see leases."""
    nothing = leases.Leased(frozenset(), frozenset(), ())
    monkeypatch.setattr(leases, "leased", lambda storage: nothing)


def test_a_writer_brings_back_what_was_swept_before_its_commit(store, root, monkeypatch, blind):
    real = store.log.append

    def sweep_first(**changes):
        assert len(swept(root)) == 1
        return real(**changes)

    monkeypatch.setattr(store.log, "append", sweep_first)
    commit_codes(store, make_codes(["C1"], mri_key()))
    assert fsck(store.storage).findings == ()
    assert store.snapshot().codes(mri_key()).case_ids == ("C1",)


def test_a_writer_fails_aloud_where_nothing_can_be_brought_back(store, root, monkeypatch, blind):
    real = store.log.append

    def lose_first(**changes):
        swept(root)
        for path in files_of(root, "trash"):
            (root / path).unlink()
        return real(**changes)

    monkeypatch.setattr(store.log, "append", lose_first)
    with pytest.raises(CorruptArtifactError, match=r"commit 1 stands, but somebody deleted objects/codes/.*: run"):
        commit_codes(store, make_codes(["C1"], mri_key()))


def test_a_sweep_brings_back_what_was_committed_while_it_moved(store, root, monkeypatch, blind):
    """The writer confirms, then the sweep moves the file: it looks at the log again."""
    moved = []
    real = LocalStorage.move

    def commit_first(self, path, target):
        if not moved:
            moved.append(path)
            assert commit() == 1
        return real(self, path, target)

    transaction = store.begin()
    transaction.__enter__()
    transaction.write_codes(make_codes(["C1"], mri_key()), input_digests=[["x"]])
    published, commit = published_but_not_committed(transaction)
    monkeypatch.setattr(LocalStorage, "move", commit_first)
    sweep = collect(EmbeddingStore.open(root), dry_run=False, older_than_h=-1)
    assert moved == [published]
    assert sweep.restored == (published,)
    assert (root / published).exists()


def published_but_not_committed(transaction: Transaction):
    """Publishes; returns the path, and what commits."""
    staged, path, _ = transaction._staged[0]
    content = staged.read_bytes()
    transaction._storage.publish(staged, path)

    def commit() -> int:
        staged.parent.mkdir(exist_ok=True)
        staged.write_bytes(content)
        return transaction.commit().version

    return path, commit


def test_the_trash_is_emptied_after_a_day(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    orphan = "objects/rows/cases/left.parquet"
    (root / orphan).parent.mkdir(parents=True)
    (root / orphan).write_bytes(b"12345")
    age(root, orphan, 30)
    assert swept(root) == [orphan]
    (path,) = files_of(root, "trash")
    assert path.endswith(f"/{orphan}")
    age(root, path, trash.TRASH_AGE_H - 0.1)
    assert collect(store, dry_run=False).emptied == ()
    age(root, path, trash.TRASH_AGE_H + 0.1)
    assert [file.path for file in collect(store, dry_run=True).emptied] == [path]
    assert files_of(root, "trash") == {path: b"12345"}
    assert [file.path for file in collect(store, dry_run=False).emptied] == [path]
    assert list((root / "trash").iterdir()) == []


def test_a_sweep_that_was_killed_is_mended_by_the_next(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    (path,) = files_of(root, "objects")
    store.storage.move(path, f"{trash.new_folder()}/{path}")
    age(root, next(iter(files_of(root, "trash"))), 1000)
    sweep = collect(store, dry_run=False)
    assert (sweep.restored, sweep.emptied) == ((path,), ())
    assert fsck(store.storage).findings == ()


def test_only_the_clock_of_the_storage_tells_ages(store, root, monkeypatch):
    (root / "objects/rows/cases").mkdir(parents=True)
    (root / "objects/rows/cases/a.parquet").write_bytes(b"1")
    ahead = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: ahead)
    assert collect(store, dry_run=False).swept == ()
    monkeypatch.setattr(LocalStorage, "clock", lambda self, folder: ahead)  # as if a file's own time were ahead
    assert [file.path for file in collect(store, dry_run=False).swept] == ["objects/rows/cases/a.parquet"]
    assert gc.ORPHAN_AGE_H == 24


def test_a_bucket_has_leases_and_a_trash_too(bucket, monkeypatch):
    store = EmbeddingStore.create(bucket)
    real = store.log.append

    def sweep_first(**changes):
        assert collect(EmbeddingStore.open(bucket), dry_run=False, older_than_h=-1).swept == ()
        return real(**changes)

    monkeypatch.setattr(store.log, "append", sweep_first)
    commit_codes(store, make_codes(["C1"], mri_key()))
    assert list(store.storage.list("leases")) == []
    assert abs(store.storage.clock("objects") - time.time()) < 60
    assert abs(store.storage.clock("staging") - time.time()) < 60

    (file,) = (file for entry in store.snapshot().entries() for file in entry.files)
    assert store.storage.move(file.path, f"{trash.new_folder()}/{file.path}")
    assert not store.storage.move(file.path, "trash/x")
    store.storage.create("objects/rows/cases/left.parquet", b"x")
    sweep = collect(store, dry_run=False, older_than_h=-1)
    assert [swept.path for swept in sweep.swept] == ["objects/rows/cases/left.parquet"]
    assert sweep.restored == (file.path,)
    assert [kept.path.split("/", 2)[2] for kept in store.storage.list("trash")] == ["objects/rows/cases/left.parquet"]
    assert store.snapshot().codes(mri_key()).case_ids == ("C1",)
