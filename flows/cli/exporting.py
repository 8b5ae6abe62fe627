"""Exporting: codes for other tools, and a run as a folder that predicts without the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE, At, Format, Split, Store, Target
from guidestore.flows.cli.output import show_done

app = App()


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
    format_: Format = "table",
) -> None:
    """Write codes as the files of another tool: TRIDENT, CLAM, STAMP, Patho-Bench, eva, LazySlide, DeepGuide.

    Ids and pseudonyms stay as they are in the store; no path of this machine goes out. What is left out is named.

    $ guidestore export glioma --code-set histology/texture --layout clam --output for-clam
    $ guidestore export glioma --code-set mri_all/densenet3d --layout npz --output codes --split cv5
    """
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place, adds=False) as store:
        from guidestore.flows.encoding.export_codes import export_codes

        exported = export_codes(
            store.snapshot(at),
            output,
            cohort=store.snapshot().first_name(cohort),
            code_sets=code_set,
            layout=layout,
            split=split,
            target=target,
            stamp_version=stamp_version,
            progress=progress,
        )
    said = [f"{key} (trained on {key.trained_on})" for key in exported.code_sets]
    count = count_of(exported.slides, "slide") + " of " if exported.slides else ""
    said.append(f"{count}{count_of(exported.cases, 'case')} for {exported.tool} -> {exported.folder}")
    whole = {"slides": exported.slides, "cases": exported.cases, "tool": exported.tool, "folder": str(exported.folder)}
    rows = [
        {"code_set": str(key), "trained_on": str(key.trained_on), **whole, "snapshot": exported.snapshot}
        for key in exported.code_sets
    ]
    show_done(said, rows, format_)
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
    format_: Format = "table",
) -> None:
    """Write a run's encoder, G and D_c as one folder (ONNX, safetensors, a card) that predicts without the store.

    $ guidestore export-model champion --output model
    """
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars(), opened(place) as store:
        from guidestore.flows.models.export import export_model

        exported = export_model(store, run, output, allow_train_codes=allow_train_codes)
    said = [f"  {name}  {size:,} bytes" for name, size in exported.files.items()]
    of = {"run": exported.run, "folder": str(exported.folder)}
    rows = [{**of, "file": name, "bytes": size} for name, size in exported.files.items()]
    show_done([f"run {exported.run[:12]} -> {exported.folder}", *said], rows, format_)
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
    format_: Format = "table",
) -> None:
    """Write codes, labels and splits as a data set: Parquet, a card for Hugging Face, Croissant with lineage.

    Weights, runs, predictions and paths of images stay. `guidestore import FOLDER` brings the same artifacts back.

    $ guidestore publish submitted --output published --cohort mfeat --licence CC-BY-4.0
    """
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place, adds=False) as store:
        from guidestore.flows.encoding.publish import publish

        published = publish(
            store.snapshot(snapshot),
            output,
            cohorts=tuple(store.snapshot().first_name(name) for name in cohort or ()),
            licence=licence,
            url=url,
            creator=creator,
            with_pseudonymized=with_pseudonymized,
            progress=progress,
        )
    data = published.data
    said = [
        f"{item.file}  {item.key} (trained on {item.key.trained_on}), {count_of(item.items, 'code')}"
        for item in data.sets
    ]
    size = sum(size for size, _ in data.files.values())
    rows = [
        {"code_set": str(item.key), "trained_on": str(item.key.trained_on), "codes": item.items, "file": item.file}
        | {"snapshot": data.snapshot, "folder": str(published.folder), "bytes": data.files[item.file][0]}
        for item in data.sets
    ]
    show_done([*said, f"snapshot {data.snapshot} -> {published.folder}, {size / 1e6:.1f} MB"], rows, format_)
    for note in published.notes:
        print(f"note: {note}", file=sys.stderr)
