"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guidestore.flows.cli.output import Kind

Store = Annotated[
    str,
    typer.Option(
        "--store", envvar="GUIDESTORE_STORE", help="Folder of the store, or s3://BUCKET/PREFIX.", show_default=True
    ),
]
STORE = "guidestore-store"
Format = Annotated[Kind, typer.Option("--format", help="How to print the answer.")]
At = Annotated[str | None, typer.Option("--at", help="Snapshot number, tag or alias; default: the newest.")]
Key = Annotated[Path | None, typer.Option("--key", help="Key file of a pseudonymized cohort.")]
Split = Annotated[str, typer.Option("--split", help="Split; default: the cohort's only one.")]
Target = Annotated[str, typer.Option("--target", help="Target; default: the cohort's only one.")]
Metric = Annotated[
    str,
    typer.Option(
        "--metric",
        help="In which gains and verdicts are given; choose it before you look. Default: that of the "
        "target's kind; of classes auroc, or balanced_accuracy where a test set lacks one. One of your own is "
        "module:Class.",
    ),
]
SmallestEffect = Annotated[
    float, typer.Option("--smallest-effect", min=0, help="The smallest gain that counts as one: no effect lies within.")
]
