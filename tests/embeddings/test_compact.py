from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings import compact as compaction
from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import CommitConflictError, CorruptArtifactError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.store import EmbeddingStore
from tests.embeddings.making import bag_key, commit_bag, commit_codes, digests, make_bag, make_codes, mri_key, slide_key


@pytest.fixture
def small_files(store):
    """Five files of MRI codes, one of slide codes, two bags."""
    for i in range(5):
        commit_codes(store, make_codes([f"C{i}", f"D{i}"], mri_key(), seed=i))
    commit_codes(store, make_codes(["C0"], slide_key()))
    commit_bag(store, make_bag(3), "C1")
    commit_bag(store, make_bag(3), "C2")
    return store


def test_compaction_joins_files_and_changes_no_value(small_files):
    before = small_files.snapshot()
    assert compact(small_files, mri_key()) == 5
    after = small_files.snapshot()
    assert after.version == before.version + 1
    assert len({entry.path for entry in before.code_set_entries(mri_key())}) == 5
    assert len({entry.path for entry in after.code_set_entries(mri_key())}) == 1
    assert after.artifacts == before.artifacts
    assert after.codes(mri_key()).codes_nd.tobytes() == before.codes(mri_key()).codes_nd.tobytes()
    assert after.codes(mri_key()).case_ids == before.codes(mri_key()).case_ids
    assert [e.inputs for e in after.code_set_entries(mri_key())] == [
        e.inputs for e in before.code_set_entries(mri_key())
    ]
    assert fsck(small_files.storage).findings == ()


def test_nothing_to_compact_makes_no_commit(small_files):
    head = small_files.log.head
    assert compact(small_files, slide_key()) == 0
    assert compact(small_files, bag_key()) == 0
    compact(small_files, mri_key())
    assert compact(small_files, mri_key()) == 0
    assert small_files.log.head == head + 1


def test_adds_of_others_during_a_compaction_stay(small_files, monkeypatch):
    other = EmbeddingStore.open(small_files.storage.root)
    real = EmbeddingStore.begin

    def late(self, message="", **more):
        monkeypatch.undo()
        commit_codes(other, make_codes(["late"], mri_key()))
        return real(self, message, **more)

    monkeypatch.setattr(EmbeddingStore, "begin", late)
    assert compact(small_files, mri_key()) == 5
    assert "late" in small_files.snapshot().codes(mri_key()).case_ids
    assert len(small_files.snapshot().codes(mri_key())) == 11


def test_two_compactions_at_once_conflict_and_the_first_stands(small_files):
    other = EmbeddingStore.open(small_files.storage.root)
    slow = other.begin()
    slow.__enter__()
    snapshot = other.snapshot()
    entries = snapshot.code_set_entries(mri_key())
    for entry in entries:
        slow.replace(entry)
    slow.write_codes(snapshot.codes(mri_key()), input_digests=[entry.inputs for entry in entries])
    assert compact(small_files, mri_key()) == 5
    head = small_files.log.head
    with pytest.raises(CommitConflictError, match="another process changed it"):
        slow.__exit__(None, None, None)
    assert small_files.log.refresh() == head
    assert fsck(small_files.storage).clean
    assert len(small_files.snapshot().codes(mri_key())) == 10


def test_a_damaged_file_is_not_compacted(small_files):
    entry = small_files.snapshot().code_set_entries(mri_key())[0]
    path = small_files.storage.root / entry.path
    path.write_bytes(path.read_bytes()[:-1])
    head = small_files.log.head
    with pytest.raises(CorruptArtifactError, match=entry.path):
        compaction.compact(small_files, mri_key())
    assert small_files.log.refresh() == head


def test_columns_of_a_later_guidestore_are_kept(store):
    key = mri_key()
    for cases, others in ((["C3", "C1"], None), (["C2", "C0"], pa.table({"quality": [0.5, None], "site": ["x", "y"]}))):
        codes = make_codes(cases, key)
        with store.begin() as transaction:
            transaction.write_codes(codes, input_digests=digests(codes), others=others)
    assert compact(store, key) == 2
    (path,) = {entry.path for entry in store.snapshot().code_set_entries(key)}
    rows = pq.read_table(store.storage.root / path).select(["case_id", "quality", "site"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("C0", None, "y"),
        ("C1", None, None),
        ("C2", 0.5, "x"),
        ("C3", None, None),
    ]
