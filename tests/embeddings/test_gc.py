from __future__ import annotations

import json
import os
import time

import pytest

from guidestore.embeddings import checkpoints
from guidestore.embeddings.commit_log import read_record
from guidestore.embeddings.errors import CorruptArtifactError
from guidestore.embeddings.gc import ORPHAN_AGE_H, collect
from guidestore.embeddings.records import sealed_json
from tests.embeddings.making import commit_codes, files_of, full_store, make_codes, mri_key


def put(root, path: str, age_h: float) -> str:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"12345")
    then = time.time() - age_h * 3600
    os.utime(file, (then, then))
    return path


def test_only_orphans_older_than_a_day_go(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    for path in files_of(root):  # a committed file may be as old as it likes
        os.utime(root / path, (0, 0))
    before = set(files_of(root))
    young = put(root, "objects/codes/mri_t1/densenet/young.parquet", ORPHAN_AGE_H - 0.1)
    old = {
        put(root, "objects/codes/mri_t1/densenet/old.parquet", ORPHAN_AGE_H + 0.1),
        put(root, "objects/weights/old.safetensors", 1000),
        put(root, "staging/01ABC/0-bag/zarr.json", ORPHAN_AGE_H + 0.1),
    }
    sweep = collect(store, dry_run=True)
    assert ({f.path for f in sweep.swept}, {f.path for f in sweep.kept}, sweep.bytes) == (old, {young}, 15)
    assert set(files_of(root)) == before | old | {young}
    assert {f.path for f in collect(store, dry_run=False).swept} == old
    trash = {path.split("/", 2)[2] for path in files_of(root, "trash")}
    assert trash == {path for path in old if path.startswith("objects/")}
    assert {path for path in files_of(root) if not path.startswith("trash/")} == before | {young}
    assert not (root / "staging/01ABC").exists()


def test_gc_sweeps_nothing_of_a_store_of_everything(tmp_path):
    store = full_store(tmp_path / "store")
    before = files_of(tmp_path / "store")
    assert collect(store, dry_run=False, older_than_h=-1).swept == ()
    assert files_of(tmp_path / "store") == before


def test_gc_does_not_trust_a_checkpoint(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    digest = read_record(store.storage, 1).sha256
    checkpoints.write(store.storage, 1, digest, store.log.table().slice(0, 1))  # whole, and wrong
    opened = type(store).open(root)
    assert collect(opened, dry_run=False, older_than_h=-1).swept == ()


def test_gc_deletes_nothing_while_the_log_is_damaged(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    commit_codes(store, make_codes(["C2"], mri_key()))
    orphan = put(root, "objects/weights/old.safetensors", 1000)
    first = root / "commits/000000000001.json"
    first.write_bytes(first.read_bytes()[:-2])
    with pytest.raises(CorruptArtifactError, match=r"commits/000000000001\.json is damaged"):
        collect(store, dry_run=False)
    assert (root / orphan).exists()


def test_gc_sweeps_nothing_of_a_log_that_was_edited_under_a_checkpoint(store, root):
    for case in ("C1", "C2"):
        commit_codes(store, make_codes([case], mri_key()))
    store.log.checkpoint()
    first = root / "commits/000000000001.json"
    body = json.loads(first.read_bytes())
    del body["sha256"]
    first.write_bytes(sealed_json({**body, "add": []}))  # its file looks like an orphan
    opened = type(store).open(root)
    with pytest.raises(CorruptArtifactError, match="the log was edited"):
        collect(opened, dry_run=False, older_than_h=-1)


def test_segments_that_no_checkpoint_names_go_after_a_day(store, root):
    commit_codes(store, make_codes(["C1"], mri_key()))
    store.log.checkpoint()
    before = set(files_of(root))
    segments = [f"checkpoints/segments/{1:012d}-{2:012d}-{letter * 64}.parquet" for letter in "ab"]
    for path, age_h in zip(segments, (ORPHAN_AGE_H + 0.1, ORPHAN_AGE_H - 0.1), strict=True):
        put(root, path, age_h)
    sweep = collect(store, dry_run=False)
    assert ([f.path for f in sweep.swept], [f.path for f in sweep.kept]) == (segments[:1], segments[1:])
    assert set(files_of(root)) == before | {segments[1]}
