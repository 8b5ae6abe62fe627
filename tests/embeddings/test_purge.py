from __future__ import annotations

import io
import os
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings import checkpoints
from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import (
    CommitConflictError,
    CorruptArtifactError,
    InvalidNameError,
    NotFoundInStoreError,
)
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.purge import plan_purge, purge
from guidestore.embeddings.runs import Run
from guidestore.embeddings.storage import LocalStorage
from guidestore.embeddings.store import EmbeddingStore
from tests.embeddings.making import (
    bag_key,
    commit_bag,
    commit_codes,
    commit_cohort,
    commit_runs,
    digests,
    files_of,
    full_store,
    make_bag,
    make_codes,
    mri_key,
    same_bag,
    slide_key,
)

CASES = ["case-1", "case-2", "case-3"]


@pytest.fixture
def full(tmp_path):
    return full_store(tmp_path / "store")


def bytes_of(codes, case_id) -> bytes:
    return codes.codes_nd[codes.case_ids.index(case_id)].tobytes()


def holders(store, case_id: str, needles: list[bytes]) -> list[str]:
    """Files under objects/ that hold the id, or one of the byte strings, raw or in a table."""
    found = []
    for path, data in files_of(store.storage.root, "objects").items():
        parts = [data]
        if path.endswith(".parquet"):
            for column in pq.read_table(io.BytesIO(data)).columns:
                parts += [repr(column.to_pylist()).encode()]
                parts += [np.array(v, np.float32).tobytes() for v in column.to_pylist() if isinstance(v, list)]
        if any(needle in part for needle in [case_id.encode(), *needles] for part in parts):
            found.append(path)
    return found


def test_the_case_is_gone_from_every_snapshot_and_from_every_file(full):
    mri, slides = (
        make_codes(["case-1", "case-2", "case-3"], mri_key(), seed=1),
        make_codes(["case-1", "case-2", "case-3"], slide_key(), seed=2),
    )
    commit_runs(full, ["e" * 64], ["case-1", "case-2"])
    needles = [bytes_of(mri, "case-2"), bytes_of(slides, "case-2")]
    assert len(holders(full, "case-2", needles)) >= 4
    bag_entry = full.snapshot().entries(kind="bag", case_id="case-2")[0]
    old = {n: full.snapshot(n).artifacts for n in range(full.log.head + 1)}
    mine = {e.artifact for e in full.snapshot().entries(case_id="case-2")}
    assert len(mine) == 3

    report = purge(full, "glioma", "case-2")
    assert (report.case_id, report.artifacts) == ("case-2", 3)
    assert report.rewritten == 6  # two code files, labels, splits, two predictions
    assert report.deleted == 6 + len(bag_entry.files)
    assert [entry.meta["name"] for entry in report.weights] == ["ridge"]

    assert holders(full, "case-2", needles) == []
    assert not (full.storage.root / bag_entry.path).exists()
    for store in (full, EmbeddingStore.open(full.storage.root)):
        for version, artifacts in old.items():
            snapshot = store.snapshot(version)
            assert snapshot.artifacts == artifacts - mine
            for key, codes in ((mri_key(), mri), (slide_key(), slides)):
                if key in snapshot.code_sets:
                    read = snapshot.codes(key)
                    assert read.case_ids == ("case-1", "case-3")
                    assert read.codes_nd.tobytes() == codes.codes_nd[[0, 2]].tobytes()
            for kind in ("labels", "splits", "predictions"):
                assert "case-2" not in snapshot.rows(kind)["case_id"].to_pylist()
    assert full.snapshot().rows("labels")["case_id"].to_pylist() == ["case-1", "case-3"]
    assert full.snapshot().rows("predictions")["case_id"].to_pylist() == ["case-1", "case-3", "case-1"]
    assert same_bag(full.snapshot().bags(bag_key(), "case-3")[0], make_bag(1030, seed=2))
    with pytest.raises(NotFoundInStoreError, match="case case-2 has no bag"):
        full.snapshot().bags(bag_key(), "case-2")


