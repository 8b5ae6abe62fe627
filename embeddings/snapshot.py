"""A read-only view of the store at one commit: code sets, bags, codes, rows, weights."""

from __future__ import annotations

import difflib
import functools
import json
import operator
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Concatenate

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.case_codes import code_matrix
from guidestore.embeddings.commit_log import CommitLog
from guidestore.embeddings.errors import (
    AmbiguousNameError,
    CorruptArtifactError,
    FoldLeakageError,
    NotFoundInStoreError,
)
from guidestore.embeddings.log_table import NOT_ARTIFACTS, entry_of, live_at
from guidestore.embeddings.records import Entry, FileRef
from guidestore.embeddings.rows import RUN_KINDS, SCHEMAS
from guidestore.embeddings.storage import Storage, each
from guidestore.embeddings.tables import conformed, read_table, read_verified
from guidestore.embeddings.types import Bag, CaseCodes, CodeSetKey, CodeSetName, FoldScope


def _again_after_a_purge[**P, T](read: Callable[Concatenate[Snapshot, P], T]) -> Callable[Concatenate[Snapshot, P], T]:
    """A method of Snapshot that reads files, called again where one was damaged or missing and a purge came since.

    A purge writes files anew without its case and deletes the old ones. Whoever was about to read those misses them,
    and finds the new ones in the log as it is now.
    """

    @functools.wraps(read)
    def reading(snapshot: Snapshot, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(snapshot, *args, **kwargs)
        except CorruptArtifactError:
            log = CommitLog(snapshot.storage)  # one of its own: another thread may be committing with the other
            if not log.withdrawn_since(snapshot.read_at):
                raise
        return reading(Snapshot(snapshot.storage, snapshot.version, log.head, log.table), *args, **kwargs)

    return reading


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The store at commit `version`. Everything read through it is verified against the commit."""

    storage: Storage
    version: int
    read_at: int
    """The newest commit that the log had when this was made; `version` may be older."""
    folded: Callable[[], pa.Table]

    @cached_property
    def log(self) -> pa.Table:
        """The folded log; rows of later commits may be in it. Read when it is first asked for."""
        return self.folded()

    @cached_property
    def table(self) -> pa.Table:
        """The rows of this snapshot (schema LOG_SCHEMA)."""
        return live_at(self.log, self.version)

    def select(self, **equal: str | int) -> pa.Table:
        """Log rows whose columns equal the given values, for example ``kind='bag', cohort='phantom'``."""
        if not equal:
            return self.table
        conditions = [pc.field(name) == value for name, value in equal.items()]
        # Of all that ever was, so that a question about a few rows does not copy a table of millions.
        return live_at(self.log.filter(functools.reduce(operator.and_, conditions)), self.version)

    def entries(self, **equal: str | int) -> list[Entry]:
        """Artifacts whose columns equal the given values."""
        rows = self.select(**equal).filter(~pc.field("kind").isin(NOT_ARTIFACTS))
        return [entry_of(row) for row in rows.to_pylist()]

    def entry(self, artifact: str) -> Entry:
        """One artifact by id. Raises NotFoundInStoreError."""
        for entry in self.entries(artifact=artifact):
            return entry
        raise NotFoundInStoreError(f"snapshot {self.version} has no artifact {artifact}")

    @cached_property
    def artifacts(self) -> frozenset[str]:
        """Ids of all artifacts: what need not be made again."""
        rows = live_at(self.log.select(["kind", "artifact", "added_at", "removed_at"]), self.version)
        return frozenset(rows.filter(~pc.field("kind").isin(NOT_ARTIFACTS))["artifact"].to_pylist())

    # Cohorts ---------------------------------------------------------------------------------------------------

    @cached_property
    def display_names(self) -> dict[str, str]:
        """Cohort -> what it is shown as, of those that were renamed."""
        rows = self.rows("cohorts").to_pylist()
        return {row["cohort"]: row["display_name"] for row in rows if row["display_name"]}

    def first_name(self, cohort: str) -> str:
        """The name in the store of the cohort that is called `cohort`; itself where none was renamed so."""
        return next((first for first, shown in self.display_names.items() if shown == cohort), cohort)

    # Code sets -------------------------------------------------------------------------------------------------

    @cached_property
    def code_sets(self) -> tuple[CodeSetKey, ...]:
        """All code sets, sorted by name."""
        columns = ["cohort", "modality", "encoder", "encoder_digest", "trained_on", "kind"]
        coded = self.log.select([*columns, "shape", "added_at", "removed_at"])
        coded = live_at(coded.filter(pc.field("kind").isin(["bag", "codes"])), self.version)
        grouped = coded.append_column("row", pa.array(range(coded.num_rows), pa.int64())).group_by(columns)
        one_row_each = coded.take(grouped.aggregate([("row", "min")])["row_min"])
        keys = {
            CodeSetKey(
                row["cohort"],
                row["modality"],
                row["encoder"],
                row["encoder_digest"],
                FoldScope.parse(row["trained_on"]),
                row["kind"],
                row["shape"][-1],
            )
            for row in one_row_each.to_pylist()
        }
        return tuple(sorted(keys, key=str))

    def code_set(self, name: CodeSetName | str, *, split: str = "", fold: int = -1) -> CodeSetKey:
        """The code set that a name means; as text, ``COHORT/MODALITY/ENCODER[@DIGEST]``.

        With a `split` and `fold`, of several fold-trained sets the one of that fold is meant. Raises
        NotFoundInStoreError, AmbiguousNameError (listing the matches), or FoldLeakageError if all matches were
        trained on other folds.
        """
        name = CodeSetName.parse(name) if isinstance(name, str) else name
        name = replace(name, cohort=self.first_name(name.cohort))
        matches = [key for key in self.code_sets if name.means(key.name)]
        if not matches:
            names = list(dict.fromkeys(f"{key.cohort}/{key.name.stem.within}" for key in self.code_sets))
            near = difflib.get_close_matches(str(name), names, n=1)
            known = (f"; did you mean {near[0]}?" if near else ";") + f" there are {', '.join(names[:20])}"
            if not self.code_sets:
                known = "; there are none yet, make them with `guidestore encode` or `guidestore import`"
            raise NotFoundInStoreError(f"no code set '{name}' at snapshot {self.version}{known}")
        if split:
            allowed = [key for key in matches if fold_allows(key.trained_on, name.cohort, split, fold)]
            if not allowed:
                scopes = ", ".join(sorted(str(key.trained_on) for key in matches))
                raise FoldLeakageError(
                    f"code set {name} is not for fold {fold} of split {split}: its encoders were trained on "
                    f"{scopes}; encode this fold, or choose another encoder"
                )
            matches = allowed
        if len(matches) > 1:
            matches.sort(key=lambda key: str(key.trained_on))
            listed = ", ".join(f"{key} (trained on {key.trained_on})" for key in matches)
            scope = matches[0].trained_on
            chosen = (
                f", or --split {scope.split} --fold {scope.fold} where that is asked" if scope.kind == "fold" else ""
            )
            digest = str(matches[0]).rpartition("@")[2]
            raise AmbiguousNameError(
                f"'{name}' matches several code sets: {listed}; add @DIGEST, such as @{digest}{chosen}"
            )
        return matches[0]

    def _code_set_rows(self, key: CodeSetKey) -> pa.Table:
        return self.select(kind=key.kind, cohort=key.cohort, modality=key.modality, encoder_digest=key.encoder_digest)

    def code_set_entries(self, key: CodeSetKey) -> list[Entry]:
        """The artifacts of a code set, in the order of `codes`: by case, image and id."""
        entries = [entry_of(row) for row in self._code_set_rows(key).to_pylist()]
        return sorted(entries, key=lambda entry: (entry.case_id, entry.image_id, entry.artifact))

    @staticmethod
    def _files_of(rows: pa.Table) -> list[tuple[FileRef, set[str]]]:
        """The first file of each log row, once each, with the artifacts that the rows name in it."""
        artifacts: dict[str, set[str]] = {}
        first_row: dict[str, int] = {}
        for i, (path, artifact) in enumerate(zip(rows["path"].to_pylist(), rows["artifact"].to_pylist(), strict=True)):
            artifacts.setdefault(path, set()).add(artifact)
            first_row.setdefault(path, i)
        return [(FileRef(**rows["files"][first_row[path]].as_py()[0]), ids) for path, ids in artifacts.items()]

    @_again_after_a_purge
    def codes(self, key: CodeSetKey) -> CaseCodes:
        """All codes of a set of case codes, sorted by case and image; verified. Raises CorruptArtifactError."""
        rows = self._code_set_rows(key)
        if not rows.num_rows:
            raise NotFoundInStoreError(f"no codes of {key} at snapshot {self.version}")
        ids: list[tuple[str, str, str]] = []
        matrices = []
        files = self._files_of(rows)
        tables = each(self.storage, lambda item: read_table(self.storage, item[0]), files)
        for (file, artifacts), table in zip(files, tables, strict=True):
            table = _only(table, "artifact", artifacts)
            if table.num_rows != len(artifacts):
                raise CorruptArtifactError(f"{file.path} lacks codes that were committed; run `guidestore fsck`")
            columns = (table[name].to_pylist() for name in ("case_id", "image_id", "artifact"))
            ids += zip(*columns, strict=True)
            matrices.append(code_matrix(table))
        order = sorted(range(len(ids)), key=ids.__getitem__)
        codes_nd = np.concatenate(matrices)[order]
        return CaseCodes(tuple(ids[i][0] for i in order), codes_nd, tuple(ids[i][1] for i in order), key)

    @_again_after_a_purge
    def bags(self, key: CodeSetKey, case_id: str) -> list[Bag]:
        """The bags of a case, one per slide, sorted by image id; verified. Raises CorruptArtifactError."""
        rows, places = self._bag_rows(key)
        entries = [entry_of(rows.slice(place, 1).to_pylist()[0]) for place in places.get(case_id, ())]
        if not entries:
            raise NotFoundInStoreError(f"case {case_id} has no bag in {key} at snapshot {self.version}")
        return [read_bag(self.storage, entry) for entry in sorted(entries, key=lambda entry: entry.image_id)]

    def _bag_rows(self, key: CodeSetKey) -> tuple[pa.Table, dict[str, list[int]]]:
        """The rows of a set of bags, and where those of each case are: training asks for one after the other."""
        if key not in self._bag_sets:
            rows, places = self._code_set_rows(key), defaultdict(list)
            for place, case_id in enumerate(rows["case_id"].to_pylist()):
                places[case_id].append(place)
            self._bag_sets[key] = (rows, dict(places))
        return self._bag_sets[key]

    @cached_property
    def _bag_sets(self) -> dict[CodeSetKey, tuple[pa.Table, dict[str, list[int]]]]:
        return {}

    # Rows, weights, names --------------------------------------------------------------------------------------

    @_again_after_a_purge
    def rows(self, kind: str, **equal: str) -> pa.Table:
        """All rows of a kind, of entries whose log columns equal the given values (``cohort='phantom'``)."""
        schema = SCHEMAS[kind]
        entries = self.entries(kind=f"rows:{kind}", **equal)
        if kind in RUN_KINDS:  # those that came with their run, beside those that came later
            entries = [*self.entries(kind="run", **equal), *entries]
        owners: dict[FileRef, set[str]] = {}
        for entry in entries:
            for file in entry.files:
                if file.path.startswith(f"objects/rows/{kind}/"):
                    owners.setdefault(file, set()).update([entry.artifact] if entry.kind == "run" else [])
        tables = []
        read = each(self.storage, lambda file: conformed(read_table(self.storage, file), schema), list(owners))
        for table, artifacts in zip(read, owners.values(), strict=True):
            tables.append(_only(table, "run", artifacts) if artifacts else table)
        return pa.concat_tables(tables) if tables else schema.empty_table()

    @_again_after_a_purge
    def weights(self, artifact: str) -> tuple[dict[str, np.ndarray], Entry]:
        """Tensors of trained weights and their entry (meta: role, name, config); verified."""
        from safetensors.numpy import load

        entry = self.entry(artifact)
        (file,) = entry.files
        return load(read_verified(self.storage, file)), entry

    @cached_property
    def aliases(self) -> dict[str, tuple[int, str]]:
        """Alias name -> (snapshot, run artifact or '')."""
        rows = self.select(kind="alias").to_pylist()
        metas = {row["artifact"]: json.loads(row["meta"]) for row in rows}
        return {name: (meta["snapshot"], meta["artifact"]) for name, meta in metas.items()}


def _only(table: pa.Table, column: str, ids: set[str]) -> pa.Table:
    """The rows of `ids`: a file may also hold what another writer committed first."""
    if set(table[column].to_pylist()) <= ids:
        return table
    return table.filter(pc.field(column).isin(sorted(ids)))


def fold_allows(trained_on: FoldScope, cohort: str, split: str, fold: int) -> bool:
    """Whether codes of an encoder trained on `trained_on` may feed heads of this cohort, split and fold."""
    return trained_on.kind != "fold" or trained_on == FoldScope.of(cohort, split, fold)
