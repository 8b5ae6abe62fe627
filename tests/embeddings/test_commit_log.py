from __future__ import annotations

import functools
import gc
import json
import multiprocessing
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from guidestore.embeddings import checkpoints, commit_log
from guidestore.embeddings.commit_log import CommitLog, read_entries, read_record
from guidestore.embeddings.errors import CommitConflictError, CorruptArtifactError, StorageError
from guidestore.embeddings.log_table import empty_table, entries_table, entry_of, fold
from guidestore.embeddings.records import AliasMove, Entry, FileRef, Removal, Tag, sealed_json
from guidestore.embeddings.storage import LocalStorage

ACTOR = {"host": "example"}


def entry(artifact: str, path: str = "") -> Entry:
    path = path or f"objects/rows/labels/{artifact}.parquet"
    return Entry(artifact, "rows:labels", path, (FileRef(path, 1, "ab" * 32),))


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path)


@pytest.fixture
def log(storage):
    return CommitLog(storage)


def test_commits_are_numbered_from_one_and_chained(log, storage):
    assert log.head == 0
    assert [log.append(add=[entry(name)], actor=ACTOR, message=f"add {name}") for name in "abc"] == [1, 2, 3]
    commits = [read_record(storage, version) for version in (1, 2, 3)]
    assert [(c.version, c.parent, c.message) for c in commits] == [(1, 0, "add a"), (2, 1, "add b"), (3, 2, "add c")]
    assert [c.parent_sha256 for c in commits] == ["", commits[0].sha256, commits[1].sha256]
    assert len({c.commit_uuid for c in commits}) == 3
    assert commits[0].actor == ACTOR
    assert commits[0].created_at.endswith("+00:00")


def test_a_second_reader_sees_commits_after_refresh(log, storage):
    other = CommitLog(storage)
    log.append(add=[entry("a")], actor=ACTOR)
    assert other.head == 0
    assert other.refresh() == 1
    assert dict(other.live()) == {"a": "objects/rows/labels/a.parquet"}


def test_the_first_of_two_adds_of_an_artifact_wins(log, storage):
    other = CommitLog(storage)
    assert log.append(add=[entry("a", "objects/rows/labels/first")], actor=ACTOR) == 1
    assert other.append(add=[entry("a", "objects/rows/labels/second")], actor=ACTOR) == 1
    assert other.append(add=[entry("a", "objects/rows/labels/third"), entry("b")], actor=ACTOR) == 2
    assert [added.artifact for added in read_record(storage, 2).add] == ["b"]
    assert log.refresh() == 2
    assert log.live()["a"] == "objects/rows/labels/first"


def test_nothing_to_say_makes_no_commit(log):
    assert log.append(actor=ACTOR) == 0
    log.append(add=[entry("a")], actor=ACTOR)
    assert log.append(add=[entry("a")], actor=ACTOR) == 1


def test_a_removal_of_what_is_not_there_is_a_conflict(log, storage):
    log.append(add=[entry("a", "objects/one")], actor=ACTOR)
    other = CommitLog(storage)
    log.append(add=[entry("a", "objects/two")], remove=[Removal("a", "objects/one")], actor=ACTOR)
    assert log.live()["a"] == "objects/two"
    with pytest.raises(CommitConflictError, match=r"no longer lies at objects/one.*run the command again"):
        other.append(add=[entry("a", "objects/three")], remove=[Removal("a", "objects/one")], actor=ACTOR)
    assert other.head == 2
    log.append(remove=[Removal("a", "objects/two")], actor=ACTOR)
    assert "a" not in log.live()
    with pytest.raises(CommitConflictError):
        other.append(remove=[Removal("a", "objects/two")], actor=ACTOR)


