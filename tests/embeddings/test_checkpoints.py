from __future__ import annotations

import functools
import hashlib
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from guidestore.embeddings import checkpoints, commit_log
from guidestore.embeddings.checkpoints import Manifest
from guidestore.embeddings.commit_log import CommitLog, read_entries, read_record
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.log_table import LOG_SCHEMA, empty_table, fold
from guidestore.embeddings.records import AliasMove, Entry, FileRef, Purge, Redirect, Removal, Tag
from guidestore.embeddings.storage import LocalStorage
from tests.embeddings.making import commit_bag, commit_codes, files_of, flips, full_store, make_bag, make_codes, mri_key

ACTOR = {"host": "example"}


def entry(artifact: str, path: str = "") -> Entry:
    path = path or f"objects/rows/labels/{artifact}.parquet"
    return Entry(artifact, "rows:labels", path, (FileRef(path, 1, "ab" * 32),))


def newest(storage) -> Manifest:
    manifest = checkpoints.read_manifest(storage, checkpoints.manifests(storage)[0])
    assert manifest is not None
    return manifest


@pytest.fixture
def checkpoint(store) -> Manifest:
    commit_codes(store, make_codes(["C1", "C2"], mri_key()))
    commit_bag(store, make_bag(3))
    store.log.checkpoint()
    return newest(store.storage)


def test_a_checkpoint_is_the_folded_log(store, root, checkpoint):
    assert (checkpoint.version, checkpoint.commit_sha256) == (2, read_record(store.storage, 2).sha256)
    table = checkpoints.read(store.storage, checkpoint)
    assert table.schema == LOG_SCHEMA
    assert table.equals(store.log.table())
    assert table["kind"].to_pylist() == ["commit", "codes", "codes", "commit", "bag"]
    manifest, segment = files_of(root, "checkpoints").items()
    assert manifest[0] == f"checkpoints/000000000002-{hashlib.sha256(manifest[1]).hexdigest()}.json"
    digest = hashlib.sha256(segment[1]).hexdigest()
    assert segment[0] == f"checkpoints/segments/000000000001-000000000002-{digest}.parquet"
    assert json.loads(manifest[1]) == {
        "version": 2,
        "commit_sha256": checkpoint.commit_sha256,
        "fold": 1,
        "segments": [
            {
                "first": 1,
                "last": 2,
                "rows": 5,
                "file": {"path": segment[0], "size": len(segment[1]), "sha256": digest},
            }
        ],
    }


def test_every_bit_flip_of_a_manifest_is_caught(store, root, checkpoint):
    path = checkpoints.manifests(store.storage)[0]
    whole = (root / path).read_bytes()
    for _, damaged in flips(whole, range(len(whole) * 8)):
        (root / path).write_bytes(damaged)
        with pytest.raises(CorruptArtifactError, match="is damaged: its digest is not that of its name; delete it"):
            checkpoints.read_manifest(store.storage, path)


def test_damage_of_a_segment_is_caught_when_it_is_read(store, root, checkpoint):
    path = root / checkpoint.segments[0].file.path
    whole = path.read_bytes()
    damages = [damaged for _, damaged in flips(whole, range(3, len(whole) * 8, 97))]
    for damaged in [*damages, b"", whole[:-1], whole + b"\0"]:
        path.write_bytes(damaged)
        with pytest.raises(CorruptArtifactError, match="is damaged"):
            checkpoints.read(store.storage, checkpoint)
    path.unlink()
    with pytest.raises(CorruptArtifactError, match="is missing"):
        checkpoints.read(store.storage, checkpoint)
    assert CommitLog(store.storage).table().equals(store.log.table())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"segments": []},
        {"segments": [{"first": 2, "last": 2, "rows": 5}]},
        {"segments": [{"first": 1, "last": 1, "rows": 5}]},
        {"segments": "none"},
        {"commit_sha256": None, "segments": [{}]},
    ],
)
def test_a_manifest_that_does_not_cover_its_commits_is_refused(store, root, checkpoint, change):
    body = json.loads((root / checkpoints.manifests(store.storage)[0]).read_bytes())
    segments = change.get("segments", body["segments"])
    if isinstance(segments, list):
        change = {**change, "segments": [{**body["segments"][0], **segment} if segment else {} for segment in segments]}
    data = json.dumps({**body, **change}).encode()
    path = f"checkpoints/000000000002-{hashlib.sha256(data).hexdigest()}.json"
    (root / path).write_bytes(data)
    with pytest.raises(CorruptArtifactError, match="is damaged"):
        checkpoints.read_manifest(store.storage, path)


