"""Explore: a page of codes and cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE, At, Store

app = App()


@app.command()
def explore(
    cohort: Annotated[str, typer.Argument(help="Cohort to begin with; default: the list of all.")] = "",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0: a free one.")] = 4300,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            envvar="GUIDESTORE_KEY",
            help="Key file of the pseudonymized cohorts, without which the page shows none of their images.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", help="Write the cohort to this Parquet file, which embedding-atlas opens, and serve nothing."
        ),
    ] = None,
    umap: Annotated[
        bool,
        typer.Option(
            "--umap",
            help="First place the cohort's codes by UMAP, a job of minutes, and keep the map in the store (needs "
            "guidestore[umap]); PCA is there at once.",
        ),
    ] = False,
    at: At = None,
    place: Store = STORE,
) -> None:
    """Look at codes and cases in a browser: verdicts, two linked maps, images, neighbours, snapshots, sweeps.

    The page reads the index and writes nothing. It is on loopback; the token in the address lets a browser in. Ctrl-C
    stops it.

    $ guidestore explore glioma
    $ guidestore explore glioma --export glioma.parquet
    """
    import sys

    from guidestore.embeddings.errors import InvalidInputError, StorageError
    from guidestore.embeddings.places import shown
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.embeddings.words import count_of
    from guidestore.flows.explore.run import explore as run
    from guidestore.flows.work.progress import progress_bars
    from guidestore.warehouse.catalog import lag
    from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
    from guidestore.warehouse.indexer import build_index

    for option, asked in (("--export FILE", export is not None), ("--umap", umap)):
        if asked and not cohort:
            raise InvalidInputError(f"{option} is for one cohort: name it, as `guidestore explore COHORT {option}`")
    if key is not None:
        Pseudonyms.load(key)
    if lag(place):
        print("bringing the index up to date …", file=sys.stderr)
    try:
        with progress_bars() as progress:
            build_index(EmbeddingStore.open(place), progress=lambda done, total: progress("index", done, total))
    except StorageError as error:  # a store that cannot be written can be read
        if lag(place):
            print(f"{error}; the page shows what the index knows", file=sys.stderr)
    if umap:
        from guidestore.flows.explore.explored import Explored
        from guidestore.flows.explore.maps import chosen_sets
        from guidestore.flows.explore.umaps import make_map

        explored = Explored(place)
        for code_set in chosen_sets(explored.view(), cohort):
            with progress_bars() as progress:
                made = make_map(explored.store, explored.view(), code_set, progress)
            print(f"{code_set}: {'placed by UMAP' if made else 'its UMAP is in the store'}", file=sys.stderr)
            build_index(explored.store)
    if export is not None:
        from guidestore.flows.explore.explored import Explored
        from guidestore.flows.explore.export import export as write

        written = write(Explored(place).view(at or ""), cohort, export)
        print(f"written: {written.file} ({count_of(written.rows, 'case')}); open it with: {written.command}")
        return
    run(
        place,
        lambda url: print(f"{shown(place)}: open {url} (Ctrl-C stops it)", flush=True),
        cohort=cohort,
        at=at or "",
        port=port,
        key=key,
    )
