"""What the settings of every flow share. Field descriptions become help and form texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from guidestore.embeddings.errors import InvalidInputError, unknown_name
from guidestore.embeddings.remote import ByURL, on_this_machine

Fold = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Its number; the tables of the store have 32 bits for it."""
Folds = Annotated[tuple[Fold, ...], Field(description="Folds to work on; empty: all folds of the split.")]
MOST_PERMUTATIONS = 10_000
"""More than any p-value needs. A slip of the pen must not fill the memory of the machine that serves."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Of a field: the environment variable that a command takes it from where its option is not given."""

    variable: str


class CohortSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cohort: str = Field(description="Name of the cohort.")


def validated[T: BaseModel](model: type[T], **values: Any) -> T:
    """The settings, or InvalidInputError that names the first wrong field; a URL where it must be a path is wrong."""
    try:
        made = model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            raise unknown_name("argument", field, model.model_fields) from error
        if first["type"] == "missing":
            raise InvalidInputError(f"{field} is missing: give it") from error
        message = re.sub(r"^\w+ should", "it should", first["msg"]).partition(" after validation")[0]
        raise InvalidInputError(f"{field} = {first['input']!r}: {message}") from error
    paths = {name: value for name in model.model_fields if isinstance(value := getattr(made, name), Path)}
    here = {
        name: on_this_machine(path, f"--{name.replace('_', '-')}")
        for name, path in paths.items()
        if not by_url(model.model_fields[name])
    }
    return made.model_copy(update=here) if here != {name: paths[name] for name in here} else made


def by_url(field: FieldInfo) -> bool:
    """Whether a field takes a URL where it takes a path."""
    return any(isinstance(extra, ByURL) for extra in field.metadata)
