"""A withdrawn case leaves every snapshot: its files are deleted, shared files rewritten without it.

A neighbour index of a code set that has the case goes whole, for it holds the codes; it is built again when asked for.
So do weights that are codes of the cases they were fitted on (nearest neighbours, kernels); other weights that saw the
case stay, and are named.

Order: rewritten files are published under new names, one commit redirects every snapshot to them and leaves
tombstones, then the old files are deleted. Killed in between, `purge` run again deletes what is left. The case id
itself stays in the commits, which are create-only; `cohort add --pseudonymize` keeps real ids out from the start.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ulid import ULID

from guidestore.embeddings import checkpoints, trash
from guidestore.embeddings.actor import actor
from guidestore.embeddings.errors import CorruptArtifactError, NotFoundInStoreError
from guidestore.embeddings.leases import Lease
from guidestore.embeddings.log_table import NOT_ARTIFACTS, entry_of, files_named
from guidestore.embeddings.premises import Prepared
from guidestore.embeddings.records import Entry, FileRef, Purge, Redirect
from guidestore.embeddings.retrying import until_undisturbed
from guidestore.embeddings.rows import SCHEMAS
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.storage import discard_staging, disk_errors
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.tables import read_table, write_table
from guidestore.embeddings.trash import confirm
from guidestore.embeddings.types import check_name

_LEFT_BEHIND_SECONDS = 3600.0
"""A staged file that does not say its case is of a writer that died, once it is older than this."""


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """What a purge of the case would take away, and what it would leave and name."""

    cohort: str
    case_id: str
    artifacts: Mapping[str, int]
    """Kind -> how many: bags, codes, indexes, weights that hold codes."""
    runs: int
    """Those with a prediction of the case, which lose that."""
    weights: tuple[Entry, ...]
    """Those that saw the case in train or val, and stay."""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What went, and which trained weights that stay saw the case in train or val and so should be trained again."""

    case_id: str
    artifacts: int
    rewritten: int
    deleted: int
    weights: tuple[Entry, ...]


def plan_purge(store: EmbeddingStore, cohort: str, case_id: str) -> PurgePlan:
    """What `purge` would do. Raises NotFoundInStoreError, InvalidNameError as `purge`; changes nothing."""
    snapshot = store.snapshot()
    cohort = snapshot.first_name(cohort)
    case = _Case.of(store, snapshot, cohort, case_id)
    if not (case.own or case.withdrawn or _has_rows(snapshot, cohort, case_id)):
        raise _unknown(cohort, case_id)
    kinds = Counter(entry.kind for entry in {entry.artifact: entry for entry in case.own}.values())
    predictions = snapshot.rows("predictions", cohort=cohort)
    runs = predictions.filter(pc.field("case_id") == case_id)["run"].unique()
    return PurgePlan(cohort, case_id, dict(sorted(kinds.items())), len(runs), case.staying)


def purge(store: EmbeddingStore, cohort: str, case_id: str) -> PurgeReport:
    """Removes a case from every snapshot. Raises NotFoundInStoreError if the cohort never had it.

    Predictions and rows of the case go too; weights that saw it stay and are named in the report, but for those that
    hold codes. Raises InvalidNameError for what is no name, CommitConflictError where other processes keep changing
    the cohort.
    """
    free: set[str] = set()  # files without the case, which stay so: attempts after the first are short
    # What others committed meanwhile may hold the case: then it looks again.
    return until_undisturbed(store, lambda: _attempt(store, cohort, case_id, free))


def _attempt(store: EmbeddingStore, cohort: str, case_id: str, free: set[str]) -> PurgeReport:
    lease = Lease(store.storage)
    try:
        report = _leased(store, cohort, case_id, free, lease)
    except BaseException:
        lease.give_up()
        raise
    lease.end()
    return report


def _leased(store: EmbeddingStore, cohort: str, case_id: str, free: set[str], lease: Lease) -> PurgeReport:
    snapshot = store.snapshot()
    cohort = snapshot.first_name(cohort)
    case = _Case.of(store, snapshot, cohort, case_id)
    redirects = _redirects(store, case, free, lease)
    if not (case.own or redirects or case.withdrawn):
        raise _unknown(cohort, case_id)
    artifacts = tuple(dict.fromkeys(entry.artifact for entry in case.own))
    if case.own or redirects:
        item = Purge(cohort, case_id, artifacts, tuple(redirects), tuple(sorted(case.weights)))
        version = store.log.append(
            purge=[item],
            premise=Prepared(snapshot.version, cohort, partial(_misses, store, case)),
            actor=actor(),
            message=f"purge of a case of cohort {cohort}",
        )
        confirm(store.storage, version, [redirect.new for redirect in redirects if redirect.new])
    deleted = {redirect.old.path for redirect in redirects} | case.withdrawn
    for path in sorted(deleted):
        store.storage.delete(path)
    checkpoints.delete_all(store.storage)  # they list the case's files
    _sweep_staging(store, case)
    store.log.checkpoint()
    rewritten = sum(redirect.new is not None for redirect in redirects)
    return PurgeReport(case_id, len(artifacts), rewritten, len(deleted), case.staying)