def test_of_several_checkpoints_of_a_commit_any_that_is_whole_serves(store, root, checkpoint):
    table = store.log.table()
    # As another version of Parquet would write it: other bytes, the same rows.
    for path in list(files_of(root, "checkpoints/segments")):
        data = (root / path).read_bytes()
        other = Manifest(
            2,
            checkpoint.commit_sha256,
            (
                checkpoints.Segment(1, 1, 3, _put(root, 1, 1, checkpoints.rows_between(table.slice(0, 3), 1, 1))),
                checkpoints.Segment(2, 2, 2, _put(root, 2, 2, checkpoints.rows_between(table, 2, 2))),
            ),
        ).to_bytes()
        (root / f"checkpoints/000000000002-{hashlib.sha256(other).hexdigest()}.json").write_bytes(other)
        assert len(checkpoints.manifests(store.storage)) == 2
        for damaged in (path, *(set(files_of(root, "checkpoints/segments")) - {path})):
            whole = (root / damaged).read_bytes()
            (root / damaged).write_bytes(b"x")
            log = CommitLog(store.storage)
            assert (log.head, log.table().equals(table)) == (2, True)
            (root / damaged).write_bytes(whole)
        assert (root / path).read_bytes() == data


def _put(root, first: int, last: int, rows) -> FileRef:
    return checkpoints._write_segment(LocalStorage(root), first, last, rows).file


def test_rules_of_folding_that_we_do_not_know_are_passed_over(store, root, checkpoint):
    path = checkpoints.manifests(store.storage)[0]
    data = (root / path).read_bytes().replace(b'"fold":1', b'"fold":2')
    (root / path).unlink()
    path = f"checkpoints/000000000002-{hashlib.sha256(data).hexdigest()}.json"
    (root / path).write_bytes(data)
    assert checkpoints.read_manifest(store.storage, path) is None
    assert CommitLog(store.storage).table().equals(store.log.table())


def test_a_column_or_a_key_that_we_do_not_know_is_passed_over(store, root, checkpoint):
    table = store.log.table()
    wider = table.append_column("colour", table["kind"])
    file = _put(root, 1, 2, wider)
    manifest = json.loads((root / checkpoints.manifests(store.storage)[0]).read_bytes())
    segment = {"first": 1, "last": 2, "rows": 5, "file": {**file.as_json(), "mood": 1}, "colour": "red"}
    data = json.dumps({**manifest, "segments": [segment], "counts": {}}).encode()
    path = f"checkpoints/000000000002-{hashlib.sha256(data).hexdigest()}.json"
    (root / path).write_bytes(data)
    read = checkpoints.read_manifest(store.storage, path)
    assert read is not None
    assert checkpoints.read(store.storage, read).equals(table)


def test_the_second_writer_of_a_checkpoint_changes_nothing(store, root, checkpoint):
    before = files_of(root)
    CommitLog(store.storage).checkpoint()
    store.log.checkpoint()
    assert files_of(root) == before


def test_manifests_are_listed_newest_first_and_strays_left_out(store, root, checkpoint):
    for name in (f"000000000100-{'ab' * 32}.json", "notes.txt", "000000000100.parquet", "000000000100-ab.json"):
        (root / "checkpoints" / name).write_bytes(b"x")
    assert [checkpoints.version_of(path) for path in checkpoints.manifests(store.storage)] == [100, 2]


def test_every_kind_of_row_round_trips(tmp_path):
    store = full_store(tmp_path / "store")
    table = checkpoints.read(store.storage, newest(store.storage))
    assert set(table["kind"].to_pylist()) == {
        *("commit", "alias", "tag", "bag", "codes", "run", "weights"),
        *("rows:targets", "rows:labels", "rows:splits"),
    }
    assert table.equals(store.log.table())


