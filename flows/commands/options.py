"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Store = Annotated[
    Path, typer.Option("--store", envvar="GUIDESTORE_STORE", help="Folder of the store.", show_default=True)
]
STORE = Path("guidestore-store")
Format = Annotated[
    Literal["table", "csv", "json", "parquet"], typer.Option("--format", help="How to print the answer.")
]
At = Annotated[str | None, typer.Option("--at", help="Snapshot number, tag or alias; default: the newest.")]
Key = Annotated[Path | None, typer.Option("--key", help="Key file of a pseudonymized cohort.")]
Split = Annotated[str, typer.Option("--split", help="Split; default: the cohort's only one.")]
Target = Annotated[str, typer.Option("--target", help="Target; default: the cohort's only one.")]
TargetList = Annotated[
    list[str] | None, typer.Option("--target", help="Target; repeat for several; default: the cohort's only one.")
]
FoldList = Annotated[list[int] | None, typer.Option("--fold", help="Fold; repeat for several; default: all.")]
