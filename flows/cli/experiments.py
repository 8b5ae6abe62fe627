"""Experiments: the paper's tables, each from one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from guidestore.flows.cli.options import STORE, Format, Key, Store

if TYPE_CHECKING:
    from guidestore.flows.paper.report import ExperimentReport

app = typer.Typer(help="The paper's tables, each from one command.", no_args_is_help=True)


@app.command()
def radpath(
    cohort: Annotated[str, typer.Argument(help="Cohort; added from --source where the store does not have it.")],
    source: Annotated[
        Path | None, typer.Option("--source", help="Folder with Radiology/, Pathology/ and a label CSV.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Folder of the label and split tables; default: --source.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="MRI input (mri_t1, mri_t2, mri_t1ce, mri_flair, mri_all); default: all five."),
    ] = None,
    splits: Annotated[int, typer.Option("--splits", min=1, help="How many; what no file gives is drawn.")] = 5,
    preset: Annotated[
        Literal["demo", "paper"], typer.Option("--preset", help="Small networks for two cores, or the paper's.")
    ] = "demo",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of drawn splits, encoders and heads.")] = 0,
    patch_encoder: Annotated[
        str, typer.Option("--patch-encoder", help="Default: texture (demo) or resnet50_trunc (paper).")
    ] = "",
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights file of the patch encoder; default: the model hub.")
    ] = None,
    pretrained_on: Annotated[
        Literal["none", "unknown"],
        typer.Option("--pretrained-on", help="Whether those weights saw none of these cases, or who knows."),
    ] = "none",
    tile_px: Annotated[int | None, typer.Option("--tile-px", min=8, help="Edge of a tile in pixels.")] = None,
    mpp: Annotated[float | None, typer.Option("--mpp", min=0.01, help="um per pixel of the tiles.")] = None,
    superior: Annotated[str, typer.Option("--superior-encoder", help="C_S of the slides.")] = "clam_sb",
    inferior: Annotated[str, typer.Option("--inferior-encoder", help="C_I of the MRI.")] = "densenet3d",
    guidance: Annotated[
        str, typer.Option("--guidance", help="G; default: autoencoder (demo) or radpath-paper (paper).")
    ] = "",
    decoder: Annotated[str, typer.Option("--decoder", help="D_c; default: mlp (demo) or radpath-paper (paper).")] = "",
    mode: Annotated[
        Literal["as-published", "matched"],
        typer.Option("--mode", help="as-published: rows R and P are the trained classifiers themselves."),
    ] = "as-published",
    permutations: Annotated[int, typer.Option("--permutations", min=0, help="Shuffled-pairs controls per split.")] = 5,
    out: Annotated[Path, typer.Option("--out", help="Folder of table1.md, table1.csv and table1.png.")] = Path(),
    key: Key = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Table 1 of the paper: MRI guided by histology, five MRI inputs, ours beside the published numbers.

    Adds the cohort, encodes, trains and evaluates what the store does not have yet; run again, it prints the table from
    stored runs. With --preset paper and a GPU this is the paper's protocol; the default is for two CPU cores.
    """
    from guidestore.flows.paper.radpath import run_radpath
    from guidestore.flows.paper.settings import RadPathSettings
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.settings import validated
    from guidestore.flows.work.stores import opened

    given = {"inputs": tuple(inputs)} if inputs else {}
    settings = validated(
        RadPathSettings,
        cohort=cohort,
        source=source,
        labels=labels,
        splits=splits,
        preset=preset,
        seed=seed,
        patch_encoder=patch_encoder,
        weights=weights,
        pretrained_on=pretrained_on,
        tile_size_px=tile_px,
        target_mpp=mpp,
        superior_encoder=superior,
        inferior_encoder=inferior,
        guidance=guidance,
        decoder=decoder,
        mode=mode,
        permutations=permutations,
        key_file=key,
        device=device,
        **given,
    )
    with opened(place, create=settings.source is not None) as store, progress_bars() as progress:
        report = run_radpath(store, settings, progress)
    _finish(report, out, format_)


@app.command()
def derm7pt(
    cohort: Annotated[str, typer.Argument(help="Cohort; added from --source where the store does not have it.")],
    source: Annotated[
        Path | None, typer.Option("--source", help="The folder release_v0, with images/ and meta/.")
    ] = None,
    preset: Annotated[
        Literal["demo", "paper", "released"],
        typer.Option(
            "--preset", help="demo: for two cores; paper: Inception-v3, as published; released: as the released code."
        ),
    ] = "demo",
    encoder: Annotated[str, typer.Option("--encoder", help="Of both photographs; default: the preset's.")] = "",
    encoder_seed: Annotated[int, typer.Option("--encoder-seed", min=0, help="Of a trained encoder.")] = 0,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights file of the encoder, or what its training starts from.")
    ] = None,
    inferior_weights: Annotated[
        Path | None, typer.Option("--inferior-weights", help="The same, of the clinical photographs alone.")
    ] = None,
    superior_weights: Annotated[
        Path | None, typer.Option("--superior-weights", help="The same, of the dermoscopic images alone.")
    ] = None,
    pretrained_on: Annotated[
        Literal["none", "unknown"],
        typer.Option("--pretrained-on", help="Whether those weights saw none of these cases, or who knows."),
    ] = "none",
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Of the heads; repeatable; default 0, 1, 2.")] = None,
    guidance: Annotated[str, typer.Option("--guidance", help="G; default: the preset's.")] = "",
    decoder: Annotated[str, typer.Option("--decoder", help="D_c; default: the preset's.")] = "",
    mode: Annotated[
        Literal["", "as-published", "matched"],
        typer.Option("--mode", help="as-published: rows C and D are the trained classifiers; default: the preset's."),
    ] = "",
    permutations: Annotated[int, typer.Option("--permutations", min=0, help="Shuffled-pairs controls per seed.")] = 5,
    out: Annotated[Path, typer.Option("--out", help="Folder of table2.md, table2.csv and the figures.")] = Path(),
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Table 2 of the paper: clinical photographs guided by dermoscopy, eight tasks and melanoma, ours beside the paper.

    Adds the cohort, encodes, trains and evaluates what the store does not have yet; run again, it prints the table from
    stored runs. The figures are bars of the rows, and of what guidance gained with intervals.
    """
    from guidestore.flows.paper.derm7pt import run_derm7pt
    from guidestore.flows.paper.settings import Derm7ptSettings
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.settings import validated
    from guidestore.flows.work.stores import opened

    given = {"seeds": tuple(seed)} if seed else {}
    settings = validated(
        Derm7ptSettings,
        cohort=cohort,
        source=source,
        preset=preset,
        encoder=encoder,
        encoder_seed=encoder_seed,
        weights=weights,
        inferior_weights=inferior_weights,
        superior_weights=superior_weights,
        pretrained_on=pretrained_on,
        guidance=guidance,
        decoder=decoder,
        mode=mode,
        permutations=permutations,
        device=device,
        **given,
    )
    with opened(place, create=settings.source is not None) as store, progress_bars() as progress:
        report = run_derm7pt(store, settings, progress)
    _finish(report, out, format_)


def _finish(report: ExperimentReport, out: Path, format_: str) -> None:
    """Prints and writes the table, and says what it took."""
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.paper.report import write_table
    from guidestore.flows.paper.table import as_rows, show

    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if format_ == "table":
        show(report.table)
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
        print(f"quarantined: {case_id}: {reason}", file=sys.stderr)
    if report.failed:
        raise typer.Exit(8)
