from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from guidestore.embeddings.compact import compact
from guidestore.embeddings.errors import (
    CommitConflictError,
    CorruptArtifactError,
    GuidestoreError,
    InvalidInputError,
    NotFoundInStoreError,
)
from guidestore.embeddings.fsck import drop_damaged, fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.index import flat, nearest, neighbours, open_index, stored
from guidestore.embeddings.index.exact import ExactIndex
from guidestore.embeddings.index.faiss_index import FaissIndex, build
from guidestore.embeddings.index.metric import prepared
from guidestore.embeddings.purge import purge
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from tests.embeddings.making import bag_key, commit_bag, commit_codes, files_of, make_bag, make_codes, mri_key

METRICS = ("cosine", "euclidean")


def clustered(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(20, d))[rng.integers(0, 20, n)] + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


def commit_clustered(store, n: int = 400, *, images: int = 1, seed: int = 0) -> CaseCodes:
    cases = tuple(f"case-{i // images:04d}" for i in range(n))
    codes = CaseCodes(cases, clustered(n, seed=seed), tuple(f"im-{i}" for i in range(n)), mri_key(dim=8))
    with store.begin() as transaction:
        transaction.write_codes(codes, input_digests=[()] * n)
    return codes


def brute(codes: CaseCodes, case_id: str, metric: str) -> list[tuple[str, float]]:
    """Every other case with its best pair of images, nearest first, by float64 and no library."""
    rows = codes.codes_nd.astype(np.float64)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    best: dict[str, float] = {}
    for i in [i for i, name in enumerate(codes.case_ids) if name == case_id]:
        for other, row in zip(codes.case_ids, rows, strict=True):
            value = -float(rows[i] @ row) if metric == "cosine" else float(np.linalg.norm(rows[i] - row))
            best[other] = min(value, best.get(other, np.inf))
    del best[case_id]
    ordered = sorted(best.items(), key=lambda item: (item[1], item[0]))
    return [(name, -value if metric == "cosine" else value) for name, value in ordered]


@pytest.fixture
def small_limit(monkeypatch):
    """Sets beyond 100 codes get an index."""
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 100)


def index_entries(store):
    return EmbeddingStore.open(store.storage.root).snapshot().entries(kind="index")


# What is found ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("images", [1, 3])
def test_neighbours_are_those_of_a_comparison_by_hand(store, metric, images):
    codes = commit_clustered(store, 120, images=images)
    for case_id in ("case-0000", "case-0007"):
        found = nearest(store.snapshot(), "glioma/mri_t1/densenet", case_id, 5, metric=metric)
        expected = brute(codes, case_id, metric)[:5]
        assert [one.case_id for one in found] == [name for name, _ in expected]
        assert [one.value for one in found] == pytest.approx([value for _, value in expected], abs=1e-5)
        assert index_entries(store) == []


@pytest.mark.parametrize("metric", METRICS)
def test_without_faiss_torch_finds_the_same(monkeypatch, metric):
    """Equal codes and codes that are not finite among them."""
    codes_nd = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    codes_nd[7], codes_nd[2000:2100] = np.nan, codes_nd[100:200]
    queries_md = prepared(np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32), metric)
    by_faiss = ExactIndex(codes_nd, metric)
    wanted, rows = by_faiss.search(queries_md, 25)
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(flat, "_SCORES_AT_ONCE", 3000 * 7)
    by_torch = ExactIndex(codes_nd, metric)
    found, places = by_torch.search(queries_md, 25)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(places, rows)
    np.testing.assert_array_equal(by_torch.codes(), by_faiss.codes())
    assert by_torch.code(7) is None
    np.testing.assert_array_equal(by_torch.code(8), by_faiss.code(8))