def test_fsck_and_gc_agree_with_a_purge(full):
    purge(full, "glioma", "case-2")
    assert fsck(full.storage).findings == ()
    sweep = collect(full, dry_run=False, older_than_h=-1)
    assert (sweep.swept, sweep.kept) == ((), ())
    assert fsck(full.storage).findings == ()
    assert CommitLog(full.storage).table().equals(full.log.table())


def test_who_reads_as_a_purge_comes_reads_what_it_left(full):
    reader = EmbeddingStore.open(full.storage.root).snapshot()
    before = reader.codes(mri_key())
    purge(full, "glioma", "case-2")
    after = reader.codes(mri_key())
    assert after.case_ids == ("case-1", "case-3")
    np.testing.assert_array_equal(after.codes_nd, before.codes_nd[[0, 2]])
    assert sorted(reader.rows("labels")["case_id"].to_pylist()) == ["case-1", "case-3"]
    assert same_bag(reader.bags(bag_key(), "case-1")[0], make_bag(1030, seed=0))
    with pytest.raises(NotFoundInStoreError, match="case-2 has no bag"):
        EmbeddingStore.open(full.storage.root).snapshot(reader.version).bags(bag_key(), "case-2")


def test_damage_after_a_purge_is_still_damage(full):
    reader = EmbeddingStore.open(full.storage.root).snapshot()
    purge(full, "glioma", "case-2")
    for entry in full.snapshot().code_set_entries(mri_key()):
        (full.storage.root / entry.path).unlink(missing_ok=True)
    with pytest.raises(CorruptArtifactError, match="is missing"):
        reader.codes(mri_key())


def test_checkpoints_that_list_the_case_are_replaced(full):
    before = set(files_of(full.storage.root, "checkpoints"))
    assert before
    purge(full, "glioma", "case-2")
    assert not before & set(files_of(full.storage.root, "checkpoints"))
    (path,) = checkpoints.manifests(full.storage)
    assert checkpoints.version_of(path) == full.log.head
    manifest = checkpoints.read_manifest(full.storage, path)
    assert manifest is not None
    table = checkpoints.read(full.storage, manifest)
    rows = [row for row in table.to_pylist() if row["case_id"] == "case-2"]
    assert {row["kind"] for row in rows} == {"tombstone"}


@pytest.mark.parametrize(("case", "named"), [("case-1", ["ridge"]), ("case-2", ["ridge"]), ("case-3", [])])
def test_weights_are_named_if_the_case_was_in_train_or_val(full, case, named):
    assert [entry.meta["name"] for entry in purge(full, "glioma", case).weights] == named
    assert len(full.snapshot().entries(kind="weights")) == 1


def test_an_unknown_case_or_cohort_is_refused_and_nothing_changes(full):
    before = files_of(full.storage.root)
    for cohort, case in (("glioma", "case-9"), ("derm", "case-1")):
        for ask in (purge, plan_purge):
            with pytest.raises(NotFoundInStoreError, match=f"cohort {cohort} has no case"):
                ask(full, cohort, case)
    assert files_of(full.storage.root) == before


@pytest.mark.parametrize(("cohort", "case"), [("glioma", ""), ("", ""), ("", "case-1"), ("glioma", "../x"), (" ", "*")])
def test_what_is_no_name_is_no_case_and_nothing_changes(full, cohort, case):
    before = files_of(full.storage.root)
    for ask in (purge, plan_purge):
        with pytest.raises(InvalidNameError, match="cannot be a"):
            ask(full, cohort, case)
    assert files_of(full.storage.root) == before


def test_a_plan_says_what_a_purge_then_does(full):
    commit_runs(full, ["e" * 64], ["case-1", "case-2"])
    plan = plan_purge(full, "glioma", "case-2")
    assert (plan.artifacts, plan.runs) == ({"bag": 1, "codes": 2}, 2)
    report = purge(full, "glioma", "case-2")
    assert report.artifacts == sum(plan.artifacts.values())
    assert report.weights == plan.weights
    assert plan.weights