def test_what_was_removed_can_be_added_again(log):
    log.append(add=[entry("a", "objects/one")], actor=ACTOR)
    log.append(remove=[Removal("a", "objects/one")], actor=ACTOR)
    assert log.append(add=[entry("a", "objects/two")], actor=ACTOR) == 3
    assert log.live()["a"] == "objects/two"
    rows = log.table().to_pylist()
    assert [(r["path"], r["added_at"], r["removed_at"]) for r in rows if r["kind"] != "commit"] == [
        ("objects/one", 1, 2),
        ("objects/two", 3, None),
    ]


def test_aliases_move_and_remember_where_they_were(log):
    log.append(add=[entry("a")], actor=ACTOR)
    log.append(aliases=[AliasMove("champion", 1)], actor=ACTOR)
    log.append(aliases=[AliasMove("champion", 2, "a")], actor=ACTOR)
    rows = [row for row in log.table().to_pylist() if row["kind"] == "alias"]
    assert [(json.loads(r["meta"]), r["added_at"], r["removed_at"]) for r in rows] == [
        ({"snapshot": 1, "artifact": ""}, 2, 3),
        ({"snapshot": 2, "artifact": "a"}, 3, None),
    ]


def test_an_alias_does_not_touch_rows_that_happen_to_bear_its_name(log, storage):
    log.append(add=[entry("a")], actor=ACTOR)
    uuid = read_record(storage, 1).commit_uuid
    log.append(aliases=[AliasMove(uuid, 1)], actor=ACTOR)
    assert [row["removed_at"] for row in log.table().to_pylist()] == [None] * 4


def _append_some(root, name, count, results):
    log = CommitLog(LocalStorage(root))
    results.put([log.append(add=[entry(f"{name}-{i}"), entry(f"shared-{i}")], actor=ACTOR) for i in range(count)])