def test_far_from_zero_squares_do_not_cancel(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    codes_nd = np.random.default_rng(0).normal(1000, 1, (3000, 16)).astype(np.float32)
    queries_md = codes_nd[:40] + np.float32(0.25)
    found, places = ExactIndex(codes_nd, "euclidean").search(queries_md, 10)
    wanted = np.linalg.norm(queries_md[:, None].astype(np.float64) - codes_nd, axis=2)
    np.testing.assert_array_equal(places, wanted.argsort(axis=1, kind="stable")[:, :10])
    np.testing.assert_allclose(found, np.sort(wanted, axis=1)[:, :10], rtol=1e-6)


def test_without_faiss_a_large_set_is_compared_and_said_so(store, small_limit, monkeypatch):
    codes = commit_clustered(store, 200)
    monkeypatch.setitem(sys.modules, "faiss", None)
    said: list[str] = []
    index = open_index(store.snapshot(), mri_key(dim=8), note=said.append)
    assert said == ["faiss is not installed, so each question compares all 200 codes"]
    expected = [name for name, _ in brute(codes, "case-0000", "cosine")[:5]]
    assert [one.case_id for one in index.of_case("case-0000", 5)] == expected
    assert (index.meta, index_entries(store)) == (None, [])


@pytest.mark.parametrize("metric", METRICS)
def test_a_stored_index_finds_what_comparing_all_finds(store, small_limit, metric):
    commit_clustered(store, 400, images=2)
    snapshot = store.snapshot()
    index = open_index(snapshot, mri_key(dim=8), metric=metric)
    assert index.meta is not None
    assert index.meta["recall"] >= 0.9
    exact = open_index(snapshot, mri_key(dim=8), metric=metric, exact=True)
    assert exact.meta is None
    shared = 0
    for case_id in index.case_ids[::20]:
        wanted, found = exact.of_case(case_id, 5), index.of_case(case_id, 5)
        assert len(found) == 5
        assert case_id not in {one.case_id for one in found}
        known = {one.case_id: one.value for one in exact.of_case(case_id, 199)}
        assert [one.value for one in found] == pytest.approx([known[one.case_id] for one in found], abs=1e-4)
        shared += len({one.case_id for one in wanted} & {one.case_id for one in found})
    assert shared >= 0.9 * 100
    # As many as there are: more lists are read than the few of a usual question.
    assert [one.case_id for one in index.of_case("case-0000", 1000)] == [
        one.case_id for one in exact.of_case("case-0000", 1000)
    ]


def test_one_image_may_ask_and_the_answer_names_the_pair(store):
    key = mri_key(dim=2)
    made = [
        ("A", "a1", (1, 0)),
        ("A", "a2", (0, 1)),
        ("B", "b1", (0.1, 1)),
        ("C", "c1", (1, 0.3)),
        ("C", "c2", (-1, 0)),
    ]
    codes_nd = np.array([code for *_, code in made], np.float32)
    codes = CaseCodes(tuple(m[0] for m in made), codes_nd, tuple(m[1] for m in made), key)
    with store.begin() as transaction:
        transaction.write_codes(codes, input_digests=[()] * 5)
    snapshot = store.snapshot()
    found = nearest(snapshot, key, "A")
    assert [(one.case_id, one.image_id, one.of_image) for one in found] == [("B", "b1", "a2"), ("C", "c1", "a1")]
    assert [one.case_id for one in nearest(snapshot, key, "A", image_id="a1")] == ["C", "B"]
    with pytest.raises(NotFoundInStoreError, match=r"case A has no image a9 in .*; it has a1, a2"):
        nearest(snapshot, key, "A", image_id="a9")


def test_codes_of_ones_own_have_neighbours_too(store, small_limit):
    codes = commit_clustered(store, 300)
    for index in (
        open_index(store.snapshot(), mri_key(dim=8)),
        open_index(store.snapshot(), mri_key(dim=8), exact=True),
    ):
        found = index.of_codes(7 * codes.codes_nd[[3, 5]], 2)
        assert [(one[0].case_id, one[0].of_image) for one in found] == [("case-0003", ""), ("case-0005", "")]
        assert [one[0].value for one in found] == pytest.approx([1, 1])
        for wrong in (np.zeros(8), np.zeros((1, 7)), np.full((1, 8), np.nan)):
            with pytest.raises(InvalidInputError):
                index.of_codes(wrong)


def test_equal_codes_come_in_the_order_of_their_cases_and_are_at_no_distance(store):
    key = mri_key(dim=64)
    code = 1000 + 100 * np.random.default_rng(0).normal(size=64)
    commit_codes(store, CaseCodes(tuple("DCBAE"), np.tile(code, (5, 1)).astype(np.float32), key=key))
    found = nearest(store.snapshot(), key, "C", metric="euclidean")
    assert [(one.case_id, one.value) for one in found] == [("A", 0), ("B", 0), ("D", 0), ("E", 0)]


def test_zeros_are_like_nothing_and_codes_that_are_not_finite_are_left_out(store, small_limit):
    codes_nd = clustered(300)
    codes_nd[10], codes_nd[20], codes_nd[30] = np.nan, np.inf, 0
    codes = CaseCodes(tuple(f"case-{i:03d}" for i in range(300)), codes_nd, key=mri_key(dim=8))
    commit_codes(store, codes)
    for exact in (True, False):
        index = open_index(store.snapshot(), mri_key(dim=8), exact=exact)
        assert index.not_finite == 2
        names = {one.case_id for one in index.of_case("case-000", 500)}
        assert len(names) == 297
        assert not names & {"case-000", "case-010", "case-020"}
        assert [one.value for one in index.of_case("case-030", 3)] == [0, 0, 0]
        with pytest.raises(InvalidInputError, match=r"the code of case case-010 in .* is not finite"):
            index.of_case("case-010")


def test_a_set_without_a_finite_code_is_refused_or_empty(store, monkeypatch):
    commit_codes(store, CaseCodes(("A", "B"), np.full((2, 8), np.nan, np.float32), key=mri_key(dim=8)))
    assert open_index(store.snapshot(), mri_key(dim=8)).of_codes(np.ones((1, 8))) == [[]]
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 1)
    with pytest.raises(InvalidInputError, match="none of the 2 codes is finite"):
        open_index(store.snapshot(), mri_key(dim=8))