def test_weights_that_are_codes_go_and_others_stay(store):
    commit_cohort(store, {"case-1": "G", "case-2": "O"}, {"case-1": "train", "case-2": "test"})
    codes = make_codes(["case-1", "case-2"], mri_key())
    commit_codes(store, codes)
    split = store.snapshot().rows("splits")["split"][0].as_py()
    with store.begin() as transaction:
        made = {
            name: transaction.write_weights(
                "guidance",
                name,
                config={"name": name},
                tensors=tensors,
                recipe={"of": name},
                cohort="glioma",
                split=split,
                fold=0,
            )[0]
            for name, tensors in {
                "retrieval": {"train_superior": codes.codes_nd[:1], "train_inferior": codes.codes_nd[:1]},
                "fused": {"view0_train": codes.codes_nd[:1]},
                "ridge": {"weight": np.ones((2, 2), np.float32), "trained": np.ones(1, np.float32)},
            }.items()
        }
    before = store.snapshot()
    report = purge(store, "glioma", "case-1")
    assert [entry.meta["name"] for entry in report.weights] == ["ridge"]
    assert set(made.values()) & store.snapshot().artifacts == {made["ridge"]}
    assert set(made.values()) & store.snapshot(before.version).artifacts == {made["ridge"]}
    needle = codes.codes_nd[0].tobytes()
    assert not [path for path, data in files_of(store.storage.root).items() if needle in data]
    assert fsck(store.storage).findings == ()
    assert purge(store, "glioma", "case-2").weights == ()


def _rows(transaction, codes):
    row = {"cohort": "glioma", "case_id": "case-1", "target": "grade", "class": "G"}
    transaction.write_rows("labels", [row], cohort="glioma", recipe={"x": 1})


def _codes(transaction, codes):
    transaction.write_codes(codes, input_digests=[("f" * 64,)] * len(codes.case_ids))


def _bag(transaction, codes):
    transaction.write_bag(bag_key(), "case-1", "case-1", make_bag(5), input_digests=("a" * 64,))


def _runs(transaction, codes):
    run = Run("e" * 64, "glioma", "grade", "s", 0, "I")
    prediction = {"run": run.id, "cohort": "glioma", "case_id": "case-1"}
    transaction.write_runs([run], [], [prediction], inputs={run.id: []})


def _trained(transaction, codes):
    transaction.write_weights(
        "decoder", "mlp", config={}, tensors={"w": codes.codes_nd}, recipe={"of": "late"}, cohort="glioma"
    )


@pytest.mark.parametrize("write", [_rows, _codes, _bag, _runs, _trained])
@pytest.mark.parametrize("staged", ["before the purge", "after it"])
def test_what_was_read_before_a_purge_cannot_bring_the_case_back(store, root, write, staged):
    commit_codes(store, make_codes(["case-1", "case-2"], mri_key()))
    late = make_codes(["case-1", "case-3"], mri_key(), seed=9)
    other = EmbeddingStore.open(root)
    slow = other.begin(read_at=other.snapshot().read_at)
    slow.__enter__()
    if staged == "before the purge":
        write(slow, late)
    purge(store, "glioma", "case-1")
    if staged == "after it":
        write(slow, late)
    with pytest.raises(CommitConflictError, match="a case of cohort glioma was purged meanwhile"):
        slow.__exit__(None, None, None)
    assert store.snapshot().codes(mri_key()).case_ids == ("case-2",)
    assert holders(store, "case-1", [bytes_of(late, "case-1")]) == []
    assert not (root / "staging").exists() or not list((root / "staging").rglob("*.*"))


