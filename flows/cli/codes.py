"""Codes: import, encode, encoders, attention."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.app import FILE_OR_URL, App
from guidestore.flows.cli.from_settings import command
from guidestore.flows.cli.options import STORE, At, Format, Key, Split, Store
from guidestore.flows.work.printable import one_line

if TYPE_CHECKING:
    from guidestore.embeddings.types import CodeSetKey
    from guidestore.flows.encoding.import_any import FolderImport
    from guidestore.flows.encoding.import_codes import ImportReport
    from guidestore.flows.encoding.import_published import PublishedImport
    from guidestore.flows.encoding.import_settings import FolderSettings
    from guidestore.flows.encoding.settings import EncodeSettings
    from guidestore.flows.work.runners import Runner

app = App()

_DRY = "nothing imported (--dry-run)"


@command(app, "import", folder="guidestore.flows.encoding.import_settings:FolderSettings")
def import_command(
    folder: FolderSettings,
    file: Annotated[
        Path,
        typer.Argument(
            metavar=FILE_OR_URL,
            help="CSV, Excel, Parquet or npz with case_id; npy with --ids; a folder of another tool, or published.",
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
        typer.Option(
            "--ids",
            metavar=FILE_OR_URL,
            help="Text file of case ids, for .npy; of DeepGuide a table, or of each {part}.",
        ),
    ] = None,
    id_column: Annotated[str, typer.Option("--id-column", help="Column of the case ids; default: case_id.")] = "",
    columns: Annotated[
        list[str] | None, typer.Option("--columns", help="Columns that are codes: A,B or 'original_*'; default: all.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", help="Columns that are not: A,B or 'diag*'.")] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            "--missing",
            help="Words that mean no value: A,B; default: NA, nan, NULL, ? and the like, which `default,A` keeps.",
        ),
    ] = None,
    nan: Annotated[
        Literal["refuse", "drop-column", "median"],
        typer.Option("--nan", help="A code that lacks a value: refuse, drop its column, or fill in train's median."),
    ] = "refuse",
    replace: Annotated[
        bool, typer.Option("--replace", help="These values supersede other ones; the old stay in the history.")
    ] = False,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Bring codes that you have already: a table of case codes, or a folder of another tool.

    Of a folder each slide is committed as it is read: interrupt it anywhere and run it again. Slides that cannot be
    read are named, and the others go on. docs/peers.md has a table of the layouts.

    $ guidestore import mri.csv --cohort glioma --modality mri_t1 --encoder radiomics
    $ guidestore import trident_out --cohort glioma --modality histology --slides slides.csv
    $ guidestore import published
    """
    from guidestore.flows.work.progress import progress_bars

    with progress_bars() as progress:
        from guidestore.embeddings.interchange.table import words
        from guidestore.embeddings.types import FoldScope
        from guidestore.flows.encoding.import_any import ImportAsked, import_any
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
        with to_fill(place, dry_run=folder.dry_run, resumes=file.is_dir()) as store:
            done = import_any(store, asked, progress)
    _show_import(done, format_, dry_run=folder.dry_run)


def _show_import(done: ImportReport | FolderImport | PublishedImport, format_: str, *, dry_run: bool) -> None:
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.encoding.import_any import FolderImport
    from guidestore.flows.encoding.import_codes import ImportReport

    if isinstance(done, ImportReport):
        _show_codes(done, format_)
    elif isinstance(done, FolderImport):
        _show_folder(done, format_, dry_run=dry_run)
    else:
        whole = {"artifacts": done.artifacts, "new": done.new, "snapshot": done.snapshot}
        rows = [{"code_set": str(key), "trained_on": str(key.trained_on), **whole} for key in done.code_sets]
        said = [f"{key} (trained on {key.trained_on})" for key in done.code_sets]
        counted = f"{count_of(done.artifacts, 'artifact')}, {done.new} new; snapshot {done.snapshot}"
        show_done([*said, counted], rows, format_)


def _row(key: CodeSetKey, codes: int | None, new: int | None, replaced: int | None) -> dict[str, Any]:
    """What came of a code set, for programs."""
    counts = {"codes": codes, "new": new, "replaced": replaced, "dimensions": key.code_dim}
    return {"code_set": str(key), "kind": key.kind, **counts, "trained_on": str(key.trained_on)}


def _show_codes(report: ImportReport, format_: str) -> None:
    from guidestore.flows.cli.output import show_done

    known = report.codes - report.new
    key, (first, *_, last) = report.code_set, (*report.columns, report.columns[-1])
    said = f"{key}: {count_of(report.codes, 'code')} of {count_of(key.code_dim, 'dimension')}, {report.new} new"
    said += f", {report.replaced} of them replace others" if report.replaced else ""
    said += f", {known} were there" if known else ""
    columns = f"columns: {first} to {last} ({len(report.columns)})" if first != last else f"column: {first}"
    row = _row(key, report.codes, report.new, report.replaced) | {"snapshot": report.snapshot}
    show_done([said, columns], [row], format_)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)


