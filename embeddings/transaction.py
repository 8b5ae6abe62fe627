"""Writes that are committed as one: staged first, then published under names of their own, then named by a commit."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ulid import ULID

from guidestore.embeddings.actor import actor
from guidestore.embeddings.bags import write_bag
from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.case_codes import write_codes
from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.errors import InvalidInputError, WithdrawnCaseError
from guidestore.embeddings.leases import Lease
from guidestore.embeddings.log_table import entries_of
from guidestore.embeddings.opening import FORMAT_BYTES, FORMAT_FILE
from guidestore.embeddings.premises import Read
from guidestore.embeddings.recipe import code_artifact, index_artifact, rows_artifact, weights_artifact
from guidestore.embeddings.records import AliasMove, Entry, FileRef, Removal
from guidestore.embeddings.rows import RUN_KINDS, as_rows
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.storage import Storage, discard_staging, disk_errors, each
from guidestore.embeddings.tables import write_table
from guidestore.embeddings.trash import confirm
from guidestore.embeddings.types import Bag, BagStream, CaseCodes, CodeSetKey, check_name


class Transaction:
    """Collects writes under staging/ and commits them as one. Made by `EmbeddingStore.begin`.

    Every write returns the artifact id; one that the store has already is skipped (`exists`), which is how resume
    works. After the block `snapshot` is the store with the commit.

    The commit raises CommitConflictError where it holds something of a case that was purged since `read_at`, the head
    of the log when what it is made of was read (`Snapshot.read_at`; None: as the block is entered). Weights and indexes
    hold something of every case of their cohort.
    """

    def __init__(
        self, storage: Storage, log: CommitLog, message: str, device: str = "", read_at: int | None = None
    ) -> None:
        self._storage = storage
        self._log = log
        self._message, self._device = message, device
        self._folder: Path | None = None
        self._lease = Lease(storage)
        self._staged: list[tuple[Path, str, list[tuple[str, dict[str, Any]]]]] = []
        self._many: list[tuple[Path, dict[str, Any], dict[str, Sequence[Any]]]] = []
        """Staged files of many artifacts: what all have in common, and columns of what each has of its own."""
        self._aliases: list[AliasMove] = []
        self._removals: list[Removal] = []
        self._superseded: defaultdict[str, list[str]] = defaultdict(list)
        self._seen: set[str] = set()
        self._read_at = read_at
        self._holders: list[Callable[[str, str], bool]] = []
        self.snapshot: Snapshot | None = None

    def __enter__(self) -> Self:
        head = self._log.refresh()
        self._read_at = head if self._read_at is None else self._read_at
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.snapshot = self.commit()
        finally:
            if self._folder is not None:
                discard_staging(self._folder)
            if kind is not None:  # nothing was published
                self._lease.end()

    def exists(self, artifact: str) -> bool:
        """Whether the store, or this transaction, has the artifact."""
        if artifact in self._seen:
            return True
        return artifact in self._log.live() and artifact not in {removal.artifact for removal in self._removals}

    def write_bag(
        self,
        key: CodeSetKey,
        case_id: str,
        image_id: str,
        bag: Bag | BagStream,
        *,
        input_digests: Sequence[str],
        pixels: Mapping[str, Any] | None = None,
    ) -> str:
        """One bag; `pixels` as in `code_artifact`. A stream that the store has already is not read.

        Raises InvalidInputError if its width is not that of the code set.
        """
        check_name(case_id, "case id")
        check_name(image_id, "image id")
        artifact = code_artifact(key, case_id, image_id, input_digests, pixels)
        shape, dtype = (bag.shape, bag.dtype) if isinstance(bag, BagStream) else _form_of(bag)
        if shape[1] != key.code_dim:
            raise InvalidInputError(
                f"case {case_id}: the bag has {shape[1]} dimensions, code set {key} has {key.code_dim}"
            )
        if not self.exists(artifact):
            folder = self._stage("bag")
            with disk_errors("write", "a bag"):
                write_bag(folder, bag)
            path = f"objects/bag/{artifact[:2]}/{artifact}/{ULID()}"
            fields = {
                **_code_facts(key, case_id, image_id),
                "kind": "bag",
                "dtype": str(dtype),
                "shape": shape,
                "inputs": tuple(input_digests),
                "meta": {"pixels": dict(pixels)} if pixels else {},
            }
            self._add(folder, path, [(artifact, fields)])
            self._holders.append(lambda cohort, case: (cohort, case) == (key.cohort, case_id))
        return artifact

    def write_codes(
        self,
        codes: CaseCodes,
        *,
        input_digests: Sequence[Sequence[str]],
        pixels: Sequence[Mapping[str, Any]] | None = None,
        others: pa.Table | None = None,
    ) -> list[str]:
        """Case codes of one code set in one file. Returns their artifact ids.

        `input_digests[i]` and `pixels[i]`, as in `code_artifact`, are those of row i, and `others` are columns that we
        do not know and keep.

        Raises InvalidInputError on a width that is not the code set's, or a case with the same image twice.
        """
        key = codes.key
        if key is None:
            raise InvalidInputError("case codes without a code set key cannot be stored")
        if codes.codes_nd.shape[1] != key.code_dim:
            raise InvalidInputError(
                f"codes have {codes.codes_nd.shape[1]} dimensions, code set {key} has {key.code_dim}"
            )
        same = codes.image_ids is codes.case_ids  # of a million, looking once takes a second less
        for name in codes.case_ids if same else (*codes.case_ids, *codes.image_ids):
            check_name(name, "case id")
        pixels = [{}] * len(codes) if pixels is None else pixels
        artifacts = [
            code_artifact(key, *row) for row in zip(codes.case_ids, codes.image_ids, input_digests, pixels, strict=True)
        ]
        if len(set(artifacts)) < len(artifacts):
            counts = Counter(zip(codes.case_ids, codes.image_ids, strict=True))
            twice = [case_id for (case_id, _), count in counts.items() if count > 1]
            raise InvalidInputError(
                f"code set {key}: {len(twice)} cases come twice with one image id (as {twice[0]}); keep one row each"
            )
        new = [i for i, artifact in enumerate(artifacts) if not self.exists(artifact)]
        if new:
            subset = codes if len(new) == len(codes) else _some(codes, new)  # millions are not copied
            file = self._stage("codes.parquet")
            with disk_errors("write", "case codes"):
                write_codes(file, subset, [artifacts[i] for i in new], others.take(new) if others is not None else None)
            path = f"objects/codes/{key.modality}/{key.encoder}/{ULID()}.parquet"
            common = {**_code_facts(key, "", ""), "kind": "codes", "dtype": "float32", "shape": [key.code_dim]}
            columns = {
                "artifact": [artifacts[i] for i in new],
                "case_id": subset.case_ids,
                "image_id": subset.image_ids,
                "inputs": [input_digests[i] for i in new],
                "meta": [canonical_json({"pixels": dict(pixels[i])}) if pixels[i] else "{}" for i in new],
            }
            self._add(file, path, [])
            self._many.append((file, {**common, "path": path}, columns))
            self._seen.update(columns["artifact"])
            cases = frozenset(subset.case_ids)
            self._holders.append(lambda cohort, case: cohort == key.cohort and case in cases)
        return artifacts

    def write_rows(
        self, kind: str, rows: pa.Table | list[dict], *, cohort: str = "", recipe: Mapping[str, Any] | None = None
    ) -> str:
        """Rows of a kind in `embeddings.rows.SCHEMAS`. Without a recipe, the content is the identity."""
        table = as_rows(kind, rows)
        if recipe is None:
            recipe = _content_recipe(table)
        _check_names(table, cohort)
        artifact = rows_artifact(f"rows:{kind}", {"cohort": cohort, **recipe})
        if not self.exists(artifact):
            file = self._stage("rows.parquet")
            with disk_errors("write", f"rows of kind {kind}"):
                write_table(file, table)
            fields = {"kind": f"rows:{kind}", "cohort": cohort, "shape": (table.num_rows,)}
            self._add(file, f"objects/rows/{kind}/{ULID()}.parquet", [(artifact, fields)])
            self._holders.append(partial(_row_holds, table, cohort))
        return artifact

    def write_runs(
        self, runs: Sequence[Run], metrics: list[dict], predictions: list[dict], *, inputs: Mapping[str, Sequence[str]]
    ) -> list[str]:
        """A batch of trained and evaluated heads; ids come from their recipes. Returns the ids of the new ones."""
        new = [run for run in runs if not self.exists(run.id)]
        ids = {run.id for run in new}
        if not new:
            return []
        batches = {"runs": [run.as_row() for run in new], "metrics": metrics, "predictions": predictions}
        files = []
        for kind in RUN_KINDS:
            file = self._stage("rows.parquet")
            with disk_errors("write", "runs"):
                table = as_rows(kind, [row for row in batches[kind] if row["run"] in ids])
                write_table(file, table)
            self._holders.append(partial(_row_holds, table, ""))
            files.append((file, f"objects/rows/{kind}/{ULID()}.parquet"))
        refs = tuple(_file_ref(file, path) for file, path in files)
        entries = [
            (
                run.id,
                {
                    "kind": "run",
                    "cohort": run.cohort,
                    "split": run.split,
                    "fold": run.fold,
                    "trained_on": ", ".join(map(str, run.trained_on)),
                    "inputs": tuple(inputs[run.id]),
                    "files": refs,
                    "path": files[0][1],
                },
            )
            for run in new
        ]
        for file, path in files[1:]:
            self._staged.append((file, path, []))
        self._add(files[0][0], files[0][1], entries)
        return [run.id for run in new]

    def write_weights(
        self,
        role: str,
        name: str,
        *,
        config: Mapping[str, Any],
        tensors: Mapping[str, np.ndarray],
        recipe: Mapping[str, Any],
        cohort: str = "",
        split: str = "",
        fold: int = -1,
        inputs: Sequence[str] = (),
    ) -> tuple[str, str]:
        """Trained weights as safetensors. Returns (artifact id, sha256 of the file that counts: the first's)."""
        from safetensors.numpy import save

        for value, what in ((name, "name of weights"), (cohort, "cohort"), (split, "split")):
            if value:
                check_name(value, what)
        artifact = weights_artifact(role, recipe)
        if self.exists(artifact):
            existing = self._log.live().get(artifact) or next(
                path for _, path, entries in self._staged if any(id_ == artifact for id_, _ in entries)
            )
            return artifact, Path(existing).stem
        data = save({key: np.asarray(value, order="C") for key, value in tensors.items()})
        digest = hashlib.sha256(data).hexdigest()
        file = self._stage("weights.safetensors")
        with disk_errors("write", "weights"):
            file.write_bytes(data)
        fields = {
            "kind": "weights",
            "encoder": name if role == "encoder" else "",
            "cohort": cohort,
            "split": split,
            "fold": fold,
            "trained_on": f"{cohort}/{split}/{fold}" if split else "",
            "inputs": tuple(inputs),
            "meta": {"role": role, "name": name, "config": dict(config), "recipe": dict(recipe)},
        }
        self._add(file, f"objects/weights/{digest}.safetensors", [(artifact, fields)])
        self._holders.append(lambda of, case: of == cohort)
        return artifact, digest

    def write_index(
        self,
        key: CodeSetKey,
        data: bytes,
        *,
        recipe: Mapping[str, Any],
        meta: Mapping[str, Any],
        inputs: Sequence[str],
    ) -> str:
        """A serialised neighbour index of a code set, which holds the codes. `meta` has its `size`."""
        artifact = index_artifact(recipe)
        if not self.exists(artifact):
            file = self._stage("index.faiss")
            with disk_errors("write", "an index"):
                file.write_bytes(data)
            fields = {
                **_code_facts(key, "", ""),
                "kind": "index",
                "dtype": "float32",
                "shape": (meta["size"], key.code_dim),
                "inputs": tuple(inputs),
                "meta": dict(meta),
            }
            self._add(file, f"objects/index/{ULID()}.faiss", [(artifact, fields)])
            self._holders.append(lambda cohort, case: cohort == key.cohort)
        return artifact

    def replace(self, entry: Entry, *, by: str = "") -> None:
        """Takes `entry` away from this commit on; with a write of the same artifact this is a compaction.

        `by`: the artifact of this transaction that supersedes it: a corrected table of labels or images, another code.
        """
        self._removals.append(Removal(entry.artifact, entry.path))
        if by:
            self._superseded[by].append(entry.artifact)

    def move_alias(self, name: str, *, snapshot: int, artifact: str = "") -> None:
        """Moves an alias within this commit."""
        check_pointer(name, "alias")
        self._aliases.append(AliasMove(name, snapshot, artifact))

    def commit(self) -> Snapshot:
        """Publishes what was staged and appends the commit. Returns the snapshot that has it."""
        try:
            return self._commit()
        except BaseException:
            self._lease.give_up()  # what was published is an orphan now
            raise

    def _commit(self) -> Snapshot:
        read = Read(self._read_at or 0, lambda cohort, case: any(holds(cohort, case) for holds in self._holders))
        self._log.refresh()
        read.check(self._log)  # before all else: the purge took what was staged of the case
        entries: list[Entry] = []
        for staged, path, fields in self._staged:
            refs = _tree_refs(staged, path) if fields else ()
            for artifact, own in fields:
                supersedes = tuple(self._superseded.get(artifact, ()))
                entries.append(
                    Entry(**{"artifact": artifact, "path": path, "files": refs, "supersedes": supersedes, **own})
                )
        many = []
        for staged, common, columns in self._many:
            files = [_file_ref(staged, common["path"]).as_json()]
            none: list[str] = []
            supersedes = [self._superseded.get(artifact, none) for artifact in columns["artifact"]]
            many.append(entries_of(columns | {"supersedes": supersedes}, common | {"files": files}))
        if self._staged:
            self._lease.cover([path for _, path, _ in self._staged])
        for _ in each(self._storage, lambda item: self._publish(item[0], item[1]), self._staged, lanes=4):
            pass
        published, self._staged = [path for _, path, _ in self._staged], []
        try:
            version = self._log.append(
                add=entries,
                add_many=pa.concat_tables(many) if many else None,
                remove=self._removals,
                aliases=self._aliases,
                premise=read,
                cover=self._lease.cover,
                actor=actor(self._device),
                message=self._message,
            )
        except WithdrawnCaseError:
            self._take_back(published)
            raise
        if version == 1:
            self._storage.create(FORMAT_FILE, FORMAT_BYTES)  # whoever began the store may have taken it back meanwhile
        self._confirm(version, entries, many)
        return Snapshot(self._storage, version, self._log.head, self._log.table)

    def _take_back(self, published: Sequence[str]) -> None:
        """Deletes files that hold a withdrawn case and are in no commit: the purge could not know of them."""
        named = set(self._log.table()["path"].to_pylist())  # weights of another writer may be the same file
        for path in published:
            if path not in named:
                for file in [stored.path for stored in self._storage.list(path)] or [path]:
                    self._storage.delete(file)

    def _confirm(self, version: int, entries: Sequence[Entry], many: Sequence[pa.Table]) -> None:
        """Sees that the files of what is ours are there, and gives up the lease."""
        live = self._log.live() if entries or many else {}
        mine = [entry for entry in entries if live.get(entry.artifact) == entry.path]
        files = [file for entry in mine for file in entry.files]
        is_mine = [live.get(entry.artifact) == entry.path for entry in entries]
        for table in many:
            path = table["path"][0].as_py()
            ids = (artifact for chunk in table["artifact"].chunks for artifact in chunk.to_pylist())
            there = [live.get(artifact) == path for artifact in ids]
            files += [FileRef(**file) for file in table["files"][0].as_py()] if any(there) else []
            is_mine += there
        confirm(self._storage, version, files)
        if all(is_mine):
            self._lease.end()
        else:
            self._lease.give_up()  # another writer was first with some

    def _publish(self, staged: Path, path: str) -> None:
        self._lease.renew()
        self._storage.publish(staged, path)

    def _stage(self, name: str) -> Path:
        if self._folder is None:
            self._folder = self._storage.staging()
            self._lease.cover([f"staging/{self._folder.name}"])
        self._lease.renew()
        return self._folder / f"{len(list(self._folder.iterdir()))}-{name}"

    def _add(self, staged: Path, path: str, fields: list[tuple[str, dict[str, Any]]]) -> None:
        self._staged.append((staged, path, fields))
        self._seen.update(artifact for artifact, _ in fields)


def _form_of(bag: Bag) -> tuple[tuple[int, int], np.dtype]:
    n, d = bag.features_nd.shape
    return (n, d), bag.features_nd.dtype


def content_artifact(kind: str, rows: pa.Table, cohort: str) -> str:
    """The id that `Transaction.write_rows` gives rows without a recipe."""
    return rows_artifact(f"rows:{kind}", {"cohort": cohort, **_content_recipe(as_rows(kind, rows))})


def _content_recipe(table: pa.Table) -> dict[str, str]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return {"content": hashlib.sha256(sink.getvalue()).hexdigest()}


def check_pointer(name: str, what: str) -> None:
    """Refuses what cannot name a snapshot. Raises InvalidInputError."""
    check_name(name, what)
    if name.isdigit():
        raise InvalidInputError(f"{what} {name!r} reads as a snapshot number; give it a letter")


def _row_holds(table: pa.Table, of: str, cohort: str, case_id: str) -> bool:
    """Whether a row is of the case. of: the cohort of rows that name none, '' where that is not known."""
    if "case_id" not in table.schema.names:
        return False
    rows = table.filter(pc.field("case_id") == case_id)
    cohorts = rows["cohort"].to_pylist() if "cohort" in rows.schema.names else [None] * len(rows)
    return any((row or of) in (cohort, "") for row in cohorts)


def _check_names(table: pa.Table, cohort: str) -> None:
    """Refuses rows with ids that cannot be names. Raises InvalidNameError."""
    for value in {cohort} - {""}:
        check_name(value, "cohort")
    for column in {"cohort", "case_id", "image_id", "modality", "split"} & set(table.schema.names):
        for value in table[column].unique().to_pylist():
            if value:  # '' and null: the row is of no case, no split
                check_name(value, column.replace("_", " "))


def _some(codes: CaseCodes, rows: Sequence[int]) -> CaseCodes:
    case_ids, image_ids = (tuple(ids[i] for i in rows) for ids in (codes.case_ids, codes.image_ids))
    return CaseCodes(case_ids, codes.codes_nd[rows], image_ids, codes.key)


def _code_facts(key: CodeSetKey, case_id: str, image_id: str) -> dict[str, Any]:
    scope = key.trained_on
    return {
        "cohort": key.cohort,
        "case_id": case_id,
        "image_id": image_id,
        "modality": key.modality,
        "encoder": key.encoder,
        "encoder_digest": key.encoder_digest,
        "trained_on": str(scope),
        "split": scope.split,
        "fold": scope.fold,
    }


def _file_ref(file: Path, path: str) -> FileRef:
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileRef(path, file.stat().st_size, digest)


def _tree_refs(staged: Path, path: str) -> tuple[FileRef, ...]:
    if staged.is_file():
        return (_file_ref(staged, path),)
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    return tuple(_file_ref(file, f"{path}/{file.relative_to(staged).as_posix()}") for file in files)
