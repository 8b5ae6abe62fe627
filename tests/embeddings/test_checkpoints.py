from __future__ import annotations

import hashlib

import pyarrow.parquet as pq
import pytest

from guidestore.embeddings import checkpoints
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.log_table import LOG_SCHEMA
from guidestore.embeddings.storage import LocalStorage
from tests.embeddings.making import commit_bag, commit_codes, flips, full_store, make_bag, make_codes, mri_key


class InMemory(LocalStorage):
    """A disk on which every file holds these bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        return self.data


@pytest.fixture
def checkpoint(store, root):
    commit_codes(store, make_codes(["C1", "C2"], mri_key()))
    commit_bag(store, make_bag(3))
    store.log.checkpoint()
    return root / checkpoints.path_of(2)


def test_a_checkpoint_is_the_folded_log(store, checkpoint):
    assert checkpoint.exists()
    table = checkpoints.read(store.storage, 2)
    assert table.schema == LOG_SCHEMA
    assert table.equals(store.log.table())
    assert table["kind"].to_pylist() == ["commit", "codes", "codes", "commit", "bag"]


def test_every_byte_flip_of_a_checkpoint_is_caught(checkpoint):
    whole = checkpoint.read_bytes()
    # One bit of every byte, all bit places in turn; every bit around the seal.
    seal = whole.rindex(b"guidestore.sha256") * 8
    bits = {byte * 8 + byte % 8 for byte in range(len(whole))} | set(range(seal, seal + 90 * 8))
    for _, damaged in flips(whole, sorted(bits)):
        with pytest.raises(CorruptArtifactError, match="is damaged: its digest does not match; delete it"):
            checkpoints.read(InMemory(damaged), 2)
    assert checkpoints.read(InMemory(whole), 2).num_rows == 5


def test_truncated_and_empty_checkpoints_are_caught(store, checkpoint):
    whole = checkpoint.read_bytes()
    for data in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"\0", b"PAR1"):
        checkpoint.write_bytes(data)
        with pytest.raises(CorruptArtifactError, match="is damaged"):
            checkpoints.read(store.storage, 2)


def test_the_seal_is_the_digest_of_the_file_with_zeros_in_its_place(checkpoint):
    whole = checkpoint.read_bytes()
    seal = pq.read_metadata(checkpoint).metadata[b"guidestore.sha256"]
    assert len(seal) == 64
    start = whole.rindex(seal)
    assert whole[start - 2 : start] == b"\x18\x40"
    assert hashlib.sha256(whole[:start] + b"0" * 64 + whole[start + 64 :]).hexdigest().encode() == seal


def test_a_name_that_looks_like_a_seal_does_not_hide_damage(store, root):
    fake = "guidestore.sha256:" + "a" * 64
    codes = make_codes(["C1"], mri_key())
    with store.begin(fake) as transaction:
        transaction.write_codes(codes, input_digests=[[fake]])
    store.log.checkpoint()
    assert checkpoints.read(store.storage, 1).equals(store.log.table())


def test_the_second_writer_of_a_checkpoint_changes_nothing(store, checkpoint):
    before = checkpoint.read_bytes()
    checkpoints.write(store.storage, 2, store.log.table().slice(0, 1))
    assert checkpoint.read_bytes() == before


def test_versions_are_listed_newest_first_and_strays_left_out(store, checkpoint):
    for name in ("000000000100.parquet", "notes.txt", "12.parquet", "000000000100.parquet.tmp"):
        (checkpoint.parent / name).write_bytes(b"x")
    assert checkpoints.versions(store.storage) == [100, 2]


def test_every_kind_of_row_round_trips(tmp_path):
    store = full_store(tmp_path / "store")
    version = store.log.head
    table = checkpoints.read(store.storage, version)
    assert set(table["kind"].to_pylist()) == {
        *("commit", "alias", "bag", "codes", "run", "weights"),
        *("rows:targets", "rows:labels", "rows:splits"),
    }
    assert table.equals(store.log.table())
