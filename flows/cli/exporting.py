"""Exporting: codes for other tools, and a run as a folder that predicts without the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.options import STORE, At, Split, Store, Target

app = typer.Typer()


@app.command("export")
def export_command(
    cohort: Annotated[str, typer.Argument(help="Cohort whose codes go out.")],
    code_set: Annotated[
        list[str],
        typer.Option("--code-set", help="MODALITY/ENCODER[@DIGEST]; repeat for case codes beside a set of bags."),
    ],
    layout: Annotated[
        str,
        typer.Option("--layout", help="clam, deepguide, eva, lazyslide, npz, parquet, patho-bench, stamp or trident."),
    ],
    output: Annotated[Path, typer.Option("--output", help="New folder; it appears whole or not at all.")],
    split: Split = "",
    target: Target = "",
    stamp_version: Annotated[
        str, typer.Option("--stamp-version", help="Version that STAMP's files name: not later than the reader's.")
    ] = "2.0.0",
    at: At = None,
    place: Store = STORE,
) -> None:
    """Write codes as the files of another tool: TRIDENT, CLAM, STAMP, Patho-Bench, eva, LazySlide, DeepGuide.

    Ids and pseudonyms stay as they are in the store; no path of this machine goes out. What is left out is named.
    """
    from guidestore.flows.encoding.export_codes import export_codes
    from guidestore.flows.work.stores import opened

    with opened(place, adds=False) as store:
        exported = export_codes(
            store.snapshot(at),
            output,
            cohort=store.snapshot().first_name(cohort),
            code_sets=code_set,
            layout=layout,
            split=split,
            target=target,
            stamp_version=stamp_version,
        )
    for key in exported.code_sets:
        print(f"{key} (trained on {key.trained_on})")
    count = count_of(exported.slides, "slide") + " of " if exported.slides else ""
    print(f"{count}{count_of(exported.cases, 'case')} for {exported.tool} -> {exported.folder}")
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)


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


@app.command("publish")
def publish_command(
    snapshot: Annotated[str, typer.Argument(help="Snapshot that goes out: number, tag or alias.")],
    output: Annotated[Path, typer.Option("--output", help="New folder; it appears whole or not at all.")],
    cohort: Annotated[
        list[str] | None, typer.Option("--cohort", help="Cohort that goes out, repeat for several; default: all.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the data: an SPDX id or an address.")] = "",
    url: Annotated[str, typer.Option("--url", help="Where the data set will be found.")] = "",
    creator: Annotated[str, typer.Option("--creator", help="Who made it.")] = "",
    with_pseudonymized: Annotated[
        bool,
        typer.Option(
            "--with-pseudonymized",
            help="Pseudonymized cohorts too: their pseudonyms, codes, labels, splits and sha256 of images leave.",
        ),
    ] = False,
    place: Store = STORE,
) -> None:
    """Write codes, labels and splits as a data set: Parquet, a card for Hugging Face, Croissant with lineage.

    Weights, runs, predictions and paths of images stay. `guidestore import FOLDER` brings the same artifacts back.
    """
    from guidestore.flows.encoding.publish import publish
    from guidestore.flows.work.stores import opened

    with opened(place, adds=False) as store:
        published = publish(
            store.snapshot(snapshot),
            output,
            cohorts=tuple(store.snapshot().first_name(name) for name in cohort or ()),
            licence=licence,
            url=url,
            creator=creator,
            with_pseudonymized=with_pseudonymized,
        )
    for item in published.data.sets:
        print(f"{item.file}  {item.key} (trained on {item.key.trained_on}), {count_of(item.items, 'code')}")
    size = sum(size for size, _ in published.data.files.values())
    print(f"snapshot {published.data.snapshot} -> {published.folder}, {size / 1e6:.1f} MB")
    for note in published.notes:
        print(f"note: {note}", file=sys.stderr)