def test_codes_of_any_size_have_angles_but_no_distances_beyond_float32():
    codes_nd = clustered(20) * np.float32(1e36)
    _, rows_m1 = ExactIndex(codes_nd, "cosine").search(ExactIndex(clustered(20), "cosine").codes(), 1)
    assert rows_m1[:, 0].tolist() == [*range(20)]
    with pytest.raises(InvalidInputError, match="use cosine"):
        ExactIndex(codes_nd, "euclidean")


def test_questions_that_have_no_answer_are_refused_with_a_sentence(store):
    commit_clustered(store, 20)
    commit_bag(store, make_bag(5))
    snapshot = store.snapshot()
    with pytest.raises(NotFoundInStoreError, match=r"case case-0003x has no code in .* did you mean case-0003\?"):
        nearest(snapshot, mri_key(dim=8), "case-0003x")
    with pytest.raises(NotFoundInStoreError, match="it has 20 cases, as case-0000, case-0001, case-0002"):
        nearest(snapshot, mri_key(dim=8), "zzz")
    with pytest.raises(InvalidInputError, match="0 neighbours were asked for"):
        nearest(snapshot, mri_key(dim=8), "case-0003", 0)
    with pytest.raises(InvalidInputError, match="holds bags, and a bag has no single code"):
        nearest(snapshot, bag_key(), "C1")
    with pytest.raises(InvalidInputError, match=r"'dot' is no metric .* cosine, euclidean"):
        nearest(snapshot, mri_key(dim=8), "case-0003", metric="dot")  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotFoundInStoreError, match=r"no codes of glioma/mri_t1/densenet.* at snapshot 0"):
        nearest(store.snapshot(0), mri_key(dim=8), "case-0003")


# The index as an artifact -------------------------------------------------------------------------------------------


def test_it_is_built_once_with_its_lineage_and_the_same_bytes(store, small_limit):
    codes = commit_clustered(store)
    notes = []
    first = open_index(store.snapshot(), mri_key(dim=8), note=notes.append)
    again = open_index(store.snapshot(), mri_key(dim=8), note=notes.append)
    assert notes == [f"building the index of 400 codes of {mri_key(dim=8)}, once"]
    assert (first.snapshot, again.snapshot, store.snapshot().version) == (1, 2, 2)
    assert first.meta == again.meta
    (entry,) = index_entries(store)
    ids = sorted(entry.artifact for entry in store.snapshot().entries(kind="codes"))
    digest = hashlib.sha256("".join(f"{id_}\n" for id_ in ids).encode()).hexdigest()
    assert entry.inputs == (digest, mri_key(dim=8).encoder_digest)
    assert (entry.cohort, entry.modality, entry.encoder, entry.shape) == ("glioma", "mri_t1", "densenet", (400, 8))
    assert entry.meta["recipe"]["codes"] == digest
    assert {"size", "lists", "probes", "recall", "faiss", "recipe"} == set(entry.meta)
    data = store.storage.read(entry.path)
    assert data == build(codes.codes_nd, "cosine").data
    assert entry.files[0].sha256 == hashlib.sha256(data).hexdigest()
    assert fsck(store.storage).findings == ()
    assert collect(store, dry_run=False, older_than_h=-1).swept == ()
    open_index(store.snapshot(), mri_key(dim=8), metric="euclidean")
    assert len(index_entries(store)) == 2