# Segments -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def every_commit(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 1)


def folded(storage, head: int):
    return fold(
        empty_table(),
        [read_record(storage, version) for version in range(1, head + 1)],
        functools.partial(read_entries, storage),
    )


def test_each_checkpoint_reuses_the_large_segments_of_the_one_before(store, root, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 2)
    spans = []
    for i in range(32):
        store.log.append(add=[entry(f"a{i}")], actor=ACTOR)
        if i % 2:
            spans.append([(segment.first, segment.last) for segment in newest(store.storage).segments])
    assert spans[:4] == [[(1, 2)], [(1, 4)], [(1, 4), (5, 6)], [(1, 8)]]
    assert spans[12] == [(1, 16), (17, 24), (25, 26)]
    assert spans[15] == [(1, 32)]
    assert max(map(len, spans)) == 4


def test_marks_carry_removals_into_older_segments(store, root, every_commit):
    storage = store.storage
    log = store.log
    for i in range(8):
        log.append(add=[entry(f"a{i}"), entry(f"b{i}")], actor=ACTOR)
    log.append(aliases=[AliasMove("champion", 3)], actor=ACTOR)
    log.append(remove=[Removal("a0", entry("a0").path)], actor=ACTOR)
    log.append(add=[entry("a1", "objects/new")], remove=[Removal("a1", entry("a1").path)], actor=ACTOR)
    log.append(aliases=[AliasMove("champion", 5)], tags=[Tag("paper", 2)], actor=ACTOR)
    manifest = newest(storage)
    assert len(manifest.segments) > 1
    assert checkpoints.read(storage, manifest).equals(folded(storage, log.head))
    assert checkpoints.read(storage, manifest).equals(log.table())
    last = checkpoints.read_segment(storage, manifest.segments[-1])
    marks = [row for row in last.to_pylist() if row["added_at"] < manifest.segments[-1].first]
    assert [(row["kind"], row["artifact"], row["removed_at"]) for row in marks] == [
        ("rows:labels", "a0", 10),
        ("rows:labels", "a1", 11),
    ]
    opened = CommitLog(storage)
    assert opened.live()["a1"] == "objects/new"
    assert "a0" not in opened.live()
    assert opened.tags() == {"paper": 2}


def test_an_opened_log_goes_on_from_the_segments_that_it_read(store, root, every_commit):
    for i in range(9):
        store.log.append(add=[entry(f"a{i}")], actor=ACTOR)
    before = {segment.file.path for segment in newest(store.storage).segments}
    CommitLog(store.storage).append(add=[entry("later")], actor=ACTOR)
    after = newest(store.storage)
    assert after.version == 10
    assert before & {segment.file.path for segment in after.segments}
    assert checkpoints.read(store.storage, after).equals(folded(store.storage, 10))


def test_segments_that_are_gone_are_written_again(store, root, every_commit):
    for i in range(9):
        store.log.append(add=[entry(f"a{i}")], actor=ACTOR)
    for path in files_of(root, "checkpoints"):
        (root / path).unlink()
    store.log.append(add=[entry("later")], actor=ACTOR)
    assert [(segment.first, segment.last) for segment in newest(store.storage).segments] == [(1, 10)]
    assert checkpoints.read(store.storage, newest(store.storage)).equals(folded(store.storage, 10))


def test_after_a_purge_no_segment_of_before_is_used(store, root, every_commit):
    for i in range(9):
        store.log.append(add=[entry(f"a{i}")], actor=ACTOR)
    other = CommitLog(store.storage)
    assert other.table().num_rows == 18
    file = FileRef(entry("a0").path, 1, "ab" * 32)
    store.log.append(purge=[Purge("glioma", "C1", ("a0",), (Redirect(file, None),))], actor=ACTOR)
    other.append(add=[entry("later")], actor=ACTOR)
    for log in (store.log, other, CommitLog(store.storage)):
        log.refresh()
        assert log.table().equals(folded(store.storage, 11))
    assert [segment.first for segment in newest(store.storage).segments] in ([1], [1, 11])
    assert "a0" not in checkpoints.read(store.storage, newest(store.storage))["artifact"].to_pylist()