@pytest.mark.parametrize("write", [_rows, _codes, _bag, _trained])
def test_what_was_published_as_the_purge_came_is_taken_back(store, root, write, monkeypatch):
    commit_codes(store, make_codes(["case-1", "case-2"], mri_key()))
    late = make_codes(["case-1", "case-3"], mri_key(), seed=9)
    other = EmbeddingStore.open(root)
    real = LocalStorage.publish

    def publish(self, staged, path):
        real(self, staged, path)
        if self is other.storage:
            monkeypatch.undo()
            purge(store, "glioma", "case-1")

    slow = other.begin()
    slow.__enter__()
    write(slow, late)
    monkeypatch.setattr(LocalStorage, "publish", publish)
    with pytest.raises(CommitConflictError, match="a case of cohort glioma was purged meanwhile"):
        slow.__exit__(None, None, None)
    assert holders(store, "case-1", [bytes_of(late, "case-1")]) == []
    named = {file["path"] for files in store.snapshot().log["files"].to_pylist() for file in files}
    assert set(files_of(root, "objects")) <= named
    assert fsck(store.storage).findings == ()


def test_what_holds_other_cases_alone_is_committed_after_a_purge(store, root):
    commit_codes(store, make_codes(["case-1", "case-2"], mri_key()))
    other = EmbeddingStore.open(root)
    late = make_codes(["case-3"], mri_key(), seed=9)
    with other.begin(read_at=other.snapshot().read_at) as slow:
        purge(store, "glioma", "case-1")
        slow.write_codes(late, input_digests=digests(late))
        slow.write_bag(bag_key(), "case-3", "case-3", make_bag(5), input_digests=("a" * 64,))
    assert store.snapshot().codes(mri_key()).case_ids == ("case-2", "case-3")


def test_what_dead_writers_staged_of_the_case_goes(store, root):
    codes = make_codes(["case-1", "case-2"], mri_key())
    commit_codes(store, codes)
    dead, alive = EmbeddingStore.open(root).begin(), EmbeddingStore.open(root).begin()
    dead.__enter__()
    alive.__enter__()
    again = make_codes(["case-1"], mri_key(), seed=4)
    dead.write_codes(again, input_digests=digests(again))
    dead.write_bag(bag_key(), "case-1", "case-1", make_bag(5), input_digests=("a" * 64,))
    theirs = make_codes(["case-9"], mri_key(), seed=5)
    alive.write_codes(theirs, input_digests=digests(theirs))
    for file in (root / "staging").rglob("*"):
        if "bag" in str(file):
            os.utime(file, (0, 0))
    purge(store, "glioma", "case-1")
    assert [path.name for path in (root / "staging").rglob("*") if path.is_file()] == ["0-codes.parquet"]
    alive.__exit__(None, None, None)
    store.log.refresh()
    assert store.snapshot().codes(mri_key()).case_ids == ("case-2", "case-9")


def test_a_second_purge_finds_nothing_left_and_commits_nothing(full):
    purge(full, "glioma", "case-2")
    head, before = full.log.head, files_of(full.storage.root, "objects")
    again = purge(full, "glioma", "case-2")
    assert (again.artifacts, again.rewritten) == (0, 0)
    assert full.log.head == head
    assert files_of(full.storage.root, "objects") == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize("survived", [0, 1, 5])
def test_a_purge_killed_while_it_deletes_is_finished_by_the_next(full, monkeypatch, survived):
    deleted = []
    real = LocalStorage.delete

    def delete(self, path):
        if len(deleted) == survived:
            raise Killed
        deleted.append(path)
        real(self, path)

    monkeypatch.setattr(LocalStorage, "delete", delete)
    with pytest.raises(Killed):
        purge(full, "glioma", "case-2")
    monkeypatch.undo()
    full = EmbeddingStore.open(full.storage.root)
    left = [finding for finding in fsck(full.storage).findings if finding.problem == "unfinished purge"]
    assert left
    assert {finding.case_id for finding in left} == {"case-2"}
    assert "run `guidestore purge` again" in str(left[0])
    head = full.log.head
    report = purge(full, "glioma", "case-2")
    assert full.log.head == head
    assert [entry.meta["name"] for entry in report.weights] == ["ridge"]
    assert fsck(full.storage).findings == ()
    assert holders(full, "case-2", [bytes_of(make_codes(CASES, mri_key(), seed=1), "case-2")]) == []


