"""Exporting: a run as a folder that predicts without the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from guidestore.flows.cli.options import STORE, Store

app = typer.Typer()


@app.command("export-model")
def export_model_command(
    run: Annotated[str, typer.Argument(help="Run: alias (champion), or 8 digits or more of its id.")],
    output: Annotated[Path, typer.Option("--output", help="New folder; it appears whole or not at all.")],
    allow_train_codes: Annotated[
        bool,
        typer.Option("--allow-train-codes", help="Also models whose weights hold codes of the train cases (knn, …)."),
    ] = False,
    place: Store = STORE,
) -> None:
    """Write a run's encoder, G and D_c as one folder (ONNX, safetensors, a card) that predicts without the store."""
    from guidestore.flows.models.export import export_model
    from guidestore.flows.work.stores import opened

    with opened(place) as store:
        exported = export_model(store, run, output, allow_train_codes=allow_train_codes)
    print(f"run {exported.run[:12]} -> {exported.folder}")
    for name, size in exported.files.items():
        print(f"  {name}  {size:,} bytes")
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
