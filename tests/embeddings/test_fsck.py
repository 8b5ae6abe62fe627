from __future__ import annotations

import shutil

import pytest

from guidestore.embeddings import checkpoints, commit_log
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.records import Tag
from guidestore.embeddings.store import EmbeddingStore
from tests.embeddings.making import commit_codes, files_of, flips, full_store, make_codes, mri_key


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("fsck") / "store"
    full_store(root)
    return root


@pytest.fixture
def full(pristine, tmp_path):
    """A store with one of everything, to be damaged."""
    shutil.copytree(pristine, tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


def kinds(store) -> dict[str, str]:
    """One path of every kind of file."""
    by_kind = {}
    for path in files_of(store.storage.root):
        parts = path.split("/")
        name = "/".join(parts[:2]) if parts[0] == "objects" else parts[0]
        if name == "objects/bag":
            name += " metadata" if path.endswith("zarr.json") else " chunk"
        if name in ("heads", "leases", "trash"):
            continue
        name = "checkpoints/segments" if parts[1:2] == ["segments"] else name
        by_kind.setdefault("objects/rows/" + parts[2] if name == "objects/rows" else name, path)
    return by_kind


KINDS = [
    *("format.json", "commits", "checkpoints", "checkpoints/segments"),
    *("objects/bag chunk", "objects/bag metadata", "objects/codes"),
    *("objects/weights", "objects/rows/labels", "objects/rows/targets", "objects/rows/splits"),
    *("objects/rows/runs", "objects/rows/metrics", "objects/rows/predictions"),
]


def test_a_clean_store_is_clean_and_every_file_was_read(full):
    assert set(kinds(full)) == set(KINDS)
    seen = []
    report = fsck(full.storage, lambda done, total: seen.append((done, total)))
    assert report.findings == ()
    assert report.clean
    objects = files_of(full.storage.root, "objects")
    assert report.files == len(objects)
    assert report.bytes == sum(map(len, objects.values()))
    assert report.commits == full.log.head
    assert seen == [(done, len(objects)) for done in range(len(objects) + 1)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["first bit", "middle bit", "last bit", "truncated", "longer", "empty"])
def test_damage_of_every_kind_of_file_is_found(full, kind, damage):
    path = kinds(full)[kind]
    file = full.storage.root / path
    whole = file.read_bytes()
    bits = len(whole) * 8
    damaged = {
        "truncated": whole[:-1],
        "longer": whole + b"\0",
        "empty": b"",
        "first bit": next(flips(whole, [0]))[1],
        "middle bit": next(flips(whole, [bits // 2 + 3]))[1],
        "last bit": next(flips(whole, [bits - 1]))[1],
    }[damage]
    file.write_bytes(damaged)
    report = fsck(full.storage)
    assert not report.clean
    finding = next(f for f in report.findings if f.path == path)
    assert finding.problem == "damaged"
    assert {f.path for f in report.findings if f.problem == "damaged"} == {path}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "checkpoints"])
def test_a_missing_file_of_every_kind_is_found(full, kind):
    path = kinds(full)[kind]
    (full.storage.root / path).unlink()
    report = fsck(full.storage)
    assert not report.clean
    finding = next(f for f in report.findings if f.path == path)
    assert finding.problem == "missing"


def test_damage_of_the_entries_of_a_large_commit_is_found(full, monkeypatch):
    monkeypatch.setattr(commit_log, "INLINE_ENTRIES", 1)
    commit_codes(full, make_codes(["D1", "D2"], mri_key()))
    assert fsck(full.storage).findings == ()
    (file,) = (full.storage.root / "objects/entries").iterdir()
    whole = file.read_bytes()
    for data, problem in ((whole[:-1], "damaged"), (next(flips(whole, [99]))[1], "damaged"), (None, "missing")):
        file.unlink() if data is None else file.write_bytes(data)
        findings = {(finding.problem, finding.path) for finding in fsck(full.storage).findings}
        assert (problem, f"objects/entries/{file.name}") in findings
        assert all(path == f"objects/entries/{file.name}" or kind == "orphan" for kind, path in findings)


def test_findings_name_the_cases_of_a_file(full):
    entries = full.snapshot().entries(kind="bag", case_id="case-2")
    (full.storage.root / entries[0].files[0].path).unlink()
    codes = full.snapshot().entries(kind="codes")[0]
    (full.storage.root / codes.path).write_bytes(b"")
    found = {finding.path: finding for finding in fsck(full.storage).findings}
    assert found[entries[0].files[0].path].case_id == "case-2"
    assert found[codes.path].case_id == "case-1, case-2, case-3"
    assert str(found[codes.path]).startswith(f"damaged: {codes.path} (case case-1, case-2, case-3): 0 bytes instead of")


def test_many_cases_of_a_file_are_shortened(store):
    commit_codes(store, make_codes([f"case-{i}" for i in range(9)], mri_key()))
    path = store.snapshot().entries(kind="codes")[0].path
    (store.storage.root / path).unlink()
    (finding,) = fsck(store.storage).findings
    assert finding.case_id == "case-0, case-1, case-2, case-3, case-4 and 4 more"


def test_extra_files_are_found_and_orphans_are_harmless(full):
    root = full.storage.root
    bag = full.snapshot().entries(kind="bag", case_id="case-3")[0].path
    extra = [f"{bag}/features/c/9/0", f"{bag}/stray", "commits/notes.txt", "checkpoints/000000000100.parquet"]
    for path in extra:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    orphans = [
        f"checkpoints/segments/{1:012d}-{2:012d}-{'ab' * 32}.parquet",
        "objects/codes/mri_t1/densenet/01.parquet",
        "objects/bag/ab/" + "ab" * 32 + "/01/zarr.json",
    ]
    report = fsck(full.storage)
    assert {f.path for f in report.findings} == set(extra)
    assert [f.case_id for f in report.findings if f.path.startswith("objects")] == ["case-3", "case-3"]
    assert not report.clean
    for path in extra:
        (root / path).unlink()
    for path in orphans:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    report = fsck(full.storage)
    assert {(f.problem, f.path) for f in report.findings} == {("orphan", path) for path in orphans}
    assert report.clean


def test_a_lost_tail_with_a_gap_is_found(full):
    for version in (3, 4):
        (full.storage.root / commit_log.path_of(version)).unlink()
    missing = [f.path for f in fsck(full.storage).findings if f.problem == "missing"]
    assert missing == [commit_log.path_of(3), commit_log.path_of(4)]


def test_a_commit_of_another_log_is_found(full, pristine, tmp_path):
    full_store(tmp_path / "other")
    path = commit_log.path_of(4)
    shutil.copyfile(tmp_path / "other" / path, full.storage.root / path)
    details = {f.path: f.detail for f in fsck(full.storage).findings}
    assert "does not follow the commit before it" in details[path]


def test_a_checkpoint_that_is_not_what_the_commits_say_is_found(full):
    version = full.log.head
    shutil.rmtree(full.storage.root / "checkpoints")
    digest = commit_log.read_commit(full.storage, version).sha256
    checkpoints.write(full.storage, version, digest, full.log.table().slice(1))
    (finding,) = fsck(full.storage).findings
    assert (finding.path, finding.problem) == (checkpoints.manifests(full.storage)[0], "damaged")
    assert "is not what the commits fold to; delete it" in finding.detail


def test_a_tag_of_a_snapshot_that_is_not_there_is_found(full):
    full.log.append(tags=[Tag("future", 999)], actor={})
    (finding,) = fsck(full.storage).findings
    assert (finding.path, finding.problem) == (commit_log.path_of(full.log.head), "damaged")
    assert "its tag future names snapshot 999" in finding.detail


def test_a_damaged_log_does_not_hide_damaged_objects(full):
    codes = full.snapshot().entries(kind="codes")[-1]
    (full.storage.root / codes.path).unlink()
    first = full.storage.root / commit_log.path_of(1)
    first.write_bytes(first.read_bytes()[:-5])
    problems = {(f.problem, f.path) for f in fsck(full.storage).findings}
    assert ("missing", codes.path) in problems
    assert ("damaged", commit_log.path_of(1)) in problems


def test_fsck_changes_nothing(full):
    (full.storage.root / kinds(full)["objects/codes"]).write_bytes(b"x")
    before = files_of(full.storage.root)
    fsck(full.storage)
    assert files_of(full.storage.root) == before


def test_an_empty_store_is_clean(store):
    assert fsck(store.storage).findings == ()
