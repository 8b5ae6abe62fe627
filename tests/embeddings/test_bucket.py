"""What a bucket does beyond the contract that `test_storage.py` has for disks and buckets alike."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest

from guidestore.embeddings.bucket import BucketStorage
from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import CorruptArtifactError, NotFoundInStoreError, StorageError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.opening import storage_at
from guidestore.embeddings.purge import purge
from guidestore.embeddings.store import EmbeddingStore
from tests.embeddings.making import (
    bag_key,
    commit_codes,
    full_store,
    make_bag,
    make_codes,
    mri_key,
    same_bag,
    slide_key,
)
from tests.faults.s3_proxy import FaultyProxy


@pytest.fixture
def storage(bucket) -> BucketStorage:
    storage = storage_at(bucket)
    assert isinstance(storage, BucketStorage)
    return storage


@pytest.mark.parametrize("data", ["each its own", "the same"])
def test_of_many_that_create_at_once_one_wins(storage, data):
    start = threading.Barrier(8)

    def create(n: int) -> bool:
        start.wait()
        return storage.create("commits/1.json", data.encode() if data == "the same" else b"%d" % n)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert storage.read("commits/1.json") == (b"the same" if data == "the same" else b"%d" % won.index(True))


def test_more_files_than_one_page_lists(storage):
    names = {f"objects/rows/cases/{n:04d}" for n in range(1001)}
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda name: storage.create(name, b"x"), sorted(names)))
    assert {file.path for file in storage.list("objects")} == names
    assert abs(next(storage.list("objects")).modified_at - time.time()) < 600
    assert list(storage.list("objects/row")) == []  # a folder, not the beginning of a name


def test_a_large_file_goes_in_parts_and_comes_back_whole(storage):
    staged = storage.staging() / "large"
    data = os.urandom(20_000_003)
    staged.write_bytes(data)
    storage.publish(staged, "objects/weights/large")
    assert storage.read("objects/weights/large") == data
    assert storage.read("objects/weights/large", 19_000_000, 19_000_100) == data[19_000_000:19_000_100]
    tag = obstore.head(storage._store, "objects/weights/large")["e_tag"]
    assert tag is not None
    assert tag.endswith('-3"')  # three parts
    assert not staged.exists()


def test_names_keep_their_signs(storage):
    name = "objects/codes/mri_t1/A-1_b.c+d=e/01.parquet"
    storage.create(name, b"1")
    assert [file.path for file in storage.list("objects")] == [name]


def test_a_store_in_a_bucket_does_all_that_one_on_a_disk_does(bucket):
    store = full_store(bucket)
    assert store.snapshot("paper").version == store.tags()["paper"]
    assert store.find_run("champion").artifact == "f" * 64
    cases = ["case-1", "case-2", "case-3"]
    bags = [store.snapshot().bags(bag_key(), case)[0] for case in cases]
    assert all(same_bag(bag, make_bag(1030, seed=i)) for i, bag in enumerate(bags))
    commit_codes(store, make_codes(["case-4", "case-5"], mri_key(), seed=3))
    before = store.snapshot().codes(mri_key())
    assert compact(store, mri_key()) == 2
    after = store.snapshot().codes(mri_key())
    assert after.codes_nd.tobytes() == before.codes_nd.tobytes()
    assert fsck(store.storage).findings == ()

    with pytest.raises(NotFoundInStoreError):
        purge(store, "glioma", "case-9")
    report = purge(store, "glioma", "case-1")
    assert report.deleted
    assert not store.storage.keeps_versions()
    again = EmbeddingStore.open(bucket)
    assert "case-1" not in again.snapshot().codes(slide_key()).case_ids
    assert fsck(again.storage).findings == ()

    store.storage.create("objects/rows/cases/left-behind.parquet", b"x")
    (store.storage.staging() / "left").write_bytes(b"x")
    kept = collect(store, dry_run=False)
    assert [file.path for file in kept.kept if file.path.startswith("objects")] == [
        "objects/rows/cases/left-behind.parquet"
    ]
    assert len([file for file in kept.kept if file.path.startswith("staging/")]) == 1
    assert len(collect(store, dry_run=False, older_than_h=-1).swept) == 2
    assert list(store.storage.list("staging")) == []
    assert fsck(store.storage).findings == ()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_after_a_fork_it_says_so_instead_of_waiting_for_ever(storage):
    storage.create("a", b"x")
    child = os.fork()
    if not child:
        try:
            storage.read("a")
        except StorageError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_damage_in_a_bucket_is_found(bucket):
    store = full_store(bucket)
    (entry,) = store.snapshot().entries(kind="weights")
    assert isinstance(store.storage, BucketStorage)
    obstore.put(store.storage._store, entry.path, b"x" * entry.files[0].size)
    with pytest.raises(CorruptArtifactError, match="is damaged"):
        store.snapshot().weights(entry.artifact)
    assert [finding.problem for finding in fsck(store.storage).findings] == ["damaged"]


def test_opening_reads_the_checkpoint_and_asks_for_the_rest_at_once(bucket, s3_server, monkeypatch):
    store = EmbeddingStore.create(bucket)
    for n in range(30):
        if n == 10:
            store.log.checkpoint()
        store.move_alias(f"a{n}")
    with FaultyProxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        opened = EmbeddingStore.open(bucket)
        assert opened.log.head == 30
        # format.json; two lists, the checkpoint and its commit; then the head with 16 and 32 commits, and 20 read.
        assert proxy.counts == {"HEAD": 1 + 17 + 33, "GET": 1 + 4 + 20}
        opened.log.refresh()
        assert proxy.counts["HEAD"] == 1 + 17 + 33 + 3


def test_a_server_that_ignores_the_condition_is_refused(bucket, s3_server, monkeypatch):
    with FaultyProxy(s3_server, drop_header="if-none-match") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        with pytest.raises(StorageError, match="ignores If-None-Match, so two writers would overwrite"):
            EmbeddingStore.create(bucket)


def test_a_bucket_that_is_not_there_is_said(bucket):
    for action in (EmbeddingStore.create, EmbeddingStore.open):
        with pytest.raises(StorageError, match=r"in s3://nobody-has-it/a: there is no bucket nobody-has-it: make it"):
            action("s3://nobody-has-it/a")


def test_no_store_is_said_with_the_url(bucket):
    with pytest.raises(NotFoundInStoreError, match=rf"there is no guidestore at {bucket}: name one"):
        EmbeddingStore.open(bucket)


def test_a_server_that_is_not_there_is_said_in_a_sentence(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GUIDESTORE_S3_PATIENCE_S", "0")
    with pytest.raises(StorageError) as caught:
        EmbeddingStore.create(bucket)
    assert "http://127.0.0.1:9 cannot be reached, or stops answering: check the network" in str(caught.value)
    assert "\n" not in str(caught.value)
