from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import (
    AmbiguousNameError,
    CorruptArtifactError,
    FoldLeakageError,
    NotFoundInStoreError,
)
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import fold_allows
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import NEVER_TRAINED, UNKNOWN_TRAINING, FoldScope
from tests.embeddings.making import (
    bag_key,
    commit_bag,
    commit_codes,
    commit_cohort,
    commit_runs,
    full_store,
    make_bag,
    make_codes,
    mri_key,
    same_bag,
    slide_key,
)


def test_a_snapshot_is_unchanged_by_later_commits_and_compaction(store):
    first = make_codes(["C1", "C2"], mri_key(), seed=1)
    commit_codes(store, first)
    early, named = store.snapshot(), store.snapshot(1)
    commit_codes(store, make_codes(["C3"], mri_key(), seed=2))
    assert compact(store, mri_key()) == 2
    commit_codes(store, make_codes(["C4"], mri_key(), seed=3))
    for snapshot in (early, named, store.snapshot(1), EmbeddingStore.open(store.storage.root).snapshot(1)):
        assert snapshot.version == 1
        read = snapshot.codes(mri_key())
        assert read.case_ids == ("C1", "C2")
        assert read.codes_nd.tobytes() == first.codes_nd.tobytes()
        assert len(snapshot.artifacts) == 2
    assert [store.snapshot(n).codes(mri_key()).case_ids[-1] for n in (2, 3, 4)] == ["C3", "C3", "C4"]


def test_snapshot_zero_is_empty(store):
    commit_codes(store, make_codes(["C1"], mri_key()))
    empty = store.snapshot(0)
    assert (empty.table.num_rows, empty.code_sets, empty.artifacts, empty.aliases) == (0, (), frozenset(), {})
    assert empty.rows("labels").num_rows == 0


def test_select_entries_and_entry(store):
    ids = commit_codes(store, make_codes(["C1", "C2"], mri_key()))
    artifact = commit_bag(store, make_bag(3))
    snapshot = store.snapshot()
    assert snapshot.select(kind="bag")["artifact"].to_pylist() == [artifact]
    assert snapshot.select(kind="codes", case_id="C2")["artifact"].to_pylist() == [ids[1]]
    assert {entry.artifact for entry in snapshot.entries()} == {*ids, artifact} == snapshot.artifacts
    entry = snapshot.entry(ids[0])
    assert (entry.case_id, entry.kind, entry.shape, entry.inputs) == ("C1", "codes", (4,), ("image of C1",))
    with pytest.raises(NotFoundInStoreError, match="snapshot 2 has no artifact nothing"):
        snapshot.entry("nothing")


@pytest.fixture
def several(store):
    """MRI codes of encoders trained on folds 0 and 1 and on none, slide codes, bags."""
    for fold in (0, 1):
        commit_codes(store, make_codes(["C1"], mri_key(trained_on=FoldScope.of("glioma", "published", fold))))
    commit_codes(store, make_codes(["C1"], slide_key()))
    commit_bag(store, make_bag(3))
    return store.snapshot()


def test_code_sets_are_listed_with_all_that_names_them(several):
    assert set(several.code_sets) == {
        mri_key(trained_on=FoldScope.of("glioma", "published", 0)),
        mri_key(trained_on=FoldScope.of("glioma", "published", 1)),
        slide_key(),
        bag_key(),
    }
    assert list(map(str, several.code_sets)) == sorted(map(str, several.code_sets))


def test_a_name_with_one_match_or_a_digest_prefix_resolves(several):
    assert several.code_set("glioma/histology/pooling") == slide_key()
    for key in several.code_sets:
        assert several.code_set(str(key)) == key
        assert several.code_set(f"{key.cohort}/{key.modality}/{key.encoder}@{key.encoder_digest}") == key


def test_a_name_with_several_matches_lists_them(several):
    with pytest.raises(AmbiguousNameError) as caught:
        several.code_set("glioma/mri_t1/densenet")
    for key in several.code_sets[2:]:
        assert f"{key} (trained on {key.trained_on})" in str(caught.value)
    assert "add @DIGEST, such as @" in str(caught.value)
    assert str(caught.value).endswith(", or --split published --fold 0 where that is asked")


def test_split_and_fold_choose_the_set_of_that_fold(several):
    for fold in (0, 1):
        key = several.code_set("glioma/mri_t1/densenet", split="published", fold=fold)
        assert key.trained_on == FoldScope.of("glioma", "published", fold)
    assert several.code_set("glioma/histology/pooling", split="published", fold=7) == slide_key()


def test_no_set_of_that_fold_is_leakage(several):
    for split, fold in (("published", 2), ("other", 0)):
        with pytest.raises(FoldLeakageError, match="were trained on glioma/published/0, glioma/published/1"):
            several.code_set("glioma/mri_t1/densenet", split=split, fold=fold)


def test_an_unknown_set_says_what_there_is(several):
    with pytest.raises(NotFoundInStoreError, match=r"no code set .*/x.*there are glioma/histology/pooling,"):
        several.code_set("glioma/mri_t2/x")
    with pytest.raises(NotFoundInStoreError, match="no codes of"):
        several.codes(dataclasses.replace(slide_key(), encoder_digest="0" * 64))
    with pytest.raises(NotFoundInStoreError, match="case C9 has no bag"):
        several.bags(bag_key(), "C9")


