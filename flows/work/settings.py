"""What the settings of every flow share. Field descriptions become help and form texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guidestore.embeddings.errors import InvalidInputError

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
    """The settings, or InvalidInputError that names the first wrong field."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        message = first["msg"].replace("Input should", "it should")
        raise InvalidInputError(f"{field} = {first['input']!r}: {message}") from error
