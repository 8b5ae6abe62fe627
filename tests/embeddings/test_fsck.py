from __future__ import annotations

import json
import os
import shutil

import pytest

from guidestore.embeddings import checkpoints, commit_log
from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.leases import Lease
from guidestore.embeddings.purge import purge
from guidestore.embeddings.records import Tag, sealed_json
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.indexer import build_index
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
        assert all(path == f"objects/entries/{file.name}" or kind == "extra" for kind, path in findings)


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
    bag = "objects/bag/ab/" + "ab" * 32 + "/01"
    orphans = [
        f"checkpoints/segments/{1:012d}-{2:012d}-{'ab' * 32}.parquet",
        "objects/codes/mri_t1/densenet/01.parquet",
        f"{bag}/zarr.json",
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
    assert {(f.problem, f.path) for f in report.findings} == {("orphan", orphans[0])} | {
        ("extra", path) for path in orphans[1:]
    }
    assert not report.clean
    lease = Lease(full.storage)
    lease.cover([orphans[1], bag])
    for action in (lease.renew, lease.give_up):
        action()
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
    checkpoints.delete_all(full.storage)
    digest = commit_log.read_record(full.storage, version).sha256
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


def read_all(root) -> None:
    """What a reader does: on damage it raises a sentence, and nothing else."""
    try:
        store = EmbeddingStore.open(root)
        store.snapshot()
        store.tags()
    except GuidestoreError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("instead", ["folder", "pipe", "device", "loop", "dangling"])
def test_what_is_no_file_is_damage_and_nothing_hangs_or_raises(full, kind, instead):
    path = kinds(full)[kind]
    file = full.storage.root / path
    file.unlink()
    if instead == "folder":
        file.mkdir()
    elif instead == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to({"device": "/dev/zero", "loop": file.name, "dangling": "nowhere"}[instead])
    report = fsck(full.storage)
    assert not report.clean
    assert path in {finding.path for finding in report.findings}
    read_all(full.storage.root)


def test_the_last_commit_may_be_a_folder_too(full):
    file = full.storage.root / commit_log.path_of(full.log.head)
    file.unlink()
    file.mkdir()
    assert file.relative_to(full.storage.root).as_posix() in {f.path for f in fsck(full.storage).findings}
    with pytest.raises(GuidestoreError, match="is a folder, not a file"):
        EmbeddingStore.open(full.storage.root)


FILE = {"path": "../../outside", "size": 1, "sha256": "0" * 64}
FORGERIES = {
    "add is text": {"add": "x"},
    "add of null": {"add": [None]},
    "version is text": {"version": "8"},
    "version is true": {"version": True},
    "message is a list": {"message": ["x"]},
    "actor is text": {"actor": "x"},
    "tag is text": {"tags": "x"},
    "tag of a text": {"tags": [{"name": "x", "snapshot": "1"}]},
    "alias of a number": {"aliases": [{"name": 3, "snapshot": 1, "artifact": ""}]},
    "purge of a path outside": {
        "purge": [
            {
                "cohort": "glioma",
                "case_id": "x",
                "artifacts": [],
                "weights": [],
                "redirects": [{"old": FILE, "new": FILE}],
            }
        ]
    },
    "purge is null": {"purge": None},
    "entries outside": {"add_file": FILE},
}
ENTRY_FORGERIES = {
    "path outside": {"path": "../../x", "files": [FILE]},
    "absolute path": {"files": [{**FILE, "path": "/etc/passwd"}]},
    "path is a number": {"path": 3},
    "path with a null": {"files": [{**FILE, "path": "objects/a\0b"}]},
    "path too long": {"files": [{**FILE, "path": "objects/" + "a" * 5000}]},
    "files of numbers": {"files": [3]},
    "size is text": {"files": [{**FILE, "size": "3"}]},
    "shape of texts": {"shape": ["x"]},
    "shape too large": {"shape": [2**70]},
    "fold too large": {"fold": 2**40},
    "meta is a list": {"meta": [1]},
    "case is null": {"case_id": None},
}


@pytest.mark.parametrize("which", [2, -1])
@pytest.mark.parametrize("forgery", [*FORGERIES, *ENTRY_FORGERIES, "key missing"])
def test_a_forged_commit_with_a_right_seal_is_named_and_nothing_raises(full, forgery, which):
    path = sorted((full.storage.root / "commits").iterdir())[which]
    body = json.loads(path.read_bytes())
    del body["sha256"]
    if forgery == "key missing":
        del body["add"]
    else:
        entry = commit_log.read_record(full.storage, 1).add[0].as_json()
        body |= FORGERIES.get(forgery) or {"add": [{**entry, "artifact": "f" * 64, **ENTRY_FORGERIES[forgery]}]}
    path.write_bytes(sealed_json(body))
    shutil.rmtree(full.storage.root / "heads")
    report = fsck(full.storage)
    assert not report.clean
    assert f"commits/{path.name}" in {finding.path for finding in report.findings} or forgery == "path too long"
    read_all(full.storage.root)


NESTED = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("kind", ["format.json", "commits", "checkpoints", "index/CURRENT", "leases/x.json"])
def test_deeply_nested_json_is_damage(full, kind):
    path = kinds(full).get(kind, kind)
    (full.storage.root / path).parent.mkdir(exist_ok=True)
    (full.storage.root / path).write_bytes(NESTED)
    named = {finding.path for finding in fsck(full.storage).findings}
    assert path in named or kind == "leases/x.json"
    read_all(full.storage.root)


def test_the_end_of_the_log_that_was_lost_is_named_commit_by_commit(full):
    head = full.log.head
    lost = [commit_log.path_of(version) for version in range(head - 4, head + 1)]
    for path in lost:
        (full.storage.root / path).unlink()
    found = {f.path: f for f in fsck(full.storage).findings if f.problem == "missing"}
    assert list(found) == lost
    for witness in ("heads", "checkpoints"):
        assert f"the log has lost its end: {witness}/0000000000{head:02d}-" in found[lost[0]].detail
        shutil.rmtree(full.storage.root / witness)
        found = {f.path: f for f in fsck(full.storage).findings}


def test_a_log_cut_off_with_all_that_tells_of_it_is_not_clean(full):
    kept = fsck(full.storage).head
    for version in range(full.log.head - 4, full.log.head + 1):
        (full.storage.root / commit_log.path_of(version)).unlink()
    for folder in ("heads", "checkpoints"):
        shutil.rmtree(full.storage.root / folder)
    report = fsck(full.storage, head=kept)
    assert not report.clean
    assert {f.problem for f in report.findings if f.path.startswith("objects/")} == {"extra"}
    assert (
        f"the head that was kept is {kept}"
        in {f.path: f for f in report.findings}[f"commits/{full.log.head:012d}.json"].detail
    )
    assert any(f.path.startswith("heads/") and f.problem == "missing" for f in report.findings)


def test_a_head_kept_elsewhere_stays_good_and_tells_of_a_forged_commit(full):
    head = fsck(full.storage).head
    full.move_alias("later")
    assert fsck(full.storage, head=head).clean
    version = int(head.split("-")[0])
    body = commit_log.read_record(full.storage, version).body()
    shutil.rmtree(full.storage.root / "heads")
    for path in (full.storage.root / "commits").glob(f"{version + 1:012d}*"):
        path.unlink()
    (full.storage.root / commit_log.path_of(version)).write_bytes(sealed_json({**body, "message": "forged"}))
    for given in (head, "999-abc", "nonsense"):
        assert any("the head that was kept" in f.detail for f in fsck(full.storage, head=given).findings)


def test_a_forged_last_commit_is_told_by_its_marker(full):
    path = commit_log.path_of(full.log.head)
    body = commit_log.read_record(full.storage, full.log.head).body()
    (full.storage.root / path).write_bytes(sealed_json({**body, "message": "forged"}))
    assert any(f.path == path and "is not the commit that heads/" in f.detail for f in fsck(full.storage).findings)


def test_a_deleted_checkpoint_is_named_until_the_next_one(full):
    (path,) = checkpoints.manifests(full.storage)
    (full.storage.root / path).unlink()
    found = {finding.path: finding for finding in fsck(full.storage).findings}
    assert found[path].problem == "missing"
    full.move_alias("later")
    EmbeddingStore.open(full.storage.root).log.checkpoint()
    full.move_alias("later")
    EmbeddingStore.open(full.storage.root).log.checkpoint()
    assert path not in {finding.path for finding in fsck(full.storage).findings}


def test_a_purge_deletes_checkpoints_and_is_no_damage(full):
    purge(full, "glioma", "case-1")
    assert fsck(full.storage).findings == ()


def test_files_of_no_store_are_named(full):
    root = full.storage.root
    build_index(full)
    assert fsck(full.storage).findings == ()
    paths = ["notes.txt", "other/a", "index/stray", "heads/stray", "leases/stray", "commits/README", ".hidden/x/y"]
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    findings = fsck(full.storage).findings
    assert {(f.problem, f.path) for f in findings} == {("extra", path) for path in paths}
    for number in range(300):
        (root / f"other/{number}").write_text("x")
    assert len(fsck(full.storage).findings) < 120


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "folder"])
@pytest.mark.parametrize("name", ["CURRENT", "catalog"])
def test_a_damaged_index_is_named(full, name, damage):
    catalog = build_index(full).path
    file = catalog.with_name("CURRENT") if name == "CURRENT" else catalog
    whole = file.read_bytes()
    if damage in ("gone", "folder"):
        file.unlink()
        (file.mkdir if damage == "folder" else lambda: None)()
    else:
        middle = len(whole) // 2 * 8
        file.write_bytes({"flip": next(flips(whole, [middle]))[1], "cut": whole[:-1], "empty": b""}[damage])
    report = fsck(full.storage)
    assert any(file.name in str(finding) for finding in report.findings)
    assert report.clean == (name == "CURRENT" and damage == "gone")  # a build that was killed leaves the same
    build_index(EmbeddingStore.open(full.storage.root), rebuild=True) if damage != "folder" else None


def test_the_index_of_another_log_is_named(full, tmp_path):
    other = full_store(tmp_path / "other")
    build_index(other)
    shutil.copytree(tmp_path / "other/index", full.storage.root / "index")
    (finding,) = fsck(full.storage).findings
    assert (finding.path, finding.problem) == ("index/CURRENT", "damaged")
    assert "is the index of another log" in finding.detail


def test_what_a_killed_sweep_left_in_the_trash_is_said(full):
    codes = full.snapshot().entries(kind="codes")[0]
    full.storage.move(codes.path, f"trash/01/{codes.path}")
    (finding,) = fsck(full.storage).findings
    assert (finding.problem, finding.detail) == ("missing", "a sweep took it: `guidestore gc --delete` moves it back")


def test_an_empty_store_is_clean(store):
    assert fsck(store.storage).findings == ()
