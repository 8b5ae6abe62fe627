"""What the forms of the deployments have in common: fields of the plain settings, and the store, which is no field.

A parameter names things in the store. It is never a path, reaches no shell and no SQL; the store's own look-ups check
it, and say in a sentence what there is instead.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.plugins import names_object
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.work import devices as work
from guidestore.flows.work.settings import validated
from guidestore.flows.work.stores import opened

STORE = "GUIDESTORE_STORE"
"""Environment variable by which `guidestore serve` and work pools tell the flows' processes their store."""

KEY = "GUIDESTORE_KEY"
"""The same for the key file of pseudonymized cohorts, beside which the paths of their images lie."""

RAY_ADDRESS = "GUIDESTORE_RAY_ADDRESS"
"""The same for the Ray cluster. No field either: whoever answers at that address is given code to run and images."""


PAGE_URL = "GUIDESTORE_PAGE_URL"
"""The same for where the page of codes and cases is, beside Prefect's."""


class Form(BaseModel):
    """Parameters of a deployment: what the UI shows as a form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _names_no_code(cls, given: Any) -> Any:
        """A parameter of a model may name a class anywhere in it, and what is imported runs."""
        for name in _texts(given):
            if names_object(name):
                raise ValueError(
                    f"{name!r} names code, which no form runs; use `guidestore guide` or `guidestore sweep`"
                )
        return given


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, BaseModel):
        yield from _texts(value.model_dump())
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def store_place() -> str:
    """Where the store of this process lies. Raises InvalidInputError where none was fixed."""
    place = os.environ.get(STORE)
    if not place:
        raise InvalidInputError(f"no store is fixed for this process: set {STORE}, or start `guidestore serve --store`")
    return place


def opened_store(*, resumes: bool = False) -> AbstractContextManager[EmbeddingStore]:
    """The store of this process, opened; its index follows what is committed. resumes: see `opened`."""
    return opened(store_place(), resumes=resumes)


def key_file() -> Path | None:
    """The key file of this process; None where it has none."""
    file = os.environ.get(KEY)
    return Path(file) if file else None


def page_url() -> str:
    """Where the page of codes and cases is, as a browser that has Prefect's open reaches it; '' where it is not."""
    return os.environ.get(PAGE_URL, "")


def ray_address() -> str:
    """The Ray cluster of this process; '' where each run starts its own."""
    return os.environ.get(RAY_ADDRESS, "")


def form_of(*models: type[BaseModel], without: Collection[str] = ()) -> type[Form]:
    """A form with the fields of plain settings models, but for those in `without`: paths, above all."""
    fields: dict[str, Any] = {
        name: (info.annotation, info)
        for model in models
        for name, info in model.model_fields.items()
        if name not in without
    }
    return create_model("Fields", __base__=Form, **fields)


def asked[M: BaseModel](form: BaseModel, model: type[M], **given: Any) -> M:
    """The plain settings that a form asks for. given: what no form may say."""
    return validated(model, **form.model_dump(include=set(model.model_fields)), **given)


def same_as(model: type[BaseModel], field: str, **changed: Any) -> Any:
    """A field with the description, default and bounds that a plain settings model gives it."""
    info = model.model_fields[field]
    bounds = {name: getattr(rule, name) for rule in info.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)}
    arguments: dict[str, Any] = {"description": info.description, **bounds}
    if not info.is_required():
        arguments["default"] = info.default
    return Field(**arguments | changed)


def one_of(names: Any, description: str, **more: Any) -> Any:
    """A field whose form is a drop-down of these names."""
    return Field(description=description, json_schema_extra={"enum": list(names)}, **more)


Device = Annotated[work.Device, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Devices = Annotated[work.Devices, Field(pattern=r"^(auto|(cpu|mps|cuda(:\d+)?)(,(cpu|mps|cuda(:\d+)?))*)$")]