def test_an_old_snapshot_uses_the_index_of_its_codes(store, small_limit):
    commit_clustered(store, 200)
    old = open_index(store.snapshot(), mri_key(dim=8))
    extra = CaseCodes(("case-new",), clustered(1, seed=5), key=mri_key(dim=8))
    commit_codes(store, extra)
    new = open_index(store.snapshot(), mri_key(dim=8))
    assert (old.index.size, new.index.size, len(index_entries(store))) == (200, 201, 2)
    (old_entry,) = store.snapshot(2).entries(kind="index")
    for at in (1, 2):
        assert open_index(store.snapshot(at), mri_key(dim=8)).index.size == 200
    assert len(index_entries(store)) == 2
    # Codes that were taken away, too.
    gone = store.snapshot().entries(kind="codes", case_id="case-new")[0]
    with store.begin() as transaction:
        transaction.replace(gone)
    assert open_index(store.snapshot(), mri_key(dim=8)).meta == old_entry.meta
    assert len(index_entries(store)) == 2


def test_compaction_needs_no_other_index(store, small_limit):
    commit_clustered(store, 150)
    commit_codes(store, CaseCodes(("case-new",), clustered(1, seed=5), key=mri_key(dim=8)))
    open_index(store.snapshot(), mri_key(dim=8))
    assert compact(store, mri_key(dim=8)) == 2
    open_index(store.snapshot(), mri_key(dim=8))
    assert len(index_entries(store)) == 1


