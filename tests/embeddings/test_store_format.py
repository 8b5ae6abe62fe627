"""Format 1 stays readable: by us, and by a reader written from docs/store-format.md alone."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
from pathlib import Path

import google_crc32c
import numcodecs
import numpy as np
import pyarrow.parquet as pq
import pytest

from guidestore.embeddings import checkpoints
from guidestore.embeddings.bags import CHUNK_ROWS, SHARD_ROWS
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.log_table import LOG_SCHEMA
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag

FIXTURE = Path(__file__).parents[1] / "fixtures/format1"
DOCUMENT = (Path(__file__).parents[2] / "docs/store-format.md").read_text()
ZARR_ARRAYS = sorted((FIXTURE / "store/objects/bag").glob("*/*/*/*/zarr.json"))
EXPECTED = json.loads((FIXTURE / "expected.json").read_text())


# The independent reader: nothing of `embeddings` below this line ----------------------------------------------------


def canonical(value) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sealed(path: Path) -> dict:
    data = path.read_bytes()
    body = json.loads(data)
    digest = body.pop("sha256")
    assert hashlib.sha256(canonical(body)).hexdigest() == digest
    assert canonical({**body, "sha256": digest}) + b"\n" == data
    return {**body, "sha256": digest}


def plain(chunk: bytes) -> bytes:
    values, checksum = chunk[:-4], chunk[-4:]
    assert google_crc32c.value(values) == int.from_bytes(checksum, "little")
    return values


class Reader:
    """Reads a store of format 1, revision 1, by folding all of its commits."""

    def __init__(self, root: Path) -> None:
        assert (root / "format.json").read_bytes() == b'{"format": 1, "revision": 1}\n'
        self.root = root
        self.rows: list[dict] = []
        self.head, parent = 0, ""
        while (path := root / f"commits/{self.head + 1:012d}.json").exists():
            commit = sealed(path)
            assert (commit["version"], commit["parent"]) == (self.head + 1, self.head)
            assert commit["parent_sha256"] == parent
            self.head, parent = commit["version"], commit["sha256"]
            self.fold(commit)

    def fold(self, commit: dict) -> None:
        version = commit["version"]
        for row in self.rows:
            if row["removed_at"] is None and (
                any((r["artifact"], r["path"]) == (row["artifact"], row["path"]) for r in commit["remove"])
                or (row["kind"] == "alias" and row["artifact"] in [alias["name"] for alias in commit["aliases"]])
            ):
                row["removed_at"] = version
        for purge in commit["purge"]:
            self.purge(purge, version)
        keys = ("version", "commit_uuid", "parent", "parent_sha256", "created_at", "actor", "message", "sha256")
        self.add("commit", version, artifact=commit["commit_uuid"], meta={key: commit[key] for key in keys})
        entries = commit["add"]
        if commit["add_file"]:
            assert entries == []
            table = pq.read_table(io.BytesIO(self.verified(commit["add_file"]))).to_pylist()
            entries = [{**entry, "meta": json.loads(entry["meta"])} for entry in table]
        for entry in entries:
            self.rows.append({**entry, "added_at": version, "removed_at": None})
        for alias in commit["aliases"]:
            self.add(
                "alias",
                version,
                artifact=alias["name"],
                meta={"snapshot": alias["snapshot"], "artifact": alias["artifact"]},
            )
        for tag in commit["tags"]:
            assert tag["snapshot"] < version
            self.add("tag", version, artifact=tag["name"], meta={"snapshot": tag["snapshot"]})

    def purge(self, purge: dict, version: int) -> None:
        special = ("commit", "alias", "tag", "tombstone")
        self.rows = [r for r in self.rows if r["kind"] in special or r["artifact"] not in purge["artifacts"]]
        new = {redirect["old"]["path"]: redirect["new"] for redirect in purge["redirects"]}
        for row in self.rows:
            if row["kind"] != "tombstone":
                files = [new.get(file["path"], file) for file in row["files"]]
                row["files"] = [file for file in files if file is not None]
                target = new.get(row["path"])
                row["path"] = target["path"] if target else row["path"]
        for redirect in purge["redirects"]:
            old, target = redirect["old"], redirect["new"]
            meta = {"replaced_by": target["path"] if target else "", "weights": purge["weights"]}
            facts = {"cohort": purge["cohort"], "case_id": purge["case_id"], "path": old["path"], "files": [old]}
            self.add("tombstone", version, artifact=old["sha256"], meta=meta, **facts)

    def add(self, kind: str, version: int, **fields) -> None:
        texts = ["artifact", "cohort", "case_id", "image_id", "modality", "encoder", "encoder_digest", "trained_on"]
        row: dict = dict.fromkeys([*texts, "split", "dtype", "path"], "")
        row |= {"kind": kind, "fold": -1, "shape": [], "files": [], "inputs": [], "meta": {}, "supersedes": []}
        self.rows.append({**row, **fields, "added_at": version, "removed_at": None})

    def snapshot(self, version: int) -> list[dict]:
        return [
            row
            for row in self.rows
            if row["added_at"] <= version and (row["removed_at"] is None or row["removed_at"] > version)
        ]

    def verified(self, file: dict) -> bytes:
        data = (self.root / file["path"]).read_bytes()
        assert len(data) == file["size"]
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
        return data

    def aliases(self, version: int) -> dict[str, list]:
        rows = [row for row in self.snapshot(version) if row["kind"] == "alias"]
        return {row["artifact"]: [row["meta"]["snapshot"], row["meta"]["artifact"]] for row in rows}

    def tags(self) -> dict[str, int]:
        return {row["artifact"]: row["meta"]["snapshot"] for row in self.rows if row["kind"] == "tag"}

    def codes(self, version: int) -> dict[str, str]:
        codes = {}
        rows = [row for row in self.snapshot(version) if row["kind"] == "codes"]
        for row in rows:
            for line in pq.read_table(io.BytesIO(self.verified(row["files"][0]))).to_pylist():
                if line["artifact"] == row["artifact"]:
                    assert (line["case_id"], line["image_id"]) == (row["case_id"], row["image_id"])
                    codes[line["case_id"]] = np.array(line["code"], "<f4").tobytes().hex()
        assert len(codes) == len(rows)
        return codes

    def table(self, kind: str, version: int) -> list[dict]:
        lines = []
        in_runs = kind in ("runs", "metrics", "predictions")
        for row in self.snapshot(version):
            if row["kind"] == ("run" if in_runs else f"rows:{kind}"):
                (file,) = [f for f in row["files"] if f["path"].startswith(f"objects/rows/{kind}/")]
                lines += [
                    line
                    for line in pq.read_table(io.BytesIO(self.verified(file))).to_pylist()
                    if not in_runs or line["run"] == row["artifact"]
                ]
        return lines

    def bag(self, row: dict) -> tuple[dict, np.ndarray, np.ndarray | None]:
        files = {file["path"].removeprefix(row["path"] + "/"): self.verified(file) for file in row["files"]}
        attributes = json.loads(files["zarr.json"])["attributes"]
        coords = self.array(files, "coords") if "coords/zarr.json" in files else None
        return attributes, self.array(files, "features"), coords

    def array(self, files: dict[str, bytes], name: str) -> np.ndarray:
        metadata = json.loads(files[f"{name}/zarr.json"])
        n, d = metadata["shape"]
        dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
        shard_rows = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        (codec,) = metadata["codecs"]
        assert codec["name"] == "sharding_indexed"
        chunk_rows = codec["configuration"]["chunk_shape"][0]
        chunks = shard_rows // chunk_rows
        decode = {"zstd": numcodecs.Zstd().decode, "crc32c": plain}[codec["configuration"]["codecs"][-1]["name"]]
        rows = []
        for shard in range(-(-n // shard_rows)):
            data = files[f"{name}/c/{shard}/0"]
            index, checksum = data[-16 * chunks - 4 : -4], data[-4:]
            assert google_crc32c.value(index) == int.from_bytes(checksum, "little")
            for chunk in range(chunks):
                if shard * shard_rows + chunk * chunk_rows >= n:
                    break
                offset, size = struct.unpack_from("<QQ", index, 16 * chunk)
                raw = decode(data[offset : offset + size])
                rows.append(np.frombuffer(raw, dtype).reshape(chunk_rows, d))
        return np.concatenate(rows)[:n] if rows else np.empty((0, d), dtype)

    def safetensors(self, row: dict) -> dict[str, list]:
        data = self.verified(row["files"][0])
        assert row["path"] == f"objects/weights/{hashlib.sha256(data).hexdigest()}.safetensors"
        (length,) = struct.unpack_from("<Q", data)
        tensors = {}
        for name, facts in json.loads(data[8 : 8 + length]).items():
            start, stop = facts["data_offsets"]
            assert facts["dtype"] == "F32"
            tensors[name] = np.frombuffer(data[8 + length :][start:stop], "<f4").reshape(facts["shape"]).tolist()
        return tensors


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(FIXTURE / "store")


def test_an_independent_reader_gets_the_codes_of_every_snapshot(reader):
    assert reader.head == EXPECTED["head"]
    for version, codes in EXPECTED["codes_float32_hex"].items():
        assert reader.codes(int(version)) == codes


def test_an_independent_reader_gets_the_bags(reader):
    rows = {row["case_id"]: row for row in reader.snapshot(reader.head) if row["kind"] == "bag"}
    assert rows.keys() == EXPECTED["bags"].keys()
    for case, expected in EXPECTED["bags"].items():
        attributes, features_nd, coords_n2 = reader.bag(rows[case])
        assert attributes == {"mpp": 0.5, "tile_size_px": 256, "tile_size_level0_px": 512, "magnification": None}
        assert features_nd.shape == (expected["n"], 4)
        assert hashlib.sha256(features_nd.tobytes()).hexdigest() == expected["features_float16_sha256"]
        digest = None if coords_n2 is None else hashlib.sha256(coords_n2.tobytes()).hexdigest()
        assert digest == expected["coords_int32_sha256"]
    codecs = {json.loads(path.read_bytes())["codecs"][0]["configuration"]["codecs"][-1]["name"] for path in ZARR_ARRAYS}
    assert codecs == {"zstd", "crc32c"}
    assert {expected["coords_int32_sha256"] is None for expected in EXPECTED["bags"].values()} == {True, False}


def test_an_independent_reader_gets_rows_weights_and_names(reader):
    for kind, rows in EXPECTED["rows"].items():
        assert reader.table(kind, reader.head) == rows, kind
    assert reader.table("labels", 15) == EXPECTED["labels_at_15"] != EXPECTED["rows"]["labels"]
    (label,) = [row for row in reader.snapshot(reader.head) if row["kind"] == "rows:labels"]
    (before,) = [row for row in reader.snapshot(15) if row["kind"] == "rows:labels"]
    assert label["supersedes"] == [before["artifact"]]
    (weights,) = [row for row in reader.snapshot(reader.head) if row["kind"] == "weights"]
    assert reader.safetensors(weights) == EXPECTED["weights"]
    assert reader.aliases(reader.head) == EXPECTED["aliases"]
    assert (reader.aliases(12), reader.aliases(13)) == (EXPECTED["aliases_at_12"], EXPECTED["aliases_at_13"])
    assert reader.tags() == EXPECTED["tags"]


def manifests() -> list[tuple[int, dict]]:
    """Version and manifest of each checkpoint."""
    read = []
    for path in sorted((FIXTURE / "store/checkpoints").glob("*.json")):
        version, digest = path.stem.split("-")
        data = path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        assert canonical(json.loads(data)) + b"\n" == data
        read.append((int(version), json.loads(data)))
    return read


@pytest.mark.parametrize(("version", "manifest"), manifests())
def test_an_independent_reader_can_start_from_a_checkpoint(reader, version, manifest):
    assert (manifest["version"], manifest["fold"]) == (version, 1)
    assert manifest["commit_sha256"] == sealed(reader.root / f"commits/{version:012d}.json")["sha256"]
    rows: list[dict] = []
    for segment in manifest["segments"]:
        lines = pq.read_table(io.BytesIO(reader.verified(segment["file"]))).to_pylist()
        assert len(lines) == segment["rows"]
        names = ("kind", "artifact", "path", "added_at")
        by_name = {tuple(row[name] for name in names): row for row in rows}
        for line in lines:
            if line["added_at"] < segment["first"]:
                by_name[tuple(line[name] for name in names)]["removed_at"] = line["removed_at"]
            else:
                rows.append(line)
    folded = Reader.__new__(Reader)
    folded.root, folded.rows = reader.root, []
    for number in range(1, version + 1):
        folded.fold(sealed(reader.root / f"commits/{number:012d}.json"))
    assert rows == [{**row, "meta": canonical(row["meta"]).decode()} for row in folded.rows]


def test_the_fixture_has_a_checkpoint_of_several_segments_with_marks():
    spans = {version: [(s["first"], s["last"]) for s in manifest["segments"]] for version, manifest in manifests()}
    assert spans == {14: [(1, 14)], 18: [(1, 14), (15, 18)]}
    table = pq.read_table(FIXTURE / "store" / manifests()[1][1]["segments"][1]["file"]["path"]).to_pylist()
    assert [(row["kind"], row["removed_at"]) for row in table if row["added_at"] < 15] == [
        ("rows:labels", 16),
        ("alias", 18),
    ]


def test_recipes_give_the_ids(reader):
    for row in reader.snapshot(reader.head):
        if row["kind"] in ("bag", "codes"):
            keys = ("kind", "cohort", "modality", "encoder_digest", "case_id", "image_id")
            recipe = {**{key: row[key] for key in keys}, "inputs": sorted(row["inputs"]), **row["meta"]}
        elif row["kind"] == "weights":
            recipe = {"kind": "weights", "role": row["meta"]["role"], "recipe": row["meta"]["recipe"]}
        else:
            continue
        assert hashlib.sha256(canonical(recipe)).hexdigest() == row["artifact"]
    encoder = {
        "name": "densenet",
        "version": "1",
        "input_kind": "volumes",
        "code_dim": 3,
        "weights_sha256": "ab" * 32,
        "preprocessing": {"spacing_mm": 1.0},
        "trained_on": "glioma/published/0",
    }
    digests = {row["encoder_digest"] for row in reader.snapshot(reader.head) if row["kind"] == "codes"}
    assert digests == {hashlib.sha256(canonical(encoder)).hexdigest()}


# Ours ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path) -> EmbeddingStore:
    """The old store, copied, so that nothing can write to the fixture."""
    shutil.copytree(FIXTURE / "store", tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


@pytest.mark.parametrize("checkpointed", [True, False])
def test_we_read_the_old_store(old, checkpointed):
    if not checkpointed:
        checkpoints.delete_all(old.storage)
        old = EmbeddingStore.open(old.storage.root)
    assert old.log.head == EXPECTED["head"]
    assert fsck(old.storage).findings == ()
    for version, codes in EXPECTED["codes_float32_hex"].items():
        snapshot = old.snapshot(int(version))
        read = snapshot.codes(snapshot.code_set("glioma/mri_t1/densenet", split="published", fold=0))
        assert {case: row.tobytes().hex() for case, row in zip(read.case_ids, read.codes_nd, strict=True)} == codes
    snapshot = old.snapshot()
    key = snapshot.code_set("glioma/histology/resnet")
    for case, expected in EXPECTED["bags"].items():
        (bag,) = snapshot.bags(key, case)
        assert hashlib.sha256(bag.features_nd.tobytes()).hexdigest() == expected["features_float16_sha256"]
        digest = None if bag.coords_n2 is None else hashlib.sha256(bag.coords_n2.tobytes()).hexdigest()
        assert digest == expected["coords_int32_sha256"]
        assert (bag.mpp, bag.tile_size_px, bag.tile_size_level0_px, bag.magnification) == (0.5, 256, 512, None)
    for kind, rows in EXPECTED["rows"].items():
        read = snapshot.rows(kind).to_pylist()
        later = {name: None for name in SCHEMAS[kind].names if name not in rows[0]}  # columns
        assert read == [{**row, **later} for row in rows], kind
    for kind in SCHEMAS.keys() - EXPECTED["rows"].keys():  # kinds that came later
        assert snapshot.rows(kind).num_rows == 0
    assert EXPECTED["rows"].keys() <= SCHEMAS.keys()
    tensors, entry = snapshot.weights(snapshot.entries(kind="weights")[0].artifact)
    assert {name: values.tolist() for name, values in tensors.items()} == EXPECTED["weights"]
    assert entry.meta["name"] == "ridge"
    (label,), (wanted,) = old.snapshot(15).rows("labels").to_pylist(), EXPECTED["labels_at_15"]
    assert label.items() >= wanted.items()
    assert old.tags() == EXPECTED["tags"]
    for at, aliases in ((None, "aliases"), (12, "aliases_at_12"), (13, "aliases_at_13")):
        assert {name: list(where) for name, where in old.snapshot(at).aliases.items()} == EXPECTED[aliases]
    assert old.find_run("champion", at=13).artifact == EXPECTED["run"]


def test_the_old_store_can_be_written_to(old):
    snapshot = old.snapshot()
    key = snapshot.code_set("glioma/histology/resnet")
    bag = Bag(np.ones((2, 4), np.float16), np.zeros((2, 2), np.int32))
    with old.begin() as transaction:
        transaction.write_bag(key, "case-5", "case-5-slide", bag, input_digests=["x"])
    assert old.snapshot().version == EXPECTED["head"] + 1
    assert fsck(old.storage).findings == ()


def test_the_fixture_holds_nothing_of_the_machine_that_made_it():
    commits = [json.loads(path.read_bytes()) for path in (FIXTURE / "store/commits").iterdir()]
    actor = {"host": "example", "flow_run_id": "", "git_sha": "", "environment": {"python": "3.12"}}
    assert len(commits) == EXPECTED["head"]
    assert all(commit["actor"] == actor for commit in commits)
    assert sum(path.stat().st_size for path in FIXTURE.rglob("*") if path.is_file()) < 200_000


ITEMS = ("item", "element")


# The document -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_document_lists_the_columns_of_each_kind(kind):
    (line,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{kind}` |")]
    names = line.split("|")[2].split("`")[1::2]
    named = [name for name in names if name in SCHEMAS[kind].names]
    assert (
        list(dict.fromkeys(name for name in named if name != "class_index" or kind == "targets")) == SCHEMAS[kind].names
    )
    for field in SCHEMAS[kind]:
        word = {"string": "", "list<item: double>": "list of double", "list<element: double>": "list of double"}
        word |= {"list<item: float>": "list of float", "list<element: float>": "list of float"}
        word |= {"list<item: string>": "list of string", "list<element: string>": "list of string"}
        word |= {f"list<{item}: struct<path: string, size: int64, sha256: string>>": "list of file" for item in ITEMS}
        type_ = word.get(str(field.type), str(field.type))
        assert f"`{field.name}` {type_}".strip() in line


def test_the_document_lists_the_columns_of_the_log_and_its_numbers():
    flat = " ".join(DOCUMENT.split())
    for name in LOG_SCHEMA.names:
        assert name in flat.split("with the columns `kind")[1].split("Rows with `added_at`")[0] or name == "kind"
    assert f"min({CHUNK_ROWS}, max(n, 1)) rows" in flat
    assert f"at most {SHARD_ROWS:,} rows" in flat
