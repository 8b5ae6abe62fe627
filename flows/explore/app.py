"""The page's server: what a browser asks, and the file that answers it. Every request is a GET, and none writes.

Who may ask is up to the gate in front (`access`, or that of `guidestore serve`).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.responses import Response as Answer

from guidestore.embeddings.errors import GuidestoreError, NotFoundInStoreError
from guidestore.flows.explore import (
    cases,
    cohorts,
    comparing,
    facts,
    maps,
    outcomes,
    pictures,
    slides,
    snapshots,
    sweeps,
    verdicts,
)
from guidestore.flows.explore.explored import Explored
from guidestore.flows.explore.images import Asked, Images

BUNDLE = Path(__file__).parent / "bundle"
FILES = {"": "index.html", "explore.js": "explore.js", "explore.css": "explore.css", "LICENSES.txt": "LICENSES.txt"}
"""What the page consists of; `make explore-bundle` makes the scripts."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

At = Annotated[str, Query(max_length=120)]
Name = Annotated[str, Query(max_length=300)]
Count = Annotated[int, Query(alias="of")]
"""How many cases the page knows, by whose numbers it asks."""
Sql = Annotated[str, Query(max_length=8000)]


def make_app(place: str, key: Path | None = None, serve_url: str = "") -> FastAPI:
    """The application over the store at `place`.

    key: the key file of pseudonymized cohorts, without which their images are not shown. serve_url: where Prefect's UI
    is, beside this page; '' where it is not. Raises GuidestoreError where there is no store.
    """
    explored = Explored(place, key)
    images = Images(explored)
    app = FastAPI(title="guidestore explore", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.explored = explored

    @app.middleware("http")
    async def guarded(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await follow(request)
        answer.headers["content-security-policy"] = POLICY
        answer.headers["x-content-type-options"] = "nosniff"
        answer.headers["referrer-policy"] = "no-referrer"
        answer.headers.setdefault("cache-control", "no-store")
        return answer

    @app.exception_handler(GuidestoreError)
    def refused(_: Request, error: GuidestoreError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404 if isinstance(error, NotFoundInStoreError) else 400)

    # The page -----------------------------------------------------------------------------------------------------

    for route, name in FILES.items():
        app.get(f"/{route}")(_file(name))

    # What it shows ------------------------------------------------------------------------------------------------

    @app.get("/data/overview")
    def overview(at: At = "") -> dict[str, Any]:
        return {**cohorts.overview(explored, at), "serve": serve_url}

    @app.get("/data/verdicts")
    def told(cohort: Name, at: At = "") -> Answer:
        return _json(verdicts.verdicts(explored.view(at), cohort))

    @app.get("/data/heads")
    def heads(cohort: Name, at: At = "") -> Answer:
        return _json([guided.as_row() for guided in verdicts.guided_heads(explored.view(at), cohort)])

    @app.get("/data/comparable")
    def comparable(cohort: Name, at: At = "") -> Answer:
        return _json(comparing.comparable(explored.view(at), cohort))

    @app.get("/data/comparison")
    def comparison(cohort: Name, a: Name, b: Name, part: Literal["val", "test"] = "val", at: At = "") -> Answer:
        return _json(comparing.comparison(explored.view(at), cohort, a, b, part))

    @app.get("/data/columns")
    def columns(cohort: Name, head: Name = "", at: At = "") -> Answer:
        found, _, known = outcomes.source_of(explored.view(at), cohort, head)
        return _json({"n": found.n, "columns": cases.columns_of(known)})

    @app.get("/data/cases")
    def listed(
        cohort: Name, head: Name = "", where: Sql = "", search: Name = "", order: Name = "", page: int = 0, at: At = ""
    ) -> Answer:
        view = explored.view(at)
        found = cases.list_cases(view, cohort, head=head, where=where, search=search, order=order, page=page)
        return _json(found)

    @app.get("/data/select")
    def select(
        cohort: Name, head: Name = "", where: Sql = "", search: Name = "", at: At = "", known: Count = -1
    ) -> Answer:
        found, source, _ = outcomes.source_of(explored.view(at), cohort, head)
        facts.check_numbers(found, known)
        return _numbers(facts.selected(found, source, where, search))

    @app.get("/data/colours")
    def colours(cohort: Name, by: Sql, head: Name = "", at: At = "", known: Count = -1) -> Answer:
        found, source, _ = outcomes.source_of(explored.view(at), cohort, head)
        facts.check_numbers(found, known)
        coloured = facts.coloured(found, source, by)
        return _numbers(coloured.values_n, coloured.legend)

    @app.get("/data/maps")
    def choices(cohort: Name, at: At = "") -> Answer:
        return _json(maps.map_choices(explored.view(at), cohort))

    @app.get("/data/map")
    def places(cohort: Name, code_set: Name, method: Literal["pca", "umap"] = "pca", at: At = "") -> Answer:
        found = maps.places_of(explored.view(at), cohort, code_set, method)
        return _numbers(found.places_n2, {"about": found.about})

    @app.get("/data/point")
    def point(cohort: Name, number: int, head: Name = "", at: At = "", known: Count = -1) -> Answer:
        return _json(cases.case_at(explored.view(at), cohort, number, head, known))

    @app.get("/data/case")
    def case(cohort: Name, case: Name, at: At = "") -> Answer:
        return _json(cases.case_of(explored.view(at), cohort, case))

    @app.get("/data/neighbours")
    def neighbours(cohort: Name, case: Name, code_set: Name, at: At = "") -> Answer:
        return _json(cases.neighbours_of(explored.view(at), cohort, case, code_set))

    @app.get("/data/snapshots")
    def all_snapshots(before: int | None = None) -> Answer:
        return _json(snapshots.list_snapshots(explored.view(), before))

    @app.get("/data/difference")
    def difference(a: At, b: At) -> Answer:
        return _json(snapshots.difference(explored, a, b))

    @app.get("/data/sweep")
    def sweep(cohort: Name, name: Name, at: At = "") -> Answer:
        return _json(sweeps.grid(explored.view(at), cohort, name))

    @app.get("/data/curves")
    def curves(cohort: Name, name: Name, at: At = "") -> Answer:
        return _json(sweeps.curves(explored, explored.view(at), cohort, name))

    # Images -------------------------------------------------------------------------------------------------------

    @app.get("/image/facts")
    def image(cohort: Name, case: Name, image: Name, modality: Name, at: At = "") -> Answer:
        shown = images.shown(explored.view(at), Asked(cohort, case, image, modality))
        told: dict[str, Any] = {"kind": shown.kind}
        if shown.kind == "volume":
            told |= pictures.volume_of(shown).facts()
        elif shown.kind == "slide":
            told |= slides.deep_zoom(shown).facts()
        return _json(told)

    @app.get("/image/slice")
    def slice_(
        cohort: Name, case: Name, image: Name, modality: Name, plane: pictures.Plane, number: int, at: At = ""
    ) -> Answer:
        shown = images.shown(explored.view(at), Asked(cohort, case, image, modality))
        return _picture(pictures.volume_of(shown).slice_png(plane, number), "image/png")

    @app.get("/image/photograph")
    def photograph(cohort: Name, case: Name, image: Name, modality: Name, at: At = "") -> Answer:
        shown = images.shown(explored.view(at), Asked(cohort, case, image, modality))
        return _picture(pictures.photograph_jpeg(shown), "image/jpeg")

    @app.get("/image/tile")
    def tile(
        cohort: Name, case: Name, image: Name, modality: Name, level: int, column: int, row: int, at: At = ""
    ) -> Answer:
        shown = images.shown(explored.view(at), Asked(cohort, case, image, modality))
        return _picture(slides.deep_zoom(shown).tile_jpeg(level, column, row), "image/jpeg")

    @app.get("/image/tiles")
    def tiles(cohort: Name, case: Name, image: Name, modality: Name, at: At = "") -> Answer:
        return _json(slides.tiles_of(explored.view(at), Asked(cohort, case, image, modality)))

    return app


def _file(name: str) -> Callable[[], FileResponse]:
    """What answers with a file of the bundle. It takes no parameter: FastAPI would fill it from the address."""

    def answer() -> FileResponse:
        return FileResponse(BUNDLE / name, headers={"cache-control": "no-cache"})

    return answer


def _json(content: Any) -> Answer:
    """What FastAPI's own encoder would walk through value by value. What is no number of JSON is null."""
    return Answer(json.dumps(_plain(content), allow_nan=False, default=str), media_type="application/json")


def _plain(content: Any) -> Any:
    if isinstance(content, float):
        return content if abs(content) < float("inf") else None
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return content


def _numbers(values: np.ndarray, about: dict[str, Any] | None = None) -> Answer:
    """The little-endian bytes of an array; what it is, as JSON, in the header x-about."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    headers = {"x-about": json.dumps({**(about or {}), "dtype": values.dtype.name, "n": len(values)})}
    return Answer(little.tobytes(), media_type="application/octet-stream", headers=headers)


def _picture(data: bytes, kind: str) -> Answer:
    return Answer(data, media_type=kind, headers={"cache-control": "private, max-age=600"})
