"""Published folders, read with pandas, pyarrow and DuckDB over http, and taken back."""

from __future__ import annotations

import datetime
import json
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import UNKNOWN_TRAINING, EncoderSpec
from guidestore.flows.encoding.import_published import import_published
from guidestore.flows.encoding.publish import publish
from tests.commandline import guidestore
from tests.flows.encoding.peers import CASES, COHORT, bag_of, labels, make_store

SLIDE = "TCGA-AA-0003-01Z-00-DX2"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("publish") / "store")


@pytest.fixture(scope="module")
def folder(store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("published") / "glioma"
    publish(store.snapshot(), place, licence="CC-BY-4.0", url="https://example.org/glioma", creator="A lab")
    return place


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def document(folder: Path) -> dict:
    return json.loads((folder / "croissant.json").read_text())


def files_of(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).glob("*.parquet"))


def test_the_card_names_files_that_pandas_reads(folder: Path) -> None:
    front = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert front["license_name"] == "CC-BY-4.0"
    frames = {}
    for config in front["configs"]:
        (data,) = config["data_files"]
        frames[config["config_name"]] = pd.read_parquet(folder / data["path"])
    assert frames["labels"].set_index("case_id")["class"].to_dict() == labels()
    assert set(frames["splits"]["fold"]) == {0, 1}
    (tiles,) = (frame for name, frame in frames.items() if name.startswith("bags-"))
    own = tiles[tiles["image_id"] == SLIDE]
    bag = bag_of(SLIDE, tiles=31)
    np.testing.assert_array_equal(np.stack(own["features"].tolist()), bag.features_nd)
    np.testing.assert_array_equal(own[["x", "y"]].to_numpy(), bag.coords_n2)


def test_vectors_are_fixed_size_lists(folder: Path) -> None:
    of = {file.name.split("_")[-2]: pq.read_schema(file).field("code").type for file in files_of(folder, "codes")}
    assert all(pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32() for kind in of.values())
    assert {name: kind.list_size for name, kind in of.items()} == {"path": 512, "rad": 1024, "guided": 512}


