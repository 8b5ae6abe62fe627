"""Codes: import, encode, encoders, attention."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.from_settings import command
from guidestore.flows.cli.options import STORE, At, Format, Key, Split, Store

if TYPE_CHECKING:
    from guidestore.flows.encoding.import_any import FolderImport
    from guidestore.flows.encoding.import_codes import ImportReport
    from guidestore.flows.encoding.import_published import PublishedImport
    from guidestore.flows.encoding.import_settings import FolderSettings
    from guidestore.flows.encoding.settings import EncodeSettings
    from guidestore.flows.work.runners import Runner

app = typer.Typer()


@command(app, "import", folder="guidestore.flows.encoding.import_settings:FolderSettings")
def import_command(
    folder: FolderSettings,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, Excel, Parquet or npz with case_id; npy with --ids; a folder of another tool or a published one."
        ),
    ],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohort of the cases (made if new).")] = "",
    modality: Annotated[str, typer.Option("--modality", help="What was encoded: mri_t1, clinical, histology, …")] = "",
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            help="Name of what made the codes; of a folder only where it does not say it, or to choose one.",
        ),
    ] = "",
    version: Annotated[str, typer.Option("--encoder-version", help="Its version; another version, another set.")] = "1",
    trained_on: Annotated[
        str,
        typer.Option(
            "--trained-on", help="What it was trained on: none (never these cases), unknown, or COHORT/SPLIT/FOLD."
        ),
    ] = "unknown",
    ids: Annotated[
        Path | None,
        typer.Option("--ids", help="Text file of case ids, for .npy; of DeepGuide a table, or of each {part}."),
    ] = None,
    id_column: Annotated[str, typer.Option("--id-column", help="Column of the case ids; default: case_id.")] = "",
    columns: Annotated[
        list[str] | None, typer.Option("--columns", help="Columns that are codes: A,B or 'original_*'; default: all.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", help="Columns that are not: A,B or 'diag*'.")] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option("--missing", help="Words that mean no value: A,B; default: NA, nan, NULL, ? and the like."),
    ] = None,
    nan: Annotated[
        Literal["refuse", "drop-column", "median"],
        typer.Option("--nan", help="A code that lacks a value: refuse, drop its column, or fill in train's median."),
    ] = "refuse",
    replace: Annotated[
        bool, typer.Option("--replace", help="These values supersede other ones; the old stay in the history.")
    ] = False,
    place: Store = STORE,
) -> None:
    """Bring codes that you have already: a table of case codes, or a folder of another tool.

    Of a folder each slide is committed as it is read: interrupt it anywhere and run it again. Slides that cannot be
    read are named, and the others go on. docs/peers.md has a table of the layouts.
    """
    from guidestore.embeddings.interchange.table import words
    from guidestore.embeddings.types import FoldScope
    from guidestore.flows.encoding.import_any import ImportAsked, import_any
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import to_fill

    asked = ImportAsked(
        file=file,
        cohort=cohort,
        modality=modality,
        encoder=encoder,
        version=version,
        trained_on=FoldScope.parse(trained_on),
        ids=ids,
        id_column=id_column,
        columns=words(columns),
        drop=words(drop),
        missing=None if missing is None else words(missing),
        nan=nan,
        replace=replace,
        folder=folder,
    )
    asked.check()
    with to_fill(place, dry_run=folder.dry_run, resumes=file.is_dir()) as store, progress_bars() as progress:
        done = import_any(store, asked, progress)
    _show_import(done, dry_run=folder.dry_run)


def _show_import(done: ImportReport | FolderImport | PublishedImport, *, dry_run: bool) -> None:
    from guidestore.flows.encoding.import_any import FolderImport
    from guidestore.flows.encoding.import_codes import ImportReport

    if isinstance(done, ImportReport):
        _show_codes(done)
    elif isinstance(done, FolderImport):
        _show_folder(done, dry_run=dry_run)
    else:
        for key in done.code_sets:
            print(f"{key} (trained on {key.trained_on})")
        print(f"{count_of(done.artifacts, 'artifact')}, {done.new} new; snapshot {done.snapshot}")


def _show_codes(report: ImportReport) -> None:
    known = report.codes - report.new
    print(
        f"{report.code_set}: {count_of(report.codes, 'code')} of {count_of(report.code_set.code_dim, 'dimension')}, "
        f"{report.new} new",
        end="",
    )
    print(f", {report.replaced} of them replace others" if report.replaced else "", end="")
    print(f", {known} were there" if known else "")
    first, last = report.columns[0], report.columns[-1]
    print(f"columns: {first} to {last} ({len(report.columns)})" if first != last else f"column: {first}")
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)


def _show_folder(done: FolderImport, *, dry_run: bool) -> None:
    for report in done.reports:
        key = report.code_set
        what = f"{count_of(report.bags, 'slide')} of " if key.kind == "bag" else f"{count_of(report.bags, 'code')} of "
        tiles = f", {count_of(report.tiles, 'tile')}" if key.kind == "bag" else ""
        print(
            f"{report.tool}, {report.place}: {what}{count_of(report.cases, 'case')}{tiles} of "
            f"{count_of(key.code_dim, 'dimension')}"
        )
        known = report.bags - report.new - len(report.failed)
        told = f"{report.new} new" + (f", {report.replaced} of them replace others" if report.replaced else "")
        told += f", {known} were there" if known else ""
        print(f"{key} (trained on {key.trained_on}): {'nothing imported (--dry-run)' if dry_run else told}")
        if report.blank:
            print(f"blank: {', '.join(report.blank)}")
        for note in report.notes:
            print(f"note: {note}", file=sys.stderr)
        for name, reason in report.failed.items():
            print(f"not imported: {name}: {reason}", file=sys.stderr)
    for key in done.pooled:
        print(f"code set {key}: the mean of each case's tiles")
    if any(report.failed for report in done.reports):
        raise typer.Exit(8)


@command(
    app,
    settings="guidestore.flows.encoding.settings:EncodeSettings",
    runner="guidestore.flows.work.runners:Runner",
    arguments=("cohort",),
)
def encode(settings: EncodeSettings, runner: Runner, place: Store = STORE) -> None:
    """Push a cohort's images through an encoder; each case is committed as it finishes.

    Interrupt it anywhere and run it again: only the missing cases are encoded. Cases that cannot be read are put into
    quarantine with the reason, and the others go on.
    """
    from guidestore.flows.encoding.encode import encode as run
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with opened(place, resumes=True) as store, progress_bars() as progress:
        if runner.task_runner == "ray":
            from guidestore.flows.cluster.encode import encode_on_ray

            report = encode_on_ray(store, settings, runner, progress)
        else:
            report = run(store, settings, progress)
    for key_ in report.code_sets:
        print(f"code set {key_} (trained on {key_.trained_on})")
    for note in report.notes:
        print(f"note: {note}")
    print(
        f"encoded {report.encoded}, there already {report.existing}, in quarantine {len(report.failed)}, "
        f"image files read {report.images_read}; snapshot {report.snapshot}; on {report.device}"
    )
    for case_id, reason in report.failed.items():
        print(f"quarantined: {case_id}: {reason}", file=sys.stderr)
    if report.failed:
        raise typer.Exit(8)


@app.command()
def encoders(format_: Format = "table") -> None:
    """List the encoders: what they take, how wide their codes are, where their weights come from.

    Any timm model works too, on slides and on photographs, by its name and with --weights.
    """
    from guidestore.encoders.registry import encoder_infos
    from guidestore.flows.cli.output import show_rows

    rows = [info.row() for info in encoder_infos().values()]
    show_rows(rows, list(rows[0]), format_, title="encoders")


@app.command()
def attention(
    case: Annotated[str, typer.Argument(help="Case id.")],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohort of the case.")],
    encoder: Annotated[
        str, typer.Option("--encoder", help="Attention network, NAME or NAME@DIGEST: clam_sb, clam_mb, …")
    ] = "clam_sb",
    modality: Annotated[str, typer.Option("--modality", help="Modality of the slides.")] = "histology",
    split: Split = "",
    fold: Annotated[int, typer.Option("--fold", help="With --split: the fold that the network was trained on.")] = -1,
    out: Annotated[Path, typer.Option("--out", help="Folder of the pictures.")] = Path(),
    at: At = None,
    key: Key = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Draw where an attention network looked, over the thumbnail of each slide of a case (PNG).

    With --format csv, json or parquet: no picture, but the place and attention of every tile.
    """
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.encoding.attention import attention_of, draw_attention
    from guidestore.flows.work.stores import opened

    with opened(place) as store:
        snapshot, cohort = store.snapshot(at), store.snapshot().first_name(cohort)
        maps = attention_of(snapshot, cohort, case, encoder=encoder, modality=modality, split=split, fold=fold)
        if format_ == "table":
            for file in draw_attention(store.snapshot(), cohort, maps, out, key):
                print(file)
            return
    rows = [row for slide_map in maps for row in slide_map.as_rows()]
    show_rows(rows, list(rows[0]), format_)