def test_concurrent_processes_lose_no_commit_and_agree_on_one_line(tmp_path, storage):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_append_some, args=(tmp_path, f"w{i}", 15, results)) for i in range(4)]
    for worker in workers:
        worker.start()
    versions = [version for _ in workers for version in results.get(timeout=60)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(versions) == list(range(1, 61))
    log = CommitLog(storage)
    assert log.head == 60
    expected = {f"w{i}-{n}" for i in range(4) for n in range(15)} | {f"shared-{n}" for n in range(15)}
    assert set(log.live()) == expected
    added = [added.artifact for version in range(1, 61) for added in read_record(storage, version).add]
    assert len(added) == len(set(added)) == 75


class LostAnswers(LocalStorage):
    """A disk whose next answers get lost: after the write, or before it."""

    lose: str = ""

    def create(self, path: str, data: bytes) -> bool:
        if self.lose and path.startswith("commits/"):
            lose, self.lose = self.lose, ""
            if lose == "after the write":
                super().create(path, data)
            elif lose == "another's write":
                CommitLog(LocalStorage(self.root)).append(add=[entry("other")], actor=ACTOR)
            raise StorageError("cannot write: Input/output error")
        return super().create(path, data)


@pytest.mark.parametrize("lose", ["after the write", "another's write", "before the write"])
def test_an_ambiguous_write_is_answered_by_reading_back(tmp_path, lose):
    storage = LostAnswers(tmp_path)
    log = CommitLog(storage)
    log.append(add=[entry("first")], actor=ACTOR)
    storage.lose = lose
    if lose == "before the write":
        with pytest.raises(StorageError, match="Input/output"):
            log.append(add=[entry("a")], actor=ACTOR)
        assert log.append(add=[entry("a")], actor=ACTOR) == 2
    else:
        assert log.append(add=[entry("a")], actor=ACTOR) == (2 if lose == "after the write" else 3)
    again = CommitLog(LocalStorage(tmp_path))
    assert again.live().keys() == {"first", "a"} | ({"other"} if lose == "another's write" else set())
    assert sum(added.artifact == "a" for v in range(1, again.head + 1) for added in read_record(storage, v).add) == 1


@pytest.mark.parametrize("gone", [1, 2])
def test_a_gap_is_detected(log, storage, tmp_path, gone):
    for name in "abcde":
        log.append(add=[entry(name)], actor=ACTOR)
    (tmp_path / commit_log.path_of(gone)).unlink()
    with pytest.raises(CorruptArtifactError, match=f"00000000000{gone}.json is missing though later commits exist"):
        CommitLog(storage)


def test_a_wider_gap_is_detected(log, storage, tmp_path):
    for name in "abcdef":
        log.append(add=[entry(name)], actor=ACTOR)
    for version in (3, 4, 5):
        (tmp_path / commit_log.path_of(version)).unlink()
    with pytest.raises(CorruptArtifactError, match=r"000000000003\.json is missing though later commits exist"):
        CommitLog(storage)


def test_an_edited_log_is_detected(log, storage, tmp_path):
    for name in "abc":
        log.append(add=[entry(name)], actor=ACTOR)
    other = CommitLog(LocalStorage(tmp_path / "other"))
    other.append(add=[entry("x")], actor=ACTOR)
    other.append(add=[entry("y")], actor=ACTOR)
    second = tmp_path / commit_log.path_of(2)
    second.write_bytes((tmp_path / "other" / commit_log.path_of(2)).read_bytes())
    with pytest.raises(CorruptArtifactError, match="the log was edited"):
        CommitLog(storage)
    second.write_bytes((tmp_path / commit_log.path_of(3)).read_bytes())
    with pytest.raises(CorruptArtifactError, match="holds commit 3"):
        CommitLog(storage)


def test_an_alias_or_a_removal_whose_answer_got_lost_is_not_done_twice(tmp_path):
    storage = LostAnswers(tmp_path)
    log = CommitLog(storage)
    log.append(add=[entry("a")], actor=ACTOR)
    storage.lose = "after the write"
    assert log.append(aliases=[AliasMove("champion", 1)], actor=ACTOR) == 2
    storage.lose = "after the write"
    assert log.append(remove=[Removal("a", entry("a").path)], actor=ACTOR) == 3
    assert CommitLog(storage).head == 3


@pytest.fixture
def checkpointed(log, storage, monkeypatch):
    """23 commits of all sorts, a checkpoint every 10."""
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 10)
    for i in range(20):
        log.append(add=[entry(f"a{i}")], actor=ACTOR)
    log.append(aliases=[AliasMove("champion", 3)], actor=ACTOR)
    log.append(add=[entry("a0", "objects/new")], remove=[Removal("a0", entry("a0").path)], actor=ACTOR)
    log.append(aliases=[AliasMove("champion", 21)], actor=ACTOR)
    return log