def _unknown(cohort: str, case_id: str) -> NotFoundInStoreError:
    return NotFoundInStoreError(f"cohort {cohort} has no case {case_id}; `guidestore cohort show {cohort}` lists them")


def _has_rows(snapshot: Snapshot, cohort: str, case_id: str) -> bool:
    kinds = [kind for kind, schema in SCHEMAS.items() if {"cohort", "case_id"} <= set(schema.names)]
    return any(case_id in snapshot.rows(kind, cohort=cohort)["case_id"].to_pylist() for kind in kinds)


def _sweep_staging(store: EmbeddingStore, case: _Case) -> None:
    """What writers that died staged of the case, or a sweep moved to the trash, and what does not tell whose it is."""
    storage = store.storage
    now = storage.clock("staging")
    contents = trash.contents(storage)
    store.log.refresh()
    rows = store.log.table().filter(~pc.field("kind").isin(NOT_ARTIFACTS))
    named = files_named(rows)  # a sweep by a wrong clock took what may still come back
    discarded = [
        file
        for path, files in contents.items()
        if path not in named and not path.startswith("objects/entries/")  # ids alone, as commits have them
        for file in files
    ]
    for stored in [*storage.list("staging"), *discarded]:
        # Nobody at work needs what lies in the trash.
        mine = stored in discarded or now - stored.modified_at > _LEFT_BEHIND_SECONDS
        if stored.path.endswith(".parquet"):
            with suppress(pa.ArrowException, CorruptArtifactError):  # half written, or gone meanwhile
                table = pq.read_table(io.BytesIO(storage.read(stored.path)))
                mine = case.rows_without(table).num_rows < table.num_rows
        if mine:
            storage.delete(stored.path)


@dataclass(frozen=True, slots=True)
class _Case:
    """A case, and what the log has that may hold it."""

    cohort: str
    case_id: str
    files: tuple[FileRef, ...]
    """Those of all artifacts of the cohort, and of none, of whatever snapshot."""
    own: tuple[Entry, ...]
    """Those that go whole: the case's, indexes of code sets that have a code of it, weights that hold one."""
    own_files: frozenset[str]
    """Files that hold nothing but what goes whole. Tables do not count: what their rows are is looked at."""
    withdrawn: frozenset[str]
    """Files that earlier purges of the case replaced; killed, they may have left some."""
    folds: frozenset[tuple[str, int]]
    """(split, fold) that have the case in train or val."""
    weights: frozenset[str]
    """Artifacts of the trained weights that saw the case, as far as the log still tells."""
    staying: tuple[Entry, ...]
    """Those of them that hold no code of it."""

    @classmethod
    def of(cls, store: EmbeddingStore, snapshot: Snapshot, cohort: str, case_id: str) -> _Case:
        check_name(cohort, "cohort")
        check_name(case_id, "case id")  # '' would be all artifacts that are of no case
        log = snapshot.log.filter(pc.field("cohort").isin([cohort, ""]))  # of millions no Python objects are made
        rows = log.filter(~pc.field("kind").isin(NOT_ARTIFACTS))
        is_own = (pc.field("cohort") == cohort) & (pc.field("case_id") == case_id)
        coded = rows.filter(is_own & (pc.field("kind") == "codes")).select(["modality", "encoder_digest"])
        for pair in coded.group_by(["modality", "encoder_digest"]).aggregate([]).to_pylist():
            same = (pc.field("modality") == pair["modality"]) & (pc.field("encoder_digest") == pair["encoder_digest"])
            is_own |= (pc.field("kind") == "index") & same
        gone = pc.field("kind") == "tombstone"
        tombstones = log.filter(gone & (pc.field("case_id") == case_id)).to_pylist()
        trained = [entry_of(row) for row in rows.filter(pc.field("kind") == "weights").to_pylist()]
        folds = _folds_that_saw(snapshot, cohort, case_id)
        weights = {entry.artifact for entry in trained if entry.cohort == cohort and (entry.split, entry.fold) in folds}
        weights |= {artifact for row in tombstones for artifact in json.loads(row["meta"])["weights"]}
        saw = [entry for entry in trained if entry.artifact in weights]
        holding = {entry.artifact for entry in saw if _holds_codes(store, entry)}
        is_own |= pc.field("artifact").isin(pa.array(sorted(holding), pa.string()))
        own = rows.filter(is_own)
        shared = files_named(rows.filter(~is_own))
        return cls(
            cohort,
            case_id,
            tuple(files_named(rows).values()),
            tuple(entry_of(row) for row in own.to_pylist()),
            frozenset(path for path in files_named(own) if path not in shared and not path.endswith(".parquet")),
            frozenset(file["path"] for row in tombstones for file in row["files"]),
            folds,
            frozenset(weights),
            tuple({entry.artifact: entry for entry in saw if entry.artifact not in holding}.values()),
        )

    def rows_without(self, table: pa.Table) -> pa.Table:
        """`table` without the rows of the case."""
        if "case_id" not in table.schema.names:
            return table
        gone = pc.field("case_id") == self.case_id
        if "cohort" in table.schema.names:  # another cohort may have a case of the same id
            gone &= pc.field("cohort") == self.cohort
        return table.filter(~gone | gone.is_null())


