"""What an import of another tool's folder is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from guidestore.embeddings.remote import FileOrURL

LayoutName = Literal[
    "trident",
    "clam",
    "stamp",
    "patho-bench",
    "eva",
    "lazyslide",
    "deepguide",
    "atlas-patch",
    "slideflow",
    "slide2vec",
    "marugoto",
    "plain",
]


class FolderSettings(BaseModel):
    """Options that folders of other tools take beside those of every import."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: LayoutName | None = Field(
        default=None, description="Of a folder: the tool that wrote it; empty: by what lies in it."
    )
    slides: FileOrURL = Field(
        default=None, description="Of a folder: table of slide_id, case_id and, where it is known, mpp."
    )
    case_is_slide: bool = Field(default=False, description="Of a folder: each slide is a case of its own.")
    mpp: float | None = Field(
        default=None,
        ge=0.02,
        le=100,
        description="Of a folder: um per level-0 pixel of slides of which neither the table nor the tool says it.",
    )
    rename_ids: Path | None = Field(
        default=None,
        description="Of a folder: table from,to of names that cannot be ids; where it is not there, a proposal is "
        "written.",
    )
    order: str = Field(
        default="",
        description="Of DeepGuide's arrays: ids, if rows follow the table of --ids, or a table whose order they "
        "follow.",
    )
    pool: bool = Field(
        default=False,
        description="Of a folder: the mean of all tiles of each case too, as the codes of encoder tile_mean.",
    )
    dry_run: bool = Field(default=False, description="Of a folder: say what would be imported; import nothing.")
