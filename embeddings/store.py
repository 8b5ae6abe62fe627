"""EmbeddingStore: begin / write / commit / snapshot / tag. The commit log of immutable objects is the truth."""

from __future__ import annotations

import datetime
import functools
import hashlib
import platform
import socket
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from ulid import ULID

from guidestore.embeddings.bags import write_bag
from guidestore.embeddings.case_codes import write_codes
from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.errors import AmbiguousNameError, InvalidInputError, NotFoundInStoreError, StorageError
from guidestore.embeddings.places import shown, storage_at
from guidestore.embeddings.recipe import code_artifact, index_artifact, rows_artifact, weights_artifact
from guidestore.embeddings.records import AliasMove, Entry, FileRef, Removal, open_sealed_json, sealed_json
from guidestore.embeddings.rows import RUN_KINDS, as_rows
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.storage import Storage, discard_staging, disk_errors, each
from guidestore.embeddings.tables import write_table
from guidestore.embeddings.types import Bag, CaseCodes, CodeSetKey, check_name

FORMAT = 1
_FORMAT_BYTES = b'{"format": 1}\n'


class EmbeddingStore:
    """A store under one root. Cheap to open; safe to use from many processes at once, each with its own instance."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.log = CommitLog(storage)

    @classmethod
    def create(cls, root: Path | str) -> EmbeddingStore:
        """Opens the store at `root`, making an empty one where there is none. Raises StorageError."""
        storage = storage_at(root)
        # Created again, it must be refused; a server that overwrites would lose commits.
        if storage.create("format.json", _FORMAT_BYTES) and storage.create("format.json", _FORMAT_BYTES):
            raise StorageError(
                f"{shown(root)} cannot hold a store: its server ignores If-None-Match, so two writers would overwrite "
                "each other's commits; choose another server"
            )
        return cls._opened(storage, root)

    @classmethod
    def open(cls, root: Path | str) -> EmbeddingStore:
        """Opens the store at `root`. Raises NotFoundInStoreError if there is none, CorruptArtifactError if damaged."""
        return cls._opened(storage_at(root), root)

    @classmethod
    def _opened(cls, storage: Storage, root: Path | str) -> EmbeddingStore:
        if storage.size("format.json") is None:
            raise NotFoundInStoreError(
                f"there is no guidestore at {shown(root)}: name one with --store, or make one with "
                "`guidestore cohort add`, `guidestore import` or `guidestore demo`"
            )
        if storage.read("format.json") != _FORMAT_BYTES:
            raise InvalidInputError(
                f"{shown(root)}/format.json is not that of format {FORMAT}: a newer guidestore wrote it, or it is "
                f"damaged; upgrade guidestore, or restore the file to {_FORMAT_BYTES.decode().strip()}"
            )
        return cls(storage)

    def begin(self, message: str = "") -> Transaction:
        """A new transaction, to be used as a context manager: leaving it commits, an exception aborts."""
        return Transaction(self, message)

    def snapshot(self, at: int | str | None = None) -> Snapshot:
        """The store at a commit number, tag or alias; None: the newest. Raises NotFoundInStoreError."""
        self.log.refresh()
        return Snapshot(self.storage, self.resolve(at), self.log.table())

    def resolve(self, at: int | str | None) -> int:
        """The commit number that `at` means. Raises NotFoundInStoreError."""
        if at is None:
            return self.log.head
        text = str(at)
        if text.isascii() and text.isdigit():
            if not 0 <= int(text) <= self.log.head:
                raise NotFoundInStoreError(f"there is no snapshot {text}: the newest is {self.log.head}")
            return int(text)
        tags = self.tags()
        if text in tags:
            return tags[text]
        aliases = Snapshot(self.storage, self.log.head, self.log.table()).aliases
        if text in aliases:
            return aliases[text][0]
        known = ", ".join(sorted({*tags, *aliases})) or "none yet"
        raise NotFoundInStoreError(f"there is no tag or alias {text!r}; known: {known}")

    def tag(self, name: str, at: int | str | None = None) -> int:
        """Gives a snapshot a fixed name and returns its number; a no-op if the tag already means that snapshot.

        Raises InvalidInputError if the name is taken by another snapshot, InvalidNameError if it is no name.
        """
        _check_pointer(name, "tag")
        self.log.refresh()
        version = self.resolve(at)
        body = {
            "name": name,
            "snapshot": version,
            "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        if not self.storage.create(f"tags/{name}.json", sealed_json(body)):
            taken = self.tags()[name]
            if taken != version:
                raise InvalidInputError(f"tag {name!r} already names snapshot {taken}; tags never move, use an alias")
        return version

    def tags(self) -> dict[str, int]:
        """Tag name -> snapshot number. Raises CorruptArtifactError on a damaged tag."""
        paths = sorted(file.path for file in self.storage.list("tags"))
        paths = [path for path in paths if path.endswith(".json")]
        data = each(self.storage, self.storage.read, paths)
        bodies = [open_sealed_json(body, path) for body, path in zip(data, paths, strict=True)]
        return {body["name"]: body["snapshot"] for body in bodies}

    def move_alias(
        self, name: str, at: int | str | None = None, *, artifact: str = "", seen_at: int | None = None
    ) -> Snapshot:
        """Points a movable name at a snapshot, or at a run in it. Raises NotFoundInStoreError.

        seen_at: the commit at which the caller saw what the alias names; CommitConflictError if others moved it since.
        """
        _check_pointer(name, "alias")
        snapshot = self.snapshot(at)
        if artifact and artifact not in snapshot.artifacts:
            raise NotFoundInStoreError(f"snapshot {snapshot.version} has no artifact {artifact}")
        move = AliasMove(name, snapshot.version, artifact)
        self.log.append(aliases=[move], aliases_seen_at=seen_at, actor=actor(), message=f"alias {name}")
        return self.snapshot()

    def find_run(self, name: str, at: int | str | None = None) -> Entry:
        """The run that an alias or an id (8 digits or more of it) names. Raises NotFoundInStoreError."""
        snapshot = self.snapshot(at)
        wanted = snapshot.aliases.get(name, (0, name))[1]
        ids = snapshot.select(kind="run")["artifact"].to_pylist()
        runs = [id_ for id_ in ids if len(wanted) >= 8 and id_.startswith(wanted)]
        if not runs:
            aliases = ", ".join(name for name, (_, artifact) in snapshot.aliases.items() if artifact) or "none yet"
            raise NotFoundInStoreError(
                f"there is no run {name!r} at snapshot {snapshot.version}; give an alias ({aliases}) or at least 8 "
                'digits of a run id from `guidestore sql "FROM runs"`'
            )
        if len(runs) > 1:
            raise AmbiguousNameError(f"run {name!r} matches {len(runs)} runs; give more digits")
        return snapshot.entry(runs[0])


class Transaction:
    """Collects writes under staging/ and commits them as one. Made by `EmbeddingStore.begin`.

    Every write returns the artifact id; one that the store has already is skipped (`exists`), which is how resume
    works. After the block `snapshot` is the store with the commit.
    """

    def __init__(self, store: EmbeddingStore, message: str) -> None:
        self._store = store
        self._message = message
        self._folder: Path | None = None
        self._staged: list[tuple[Path, str, list[tuple[str, dict[str, Any]]]]] = []
        self._aliases: list[AliasMove] = []
        self._removals: list[Removal] = []
        self._seen: set[str] = set()
        self._unpurged_since: int | None = None
        self.snapshot: Snapshot | None = None

    def __enter__(self) -> Self:
        self._store.log.refresh()
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

    def exists(self, artifact: str) -> bool:
        """Whether the store, or this transaction, has the artifact."""
        if artifact in self._seen:
            return True
        return artifact in self._store.log.live() and artifact not in {removal.artifact for removal in self._removals}

    def write_bag(self, key: CodeSetKey, case_id: str, image_id: str, bag: Bag, *, input_digests: Sequence[str]) -> str:
        """One bag. Raises InvalidInputError if its width is not that of the code set."""
        check_name(case_id, "case id")
        check_name(image_id, "image id")
        artifact = code_artifact(key, case_id, image_id, input_digests)
        if bag.features_nd.shape[1] != key.code_dim:
            raise InvalidInputError(
                f"case {case_id}: the bag has {bag.features_nd.shape[1]} dimensions, code set {key} has {key.code_dim}"
            )
        if not self.exists(artifact):
            folder = self._stage("bag")
            with disk_errors("write", "a bag"):
                write_bag(folder, bag)
            place = f"objects/bag/{artifact[:2]}/{artifact}/{ULID()}"
            facts = {
                **_code_facts(key, case_id, image_id),
                "kind": "bag",
                "dtype": str(bag.features_nd.dtype),
                "shape": bag.features_nd.shape,
                "inputs": tuple(input_digests),
            }
            self._add(folder, place, [(artifact, facts)])
        return artifact

    def write_codes(self, codes: CaseCodes, *, input_digests: Sequence[Sequence[str]]) -> list[str]:
        """Case codes of one code set in one file; `input_digests[i]` are those of row i. Returns their artifact ids.

        Raises InvalidInputError on a width that is not the code set's, or a case with the same image twice.
        """
        key = codes.key
        if key is None:
            raise InvalidInputError("case codes without a code set key cannot be stored")
        if codes.codes_nd.shape[1] != key.code_dim:
            raise InvalidInputError(
                f"codes have {codes.codes_nd.shape[1]} dimensions, code set {key} has {key.code_dim}"
            )
        for name in (*codes.case_ids, *codes.image_ids):
            check_name(name, "case id")
        artifacts = [
            code_artifact(key, case_id, image_id, digests)
            for case_id, image_id, digests in zip(codes.case_ids, codes.image_ids, input_digests, strict=True)
        ]
        if len(set(artifacts)) < len(artifacts):
            counts = Counter(zip(codes.case_ids, codes.image_ids, strict=True))
            twice = [case_id for (case_id, _), count in counts.items() if count > 1]
            raise InvalidInputError(
                f"code set {key}: {len(twice)} cases come twice with one image id (as {twice[0]}); keep one row each"
            )
        new = [i for i, artifact in enumerate(artifacts) if not self.exists(artifact)]
        if new:
            subset = CaseCodes(
                tuple(codes.case_ids[i] for i in new),
                codes.codes_nd[new],
                tuple(codes.image_ids[i] for i in new),
                key,
            )
            file = self._stage("codes.parquet")
            with disk_errors("write", "case codes"):
                write_codes(file, subset, [artifacts[i] for i in new])
            place = f"objects/codes/{key.modality}/{key.encoder}/{ULID()}.parquet"
            facts = [
                (
                    artifacts[i],
                    {
                        **_code_facts(key, codes.case_ids[i], codes.image_ids[i]),
                        "kind": "codes",
                        "dtype": "float32",
                        "shape": (key.code_dim,),
                        "inputs": tuple(input_digests[i]),
                    },
                )
                for i in new
            ]
            self._add(file, place, facts)
        return artifacts

    def write_rows(
        self, kind: str, rows: pa.Table | list[dict], *, cohort: str = "", recipe: Mapping[str, Any] | None = None
    ) -> str:
        """Rows of a kind in `embeddings.rows.SCHEMAS`. Without a recipe, the content is the identity."""
        table = as_rows(kind, rows)
        if recipe is None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            recipe = {"content": hashlib.sha256(sink.getvalue()).hexdigest()}
        _check_names(table, cohort)
        artifact = rows_artifact(f"rows:{kind}", {"cohort": cohort, **recipe})
        if not self.exists(artifact):
            file = self._stage("rows.parquet")
            with disk_errors("write", f"rows of kind {kind}"):
                write_table(file, table)
            facts = {"kind": f"rows:{kind}", "cohort": cohort, "shape": (table.num_rows,)}
            self._add(file, f"objects/rows/{kind}/{ULID()}.parquet", [(artifact, facts)])
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
                write_table(file, as_rows(kind, [row for row in batches[kind] if row["run"] in ids]))
            files.append((file, f"objects/rows/{kind}/{ULID()}.parquet"))
        refs = tuple(_file_ref(file, place) for file, place in files)
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
        for file, place in files[1:]:
            self._staged.append((file, place, []))
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
            existing = self._store.log.live().get(artifact) or next(
                place for _, place, entries in self._staged if any(id_ == artifact for id_, _ in entries)
            )
            return artifact, Path(existing).stem
        data = save({key: np.asarray(value, order="C") for key, value in tensors.items()})
        digest = hashlib.sha256(data).hexdigest()
        file = self._stage("weights.safetensors")
        with disk_errors("write", "weights"):
            file.write_bytes(data)
        facts = {
            "kind": "weights",
            "encoder": name if role == "encoder" else "",
            "cohort": cohort,
            "split": split,
            "fold": fold,
            "trained_on": f"{cohort}/{split}/{fold}" if split else "",
            "inputs": tuple(inputs),
            "meta": {"role": role, "name": name, "config": dict(config), "recipe": dict(recipe)},
        }
        self._add(file, f"objects/weights/{digest}.safetensors", [(artifact, facts)])
        return artifact, digest

    def write_index(
        self,
        key: CodeSetKey,
        data: bytes,
        *,
        recipe: Mapping[str, Any],
        meta: Mapping[str, Any],
        inputs: Sequence[str],
        read_at: int,
    ) -> str:
        """A serialised neighbour index of a code set. `meta` has its `size`.

        `data` holds the codes themselves, read when the log was at commit `read_at`: the commit raises
        CommitConflictError where a case of the cohort was purged since.
        """
        artifact = index_artifact(recipe)
        if not self.exists(artifact):
            file = self._stage("index.faiss")
            with disk_errors("write", "an index"):
                file.write_bytes(data)
            facts = {
                **_code_facts(key, "", ""),
                "kind": "index",
                "dtype": "float32",
                "shape": (meta["size"], key.code_dim),
                "inputs": tuple(inputs),
                "meta": dict(meta),
            }
            self._unpurged_since = min(read_at, self._unpurged_since or read_at)
            self._add(file, f"objects/index/{ULID()}.faiss", [(artifact, facts)])
        return artifact

    def replace(self, entry: Entry) -> None:
        """Takes `entry` away from this commit on; with a write of the same artifact this is a compaction."""
        self._removals.append(Removal(entry.artifact, entry.path))

    def move_alias(self, name: str, *, snapshot: int, artifact: str = "") -> None:
        """Moves an alias within this commit."""
        _check_pointer(name, "alias")
        self._aliases.append(AliasMove(name, snapshot, artifact))

    def commit(self) -> Snapshot:
        """Publishes what was staged and appends the commit. Returns the snapshot that has it."""
        entries: list[Entry] = []
        for staged, place, facts in self._staged:
            refs = _tree_refs(staged, place)
            entries += [
                Entry(**{"artifact": artifact, "path": place, "files": refs, **fact}) for artifact, fact in facts
            ]
        storage = self._store.storage
        for _ in each(storage, lambda item: storage.publish(item[0], item[1]), self._staged, lanes=4):
            pass
        self._staged = []
        version = self._store.log.append(
            add=entries,
            remove=self._removals,
            aliases=self._aliases,
            unpurged_since=self._unpurged_since,
            actor=actor(),
            message=self._message,
        )
        return Snapshot(self._store.storage, version, self._store.log.table())

    def _stage(self, name: str) -> Path:
        if self._folder is None:
            self._folder = self._store.storage.staging()
        return self._folder / f"{len(list(self._folder.iterdir()))}-{name}"

    def _add(self, staged: Path, place: str, facts: list[tuple[str, dict[str, Any]]]) -> None:
        self._staged.append((staged, place, facts))
        self._seen.update(artifact for artifact, _ in facts)


def _check_names(table: pa.Table, cohort: str) -> None:
    """Refuses rows with ids that cannot be names. Raises InvalidNameError."""
    for value in {cohort} - {""}:
        check_name(value, "cohort")
    for column in {"cohort", "case_id", "image_id", "modality", "split"} & set(table.schema.names):
        for value in table[column].unique().to_pylist():
            if value:  # '' and null: the row is of no case, no split
                check_name(value, column.replace("_", " "))


def _check_pointer(name: str, what: str) -> None:
    """Refuses what cannot name a snapshot. Raises InvalidInputError."""
    check_name(name, what)
    if name.isdigit():
        raise InvalidInputError(f"{what} {name!r} reads as a snapshot number; give it a letter")


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


def _file_ref(file: Path, place: str) -> FileRef:
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return FileRef(place, file.stat().st_size, digest)


def _tree_refs(staged: Path, place: str) -> tuple[FileRef, ...]:
    if staged.is_file():
        return (_file_ref(staged, place),)
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    return tuple(_file_ref(file, f"{place}/{file.relative_to(staged).as_posix()}") for file in files)


@functools.cache
def _git_sha() -> str:
    """Commit of the guidestore checkout that runs, '' outside one."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide codes and heads."""
    found = {"python": platform.python_version()}
    for name in ("guidestore", "torch", "numpy", "monai", "scikit-learn", "scikit-image", "openslide-python", "zarr"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def actor(flow_run_id: str = "") -> dict[str, Any]:
    """Who commits: host, Prefect flow run if any, git commit and versions."""
    if not flow_run_id:
        flow_run_id = _flow_run_id()
    return {
        "host": socket.gethostname(),
        "flow_run_id": flow_run_id,
        "git_sha": _git_sha(),
        "environment": versions(),
    }


def _flow_run_id() -> str:
    """Id of the Prefect flow run we are in. Who runs flows has imported it; we do not."""
    import sys

    runtime = sys.modules.get("prefect.runtime")
    return str(runtime.flow_run.id or "") if runtime else ""
