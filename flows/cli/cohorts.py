"""Cohorts: add, split, list, show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.cli.options import STORE, Format, Store, Target

if TYPE_CHECKING:
    from guidestore.warehouse.cohorts.cohort import CohortReport

app = typer.Typer(help="Cohorts: named sets of cases with images, labels and splits.", no_args_is_help=True)
add_app = typer.Typer(help="Add a cohort, or more of one, from files.", no_args_is_help=True)
app.add_typer(add_app, name="add")


def _report_cohort(store: str, report: CohortReport) -> None:
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.warehouse.indexer import build_index

    build_index(EmbeddingStore.open(store))
    added = ", ".join(f"{count} {kind}" for kind, count in report.added.items() if count) or "nothing new"
    print(f"cohort {report.cohort}: {added}; snapshot {report.snapshot}")
    for issue in report.issues:
        print(f"note: {issue.sentence}", file=sys.stderr)


@add_app.command("manifest")
def add_manifest_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="CSV/Parquet: case_id, modality, path[, image_id, mpp].")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="CSV/Parquet: case_id and a column per target.")
    ] = None,
    splits: Annotated[Path | None, typer.Option("--splits", help="CSV/Parquet: case_id, split, fold, part.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--classes", help="TARGET=A,B,C fixes the class order; repeat per target.")
    ] = None,
    pseudonymize: Annotated[
        Path | None, typer.Option("--pseudonymize", help="Hash ids with the key in this file (made if missing).")
    ] = None,
    store: Store = STORE,
) -> None:
    """A cohort from tables: images, labels and splits, each a CSV or Parquet file."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.warehouse.cohorts.manifest import add_manifest
    from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms

    orders = {}
    for item in classes or []:
        target, equals, names = item.partition("=")
        if not equals or not names:
            raise InvalidInputError(f"--classes {item!r}: write TARGET=CLASS,CLASS,…")
        orders[target] = tuple(names.split(","))
    _report_cohort(
        store,
        add_manifest(
            EmbeddingStore.create(store),
            name,
            manifest=images,
            labels=labels,
            splits=splits,
            classes=orders,
            pseudonyms=Pseudonyms.load_or_create(pseudonymize, store) if pseudonymize else None,
        ),
    )


@add_app.command("radpath")
def add_radpath_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    source: Annotated[Path, typer.Option("--source", help="Folder with Radiology/, Pathology/ and a label CSV.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Label CSV, or folder of it and of split_<k>_<part>.csv; default: --source."),
    ] = None,
    splits: Annotated[
        int, typer.Option("--splits", min=0, help="Splits to have: those without files are drawn; 0 draws none.")
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of drawn splits.")] = 0,
    pseudonymize: Annotated[
        Path | None, typer.Option("--pseudonymize", help="Hash ids with the key in this file (made if missing).")
    ] = None,
    store: Store = STORE,
) -> None:
    """A cohort in the RadPath layout: four MRI sequences and slides per case, and the split `radpath`."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.encoding.cohorts import add_radpath

    _report_cohort(
        store,
        add_radpath(
            EmbeddingStore.create(store),
            name,
            source,
            labels=labels,
            splits=splits,
            seed=seed,
            root=store,
            key_file=pseudonymize,
        ),
    )


@add_app.command("phantom")
def add_phantom_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    images: Annotated[Path, typer.Option("--images", help="Folder to generate the files in.")],
    cases: Annotated[int, typer.Option("--cases", min=1, help="How many cases.")] = 48,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same pixels.")] = 0,
    store: Store = STORE,
) -> None:
    """A generated cohort of real files whose slides tell the class better than their MRI: to try things out."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.encoding.cohorts import add_radpath
    from guidestore.warehouse.cohorts.phantom import generate_phantom

    generate_phantom(images, cases=cases, seed=seed)
    _report_cohort(store, add_radpath(EmbeddingStore.create(store), name, images))


@add_app.command("derm7pt")
def add_derm7pt_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    source: Annotated[Path, typer.Option("--source", help="The folder release_v0, with images/ and meta/.")],
    store: Store = STORE,
) -> None:
    """The seven-point checklist data set: two photographs and eight targets per case, and the split `published`."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.encoding.cohorts import add_derm7pt

    _report_cohort(store, add_derm7pt(EmbeddingStore.create(store), name, source))


@add_app.command("derm7pt-phantom")
def add_derm7pt_phantom_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    images: Annotated[Path, typer.Option("--images", help="Folder to generate the files in.")],
    cases: Annotated[int, typer.Option("--cases", min=20, help="How many cases.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same pixels.")] = 0,
    store: Store = STORE,
) -> None:
    """A generated cohort in Derm7pt's layout whose dermoscopy tells more than its photographs: to try things out."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.encoding.cohorts import add_derm7pt
    from guidestore.warehouse.cohorts.derm7pt_phantom import generate_derm7pt_phantom

    generate_derm7pt_phantom(images, cases=cases, seed=seed)
    _report_cohort(store, add_derm7pt(EmbeddingStore.create(store), name, images))


@app.command("split")
def split_command(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    folds: Annotated[int, typer.Option("--folds", min=2, help="Stratified folds; each case is tested once.")] = 5,
    name: Annotated[str, typer.Option("--name", help="Name of the split; default cvFOLDS.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    val: Annotated[float, typer.Option("--val", min=0.01, max=0.9, help="Val's share of what is not test.")] = 0.15,
    target: Target = "",
    store: Store = STORE,
) -> None:
    """Draw stratified folds (train, val, test) with a seed, and keep them."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.encoding.cohort_facts import only_target
    from guidestore.flows.encoding.cohorts import add_split

    opened = EmbeddingStore.open(store)
    wanted = target or only_target(opened.snapshot(), cohort)
    name = name or f"cv{folds}"
    report = add_split(opened, cohort, wanted, name=name, folds=folds, seed=seed, val_fraction=val)
    _report_cohort(store, report)
    print(f"split {name}: {folds} folds, stratified by {wanted}, seed {seed}")


@app.command("list")
def list_cohorts(store: Store = STORE, format_: Format = "table") -> None:
    """All cohorts of the store."""
    from guidestore.flows.cli.store import ask

    ask("SELECT * FROM cohorts ORDER BY cohort", None, store, format_)


@app.command("show")
def show_cohort(
    cohort: Annotated[str, typer.Argument(help="Cohort.")], store: Store = STORE, format_: Format = "table"
) -> None:
    """One cohort: its images, labels, splits and codes, counted."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.encoding.cohort_facts import describe_cohort

    rows = describe_cohort(EmbeddingStore.open(store).snapshot(), cohort)
    show_rows(rows, ("what", "name", "count", "detail"), format_, title=f"cohort {cohort}")
