"""card.json of an exported model, as far as it predicts: checked field by field, for the folder may be anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.embeddings.outcomes import ONE_CLASS_KINDS, TargetKind
from guidestore.embeddings.types import FoldScope

FORMAT = 1
NAME = "card.json"
MOST_BYTES = 16 * 2**20
"""Of a card: it holds texts and numbers, no code."""


def _plain(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError("is no name of a file in the folder")
    return name


def _scope(text: str) -> str:
    try:
        FoldScope.parse(text)
    except GuidestoreError as error:
        raise ValueError(str(error)) from error
    return text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class FileDigest(_Part):
    """Of one file of the folder."""

    sha256: str


class Inferior(_Part):
    """The code set of z_I."""

    modality: str
    encoder: str
    encoder_digest: str
    trained_on: Annotated[str, AfterValidator(_scope)]
    code_dim: int = Field(ge=1)


class Card(_Part):
    """What predicts; docs/export.md lists the rest."""

    format: int
    run: str
    cohort: str
    classes: list[str]
    """Classes, grades or labels; [] of a value and of survival."""
    kind: TargetKind = "classes"
    unit: str = ""
    """Of a value, or of a survival time."""
    facts: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Of the run: how wide the interval of a value is."""
    inferior: Inferior
    encoders: list[dict[str, Any]]
    """Rows of schema ``encoders``, preprocessing and config as mappings."""
    files: dict[Annotated[str, AfterValidator(_plain)], FileDigest]
    medians: list[Annotated[float, Field(allow_inf_nan=False)]] | None = None
    """What stands for a missing value of z_I, one a dimension; None: none may be missing."""

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        least = 2 if self.kind in ONE_CLASS_KINDS else 1 if self.kind == "multilabel" else 0
        if len(self.classes) < least:
            raise ValueError(f"classes: a target of kind {self.kind} has {least} at least")
        return self

    @model_validator(mode="after")
    def _check_medians(self) -> Self:
        if self.medians is not None and len(self.medians) != self.inferior.code_dim:
            raise ValueError(f"{len(self.medians)} medians for codes of {self.inferior.code_dim} dimensions")
        return self


def read_card(folder: Path) -> Card:
    """The card of a folder. Raises InvalidInputError where there is none, for one of another format, and for a field
    that is missing or of another type, naming it."""
    file = folder / NAME
    if not file.is_file():
        raise InvalidInputError(
            f"{folder} is no exported model: it has no {NAME}; write one with `guidestore export-model`"
        )
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InvalidInputError(f"{file} has more than {MOST_BYTES:,} bytes, so it is no card of a model")
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{file} cannot be read ({error}); export the model again") from error
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] != FORMAT:
        raise InvalidInputError(
            f"{folder} is of format {raw['format']}, this guidestore reads {FORMAT}; install the one that wrote it"
        )
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InvalidInputError(f"{file}, {where}: {first['msg']}; export the model again") from error
