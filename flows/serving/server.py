"""The server that `guidestore serve` starts: our front door, Prefect, and the page of codes and cases at `PAGE`.

Run as `python -m guidestore.flows.serving.server HOST PORT SOCKETS [EXTRA…]`.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from guidestore.flows.engine.beside import Beside
from guidestore.flows.engine.gate import Application
from guidestore.flows.engine.server import main
from guidestore.flows.serving.front import Front
from guidestore.flows.work.memory import bound_memory

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE = "/explore"


def with_page(app: Application) -> Application:
    """The application with the page over the store of this process, and our front door."""

    @cache
    def make() -> FastAPI:
        from fastapi.staticfiles import StaticFiles

        from guidestore.flows.explore.app import make_app
        from guidestore.flows.serving.figure_files import PLACE, figures_folder
        from guidestore.flows.serving.forms import key_file, store_place

        page = make_app(store_place(), key_file(), serve_url="/")
        page.mount(f"/{PLACE}", StaticFiles(directory=figures_folder()))
        return page

    return Beside(Front(app, PAGE, lambda: make().state.explored), PAGE, lambda: cast(Any, make()))


if __name__ == "__main__":
    bound_memory()  # the page answers SQL
    main(*sys.argv[1:], around=with_page)
