"""Experiments: the paper's tables, each from one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guidestore.flows.cli.app import App
from guidestore.flows.cli.from_settings import command
from guidestore.flows.cli.options import STORE, Format, Store
from guidestore.flows.work.printable import one_line

if TYPE_CHECKING:
    from guidestore.flows.paper.report import ExperimentReport
    from guidestore.flows.paper.settings import Derm7ptSettings, RadPathSettings

app = App(help="The paper's tables, each from one command.")


@command(app, settings="guidestore.flows.paper.settings:RadPathSettings", arguments=("cohort",))
def radpath(
    settings: RadPathSettings,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of table1 as .md, .csv, .tex, .pdf, .svg and .png.")
    ] = Path(),
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Table 1 of the paper: MRI guided by histology, five MRI inputs, ours beside the published numbers.

    Adds the cohort, encodes, trains and evaluates what the store does not have yet; run again, it prints the table from
    stored runs. With --preset paper and a GPU this is the paper's protocol; the default is for two CPU cores.

    $ guidestore experiment radpath glioma --source RadPath --out table1
    """
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place, create=settings.source is not None) as store:
        from guidestore.flows.paper.radpath import run_radpath

        report = run_radpath(store, settings, progress)
    _finish(report, out, format_)


@command(app, settings="guidestore.flows.paper.settings:Derm7ptSettings", arguments=("cohort",))
def derm7pt(
    settings: Derm7ptSettings,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of table2 as .md, .csv and .tex, and its figures.")
    ] = Path(),
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Table 2 of the paper: clinical photographs guided by dermoscopy, eight tasks and melanoma, ours beside the paper.

    Adds the cohort, encodes, trains and evaluates what the store does not have yet; run again, it prints the table from
    stored runs. The figures are bars of the rows, and of what guidance gained with intervals.

    $ guidestore experiment derm7pt skin --source release_v0 --out table2
    """
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place, create=settings.source is not None) as store:
        from guidestore.flows.paper.derm7pt import run_derm7pt

        report = run_derm7pt(store, settings, progress)
    _finish(report, out, format_)


def _finish(report: ExperimentReport, out: Path, format_: str) -> None:
    """Prints and writes the table, and says what it took."""
    from guidestore.flows.cli.output import FOR_EYES, show_rows
    from guidestore.flows.cli.paper_table import show_table
    from guidestore.flows.paper.report import write_table
    from guidestore.flows.paper.table import as_rows

    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if format_ in FOR_EYES:
        show_table(report.table, format_)
    else:
        rows = as_rows(report.table)
        show_rows(rows, list(rows[0]), format_)
    files = ", ".join(map(str, write_table(report.table, out)))
    print(f"written: {files}", file=sys.stderr)
    print(
        f"images read: {report.images_read}, codes made: {report.encoded}, networks and heads trained: "
        f"{report.trained}; snapshot {report.snapshot}",
        file=sys.stderr,
    )
    for case_id, reason in report.failed.items():
        print(one_line(f"quarantined: {case_id}: {reason}"), file=sys.stderr)
    if report.failed:
        raise typer.Exit(8)
