"""Codes that exist already -> the store: a table, a folder of another tool, or one that `publish` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.codes import CodeColumns, NaNPolicy
from guidestore.embeddings.interchange.table import ID_COLUMN, MISSING_NUMBERS, missing_words
from guidestore.embeddings.remote import on_this_machine, shown
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import UNKNOWN_TRAINING, CodeSetKey, FoldScope
from guidestore.flows.encoding.import_codes import ImportReport, import_codes
from guidestore.flows.encoding.import_folder import FolderReport, import_folder, pool_tiles
from guidestore.flows.encoding.import_published import PublishedImport, import_published, is_published
from guidestore.flows.encoding.import_settings import FolderSettings
from guidestore.flows.work.reporting import Progress, no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportAsked:
    """What an import is asked for. '' and () where it is not given."""

    file: Path
    """A table, an array with `ids`, or a folder."""
    cohort: str = ""
    modality: str = ""
    encoder: str = ""
    version: str = "1"
    trained_on: FoldScope = UNKNOWN_TRAINING
    ids: Path | None = None
    id_column: str = ""
    columns: Sequence[str] = ()
    drop: Sequence[str] = ()
    missing: Sequence[str] | None = None
    nan: NaNPolicy = "refuse"
    replace: bool = False
    folder: FolderSettings = field(default_factory=FolderSettings)
    """Of a folder of another tool."""

    @property
    def is_published(self) -> bool:
        """Whether `publish` wrote it."""
        return self.file.is_dir() and is_published(self.file)

    def check(self) -> None:
        """What can be told before anything is read or made. Raises InvalidInputError."""
        file = self.file
        if self.is_published:
            if self.cohort or self.modality or self.encoder:
                raise InvalidInputError(
                    f"{file} was published by guidestore and says itself what it holds; leave out --cohort, --modality "
                    "and --encoder"
                )
            return
        lacking = [name for name in ("cohort", "modality") if not getattr(self, name)]
        if lacking:
            named = " and ".join(f"--{name}" for name in lacking)
            raise InvalidInputError(f"give {named}: what the codes of {shown(file)} are of")
        if file.is_dir():
            if self.columns or self.drop or self.missing or self.nan != "refuse":
                raise InvalidInputError("--columns, --drop, --missing and --nan are for tables, and a folder has none")
            return
        if self.folder != FolderSettings():
            asked = self.folder.model_dump(exclude_defaults=True)
            given = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(asked))
            file = on_this_machine(file, f"a folder of another tool, with which {given} goes,")
            raise InvalidInputError(f"{given} goes with a folder of another tool, and {file} is none")
        if not self.encoder:
            raise InvalidInputError(f"give --encoder NAME: what made the codes of {shown(file)}")


@dataclass(frozen=True, slots=True)
class FolderImport:
    """What a folder of another tool brought."""

    reports: tuple[FolderReport, ...]
    pooled: tuple[CodeSetKey, ...]
    """Code sets that are the means of tiles."""


def import_any(
    store: EmbeddingStore, asked: ImportAsked, progress: Progress = no_progress
) -> ImportReport | FolderImport | PublishedImport:
    """Imports what `asked` names. Raises GuidestoreError; of a folder, single slides that cannot be read are told in
    the report instead."""
    asked.check()
    if asked.is_published:
        return import_published(store, asked.file, progress)
    given: dict[str, Any] = {
        "cohort": asked.cohort,
        "modality": asked.modality,
        "encoder": asked.encoder,
        "version": asked.version,
        "trained_on": asked.trained_on,
        "ids": asked.ids,
        "supersede": asked.replace,
    }
    if asked.file.is_dir():
        folder = asked.folder
        reports = import_folder(store, asked.file, folder, progress=progress, id_column=asked.id_column, **given)
        pooled = pool_tiles(store, reports, progress) if folder.pool and not folder.dry_run else []
        return FolderImport(tuple(reports), tuple(pooled))
    absent = MISSING_NUMBERS if asked.missing is None else missing_words(asked.missing, MISSING_NUMBERS)
    how = CodeColumns(asked.id_column or ID_COLUMN, tuple(asked.columns), tuple(asked.drop), tuple(absent), asked.nan)
    return import_codes(store, asked.file, how=how, **given)
