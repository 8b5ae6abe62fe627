"""The server that `guidestore serve` starts: Prefect's, and the page of codes and cases at `PAGE` beside it.

Run as `python -m guidestore.flows.serving.server HOST PORT SOCKETS [EXTRA…]`.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from guidestore.flows.engine.beside import Beside
from guidestore.flows.engine.gate import Application
from guidestore.flows.engine.server import main

PAGE = "/explore"


def with_page(app: Application) -> Application:
    """The application with the page over the store of this process."""

    def make() -> Application:
        from guidestore.flows.explore.app import make_app
        from guidestore.flows.serving.forms import key_file, store_place

        return cast(Any, make_app(store_place(), key_file(), serve_url="/"))

    return Beside(app, PAGE, make)


if __name__ == "__main__":
    main(*sys.argv[1:], around=with_page)
