"""A log whose newest commits are gone reads like an older one: what was made of them tells of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from guidestore.embeddings import checkpoints, commit_log, heads
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.records import sealed_json
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import query_plain
from guidestore.warehouse.indexer import build_index
from tests.embeddings.making import commit_codes, make_codes, mri_key


def grown(root: Path | str, commits: int = 22) -> EmbeddingStore:
    store = EmbeddingStore.create(root)
    for i in range(commits):
        store.move_alias(f"a{i}")
    return store


def lose(root: Path, *versions: int) -> None:
    for version in versions:
        (root / commit_log.path_of(version)).unlink()


def bereft(root: Path, kept: str = "") -> None:
    """Takes away all that tells of commits but what is kept."""
    for folder in {"heads", "checkpoints", "index"} - {kept}:
        shutil.rmtree(root / folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("lost") / "store"
    store = grown(root)
    store.log.checkpoint()
    build_index(store)
    return root


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "store"))


@pytest.mark.parametrize("lost", [1, 10])
@pytest.mark.parametrize("witness", ["heads", "checkpoints", "index"])
def test_one_witness_is_enough(root, witness, lost):
    bereft(root, witness)
    assert EmbeddingStore.open(root).log.head == 22
    lose(root, *range(23 - lost, 23))
    with pytest.raises(CorruptArtifactError, match=rf"the log has lost its end: \S*{witness}\S* tells of commit 22"):
        EmbeddingStore.open(root)


def test_sql_and_the_index_say_so_too(root):
    bereft(root, "index")
    store = EmbeddingStore.open(root)
    lose(root, *range(13, 23))
    for action in (lambda: query_plain(root, "FROM commits"), lambda: build_index(store)):
        with pytest.raises(CorruptArtifactError, match="the log has lost its end"):
            action()


def test_a_last_commit_that_was_forged_with_a_right_seal_is_not_taken(root):
    path = commit_log.path_of(22)
    storage = EmbeddingStore.open(root).storage
    body = commit_log.read_record(storage, 22).body()
    (root / path).write_bytes(sealed_json({**body, "message": "forged"}))
    shutil.rmtree(root / "checkpoints")
    with pytest.raises(CorruptArtifactError, match=rf"{path} is not the commit that heads/000000000022-.* tells of"):
        EmbeddingStore.open(root)


def test_a_writer_at_work_notices_the_loss(root):
    store = EmbeddingStore.open(root)
    bereft(root)
    lose(root, *range(13, 23))
    with pytest.raises(CorruptArtifactError, match="the log has lost its end: this process tells of commit 22"):
        commit_codes(store, make_codes(["C1"], mri_key()))
    assert not (root / commit_log.path_of(23)).exists()


@pytest.mark.parametrize("gone", [1, 10, 21])
@pytest.mark.parametrize("when", ["before opening", "while at work"])
def test_nobody_writes_to_a_log_with_a_hole(root, gone, when):
    store = EmbeddingStore.open(root)
    store.move_alias("before")
    lose(root, gone)
    if when == "before opening":
        store = EmbeddingStore.open(root)  # the checkpoint has all that it said
    with pytest.raises(CorruptArtifactError, match=rf"0{gone}\.json is missing though later commits exist; restore"):
        commit_codes(store, make_codes(["C1"], mri_key()))
    assert not (root / commit_log.path_of(24)).exists()


def test_nobody_writes_before_a_hole_either(root):
    shutil.copy(root / commit_log.path_of(22), root / commit_log.path_of(90))
    with pytest.raises(CorruptArtifactError, match=r"000000000023\.json is missing though later commits exist"):
        EmbeddingStore.open(root).move_alias("x")


def test_a_long_log_is_listed_again_only_as_it_grows(root, monkeypatch):
    store = EmbeddingStore.open(root)
    listed = []
    real = type(store.storage).list
    monkeypatch.setattr(type(store.storage), "list", lambda self, of: listed.append(of) or real(self, of))
    monkeypatch.setattr(commit_log, "_LISTED_PER_COMMIT", 5)
    for i in range(9):
        store.move_alias(f"b{i}")
    assert listed.count("commits") == 2  # at 22, and at 22 + 22 // 5


def test_markers_are_few_and_the_newest_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 5)
    store = grown(tmp_path / "store", 23)
    assert [marker.version for marker in heads.markers(store.storage)] == [23, 22, 21, 20]
    kept = {checkpoints.receipt_of(path) for path in checkpoints.manifests(store.storage)}
    assert {f"heads/{file.name}" for file in (tmp_path / "store/heads").glob("checkpoints-*")} == kept
    assert len(kept) == 2


def test_a_bucket_that_lost_its_end(bucket):
    store = grown(bucket, 4)
    store.storage.delete(commit_log.path_of(4))
    with pytest.raises(CorruptArtifactError, match="the log has lost its end: heads/000000000004-"):
        EmbeddingStore.open(bucket)
    for marker in heads.markers(store.storage):
        store.storage.delete(marker.path)
    opened = EmbeddingStore.open(bucket)
    store.storage.delete(commit_log.path_of(2))
    with pytest.raises(CorruptArtifactError, match=r"000000000002\.json is missing"):
        opened.move_alias("x")