def _misses(store: EmbeddingStore, case: _Case, added: pa.Table) -> bool:
    """Whether rows that the log got since hold something of the case, or may."""
    late = added.filter(pc.field("cohort").isin([case.cohort, ""])).to_pylist()
    tables: dict[str, FileRef] = {}
    for row in late:
        ours = row["cohort"] == case.cohort
        if ours and (row["kind"] in ("tombstone", "index") or row["case_id"] == case.case_id):
            return True
        if ours and row["kind"] == "weights" and (row["split"], row["fold"]) in case.folds:
            return True
        if row["kind"] not in (*NOT_ARTIFACTS, "bag", "weights", "index"):  # a bag is of one case
            tables |= {file["path"]: FileRef(**file) for file in row["files"]}
    return any(not path.endswith(".parquet") or _holds(store, file, case) for path, file in tables.items())


def _holds(store: EmbeddingStore, file: FileRef, case: _Case) -> bool:
    table = read_table(store.storage, file)
    return case.rows_without(table).num_rows < table.num_rows


def _redirects(store: EmbeddingStore, case: _Case, free: set[str], lease: Lease) -> list[Redirect]:
    """Of every file that holds the case: to one without it, already published, or to none. `free` gets the others."""
    redirects = []
    own_files = case.own_files
    staging = store.storage.staging()
    lease.cover([f"staging/{staging.name}"])
    try:
        for file in case.files:
            if file.path in own_files:
                redirects.append(Redirect(file, None))
            elif file.path.endswith(".parquet") and file.path not in free:
                if redirect := _rewritten(store, file, case, staging, lease):
                    redirects.append(redirect)
                else:
                    free.add(file.path)
    finally:
        discard_staging(staging)
    return redirects


def _rewritten(store: EmbeddingStore, file: FileRef, case: _Case, staging: Path, lease: Lease) -> Redirect | None:
    """A redirect to the table without the case, None where the case is not in it."""
    table = read_table(store.storage, file)
    kept = case.rows_without(table)
    if kept.num_rows == table.num_rows:
        return None
    if not kept.num_rows and file.path.startswith("objects/codes/"):
        return Redirect(file, None)  # rows keep their file: an artifact of no rows is still one
    staged = staging / f"{ULID()}.parquet"
    uncompressed = [field.name for field in kept.schema if pa.types.is_fixed_size_list(field.type)]
    with disk_errors("write", "a file without the case"):
        write_table(staged, kept, uncompressed=uncompressed)
        data = staged.read_bytes()
    path = f"{file.path.rsplit('/', 1)[0]}/{ULID()}.parquet"
    lease.cover([path])
    store.storage.publish(staged, path)
    return Redirect(file, FileRef(path, len(data), hashlib.sha256(data).hexdigest()))


def _folds_that_saw(snapshot: Snapshot, cohort: str, case_id: str) -> frozenset[tuple[str, int]]:
    """(split, fold) that have the case in train or val: weights trained on one of them saw it."""
    return frozenset(
        (row["split"], row["fold"])
        for row in snapshot.rows("splits", cohort=cohort).to_pylist()
        if row["case_id"] == case_id and row["part"] in ("train", "val")
    )


def _holds_codes(store: EmbeddingStore, entry: Entry) -> bool:
    """Whether weights are codes of the cases that they were fitted on: a tensor's name has the word ``train`` then."""
    (file,) = entry.files
    size = int.from_bytes(store.storage.read(file.path, 0, 8), "little")
    names = json.loads(store.storage.read(file.path, 8, 8 + size))
    return any("train" in name.split("_") for name in names)