class Turns:
    """Two threads whose requests to the storage come in the order of a schedule."""

    def __init__(self, seed: int) -> None:
        self._draws = random.Random(seed)
        self._turn = threading.Condition()
        self._waiting: set[int] = set()
        self._at_work = 2
        self._next = -1

    def take(self) -> None:
        me = threading.get_ident()
        with self._turn:
            self._waiting.add(me)
            self._choose()
            self._turn.wait_for(lambda: self._next == me, timeout=30)
            self._waiting.discard(me)
            self._next = -1

    def end(self) -> None:
        with self._turn:
            self._at_work -= 1
            self._choose()

    def _choose(self) -> None:
        if self._at_work and len(self._waiting) == self._at_work:
            self._next = self._draws.choice(sorted(self._waiting))
            self._turn.notify_all()


@pytest.mark.parametrize("seed", range(40))
def test_a_purge_beside_a_writer_of_a_checkpoint_leaves_none_or_a_whole_one(store, root, checkpoint, seed):
    turns = Turns(seed)

    class InTurn(LocalStorage):
        def create(self, path, data):
            turns.take()
            return super().create(path, data)

        def note(self, path, data):
            turns.take()
            super().note(path, data)

        def delete(self, path):
            turns.take()
            super().delete(path)

        def list(self, folder):
            turns.take()
            return iter(list(super().list(folder)))

        def sizes(self, paths):
            turns.take()
            return super().sizes(paths)

    table = store.log.table()
    checkpoints.delete_all(store.storage)

    def run(action):
        try:
            action(InTurn(root))
        finally:
            turns.end()

    write = functools.partial(
        checkpoints.write, version=2, commit_sha256=checkpoint.commit_sha256, table=table, standing=()
    )
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(run, write), pool.submit(run, checkpoints.delete_all)]:
            ended.result()
    assert fsck(store.storage).findings == ()


def test_the_last_two_checkpoints_are_kept_and_what_they_need(store, root, every_commit):
    for i in range(20):
        store.log.append(add=[entry(f"a{i}")], actor=ACTOR)
    paths = checkpoints.manifests(store.storage)
    assert [checkpoints.version_of(path) for path in paths] == [20, 19]
    needed = set(paths)
    for path in paths:
        manifest = checkpoints.read_manifest(store.storage, path)
        assert manifest is not None
        needed |= {segment.file.path for segment in manifest.segments}
        assert checkpoints.read(store.storage, manifest).equals(folded(store.storage, manifest.version))
    assert set(files_of(root, "checkpoints")) == needed
    assert checkpoints.unnamed_segments(store.storage) == []


def test_a_segment_that_waits_for_its_manifest_is_not_swept(store, root, every_commit):
    for i in range(6):
        store.log.append(add=[entry(f"a{i}")], actor=ACTOR)
    ahead = _put(root, 1, 7, store.log.table())
    damaged = root / f"checkpoints/000000000009-{'ab' * 32}.json"
    damaged.write_bytes(b"x")
    store.log.append(add=[entry("later")], actor=ACTOR)
    assert (root / ahead.path).exists()
    assert damaged.exists()  # fsck names it
    assert {file.path for file in checkpoints.unnamed_segments(store.storage)} == {ahead.path}
    assert [checkpoints.version_of(path) for path in checkpoints.manifests(store.storage)] == [9, 7, 6]


def test_checkpoints_take_few_bytes_however_long_the_log(store, root, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 5)
    written = []
    real = LocalStorage.create
    monkeypatch.setattr(
        LocalStorage, "create", lambda self, path, data: written.append((path, len(data))) or real(self, path, data)
    )
    rows = 0
    for i in range(200):
        store.log.append(add=[entry(f"a{i}")], actor=ACTOR)
    for path, _ in written:
        if checkpoints.is_segment(path):
            first, last = path.split("/")[-1].split("-")[:2]
            rows += 2 * (int(last) - int(first) + 1)
    assert rows < 400 * 8  # log2(200 / 5) is 5.3; whole ones would take 8,200
    assert commit_log.CommitLog(store.storage).table().equals(store.log.table())