def _show_folder(done: FolderImport, format_: str, *, dry_run: bool) -> None:
    from guidestore.flows.cli.output import show_done

    said, rows = [], []
    for report in done.reports:
        key = report.code_set
        what = f"{count_of(report.bags, 'slide')} of " if key.kind == "bag" else f"{count_of(report.bags, 'code')} of "
        tiles = f", {count_of(report.tiles, 'tile')}" if key.kind == "bag" else ""
        of = f"{what}{count_of(report.cases, 'case')}{tiles} of {count_of(key.code_dim, 'dimension')}"
        said.append(f"{report.tool}, {report.place}: {of}")
        known = report.bags - report.new - len(report.failed)
        told = f"{report.new} new" + (f", {report.replaced} of them replace others" if report.replaced else "")
        told += f", {known} were there" if known else ""
        said.append(f"{key} (trained on {key.trained_on}): {_DRY if dry_run else told}")
        said += [f"blank: {', '.join(report.blank)}"] if report.blank else []
        row = {"tool": report.tool, "cases": report.cases, "tiles": report.tiles, "failed": len(report.failed)}
        rows.append(_row(key, report.bags, 0 if dry_run else report.new, report.replaced) | row)
        for note in report.notes:
            print(f"note: {note}", file=sys.stderr)
        for name, reason in report.failed.items():
            print(f"not imported: {name}: {reason}", file=sys.stderr)
    said += [f"code set {key}: the mean of each case's tiles" for key in done.pooled]
    rows += [_row(key, None, None, None) for key in done.pooled]
    show_done(said, rows, format_)
    if any(report.failed for report in done.reports):
        raise typer.Exit(8)


@command(
    app,
    settings="guidestore.flows.encoding.settings:EncodeSettings",
    runner="guidestore.flows.work.runners:Runner",
    arguments=("cohort",),
)
def encode(settings: EncodeSettings, runner: Runner, place: Store = STORE, format_: Format = "table") -> None:
    """Push a cohort's images through an encoder; each case is committed as it finishes.

    Interrupt it anywhere and run it again: only the missing cases are encoded. Cases that cannot be read are put into
    quarantine with the reason, and the others go on.

    $ guidestore encode glioma --modality histology --encoder texture
    $ guidestore encode glioma --modality mri_all --encoder densenet3d --split cv5
    """
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place, resumes=True) as store:
        from guidestore.flows.encoding.encode import encode as run

        if runner.task_runner == "ray":
            from guidestore.flows.cluster.encode import encode_on_ray

            report = encode_on_ray(store, settings, runner, progress)
        else:
            report = run(store, settings, progress)
    said = [f"code set {key_} (trained on {key_.trained_on})" for key_ in report.code_sets]
    counts = {"encoded": report.encoded, "there already": report.existing, "in quarantine": len(report.failed)}
    counts["image files read"] = report.images_read
    counted = ", ".join(f"{what} {count}" for what, count in counts.items())
    whole = {what.replace(" ", "_"): count for what, count in counts.items()}
    whole |= {"snapshot": report.snapshot, "device": report.device}
    rows = [{"code_set": str(key_), "trained_on": str(key_.trained_on), **whole} for key_ in report.code_sets]
    show_done([*said, f"{counted}; snapshot {report.snapshot}; on {report.device}"], rows, format_)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    for case_id, reason in report.failed.items():
        print(one_line(f"quarantined: {case_id}: {reason}"), file=sys.stderr)
    if report.failed:
        raise typer.Exit(8)


@app.command()
def encoders(format_: Format = "table") -> None:
    """List the encoders: what they take, how wide their codes are, where their weights come from.

    Any timm model works too, on slides and on photographs, by its name and with --weights.

    $ guidestore encoders
    """
    from guidestore.encoders.registry import encoder_infos
    from guidestore.flows.cli.output import print_table, show_rows

    rows = [info.row() for info in encoder_infos().values()]
    if format_ != "table":
        show_rows(rows, list(rows[0]), format_, title="encoders")
        return
    shown = [
        (row["encoder"], row["takes"], row["code_dim"], _tiles(row), _source(row["weights"], row["licence"]))
        for row in rows
    ]
    columns = ("encoder", "takes", "dimensions", "tiles", "--weights; licence")
    print_table(columns, shown, format_, "encoders; tiles: pixels, micrometres per pixel", below=True)


def _tiles(row: Mapping[str, Any]) -> str:
    return f"{row['tile_px']}" + (f", {row['mpp']:.2g}" if row["mpp"] else "") if row["tile_px"] else ""


def _source(weights: str, licence: str) -> str:
    where = weights.removeprefix("--weights ")
    return f"{where}; {licence}" if licence else where


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

    With --format csv, json, parquet or markdown: no picture, but the place and attention of every tile.

    $ guidestore attention PAT_0042 --cohort glioma --encoder clam_sb --out maps
    """
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars(), opened(place) as store:
        from guidestore.flows.encoding.attention import attention_of, draw_attention

        snapshot, cohort = store.snapshot(at), store.snapshot().first_name(cohort)
        maps = attention_of(snapshot, cohort, case, encoder=encoder, modality=modality, split=split, fold=fold)
        files = []
        if format_ == "table":
            files = draw_attention(store.snapshot(), cohort, maps, out, key)
    if format_ == "table":
        print("\n".join(map(str, files)))
        return
    rows = [row for slide_map in maps for row in slide_map.as_rows()]
    show_rows(rows, list(rows[0]), format_)