@pytest.mark.parametrize(
    ("trained_on", "allowed"),
    [
        (NEVER_TRAINED, True),
        (UNKNOWN_TRAINING, True),
        (FoldScope.of("glioma", "published", 0), True),
        (FoldScope.of("glioma", "published", 1), False),
        (FoldScope.of("glioma", "drawn", 0), False),
        (FoldScope.of("derm", "published", 0), False),
    ],
)
def test_fold_allows(trained_on, allowed):
    assert fold_allows(trained_on, "glioma", "published", 0) is allowed


def test_bags_of_a_case_come_sorted_by_slide(store):
    bags = {name: make_bag(5, seed=seed) for seed, name in enumerate(("slide-b", "slide-a"))}
    for name, bag in bags.items():
        commit_bag(store, bag, "C1", name)
    first, second = store.snapshot().bags(bag_key(), "C1")
    assert same_bag(first, bags["slide-a"])
    assert same_bag(second, bags["slide-b"])


def test_a_file_with_a_code_that_another_writer_committed_first_is_read_without_it(store, root):
    # Two writers encode C2 at once; the loser's file also holds C3, so both files are named by the log.
    other = EmbeddingStore.open(root)
    winner, loser = make_codes(["C1", "C2"], mri_key(), seed=1), make_codes(["C2", "C3"], mri_key(), seed=2)
    slow = other.begin("slow")
    slow.__enter__()
    slow.write_codes(loser, input_digests=[["image of C2"], ["image of C3"]])
    commit_codes(store, winner)
    slow.__exit__(None, None, None)
    read = store.snapshot().codes(mri_key())
    assert read.case_ids == ("C1", "C2", "C3")
    assert read.codes_nd[:2].tobytes() == winner.codes_nd.tobytes()
    assert read.codes_nd[2].tobytes() == loser.codes_nd[1].tobytes()


def test_a_batch_with_a_run_that_another_writer_committed_first_is_read_without_it(store, root):
    shared, mine, theirs = "a" * 64, "b" * 64, "c" * 64
    stale = EmbeddingStore.open(root)
    slow = stale.begin("slow")
    slow.__enter__()
    commit_runs(store, [shared, mine], ["C1"])
    stage = stale.log.refresh
    stale.log.refresh = lambda: stale.log.head  # it began before the other committed
    slow.write_runs(
        [Run(run, "glioma", "grade", "s", 0, "I") for run in (shared, theirs)],
        [{"run": run, "part": "test", "metric": "balanced_accuracy", "value": 0.1} for run in (shared, theirs)],
        [],
        inputs={shared: [], theirs: []},
    )
    stale.log.refresh = stage
    slow.__exit__(None, None, None)
    snapshot = store.snapshot()
    assert sorted(snapshot.rows("runs")["run"].to_pylist()) == [shared, mine, theirs]
    metrics = {row["run"]: row["value"] for row in snapshot.rows("metrics").to_pylist()}
    assert snapshot.rows("metrics").num_rows == 3
    assert metrics == {shared: 0.75, mine: 0.75, theirs: 0.1}


def test_two_digests_of_one_image_keep_their_own_codes(store):
    # The image was replaced, so its case has two codes; compaction must not mix them up.
    for seed in (1, 2, 3):
        with store.begin() as transaction:
            transaction.write_codes(make_codes(["C1"], mri_key(), seed=seed), input_digests=[[f"version {seed}"]])

    def by_artifact():
        read = store.snapshot().codes(mri_key())
        entries = store.snapshot().code_set_entries(mri_key())
        return {e.artifact: (e.inputs, row.tobytes()) for e, row in zip(entries, read.codes_nd, strict=True)}

    before = by_artifact()
    assert {inputs[0]: code for inputs, code in before.values()} == {
        f"version {seed}": make_codes(["C1"], mri_key(), seed=seed).codes_nd.tobytes() for seed in (1, 2, 3)
    }
    assert compact(store, mri_key()) == 3
    assert by_artifact() == before


def test_rows_of_a_kind_are_joined_over_commits_and_cohorts(store):
    commit_cohort(store, {"C1": "G"}, {"C1": "train"})
    commit_cohort(store, {"D1": "O"}, {"D1": "test"}, cohort="derm")
    assert store.snapshot().rows("labels")["case_id"].to_pylist() == ["C1", "D1"]
    assert store.snapshot().rows("labels", cohort="derm")["case_id"].to_pylist() == ["D1"]
    assert store.snapshot(1).rows("labels")["case_id"].to_pylist() == ["C1"]
    assert store.snapshot().rows("images").num_rows == 0


def test_weights_are_verified(tmp_path):
    store = full_store(tmp_path / "store")
    (artifact,) = store.snapshot().select(kind="weights")["artifact"].to_pylist()
    tensors, entry = store.snapshot().weights(artifact)
    assert tensors["w"].tolist() == np.arange(24.0).reshape(4, 6).tolist()
    assert entry.meta["role"] == "guidance"
    assert entry.meta["config"] == {"alpha": 1.0}
    path = tmp_path / "store" / entry.path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptArtifactError, match=entry.path):
        store.snapshot().weights(artifact)


def test_a_code_file_without_a_committed_code_is_refused(store, root):
    commit_codes(store, make_codes(["C1", "C2"], mri_key()))
    table = store.log.table()
    doubled = table.slice(2, 1).to_pylist()[0]
    doubled["artifact"] = "f" * 64
    forged = type(table).from_pylist([*table.to_pylist(), doubled], schema=table.schema)
    snapshot = dataclasses.replace(store.snapshot(), folded=lambda: forged)
    with pytest.raises(CorruptArtifactError, match="lacks codes that were committed"):
        snapshot.codes(mri_key())
