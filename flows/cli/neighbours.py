"""Neighbours: the cases most like a case."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE, At, Format, Key, Store

app = App()


@app.command()
def neighbours(
    case: Annotated[str, typer.Argument(help="Case id.")],
    code_set: Annotated[
        str, typer.Option("--code-set", help="COHORT/MODALITY/ENCODER[@DIGEST]; `FROM code_sets` lists them.")
    ],
    k: Annotated[int, typer.Option("-k", help="How many cases.")] = 10,
    metric: Annotated[
        Literal["cosine", "euclidean"], typer.Option("--metric", help="What near means: of the angle, or the distance.")
    ] = "cosine",
    image: Annotated[
        str, typer.Option("--image", help="Image id: only this one asks; default: all images of the case.")
    ] = "",
    split: Annotated[
        str, typer.Option("--split", help="With --fold: the code set trained on this fold, and each neighbour's part.")
    ] = "",
    fold: Annotated[int, typer.Option("--fold", help="With --split.")] = -1,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Labels to show; repeat for several; default: all.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare all codes of a large set too, without an index.")
    ] = False,
    at: At = None,
    key: Key = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Show the cases most like a case, by their codes; the case itself, with all its images, is left out.

    A case is as near as the nearest pair of images. Up to 200,000 codes are all compared; a larger code set gets an
    index on first use, which the store keeps, and whose recall is printed.

    $ guidestore neighbours PAT_0042 --code-set glioma/mri_all/densenet3d --split cv5 --fold 0
    $ guidestore neighbours digit-0003 --code-set mfeat/fou/mfeat -k 5
    """
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    def note(text: str) -> None:
        print(text, file=sys.stderr)

    if key is not None:
        from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms

        case = Pseudonyms.load(key).case(case)
    with progress_bars(), opened(place) as store:
        from guidestore.flows.results.neighbours import neighbours as find

        table = find(
            store,
            case,
            code_set,
            k=k,
            metric=metric,
            image_id=image,
            split=split,
            fold=fold,
            targets=tuple(target or ()),
            at=at,
            exact=exact,
            note=note,
        )
    show_rows(table.rows, table.columns, format_, table.title)
    for text in table.notes:
        note(text)
