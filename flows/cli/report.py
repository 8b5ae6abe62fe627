"""The report: one HTML file about stored runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE, At, Format, Metric, SmallestEffect, Store

app = App()


@app.command()
def report(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write; an earlier one is replaced.")] = Path(
        "report.html"
    ),
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for every figure as PDF, SVG and PNG of 300 dpi.")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option("--tables", help="Folder for the input rows and the gains as LaTeX and CSV.")
    ] = None,
    case_ids: Annotated[
        bool, typer.Option("--case-ids/--no-case-ids", help="Whether the page names the cases of its maps by id.")
    ] = True,
    target: Annotated[str, typer.Option("--target", help="Only runs of this target; default: a section each.")] = "",
    split: Annotated[str, typer.Option("--split", help="Only runs of this split.")] = "",
    inferior: Annotated[str, typer.Option("--inferior", help="Only runs of MODALITY/ENCODER as inferior.")] = "",
    superior: Annotated[str, typer.Option("--superior", help="Only runs of MODALITY/ENCODER as superior.")] = "",
    mode: Annotated[str, typer.Option("--mode", help="Only matched or as-published.")] = "",
    guidance: Annotated[str, typer.Option("--guidance", help="Only this G (rows without G stay).")] = "",
    decoder: Annotated[str, typer.Option("--decoder", help="Only this decoder.")] = "",
    metric: Metric = "",
    smallest_effect: SmallestEffect = 0.02,
    at: At = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Write one HTML file about stored runs: is it guidance? It opens without a network; nothing is read or trained.

    First in plain words, then tables and verdicts, which cases came in and which did not, bars with intervals,
    confusion matrices, calibration, how well G foretells z_S, a map of codes with its cases, and provenance.

    $ guidestore report mfeat --out report.html
    $ guidestore report mfeat --figures figures --tables tables
    """
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place, adds=False) as store:
        from guidestore.flows.report import write_report
        from guidestore.flows.results.selection import RunSelection

        first = store.snapshot().first_name(cohort)
        selection = RunSelection(first, target, split, inferior, superior, mode, guidance, decoder)
        done = write_report(
            store,
            selection,
            out,
            at=at,
            names_cases=case_ids,
            figures=figures,
            tables=tables,
            metric=metric,
            margin=smallest_effect,
            progress=progress,
        )
    heads = [(effect.head, effect.verdict) for effect in done.effects]
    said = [f"{verdict}: {h.target}, {h.row} ({h.guidance}, {h.decoder}, {h.mode})" for h, verdict in heads]
    if done.uncounted:
        print(f"note: {done.uncounted}", file=sys.stderr)
    for folder in filter(None, (figures, tables)):
        said.append(f"written: {count_of(sum(file.parent == folder for file in done.files), 'file')} in {folder}")
    size = f"{done.size / 1e6:.1f} MB, {count_of(done.runs, 'run')}, snapshot {done.snapshot}"
    rows = [{**effect.as_row(), "file": str(done.file), "snapshot": done.snapshot} for effect in done.effects]
    rows = rows or [{"file": str(done.file), "snapshot": done.snapshot}]
    show_done([*said, f"written: {done.file} ({size})"], rows, format_)