def test_a_purge_killed_before_its_commit_changes_no_snapshot(full, monkeypatch):
    before = full.snapshot().codes(mri_key()).codes_nd.tobytes()
    head = full.log.head

    def killed(self, **_):
        raise Killed

    monkeypatch.setattr(CommitLog, "append", killed)
    with pytest.raises(Killed):
        purge(full, "glioma", "case-2")
    monkeypatch.undo()
    assert EmbeddingStore.open(full.storage.root).log.head == head
    report = fsck(full.storage)
    assert {finding.problem for finding in report.findings} == {"orphan"}
    assert full.snapshot().codes(mri_key()).codes_nd.tobytes() == before
    purge(full, "glioma", "case-2")
    collect(full, dry_run=False, older_than_h=-1)
    assert fsck(full.storage).findings == ()


def test_files_that_only_old_snapshots_name_are_rewritten_too(store):
    for i, cases in enumerate((["case-1", "case-2"], ["case-3"])):
        commit_codes(store, make_codes(cases, mri_key(), seed=i))
    first = make_codes(["case-1", "case-2"], mri_key(), seed=0)
    compact(store, mri_key())
    assert purge(store, "glioma", "case-1").rewritten == 2
    assert holders(store, "case-1", [bytes_of(first, "case-1")]) == []
    assert store.snapshot(1).codes(mri_key()).case_ids == ("case-2",)
    assert store.snapshot(1).codes(mri_key()).codes_nd.tobytes() == first.codes_nd[1:].tobytes()
    assert fsck(store.storage).findings == ()


def test_the_losers_file_in_the_log_is_rewritten_too(store, root):
    slow = EmbeddingStore.open(root).begin()
    slow.__enter__()
    loser = make_codes(["case-1", "case-2"], mri_key(), seed=2)
    slow.write_codes(loser, input_digests=digests(loser))
    commit_codes(store, make_codes(["case-1"], mri_key(), seed=1))
    slow.__exit__(None, None, None)
    store.log.refresh()
    assert purge(store, "glioma", "case-1").rewritten == 1  # the winner's file held nothing else
    assert holders(store, "case-1", [bytes_of(loser, "case-1")]) == []
    assert store.snapshot().codes(mri_key()).codes_nd.tobytes() == loser.codes_nd[1:].tobytes()


def test_a_case_of_the_same_id_in_another_cohort_stays(store):
    for cohort in ("glioma", "derm"):
        commit_cohort(store, {"case-1": "G"}, {"case-1": "train"}, cohort=cohort)
        commit_codes(store, make_codes(["case-1"], mri_key(cohort)))
    # Rows that were written without saying a cohort, and a batch of runs over both.
    rows = [
        {"cohort": cohort, "case_id": case, "image_id": "I", "modality": "mri_t1", "path": f"{cohort}.nii"}
        for cohort, case in (("glioma", "case-1"), ("derm", "case-1"), ("glioma", None), (None, "case-1"))
    ]
    with store.begin() as transaction:
        transaction.write_rows("images", rows)
        runs = {"a" * 64: "glioma", "b" * 64: "derm"}
        transaction.write_runs(
            [Run(r, c, "grade", "s", 0, "I") for r, c in runs.items()],
            [],
            [{"run": r, "cohort": c, "case_id": "case-1"} for r, c in runs.items()],
            inputs={run: [] for run in runs},
        )
    purge(store, "glioma", "case-1")
    snapshot = store.snapshot()
    assert snapshot.rows("labels")["cohort"].to_pylist() == ["derm"]
    assert snapshot.rows("predictions")["cohort"].to_pylist() == ["derm"]
    assert [(row["cohort"], row["case_id"]) for row in snapshot.rows("images").to_pylist()] == [
        ("derm", "case-1"),
        ("glioma", None),
        (None, "case-1"),
    ]
    assert snapshot.codes(mri_key("derm")).case_ids == ("case-1",)
    assert fsck(store.storage).findings == ()


def commit_labels(store, cohort, *cases):
    rows = [{"cohort": cohort, "case_id": case, "target": "grade", "class": "G"} for case in cases]
    with store.begin("labels") as transaction:
        transaction.write_rows("labels", rows, cohort=cohort)


