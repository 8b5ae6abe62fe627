"""A folder of `guidestore publish` -> a store: the same cohorts, labels, splits, bags and codes, by the same ids."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from guidestore.embeddings.case_codes import code_matrix
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.limits import check_fits, reason_of
from guidestore.embeddings.interchange.parquet_size import parquet_size
from guidestore.embeddings.recipe import code_artifact
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.transaction import content_artifact
from guidestore.embeddings.types import BagStream, CaseCodes, CodeSetKey, FoldScope
from guidestore.embeddings.words import count_of
from guidestore.flows.encoding.committing import register_encoder
from guidestore.flows.encoding.publish import ARTIFACT_SCHEMA, ARTIFACTS, CROISSANT, KINDS, as_schema, without_places
from guidestore.flows.encoding.stored_encoders import StoredEncoder
from guidestore.flows.work.reporting import Progress, no_progress

_TILE_COLUMNS = {"case_id": pa.string(), "image_id": pa.string(), "x": pa.int32(), "y": pa.int32()}
"""Of a file of bags, beside the features."""
_MOST_JSON = 1 << 26
_SLACK = 1 << 24
_BYTES_PER_BYTE = 8
"""`parquet_size` counts 8 to 12 bytes for a value of a list, which takes 2 or 4 in the file."""


@dataclass(frozen=True, slots=True)
class PublishedImport:
    """What came in."""

    code_sets: tuple[CodeSetKey, ...]
    artifacts: int
    new: int
    snapshot: int


def is_published(folder: Path) -> bool:
    """Whether `folder` is one that `guidestore publish` wrote."""
    return (folder / CROISSANT).is_file() and (folder / ARTIFACTS).is_file()


def import_published(store: EmbeddingStore, folder: Path, progress: Progress = no_progress) -> PublishedImport:
    """Checks the sha256 of every file, then commits the tables, then each code set, of bags each slide.

    So it resumes. Raises InvalidInputError where a file is not as it was published, where an artifact's id does not
    follow from what the folder says of it, and where the store has other rows of a cohort.
    """
    published = _Folder.verified(folder)
    told = published.table(ARTIFACTS, ARTIFACT_SCHEMA)
    by_set: defaultdict[CodeSetKey, list[dict[str, Any]]] = defaultdict(list)
    for row in told.to_pylist():
        key = published.key_of(row)
        published.check_id(key, row)
        by_set[key].append(row)
    before = store.snapshot().artifacts
    _commit_tables(store, published)
    done = 0
    for key, rows in by_set.items():
        missing = [row for row in rows if row["artifact"] not in before]
        if key.kind == "codes" and missing:
            _commit_codes(store, published, key, missing)
        for row in missing if key.kind == "bag" else ():
            _commit_bag(store, published, key, row)
        done += len(rows)
        progress(f"{key.modality}/{key.encoder}", done, told.num_rows)
    new = sum(artifact not in before for artifact in told["artifact"].to_pylist())
    return PublishedImport(tuple(by_set), told.num_rows, new, store.snapshot().version)


def _commit_tables(store: EmbeddingStore, published: _Folder) -> None:
    """All rows in one commit. Raises InvalidInputError where the store says otherwise of a cohort."""
    snapshot = store.snapshot()
    with store.begin(f"import of {published.folder.name}", read_at=snapshot.read_at) as transaction:
        for kind in KINDS:
            if f"{kind}.parquet" not in published.files:
                continue
            table = published.table(f"{kind}.parquet", SCHEMAS[kind].append(pa.field("artifact", pa.string())))
            if kind == "encoders":
                for row in table.drop_columns("artifact").to_pylist():
                    stored = published.encoder(row)
                    register_encoder(transaction, stored.spec, stored.config)
                continue
            published.check_rows(kind, table)
            for cohort in sorted(set(table["cohort"].to_pylist())):
                own = table.filter(pc.field("cohort") == cohort)
                there = _rows_of(without_places(kind, snapshot.rows(kind, cohort=cohort)))
                if there - _rows_of(own.drop_columns("artifact")):
                    raise InvalidInputError(
                        f"cohort {cohort} has other {kind} in the store than in {published.folder}; import the folder "
                        "into a store of its own"
                    )
                for artifact in own["artifact"].unique().to_pylist():
                    rows = own.filter(pc.field("artifact") == artifact).drop_columns("artifact")
                    if _rows_of(rows) - there:
                        transaction.write_rows(kind, rows, cohort=cohort)


def _rows_of(table: pa.Table) -> set[str]:
    return {json.dumps(row, sort_keys=True) for row in table.to_pylist()}


def _commit_codes(store: EmbeddingStore, published: _Folder, key: CodeSetKey, rows: list[dict[str, Any]]) -> None:
    codes_nd = published.codes(key, rows)
    cases, images = (tuple(row[name] for row in rows) for name in ("case_id", "image_id"))
    with store.begin(f"import of {key}") as transaction:
        transaction.write_codes(
            CaseCodes(cases, codes_nd, images, key),
            input_digests=[row["inputs"] for row in rows],
            pixels=[json.loads(row["pixels"] or "{}") for row in rows],
        )


def _commit_bag(store: EmbeddingStore, published: _Folder, key: CodeSetKey, row: Mapping[str, Any]) -> None:
    bag, pixels = published.bag(row), json.loads(row["pixels"] or "{}")
    with store.begin(f"import of {key}, {row['image_id']}") as transaction:
        try:
            transaction.write_bag(key, row["case_id"], row["image_id"], bag, input_digests=row["inputs"], pixels=pixels)
        except InvalidInputError as error:
            file, said = str(published.folder), str(error)
            raise InvalidInputError(said if said.startswith(file) else f"{file}/{row['file']}: {said}") from error


@dataclass(frozen=True, slots=True, eq=False)
class _Folder:
    """A published folder whose files are those that it names."""

    folder: Path
    files: Mapping[str, Path]
    """Path within the folder -> file."""
    _open: dict[str, pq.ParquetFile] = field(default_factory=dict)

    @classmethod
    def verified(cls, folder: Path) -> Self:
        """Compares every file that `croissant.json` names with its sha256. Raises InvalidInputError."""
        file = folder / CROISSANT
        try:
            if file.stat().st_size > _MOST_JSON:
                raise ValueError("it is too long")
            document = json.loads(file.read_bytes())
            named = {item["contentUrl"]: (item["sha256"], item["contentSize"]) for item in document["distribution"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidInputError(f"{file} cannot be read ({reason_of(error)}); take the folder again") from error
        files = {}
        for path, (sha256, size) in named.items():
            parts = Path(str(path)).parts
            place = folder.joinpath(*parts)
            if Path(str(path)).is_absolute() or ".." in parts or place.is_symlink() or place.parent.is_symlink():
                raise InvalidInputError(f"{file} names {path!r}, which is no file of the folder; take the folder again")
            if not place.is_file():
                raise InvalidInputError(f"{folder} lacks {path}, which {CROISSANT} names; take the folder again")
            with place.open("rb") as handle:
                if f"{place.stat().st_size} B" != size or hashlib.file_digest(handle, "sha256").hexdigest() != sha256:
                    raise InvalidInputError(f"{place} is not as it was published (its sha256 differs); take it again")
            files[str(path)] = place
        return cls(folder, files)

    def table(self, path: str, schema: pa.Schema) -> pa.Table:
        """A table as a whole, in the columns of `schema`. Raises InvalidInputError."""
        opened = self._opened(path)
        try:
            return as_schema(opened.read(), schema)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(path, error) from error

    def encoder(self, row: Mapping[str, Any]) -> StoredEncoder:
        """Raises InvalidInputError where its digest does not follow from the row."""
        try:
            stored = StoredEncoder.from_row(row)
            stored.row()
            if stored.spec.digest != row["encoder_digest"]:
                raise ValueError("its digest does not follow from what it says")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidInputError(
                f"{self.folder}/encoders.parquet: encoder {row.get('encoder')!r} cannot be taken ({reason_of(error)}); "
                "take the folder again"
            ) from error
        return stored

    def check_rows(self, kind: str, table: pa.Table) -> None:
        """Raises InvalidInputError where the rows of a table are not those that its id was made of."""
        for artifact in table["artifact"].unique().to_pylist():
            rows = table.filter(pc.field("artifact") == artifact).drop_columns("artifact")
            cohorts = rows["cohort"].unique().to_pylist()
            if len(cohorts) != 1 or None in cohorts or content_artifact(kind, rows, cohorts[0]) != artifact:
                raise InvalidInputError(
                    f"{self.folder}/{kind}.parquet: the rows of table {str(artifact)[:12]} are not those that its id "
                    "was made of; take the folder again"
                )

    def key_of(self, row: Mapping[str, Any]) -> CodeSetKey:
        """The code set of a row of `ARTIFACTS`."""
        texts = [row[name] for name in ("cohort", "case_id", "image_id", "modality", "encoder", "encoder_digest")]
        inputs = [None] if row["inputs"] is None else row["inputs"]
        if row["kind"] not in ("bag", "codes") or None in [*texts, row["trained_on"], *inputs]:
            raise self._odd(row, "is neither a bag nor a code")
        if (row["d"] or 0) < 1 or (row["n"] if row["n"] is not None else -1) < 0:
            raise self._odd(row, "has no shape")
        layout = ("has_places", "tile_size_px", "tile_size_level0_px", "row_group", "row_groups")
        if row["kind"] == "bag" and None in [row[name] for name in layout]:
            raise self._odd(row, "lacks its places, tile sizes or row groups")
        sizes = [row[name] for name in ("mpp", "magnification") if row[name] is not None]
        if row["kind"] == "bag" and (
            not all(math.isfinite(size) and size > 0 for size in sizes)
            or min(row["tile_size_px"], row["tile_size_level0_px"]) < 0
        ):
            raise self._odd(row, "has an mpp, a magnification or a size of its tiles that cannot be")
        cohort, _, _, modality, encoder, digest = texts
        return CodeSetKey(cohort, modality, encoder, digest, FoldScope.parse(row["trained_on"]), row["kind"], row["d"])

    def check_id(self, key: CodeSetKey, row: Mapping[str, Any]) -> None:
        """Raises InvalidInputError where what the folder says of an artifact is not what its id was made of."""
        try:
            pixels = json.loads(row["pixels"] or "{}")
            if not isinstance(pixels, dict):
                raise ValueError("it is none")
        except (ValueError, RecursionError) as error:
            raise self._odd(row, "has pixels that are no JSON object") from error
        if code_artifact(key, row["case_id"], row["image_id"], row["inputs"], pixels) != row["artifact"]:
            raise self._odd(row, f"has another id than what is said of case {row['case_id']} gives")

    def codes(self, key: CodeSetKey, rows: list[dict[str, Any]]) -> np.ndarray:
        """(n, d) float32 of the rows of a set of case codes."""
        path = rows[0]["file"]
        texts = ("case_id", "image_id", "artifact")
        try:
            table = self._opened(path).read(columns=[*texts, "code"])
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(path, error) from error
        held = {name: table.schema.field(name).type for name in table.schema.names}
        code = held.pop("code", pa.null())
        is_code = (getattr(code, "list_size", 0), getattr(code, "value_type", None)) == (key.code_dim, pa.float32())
        if not is_code or held != dict.fromkeys(texts, pa.string()) or table["code"].null_count:
            raise InvalidInputError(f"{self.folder}/{path} has other columns than it was published with; take it again")
        ids = zip(*(table[name].to_pylist() for name in texts), strict=True)
        place = {one: number for number, one in enumerate(ids)}
        own = [tuple(row[name] for name in texts) for row in rows]
        lacking = sum(one not in place for one in own)
        if lacking:
            raise InvalidInputError(
                f"{self.folder}/{path} lacks {count_of(lacking, 'code')} of {len(rows)}; take the folder again"
            )
        codes_nd = code_matrix(table)[[place[one] for one in own]]
        if np.isinf(codes_nd).any() or (np.isnan(codes_nd).any() and not self._may_lack_values(key)):
            raise InvalidInputError(
                f"{self.folder}/{path} holds codes that are not finite, which {key} was not published with; take it "
                "again"
            )
        return codes_nd

    def _may_lack_values(self, key: CodeSetKey) -> bool:
        """Whether missing values of its codes were kept, to be filled at training."""
        encoders = "encoders.parquet"
        rows = self.table(encoders, SCHEMAS["encoders"]).to_pylist() if encoders in self.files else []
        own = [self.encoder(row).spec for row in rows if row["encoder_digest"] == key.encoder_digest]
        return any(spec.preprocessing.get("nan") == "median" for spec in own)

    def bag(self, row: Mapping[str, Any]) -> BagStream:
        """The bag of a slide, whose features are read a row group at a time."""
        n, d, dtype = row["n"], row["d"], row["dtype"]
        if dtype not in ("float16", "float32"):
            raise self._odd(row, f"is of {dtype}")
        opened = self._opened(row["file"], streamed=True)
        kinds = {column.name: column.type for column in opened.schema_arrow}
        features = kinds.pop("features", pa.null())
        if kinds != _TILE_COLUMNS or getattr(features, "value_type", None) not in (pa.float16(), pa.float32()):
            raise InvalidInputError(
                f"{self.folder}/{row['file']} has other columns than it was published with; take it again"
            )
        groups = range(row["row_group"], row["row_group"] + row["row_groups"])
        if not 0 <= groups.start <= groups.stop <= opened.num_row_groups:
            raise self._odd(row, f"lies in row groups that {row['file']} does not have")
        held = sum(opened.metadata.row_group(group).num_rows for group in groups)
        if held != n or getattr(features, "list_size", 0) != d:
            raise self._odd(row, f"has {held} of {n} tiles, or not of {d} dimensions")
        coords_n2 = None
        if row["has_places"]:
            coords_n2 = np.empty((n, 2), np.int32)
            start = 0
            for group in groups:
                places = self._group(row, group, ["x", "y"])
                for axis, name in enumerate(("x", "y")):
                    if places[name].null_count:
                        raise self._odd(row, f"has tiles without a place in row group {group}")
                    coords_n2[start : start + places.num_rows, axis] = places[name].to_numpy()
                start += places.num_rows

        def values() -> Iterator[np.ndarray]:
            for group in groups:
                table = self._group(row, group, ["case_id", "image_id", "features"])
                for name in ("case_id", "image_id"):
                    if table[name].unique().to_pylist() != [row[name]]:
                        raise self._odd(row, f"lies in row group {group}, which is of another slide")
                if table["features"].null_count:
                    raise self._odd(row, f"has tiles without features in row group {group}")
                flat = pa.concat_arrays(table["features"].chunks).flatten().to_numpy(zero_copy_only=False)
                yield flat.reshape(table.num_rows, d).astype(dtype, copy=False)

        layout = {name: row[name] for name in ("mpp", "tile_size_px", "tile_size_level0_px", "magnification")}
        return BagStream((n, d), np.dtype(dtype), values(), coords_n2, **layout)

    def _group(self, row: Mapping[str, Any], group: int, columns: list[str]) -> pa.Table:
        try:
            return self._opened(row["file"], streamed=True).read_row_group(group, columns=columns)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise self._unreadable(row["file"], error) from error

    def _opened(self, path: str, *, streamed: bool = False) -> pq.ParquetFile:
        """Judged before a value is decoded: by what memory holds; one read a group at a time by its own size."""
        if path not in self.files:
            raise InvalidInputError(
                f"{self.folder}/{ARTIFACTS} names {path!r}, which {CROISSANT} does not; take it again"
            )
        if path not in self._open:
            file = self.files[path]
            try:
                size = parquet_size(file).decoded_bytes
                if not streamed:
                    check_fits(file, size)
                elif size > _SLACK + _BYTES_PER_BYTE * file.stat().st_size:  # vectors are not compressed
                    raise ValueError(f"its pages claim {size:,} bytes")
                self._open[path] = pq.ParquetFile(file, page_checksum_verification=True)
            except (ValueError, EOFError, OSError, pa.ArrowException) as error:
                raise self._unreadable(path, error) from error
        return self._open[path]

    def _unreadable(self, path: str, error: Exception) -> InvalidInputError:
        return InvalidInputError(
            f"{self.folder}/{path} cannot be read as Parquet ({reason_of(error)}); take the folder again"
        )

    def _odd(self, row: Mapping[str, Any], what: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self.folder}/{ARTIFACTS}: artifact {str(row['artifact'])[:12]} {what}; take the folder again"
        )
