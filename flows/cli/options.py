"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Store = Annotated[
    str,
    typer.Option(
        "--store", envvar="GUIDESTORE_STORE", help="Folder of the store, or s3://BUCKET/PREFIX.", show_default=True
    ),
]
STORE = "guidestore-store"
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
TaskRunner = Annotated[
    Literal["threads", "ray"],
    typer.Option("--task-runner", help="threads: in this process; ray: batches are tasks on a Ray cluster."),
]
RayAddress = Annotated[
    str,
    typer.Option(
        "--ray-address",
        envvar="GUIDESTORE_RAY_ADDRESS",
        help="For ray: host:port, ray://host:port or auto; default: Ray is started on this machine for the run.",
    ),
]
GpusPerTask = Annotated[
    float, typer.Option("--gpus-per-task", min=0, help="For ray: GPUs of each task; 0.5: two tasks share one.")
]