def test_what_others_commit_during_a_purge_is_purged_too(store, monkeypatch):
    for i, cases in enumerate((["case-1", "case-2"], ["case-3"])):
        commit_codes(store, make_codes(cases, mri_key(), seed=i))
    other = EmbeddingStore.open(store.storage.root)
    real = CommitLog.append
    late = {
        "compaction": lambda: compact(other, mri_key()),
        "bag": lambda: commit_bag(other, make_bag(3), "case-1"),
        "labels": lambda: commit_labels(other, "glioma", "case-2", "case-1"),
    }

    def append(self, **arguments):
        if self is store.log and late:
            late.popitem()[1]()
        return real(self, **arguments)

    monkeypatch.setattr(CommitLog, "append", append)
    report = purge(store, "glioma", "case-1")
    assert late == {}
    assert report.artifacts == 2
    codes = make_codes(["case-1", "case-2"], mri_key(), seed=0)
    assert holders(store, "case-1", [bytes_of(codes, "case-1")]) == []
    assert store.snapshot().codes(mri_key()).case_ids == ("case-2", "case-3")
    assert store.snapshot().rows("labels")["case_id"].to_pylist() == ["case-2"]
    report = fsck(store.storage)
    assert {finding.problem for finding in report.findings} <= {"orphan"}


@pytest.mark.parametrize("split_came", ["before", "meanwhile"])
def test_weights_that_saw_the_case_during_a_purge_go_too(store, monkeypatch, split_came):
    commit_codes(store, make_codes(["case-1", "case-2"], mri_key()))
    other = EmbeddingStore.open(store.storage.root)
    real = CommitLog.append
    row = {"cohort": "glioma", "split": "cv5", "fold": 1, "case_id": "case-1", "part": "val", "origin": "given"}

    def split():
        with other.begin() as transaction:
            transaction.write_rows("splits", [row], cohort="glioma")

    def weights():
        with other.begin() as transaction:
            given = {"config": {}, "tensors": {"train_codes": np.ones(2, np.float32)}, "recipe": {}}
            transaction.write_weights("guidance", "knn", **given, cohort="glioma", split="cv5", fold=1)

    late = [weights] if split_came == "before" else [weights, split]
    if split_came == "before":
        split()

    def append(self, **arguments):
        while self is store.log and late:
            late.pop()()
        return real(self, **arguments)

    monkeypatch.setattr(CommitLog, "append", append)
    assert purge(store, "glioma", "case-1").artifacts == 2
    assert not late
    assert not store.snapshot().entries(kind="weights")
    assert not list(store.storage.root.glob("objects/weights/*"))


def test_a_purge_under_endless_changes_gives_up_and_says_so(store, monkeypatch):
    commit_codes(store, make_codes(["case-1", "case-2"], mri_key()))
    other = EmbeddingStore.open(store.storage.root)
    real = CommitLog.append
    count = iter(range(100))

    def append(self, **arguments):
        if self is store.log:
            commit_bag(other, make_bag(3), "case-1", f"slide-{next(count)}")
        return real(self, **arguments)

    monkeypatch.setattr(CommitLog, "append", append)
    with pytest.raises(CommitConflictError, match="changed cohort glioma during the purge; run the command again"):
        purge(store, "glioma", "case-1")
    assert {"case-1", "case-2"} <= set(store.snapshot().codes(mri_key()).case_ids)


@pytest.mark.parametrize("cohort", ["derm", "glioma"])
def test_commits_of_other_cases_do_not_hold_a_purge_up(store, monkeypatch, cohort):
    commit_codes(store, make_codes(["case-1", "case-2"], mri_key()))
    other = EmbeddingStore.open(store.storage.root)
    real = CommitLog.append
    count = iter(range(100))

    def append(self, **arguments):
        if self is store.log:
            commit_codes(other, make_codes([f"D{next(count)}"], mri_key(cohort)))
            commit_bag(other, make_bag(3), "D0", f"slide-{next(count)}")
            commit_labels(other, cohort, f"D{next(count)}")
            with other.begin() as transaction:  # of a fold that the case has no part in
                given = {"config": {}, "tensors": {"w": np.ones(2, np.float32)}, "recipe": {"of": cohort}}
                transaction.write_weights("guidance", "ridge", **given, cohort=cohort, split="cv5", fold=0)
        return real(self, **arguments)

    monkeypatch.setattr(CommitLog, "append", append)
    assert purge(store, "glioma", "case-1").artifacts == 1
    assert next(count) == 3
    assert set(store.snapshot().codes(mri_key()).case_ids) == {"case-2", *(["D0"] if cohort == "glioma" else [])}