def test_a_damaged_index_is_never_read_and_can_be_made_again(store, small_limit, monkeypatch):
    commit_clustered(store)
    wanted = nearest(store.snapshot(), mri_key(dim=8), "case-0001")
    path = index_entries(store)[0].path
    data = bytearray(store.storage.read(path))
    data[len(data) // 2] ^= 1
    (store.storage.root / path).write_bytes(bytes(data))
    with monkeypatch.context() as patch:
        patch.setattr(stored, "FaissIndex", None)  # its bytes are checked before faiss sees them
        with pytest.raises(CorruptArtifactError, match=path):
            nearest(store.snapshot(), mri_key(dim=8), "case-0001")
    report = fsck(store.storage)
    assert [(finding.problem, finding.path) for finding in report.findings] == [("damaged", path)]
    assert drop_damaged(store, report) == 1
    assert nearest(store.snapshot(), mri_key(dim=8), "case-0001") == wanted
    assert index_entries(store)[0].path != path


def test_whole_bytes_that_this_faiss_cannot_read_are_said(store, small_limit, monkeypatch):
    commit_clustered(store)

    class Newer(FaissIndex):
        def __init__(self, data, metric):
            super().__init__(data[:100], metric)

    monkeypatch.setattr(stored, "FaissIndex", Newer)
    with pytest.raises(GuidestoreError, match="this faiss cannot read it"):
        nearest(store.snapshot(), mri_key(dim=8), "case-0001")


def test_two_that_build_at_once_keep_the_first(store, small_limit, monkeypatch):
    commit_clustered(store)
    real = stored.build

    def build_beside_another(codes_nd, metric):
        monkeypatch.setattr(stored, "build", real)
        open_index(EmbeddingStore.open(store.storage.root).snapshot(), mri_key(dim=8))
        return real(codes_nd, metric)

    monkeypatch.setattr(stored, "build", build_beside_another)
    open_index(store.snapshot(), mri_key(dim=8))
    assert len(index_entries(store)) == 1
    assert store.snapshot().version == 2


def test_an_index_of_few_codes_reads_all_lists_it_must():
    codes_nd = np.tile(clustered(1), (50, 1))  # no clusters to be had
    built = build(codes_nd, "euclidean")
    assert built.recall == 1
    index = FaissIndex(built.data, "euclidean")
    assert sorted(index.search(codes_nd[:1], 50)[1][0].tolist()) == [*range(50)]
    assert index.code(50) is None


# Purge --------------------------------------------------------------------------------------------------------------


def index_files(store) -> list[str]:
    return list(files_of(store.storage.root, "objects/index"))


@pytest.mark.parametrize("metric", METRICS)
def test_a_purge_deletes_every_index_that_holds_the_case(store, small_limit, metric):
    codes = commit_clustered(store, 200)
    index = open_index(store.snapshot(), mri_key(dim=8), metric=metric).index
    commit_codes(store, CaseCodes(("case-new",), clustered(1, seed=5), key=mri_key(dim=8)))
    open_index(store.snapshot(), mri_key(dim=8), metric=metric)
    other = CaseCodes(codes.case_ids, clustered(200, seed=9), key=mri_key("derm", dim=8))
    commit_codes(store, other)
    open_index(store.snapshot(), mri_key("derm", dim=8), metric=metric)
    assert len(index_files(store)) == 3
    kept = store.snapshot().entries(kind="index", cohort="derm")
    before = files_of(store.storage.root)
    assert sum(index.code(7).tobytes() in data for data in before.values()) >= 2

    report = purge(store, "glioma", "case-0007")
    assert report.artifacts == 3  # the code and both indexes
    assert index_files(store) == [kept[0].path]
    assert index_entries(store) == kept
    left = files_of(store.storage.root)
    unit_or_code = {index.code(7).tobytes(), codes.codes_nd[7].tobytes()}
    assert not [path for path, data in left.items() if any(needle in data for needle in unit_or_code)]
    assert fsck(store.storage).findings == ()
    assert collect(store, dry_run=False, older_than_h=-1).swept == ()

    index = open_index(store.snapshot(), mri_key(dim=8), metric=metric)
    assert index.index.size == 200
    assert open_index(store.snapshot(1), mri_key(dim=8), metric=metric).index.size == 199
    assert "case-0007" not in {one.case_id for one in index.of_case("case-new", 500)}
    assert purge(store, "glioma", "case-0007").artifacts == 0
    assert len(index_files(store)) == 3


def test_a_purge_of_a_case_without_a_code_keeps_the_index(store, small_limit):
    commit_clustered(store, 150)
    open_index(store.snapshot(), mri_key(dim=8))
    commit_bag(store, make_bag(3), "other")
    purge(store, "glioma", "other")
    assert len(index_entries(store)) == 1


def test_an_index_that_was_built_while_a_case_was_purged_is_refused(store, small_limit, monkeypatch):
    commit_clustered(store, 150)
    real = stored.build

    def build_during_a_purge(codes_nd, metric):
        purge(EmbeddingStore.open(store.storage.root), "glioma", "case-0007")
        return real(codes_nd, metric)

    monkeypatch.setattr(stored, "build", build_during_a_purge)
    with pytest.raises(CommitConflictError, match="was purged meanwhile, and this was made with it"):
        open_index(store.snapshot(), mri_key(dim=8))
    assert index_entries(store) == []
    monkeypatch.undo()
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 100)
    collect(store, dry_run=False, older_than_h=-1)
    assert index_files(store) == []
    assert open_index(store.snapshot(), mri_key(dim=8)).index.size == 149


def test_a_purge_while_an_index_is_committed_takes_it_too(store, small_limit, monkeypatch):
    commit_clustered(store, 150)
    other = EmbeddingStore.open(store.storage.root)
    from guidestore.embeddings.commit_log import CommitLog

    real = CommitLog.append
    late = [lambda: open_index(other.snapshot(), mri_key(dim=8))]

    def append(self, **arguments):
        if self is store.log and late:
            late.pop()()
        return real(self, **arguments)

    monkeypatch.setattr(CommitLog, "append", append)
    assert purge(store, "glioma", "case-0007").artifacts == 2
    assert index_entries(store) == []
    assert index_files(store) == []


def test_small_sets_store_nothing(store):
    commit_codes(store, make_codes(["case-1", "case-2"], mri_key()))
    nearest(store.snapshot(), mri_key(), "case-1")
    assert store.snapshot().version == 1
    assert index_files(store) == []
