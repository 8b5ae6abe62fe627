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

from guidestore.embeddings.bags import CHUNK_ROWS, SHARD_ROWS
from guidestore.embeddings.fsck import fsck
from guidestore.embeddings.log_table import LOG_SCHEMA
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import Bag

FIXTURE = Path(__file__).parents[1] / "fixtures/format1"
DOCUMENT = (Path(__file__).parents[2] / "docs/store-format.md").read_text()
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


class Reader:
    """Reads a store of format 1 by folding all of its commits."""

    def __init__(self, root: Path) -> None:
        assert (root / "format.json").read_bytes() == b'{"format": 1}\n'
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
        header = {key: commit[key] for key in commit if key not in ("add", "remove", "aliases", "purge")}
        self.add("commit", version, artifact=commit["commit_uuid"], meta=header)
        for entry in commit["add"]:
            self.rows.append({**entry, "added_at": version, "removed_at": None})
        for alias in commit["aliases"]:
            self.add(
                "alias",
                version,
                artifact=alias["name"],
                meta={"snapshot": alias["snapshot"], "artifact": alias["artifact"]},
            )

    def purge(self, purge: dict, version: int) -> None:
        special = ("commit", "alias", "tombstone")
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
        row |= {"kind": kind, "fold": -1, "shape": [], "files": [], "inputs": [], "meta": {}}
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

    def codes(self, version: int) -> dict[str, str]:
        found = {}
        rows = [row for row in self.snapshot(version) if row["kind"] == "codes"]
        for row in rows:
            for line in pq.read_table(io.BytesIO(self.verified(row["files"][0]))).to_pylist():
                if line["artifact"] == row["artifact"]:
                    assert (line["case_id"], line["image_id"]) == (row["case_id"], row["image_id"])
                    found[line["case_id"]] = np.array(line["code"], "<f4").tobytes().hex()
        assert len(found) == len(rows)
        return found

    def table(self, kind: str) -> list[dict]:
        lines = []
        in_runs = kind in ("runs", "metrics", "predictions")
        for row in self.snapshot(self.head):
            if row["kind"] == ("run" if in_runs else f"rows:{kind}"):
                (file,) = [f for f in row["files"] if f["path"].startswith(f"objects/rows/{kind}/")]
                lines += [
                    line
                    for line in pq.read_table(io.BytesIO(self.verified(file))).to_pylist()
                    if not in_runs or line["run"] == row["artifact"]
                ]
        return lines

    def bag(self, row: dict) -> tuple[dict, np.ndarray, np.ndarray]:
        files = {file["path"].removeprefix(row["path"] + "/"): self.verified(file) for file in row["files"]}
        attributes = json.loads(files["zarr.json"])["attributes"]
        return attributes, self.array(files, "features"), self.array(files, "coords")

    def array(self, files: dict[str, bytes], name: str) -> np.ndarray:
        metadata = json.loads(files[f"{name}/zarr.json"])
        n, d = metadata["shape"]
        dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
        shard_rows = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        (codec,) = metadata["codecs"]
        assert codec["name"] == "sharding_indexed"
        chunk_rows = codec["configuration"]["chunk_shape"][0]
        chunks = shard_rows // chunk_rows
        rows = []
        for shard in range(-(-n // shard_rows)):
            data = files[f"{name}/c/{shard}/0"]
            index, checksum = data[-16 * chunks - 4 : -4], data[-4:]
            assert google_crc32c.value(index) == int.from_bytes(checksum, "little")
            for chunk in range(chunks):
                if shard * shard_rows + chunk * chunk_rows >= n:
                    break
                offset, size = struct.unpack_from("<QQ", index, 16 * chunk)
                raw = numcodecs.Zstd().decode(data[offset : offset + size])
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
        assert hashlib.sha256(coords_n2.tobytes()).hexdigest() == expected["coords_int32_sha256"]


def test_an_independent_reader_gets_rows_weights_and_names(reader):
    for kind, rows in EXPECTED["rows"].items():
        assert reader.table(kind) == rows, kind
    (weights,) = [row for row in reader.snapshot(reader.head) if row["kind"] == "weights"]
    assert reader.safetensors(weights) == EXPECTED["weights"]
    assert (reader.aliases(14), reader.aliases(11)) == (EXPECTED["aliases"], EXPECTED["aliases_at_11"])
    tags = {path.stem: sealed(path)["snapshot"] for path in (reader.root / "tags").iterdir()}
    assert tags == EXPECTED["tags"]


def test_an_independent_reader_can_start_from_the_checkpoint(reader):
    (path,) = (reader.root / "checkpoints").iterdir()
    data = path.read_bytes()
    start = data.rindex(b"guidestore.sha256\x18\x40") + len("guidestore.sha256") + 2
    seal = data[start : start + 64]
    assert hashlib.sha256(data[:start] + b"0" * 64 + data[start + 64 :]).hexdigest().encode() == seal
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    folded = Reader.__new__(Reader)
    folded.root, folded.rows = reader.root, []
    for version in range(1, int(path.stem) + 1):
        folded.fold(sealed(reader.root / f"commits/{version:012d}.json"))
    assert rows == [{**row, "meta": canonical(row["meta"]).decode()} for row in folded.rows]


def test_recipes_give_the_ids(reader):
    for row in reader.snapshot(reader.head):
        if row["kind"] in ("bag", "codes"):
            keys = ("kind", "cohort", "modality", "encoder_digest", "case_id", "image_id")
            recipe = {**{key: row[key] for key in keys}, "inputs": sorted(row["inputs"])}
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
        shutil.rmtree(old.storage.root / "checkpoints")
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
        assert hashlib.sha256(bag.coords_n2.tobytes()).hexdigest() == expected["coords_int32_sha256"]
        assert (bag.mpp, bag.tile_size_px, bag.tile_size_level0_px, bag.magnification) == (0.5, 256, 512, None)
    for kind, rows in EXPECTED["rows"].items():
        assert snapshot.rows(kind).to_pylist() == rows, kind
    for kind in SCHEMAS.keys() - EXPECTED["rows"].keys():  # kinds that came later
        assert snapshot.rows(kind).num_rows == 0
    assert EXPECTED["rows"].keys() <= SCHEMAS.keys()
    tensors, entry = snapshot.weights(snapshot.entries(kind="weights")[0].artifact)
    assert {name: values.tolist() for name, values in tensors.items()} == EXPECTED["weights"]
    assert entry.meta["name"] == "ridge"
    assert old.tags() == EXPECTED["tags"]
    assert {name: list(where) for name, where in snapshot.aliases.items()} == EXPECTED["aliases"]
    assert {name: list(where) for name, where in old.snapshot(11).aliases.items()} == EXPECTED["aliases_at_11"]
    assert old.find_run("champion").artifact == EXPECTED["run"]


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


# The document -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_document_lists_the_columns_of_each_kind(kind):
    (line,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{kind}` |")]
    names = line.split("|")[2].split("`")[1::2]
    assert [name for name in names if name != "class_index" or kind == "targets"] == SCHEMAS[kind].names
    for field in SCHEMAS[kind]:
        word = {"string": "", "list<item: double>": "list of double", "list<element: double>": "list of double"}
        word |= {"list<item: float>": "list of float", "list<element: float>": "list of float"}
        word |= {"list<item: string>": "list of string", "list<element: string>": "list of string"}
        type_ = word.get(str(field.type), str(field.type))
        assert f"`{field.name}` {type_}".strip() in line


def test_the_document_lists_the_columns_of_the_log_and_its_numbers():
    flat = " ".join(DOCUMENT.split())
    for name in LOG_SCHEMA.names:
        assert f"{name}" in flat.split("as columns `kind")[1].split("Go on from it")[0] or name == "kind"
    assert f"min({CHUNK_ROWS}, max(n, 1)) rows" in flat
    assert f"at most {SHARD_ROWS:,} rows" in flat