def test_a_compaction_that_began_before_a_purge_cannot_bring_the_case_back(store):
    for i, cases in enumerate((["case-1", "case-2"], ["case-3"])):
        commit_codes(store, make_codes(cases, mri_key(), seed=i))
    other = EmbeddingStore.open(store.storage.root)
    slow = other.begin()
    slow.__enter__()
    snapshot = other.snapshot()
    entries = snapshot.code_set_entries(mri_key())
    for entry in entries:
        slow.replace(entry)
    slow.write_codes(snapshot.codes(mri_key()), input_digests=[entry.inputs for entry in entries])
    purge(store, "glioma", "case-1")
    with pytest.raises(CommitConflictError):
        slow.__exit__(None, None, None)
    assert store.snapshot().codes(mri_key()).case_ids == ("case-2", "case-3")


def test_a_purged_case_can_come_back_and_go_again(store):
    codes = make_codes(["case-1", "case-2"], mri_key())
    commit_codes(store, codes)
    purge(store, "glioma", "case-1")
    commit_codes(store, codes)
    assert store.snapshot().codes(mri_key()).codes_nd.tobytes() == codes.codes_nd.tobytes()
    assert store.snapshot(2).codes(mri_key()).case_ids == ("case-2",)
    assert purge(store, "glioma", "case-1").artifacts == 1
    assert store.snapshot(3).codes(mri_key()).case_ids == ("case-2",)
    assert fsck(store.storage).findings == ()


def test_the_last_case_of_a_file_leaves_an_empty_set(store):
    commit_codes(store, make_codes(["case-1"], mri_key()))
    purge(store, "glioma", "case-1")
    assert store.snapshot().code_sets == ()
    assert fsck(store.storage).findings == ()


def test_a_damaged_shared_file_stops_the_purge_before_anything_changes(full):
    path = full.snapshot().entries(kind="codes")[0].path
    (full.storage.root / path).write_bytes(b"x")
    before = files_of(full.storage.root, "commits")
    with pytest.raises(CorruptArtifactError, match=path):
        purge(full, "glioma", "case-2")
    assert files_of(full.storage.root, "commits") == before
    assert len(full.snapshot().bags(bag_key(), "case-2")) == 1


def test_what_a_sweep_moved_to_the_trash_of_the_case_goes_too(full):
    root = full.storage.root
    (path,) = {entry.path for entry in full.snapshot().entries(kind="codes", case_id="case-1", modality="mri_t1")}
    other = next(iter(full.snapshot().entries(kind="rows:targets"))).path
    for folder, source in (("a", path), ("b", other)):
        (root / "trash/01" / folder).mkdir(parents=True)
        shutil.copy(root / source, root / "trash/01" / folder / "left.parquet")
    (root / "trash/01/bag.bin").write_bytes(b"of whom?")
    purge(full, "glioma", "case-1")
    assert list(files_of(root, "trash")) == ["trash/01/b/left.parquet"]


def test_what_a_wrong_sweep_took_of_other_cohorts_can_still_come_back(full):
    commit_codes(full, make_codes(["case-7"], mri_key("derm")))
    root = full.storage.root
    (path,) = {entry.path for entry in full.snapshot().entries(kind="codes", cohort="derm")}
    taken = root / "trash/01" / path
    taken.parent.mkdir(parents=True)
    shutil.move(root / path, taken)
    purge(full, "glioma", "case-1")
    collect(full, dry_run=False)
    assert full.snapshot().codes(mri_key("derm")).case_ids == ("case-7",)
