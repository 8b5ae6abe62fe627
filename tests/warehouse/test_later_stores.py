"""A store that a later guidestore wrote within this revision: what we do not know is passed over, the rest is read."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings import heads
from guidestore.embeddings.commit_log import path_of, read_record
from guidestore.embeddings.compact import compact
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.gc import collect
from guidestore.embeddings.pairing import labels_of
from guidestore.embeddings.purge import purge
from guidestore.embeddings.records import Entry, FileRef, sealed_json
from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.catalog import query
from guidestore.warehouse.indexer import build_index
from tests.warehouse.making import CASES, COHORT, MRI, codes_of, commit_codes, commit_cohort

OURS, OTHER = CASES[0], CASES[1]


def put(store: EmbeddingStore, path: str, data: bytes) -> FileRef:
    staged = store.storage.staging() / "file"
    staged.write_bytes(data)
    store.storage.publish(staged, path)
    return FileRef(path, len(data), hashlib.sha256(data).hexdigest())


def table_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def entry(kind: str, file: FileRef, **facts) -> Entry:
    return Entry(hashlib.sha256(file.path.encode()).hexdigest(), kind, file.path, (file,), COHORT, **facts)


@pytest.fixture
def later(store: EmbeddingStore) -> EmbeddingStore:
    """Rows of an unknown kind, a known one with a column more and columns less, an object of an unknown kind, and keys
    that no commit of ours has."""
    commit_cohort(store)
    commit_codes(store, codes_of(MRI, 0))
    moods = pa.table({"cohort": [COHORT] * 2, "case_id": [OURS, OTHER], "mood": [1, 2]})
    labels = pa.table(
        {"target": ["grade"], "colour": [["red"]], "class": ["A"], "cohort": [COHORT], "case_id": ["later-case"]}
    )
    (codes,) = store.snapshot().entries(kind="codes", case_id=OURS)
    wider = pq.read_table(store.storage.root / codes.path).slice(0, 1)
    wider = wider.set_column(0, "case_id", pa.array(["later-case"])).append_column("certainty", pa.array([0.5]))
    file = put(store, f"objects/codes/{codes.modality}/{codes.encoder}/later.parquet", table_bytes(wider))
    artifact = hashlib.sha256(b"later code").hexdigest()
    wider = wider.set_column(2, "artifact", pa.array([artifact]))
    file = put(store, f"objects/codes/{codes.modality}/{codes.encoder}/later2.parquet", table_bytes(wider))
    facts = {name: getattr(codes, name) for name in codes.__slots__}
    changed = {"artifact": artifact, "path": file.path, "files": (file,), "case_id": "later-case"}
    store.log.append(
        add=[
            entry("rows:moods", put(store, "objects/rows/moods/1.parquet", table_bytes(moods))),
            entry("rows:labels", put(store, "objects/rows/labels/later.parquet", table_bytes(labels))),
            entry("mesh", put(store, "objects/mesh/1.ply", b"a mesh of ours"), case_id=OURS),
            entry("mesh", put(store, "objects/mesh/2.ply", b"a mesh of another"), case_id=OTHER),
            Entry(**{**facts, **changed}),
        ],
        actor={},
    )
    path = store.storage.root / path_of(3)
    body = json.loads(path.read_bytes())
    del body["sha256"]
    body |= {"weather": "fine", "add": [{**item, "grade": {"a": 1}} for item in body["add"]]}
    path.write_bytes(sealed_json(body))
    shutil.rmtree(store.storage.root / "heads")  # which tells of the commit as it was
    heads.mark(store.storage, heads.Marker(3, read_record(store.storage, 3).sha256))
    (store.storage.root / "objects" / f"codes/{codes.modality}/{codes.encoder}/later.parquet").unlink()
    (store.storage.root / "notes").mkdir()
    (store.storage.root / "notes/readme.txt").write_text("of the lab")
    return EmbeddingStore.open(store.storage.root)


def test_it_opens_and_its_rows_and_codes_are_read(later: EmbeddingStore):
    snapshot = later.snapshot()
    assert labels_of(snapshot, COHORT, "grade")[1]["later-case"] == "A"
    (row,) = [row for row in snapshot.rows("labels").to_pylist() if row["case_id"] == "later-case"]
    assert row == {
        "cohort": COHORT,
        "case_id": "later-case",
        "target": "grade",
        "class": "A",
        "value": None,
        "time": None,
        "event": None,
    }
    codes = snapshot.codes(snapshot.code_sets[0])
    assert codes.case_ids == tuple(sorted([*CASES, "later-case"]))


def test_it_is_indexed_and_answers(later: EmbeddingStore):
    build_index(later)
    root = later.storage.root
    rows = query(root, "SELECT class, value FROM labels WHERE case_id = 'later-case'").table.to_pylist()
    assert rows == [{"class": "A", "value": None}]
    assert query(root, "SELECT count(*) AS n FROM codes").table.to_pylist() == [{"n": len(CASES) + 1}]
    assert query(root, "SELECT count(*) AS n FROM base.log WHERE kind = 'mesh'").table.to_pylist() == [{"n": 2}]


def findings(store: EmbeddingStore) -> set[tuple[str, str, str]]:
    """What fsck finds, but for the file that is of no store."""
    found = {(finding.problem, finding.path, finding.case_id) for finding in fsck(store.storage).findings}
    assert ("extra", "notes/readme.txt", "") in found
    return found - {("extra", "notes/readme.txt", "")}


def test_it_is_clean_and_nothing_of_it_is_swept(later: EmbeddingStore, root: Path):
    assert findings(later) == set()
    assert collect(later, dry_run=False, older_than_h=-1).swept == ()
    (root / "objects/mesh/1.ply").write_bytes(b"a mesh of OURS")
    (root / "objects/rows/moods/1.parquet").unlink()
    assert findings(later) == {("damaged", "objects/mesh/1.ply", OURS), ("missing", "objects/rows/moods/1.parquet", "")}


def test_it_can_be_written_to(later: EmbeddingStore):
    (key,) = later.snapshot().code_sets
    assert compact(later, key) == 2
    later.log.checkpoint()
    assert findings(later) == set()
    assert EmbeddingStore.open(later.storage.root).log.table().equals(later.log.table())


def test_a_purge_takes_a_case_out_of_what_we_do_not_know(later: EmbeddingStore, root: Path):
    assert purge(later, COHORT, OURS).artifacts == 2  # its code and its mesh
    assert not (root / "objects/mesh/1.ply").exists()
    assert (root / "objects/mesh/2.ply").exists()
    (moods,) = later.snapshot().entries(kind="rows:moods")
    assert pq.read_table(root / moods.path).to_pylist() == [{"cohort": COHORT, "case_id": OTHER, "mood": 2}]
    (labels,) = [
        entry for entry in later.snapshot().entries(kind="rows:labels") if entry.path.endswith("later.parquet")
    ]
    assert "colour" in pq.read_schema(root / labels.path).names
    assert findings(later) == set()