def test_croissant_says_every_file_field_and_lineage(folder: Path, store: EmbeddingStore) -> None:
    said = document(folder)
    assert said["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert {"cr", "sc", "dct", "prov", "@vocab", "conformsTo", "recordSet", "isArray"} <= set(said["@context"])
    assert all(said[name] for name in ("name", "description", "license", "url", "creator", "datePublished", "version"))
    on_disk = {file.relative_to(folder).as_posix() for file in folder.rglob("*.parquet")}
    assert {item["contentUrl"] for item in said["distribution"]} == on_disk
    ids = {item["@id"] for item in said["distribution"]}
    sets = {item["@id"]: item for item in said["recordSet"]}
    for record_set in sets.values():
        for field in record_set["field"]:
            path, column = field["source"]["fileObject"]["@id"], field["source"]["extract"]["column"]
            assert path in ids
            kind = pq.read_schema(folder / path).field(column).type
            assert field.get("isArray", False) == pa.types.is_nested(kind)
            if pa.types.is_fixed_size_list(kind):
                assert field["arrayShape"] == str(kind.list_size)
    (bags,) = (item for name, item in sets.items() if name.startswith("bags-"))
    made = bags["prov:wasGeneratedBy"]
    assert made["guidestore:trainedOn"] == "unknown"
    assert json.loads(made["guidestore:preprocessing"])["tile_px"] == 256
    (commit,) = (json.loads(meta) for meta in store.snapshot().select(kind="commit")["meta"].to_pylist())
    assert said["prov:wasDerivedFrom"]["@id"].endswith(commit["sha256"])


def test_mlcroissant_finds_no_error(folder: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    data = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not data.metadata.ctx.issues.errors
    found = {record["labels/case_id"].decode(): record["labels/class"].decode() for record in data.records("labels")}
    assert found == labels()


def test_duckdb_reads_it_over_http_without_httpfs(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        off: dict[str, Any] = dict.fromkeys(("autoinstall_known_extensions", "autoload_known_extensions"), "false")
        http = fsspec.filesystem("http", skip_instance_cache=True)
        http.modified = lambda path: datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
        (bags,) = files_of(folder, "bags")
        with duckdb.connect(config=off) as con:
            con.register_filesystem(http)
            url = f"http://127.0.0.1:{port}/bags/{bags.name}"
            rows = con.sql(f"SELECT image_id, count(*), len(any_value(features)) FROM '{url}' GROUP BY 1").fetchall()
        assert {image: (n, d) for image, n, d in rows}[SLIDE] == (31, 48)
        assert len(rows) == 8
    finally:
        server.should_exit = True
        thread.join()


def test_the_same_artifacts_come_back_once(folder: Path, store: EmbeddingStore, tmp_path: Path) -> None:
    back = EmbeddingStore.create(tmp_path / "back")
    done = import_published(back, folder)
    assert (done.artifacts, done.new) == (33, 33)
    assert back.snapshot().artifacts == store.snapshot().artifacts
    key = back.snapshot().code_set(f"{COHORT}/histology/tiny16")
    first, second = back.snapshot().bags(key, "TCGA-AA-0003")
    np.testing.assert_array_equal(second.features_nd, bag_of(SLIDE, tiles=31).features_nd)
    np.testing.assert_array_equal(second.coords_n2, bag_of(SLIDE, tiles=31).coords_n2)
    assert (first.mpp, first.tile_size_px, first.magnification) == (0.499, 256, 20.0)
    assert import_published(back, folder).new == 0
    assert back.snapshot().artifacts == store.snapshot().artifacts
    assert import_published(store, folder).new == 0


def test_nothing_of_this_machine_goes_out(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", slides={"C1": {"s1": 3}})
    with store.begin("places") as transaction:
        image = {
            "cohort": COHORT,
            "case_id": "C1",
            "image_id": "s1",
            "modality": "histology",
            "path": "/data/secret.svs",
        }
        files = [{"path": "/data/secret.svs", "size": 1, "sha256": "0" * 64}]
        transaction.write_rows("images", [image | {"files": files, "sha256": "0" * 64}], cohort=COHORT)
        row = {"cohort": COHORT, "layout": "manifest", "source": "/data/secret.csv", "pseudonymized": False, "note": ""}
        transaction.write_rows("cohorts", [row], cohort=COHORT)
    publish(store.snapshot(), tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        assert not file.is_file() or (b"secret" not in file.read_bytes() and bytes(tmp_path) not in file.read_bytes())
    assert pq.read_table(tmp_path / "out/images.parquet")["sha256"].to_pylist() == ["0" * 64]
    assert import_published(store, tmp_path / "out").new == 0


def test_a_pseudonymized_cohort_is_refused_with_what_would_leave(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", slides={"C1": {"s1": 3}, "C2": {"s2": 4}}, pseudonymized=True)
    place = store.storage.local_folder
    done = guidestore("publish", "1", "--output", tmp_path / "out", "--store", place)
    assert done.returncode == 2
    assert "the pseudonyms of 2 cases, their codes, labels and splits" in done.stderr
    assert not (tmp_path / "out").exists()
    done = guidestore("publish", "1", "--output", tmp_path / "out", "--store", place, "--with-pseudonymized")
    assert done.returncode == 0, done.stderr
    assert "no licence was stated" in done.stderr
    assert "Pseudonymized" in document(tmp_path / "out")["rai:personalSensitiveInformation"]


def test_other_rows_of_a_cohort_are_refused(folder: Path, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", slides={case: {} for case in reversed(CASES)})
    before = other.snapshot().version
    with pytest.raises(InvalidInputError, match="cohort glioma has other labels in the store than in"):
        import_published(other, folder)
    assert other.snapshot().version == before
    with pytest.raises(NotFoundInStoreError, match="has no codes of cohort nope"):
        publish(other.snapshot(), tmp_path / "out", cohorts=("nope",))


def test_a_folder_that_was_changed_is_refused(copy: Path, tmp_path: Path) -> None:
    store = EmbeddingStore.create(tmp_path / "back")
    said = document(copy)

    def refused(match: str) -> None:
        with pytest.raises(InvalidInputError, match=match):
            import_published(store, copy)
        assert store.snapshot().version == 0

    def say(distribution: list[dict]) -> None:
        (copy / "croissant.json").write_text(json.dumps(said | {"distribution": distribution}))

    flipped = bytearray((copy / "labels.parquet").read_bytes())
    flipped[40] ^= 1
    whole = (copy / "labels.parquet").read_bytes()
    (copy / "labels.parquet").write_bytes(bytes(flipped))
    refused("is not as it was published")
    (copy / "labels.parquet").unlink()
    refused("lacks labels.parquet")
    (copy / "labels.parquet").write_bytes(whole)
    say([{**said["distribution"][0], "contentUrl": "../store/format.json"}])
    refused("is no file of the folder")
    say(["nonsense"])  # pyright: ignore[reportArgumentType]
    refused("cannot be read")
    say(said["distribution"])

    def artifacts(change: Mapping[str, object]) -> None:

        table = pq.read_table(folder_file)
        rows = table.to_pylist()
        number = next(i for i, row in enumerate(rows) if row["kind"] == "bag" and row["n"] == 31)
        rows[number] |= change
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), copy / "artifacts.parquet")
        data = (copy / "artifacts.parquet").read_bytes()
        others = [item for item in said["distribution"] if item["@id"] != "artifacts.parquet"]
        mine = next(item for item in said["distribution"] if item["@id"] == "artifacts.parquet")
        say([*others, {**mine, "sha256": sha256(data).hexdigest(), "contentSize": f"{len(data)} B"}])

    folder_file = tmp_path / "artifacts.parquet"
    shutil.copy(copy / "artifacts.parquet", folder_file)
    artifacts({"case_id": "TCGA-AA-0001"})
    refused("has another id than what is said")
    artifacts({"kind": "weights"})
    refused("is neither a bag nor a code")
    artifacts({"d": None})
    refused("has no shape")
    artifacts({"inputs": [None]})
    refused("is neither a bag nor a code")
    for wrong in ({"mpp": -1.0}, {"mpp": float("nan")}, {"magnification": float("inf")}, {"tile_size_px": -5}):
        artifacts(wrong)
        refused("has an mpp, a magnification or a size of its tiles that cannot be")


def test_row_groups_that_are_not_there_are_refused_at_once(copy: Path, tmp_path: Path) -> None:
    for change in ({"row_groups": 2**31 - 1}, {"row_group": -1}):
        table = pq.read_table(copy / "artifacts.parquet")
        rows = [row | (change if row["kind"] == "bag" else {}) for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), copy / "artifacts.parquet")
        seal(copy, copy / "artifacts.parquet")
        with pytest.raises(InvalidInputError, match=r"lies in row groups that bags/.* does not have"):
            import_published(EmbeddingStore.create(tmp_path / f"back-{next(iter(change))}"), copy)


def test_a_row_group_of_another_slide_is_refused(copy: Path, tmp_path: Path) -> None:

    table = pq.read_table(copy / "artifacts.parquet")
    rows = table.to_pylist()
    (first, second) = (row for row in rows if row["image_id"] in ("TCGA-AA-0007-01Z-00-DX1", "TCGA-AA-0008-01Z-00-DX1"))
    first["row_group"], first["n"] = second["row_group"], second["n"]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), copy / "artifacts.parquet")
    data = (copy / "artifacts.parquet").read_bytes()
    said = document(copy)
    for item in said["distribution"]:
        if item["@id"] == "artifacts.parquet":
            item |= {"sha256": sha256(data).hexdigest(), "contentSize": f"{len(data)} B"}
    (copy / "croissant.json").write_text(json.dumps(said))
    with pytest.raises(InvalidInputError, match="is of another slide"):
        import_published(EmbeddingStore.create(tmp_path / "back"), copy)


def test_the_command_takes_a_folder_back(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "back"
    done = guidestore("import", folder, "--store", place)
    assert done.returncode == 0, done.stderr
    assert "33 artifacts, 33 new" in done.stdout
    done = guidestore("import", folder, "--store", place, "--cohort", "other")
    assert done.returncode == 2
    assert "leave out --cohort" in done.stderr
    done = guidestore("import", tmp_path, "--store", place)
    assert done.returncode == 2
    assert "give --cohort and --modality" in done.stderr


@pytest.mark.parametrize(
    ("file", "column", "match"),
    [
        ("labels", "class", "the rows of table"),
        ("splits", "cohort", "the rows of table"),
        ("artifacts", "pixels", "pixels that are no JSON object"),
        ("encoders", "trained_on", "cannot be taken"),
        ("codes", "case_id", "lacks 1 code of 8"),
        ("codes", "code", "has other columns"),
        ("bags", "features", "has tiles without features"),
        ("bags", "image_id", "which is of another slide"),
        ("bags", "x", "has tiles without a place"),
    ],
)
def test_a_value_that_was_changed_and_sealed_again_is_refused(
    file: str, column: str, match: str, copy: Path, tmp_path: Path
) -> None:
    path = files_of(copy, file)[0] if file in ("codes", "bags") else copy / f"{file}.parquet"
    opened = pq.ParquetFile(path)
    schema = pa.schema([of if not pa.types.is_fixed_size_list(of.type) else nullable(of) for of in opened.schema_arrow])
    groups = [opened.read_row_group(group).to_pylist() for group in range(opened.num_row_groups)]
    groups[0][0][column] = "7" if column in ("class", "pixels") else None
    with pq.ParquetWriter(path, schema) as writer:
        for rows in groups:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    seal(copy, path)
    store = EmbeddingStore.create(tmp_path / "back")
    with pytest.raises(InvalidInputError, match=match):
        import_published(store, copy)


@pytest.mark.parametrize(
    ("file", "column", "kind", "match"),
    [
        ("bags", "x", pa.float64(), "has other columns"),
        ("bags", "y", pa.int64(), "has other columns"),
        ("bags", "image_id", None, "has other columns"),
        ("bags", "features", pa.list_(pa.int32(), 48), "has other columns"),
        ("codes", "code", pa.list_(pa.float64(), 512), "has other columns"),
    ],
)
def test_columns_of_another_kind_are_refused(
    file: str, column: str, kind: pa.DataType | None, match: str, copy: Path, tmp_path: Path
) -> None:
    path = files_of(copy, file)[0]
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    values = table[column].to_pylist()
    if kind is None:
        table = table.drop_columns(column)
    else:
        made = [[int(number) for number in row] for row in values] if pa.types.is_integer(vector_of(kind)) else values
        table = table.set_column(place, column, pa.array(made, kind))
    pq.write_table(table, path)
    seal(copy, path)
    with pytest.raises(InvalidInputError, match=match):
        import_published(EmbeddingStore.create(tmp_path / "back"), copy)


def vector_of(kind: pa.DataType) -> pa.DataType:
    """The type of the numbers of a column of vectors; null of others."""
    return kind.value_type if pa.types.is_fixed_size_list(kind) else pa.null()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_codes_that_are_not_finite_are_refused(value: float, copy: Path, tmp_path: Path) -> None:
    path = files_of(copy, "codes")[0]
    table = pq.read_table(path)
    codes = np.stack(table["code"].to_numpy())
    codes[2, 7] = value
    made = pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), codes.shape[1])
    pq.write_table(table.set_column(table.schema.get_field_index("code"), "code", made), path)
    seal(copy, path)
    with pytest.raises(InvalidInputError, match="holds codes that are not finite"):
        import_published(EmbeddingStore.create(tmp_path / "back"), copy)


def nullable(vectors: pa.Field) -> pa.Field:
    return pa.field(vectors.name, pa.list_(vectors.type.value_type, vectors.type.list_size))


def seal(folder: Path, path: Path) -> None:
    """The digest of a file that was changed, as whoever changed it may say it too."""
    said, data = document(folder), path.read_bytes()
    for item in said["distribution"]:
        if item["@id"] == path.relative_to(folder).as_posix():
            item |= {"sha256": sha256(data).hexdigest(), "contentSize": f"{len(data)} B"}
    (folder / "croissant.json").write_text(json.dumps(said))


def test_an_encoder_that_saw_the_collection_is_named(tmp_path: Path) -> None:
    spec = EncoderSpec("phikon", "1", "tiles", 48, "", {}, UNKNOWN_TRAINING)
    store = make_store(tmp_path / "store", slides={"TCGA-02-0001": {"s1": 3}}, spec=spec)
    done = publish(store.snapshot(), tmp_path / "out")
    assert any(note.startswith("saw-cohort: encoder phikon was pretrained on") for note in done.notes)
    assert "saw-cohort: encoder phikon" in (tmp_path / "out/README.md").read_text()
    (bags,) = (item for item in document(tmp_path / "out")["recordSet"] if item["@id"].startswith("bags-"))
    assert "phikon" in bags["prov:wasGeneratedBy"]["guidestore:sawCohort"][0]