class CountedReads(LocalStorage):
    """A disk that says which files were read of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.paths_read: list[str] = []

    def read(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        self.paths_read.append(path)
        return super().read(path, start, stop)


def test_opening_by_checkpoint_equals_folding_everything(checkpointed, storage):
    manifests = checkpoints.manifests(storage)
    assert [checkpoints.version_of(path) for path in manifests] == [20, 10]
    newest = checkpoints.read_manifest(storage, manifests[0])
    assert newest is not None
    everything = fold(
        empty_table(),
        [read_record(storage, version) for version in range(1, 24)],
        functools.partial(read_entries, storage),
    )
    disk = CountedReads(storage.root)
    log = CommitLog(disk)
    commits = [commit_log.path_of(version) for version in (20, 21, 22, 23)]
    assert disk.paths_read == [manifests[0], *commits]  # segments are read when somebody asks for what is in them
    assert log.table().equals(everything)
    assert log.table().equals(checkpointed.table())
    assert dict(log.live()) == dict(checkpointed.live())
    assert disk.paths_read == [manifests[0], *commits, *(segment.file.path for segment in newest.segments)]


def test_a_damaged_checkpoint_is_passed_over(checkpointed, storage, tmp_path):
    expected = checkpointed.table()
    newest, older = checkpoints.manifests(storage)
    (tmp_path / newest).write_bytes((tmp_path / newest).read_bytes()[:-9])
    disk = CountedReads(tmp_path)
    assert CommitLog(disk).table().equals(expected)
    assert older in disk.paths_read
    assert commit_log.path_of(9) not in disk.paths_read
    (tmp_path / older).write_bytes(b"")
    assert CommitLog(storage).table().equals(expected)


def test_a_damaged_segment_is_passed_over_when_it_is_read(checkpointed, storage, tmp_path):
    expected = checkpointed.table()
    manifests = [checkpoints.read_manifest(storage, path) for path in checkpoints.manifests(storage)]
    log = CommitLog(storage)
    for manifest in manifests:
        assert manifest is not None
        (tmp_path / manifest.segments[-1].file.path).write_bytes(b"x")
        assert log.head == 23
        assert log.table().equals(expected)
        log = CommitLog(storage)
    assert log.table().equals(expected)
    assert log.append(add=[entry("on")], actor=ACTOR) == 24


def test_a_checkpoint_of_another_log_is_passed_over(checkpointed, storage, tmp_path):
    other = CommitLog(LocalStorage(tmp_path / "other"))
    for i in range(20):
        other.append(add=[entry(f"foreign{i}")], actor=ACTOR)
    shutil.rmtree(tmp_path / "checkpoints")
    shutil.copytree(tmp_path / "other/checkpoints", tmp_path / "checkpoints")
    assert checkpoints.version_of(checkpoints.manifests(storage)[0]) == 20
    assert set(CommitLog(storage).live()) == {f"a{i}" for i in range(20)}


def test_a_disk_that_refuses_the_checkpoint_does_not_refuse_the_commit(log, storage, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 1)

    def refuse(*args):
        raise StorageError("cannot write")

    monkeypatch.setattr(checkpoints, "write", refuse)
    assert log.append(add=[entry("a")], actor=ACTOR) == 1
    assert CommitLog(storage).live().keys() == {"a"}


# Large commits and what we do not know ------------------------------------------------------------------------------


def many(count: int) -> list[Entry]:
    facts = {"case_id": "C", "shape": (4,), "inputs": ("x", "y"), "meta": {"a": [1, None]}, "supersedes": ("z",)}
    return [replace(entry(f"m{i}"), **facts) for i in range(count)]


def test_a_large_commit_keeps_its_entries_in_a_table(log, storage, tmp_path, monkeypatch):
    monkeypatch.setattr(commit_log, "INLINE_ENTRIES", 3)
    log.append(add=many(3), actor=ACTOR)
    log.append(add=many(3) + [entry(name) for name in "abcd"], actor=ACTOR)
    small, large = (json.loads((tmp_path / commit_log.path_of(version)).read_bytes()) for version in (1, 2))
    assert (len(small["add"]), small["add_file"]) == (3, None)
    assert large["add"] == []
    file = tmp_path / large["add_file"]["path"]
    assert large["add_file"]["path"] == f"objects/entries/{large['add_file']['sha256']}.parquet"
    assert added_by(storage, 2) == [entry(name) for name in "abcd"]
    log.append(add=many(9), actor=ACTOR)
    assert added_by(storage, 3) == many(9)[3:]
    log.append(add=[entry("e")], add_many=entries_table(many(12)), actor=ACTOR)
    assert added_by(storage, 4) == [entry("e"), *many(12)[9:]]
    log.append(add_many=entries_table(many(14)), actor=ACTOR)
    assert read_record(storage, 5).add == tuple(many(14)[12:])  # few: they stand in the commit
    opened = CommitLog(storage)
    assert opened.table().equals(log.table())
    assert opened.live() == log.live()
    assert sum(row["artifact"] == "m5" and row["supersedes"] == ["z"] for row in opened.table().to_pylist()) == 1
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptArtifactError, match=r"objects/entries/.*is damaged"):
        CommitLog(storage).table()


def added_by(storage, version: int) -> list[Entry]:
    """The entries in the table of a large commit."""
    file = read_record(storage, version).add_file
    assert file
    return [entry_of(row) for row in read_entries(storage, file).to_pylist()]


def test_the_entries_of_a_beaten_writer_are_written_again(log, storage, tmp_path, monkeypatch):
    monkeypatch.setattr(commit_log, "INLINE_ENTRIES", 1)
    other = CommitLog(storage)
    real = CommitLog._create

    def late(self, commit):
        if self is log and other.head == 0:
            other.append(add=[entry("a")], actor=ACTOR)
        return real(self, commit)

    monkeypatch.setattr(CommitLog, "_create", late)
    assert log.append(add=[entry("a"), entry("b"), entry("c")], actor=ACTOR) == 2
    assert [added.artifact for added in added_by(storage, 2)] == ["b", "c"]
    assert len(list((tmp_path / "objects/entries").iterdir())) == 2  # one is an orphan


def test_keys_of_a_later_guidestore_are_passed_over(log, storage, tmp_path):
    log.append(add=[entry("a")], actor=ACTOR)
    log.append(
        add=[entry("b")], remove=[Removal("a", entry("a").path)], aliases=[AliasMove("x", 1)],
        tags=[Tag("paper", 1)], actor=ACTOR,
    )  # fmt: skip
    expected = log.table().to_pylist()
    parent = ""
    for version in (1, 2):
        path = tmp_path / commit_log.path_of(version)
        body = json.loads(path.read_bytes())
        del body["sha256"]
        body |= {"parent_sha256": parent, "mood": {"of": "the day"}, "later": [{"name": "x"}]}
        for kind in ("add", "remove", "aliases", "tags"):
            body[kind] = [{**record, "colour": "red"} for record in body[kind]]
        for record in body["add"]:
            record["files"] = [{**file, "crc": 7} for file in record["files"]]
        path.write_bytes(sealed_json(body))
        parent = json.loads(path.read_bytes())["sha256"]
    shutil.rmtree(tmp_path / "heads")  # which say that these are other commits
    opened = CommitLog(storage)
    meta = {row["artifact"]: row.pop("meta") for row in expected if row["kind"] == "commit"}
    rows = opened.table().to_pylist()
    assert {row["artifact"] for row in rows if row["kind"] == "commit" and row.pop("meta")} == meta.keys()
    assert rows == expected
    assert opened.append(add=[entry("c")], actor=ACTOR) == 3
    assert CommitLog(storage).live().keys() == {"b", "c"}


def test_a_sealed_commit_that_lacks_a_key_is_damage(log, storage, tmp_path):
    log.append(add=[entry("a")], actor=ACTOR)
    path = tmp_path / commit_log.path_of(1)
    whole = json.loads(path.read_bytes())
    del whole["sha256"]
    for key in whole:
        path.write_bytes(sealed_json({name: value for name, value in whole.items() if name != key}))
        with pytest.raises(CorruptArtifactError, match=r"commits/000000000001\.json is sealed but no commit"):
            CommitLog(storage)
    for broken in ({"add": [{}]}, {"add": 3}, {"remove": [{"artifact": "a"}]}, {"purge": [1]}, {"add_file": {}}):
        path.write_bytes(sealed_json({**whole, **broken}))
        with pytest.raises(CorruptArtifactError, match="is sealed but no commit"):
            CommitLog(storage)


def test_a_log_leaves_memory_as_soon_as_nobody_has_it(storage):
    CommitLog(storage).append(add=[entry("a")], actor=ACTOR, message="add a")
    opened = CommitLog(storage)
    opened.table()
    alive = weakref.ref(opened)
    gc.disable()  # what waits for it may be many logs, of 50 MB each
    try:
        del opened
        assert alive() is None
    finally:
        gc.enable()
