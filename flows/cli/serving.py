"""Serving: the flows in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE
from guidestore.flows.engine.browsers import Extra

app = App()


@app.command()
def serve(
    place: Annotated[
        str,
        typer.Option(
            "--store",
            envvar="GUIDESTORE_STORE",
            help="Folder of the store, or s3://BUCKET/PREFIX; no form can change it.",
        ),
    ] = STORE,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others than loopback need --auth.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 4200,
    auth: Annotated[
        str,
        typer.Option(
            "--auth",
            envvar="PREFECT_SERVER_API_AUTH_STRING",
            help="user:password that people give in a browser, in place of the token in the address.",
        ),
    ] = "",
    allow: Annotated[
        list[Extra] | None,
        typer.Option(
            "--allow",
            help="What a browser may do beside reading, starting and stopping runs: automations of one's own, raising "
            "concurrency limits, schedules; repeat for several.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", envvar="GUIDESTORE_KEY", help="Key file of the pseudonymized cohorts; no form shows it."),
    ] = None,
    quiet_seconds: Annotated[
        float,
        typer.Option(
            "--quiet-seconds",
            min=0,
            help="How long no new case codes must come until the automation retrains on them.",
        ),
    ] = 45.0,
) -> None:
    """Encode, retrain, sweep, compare and verify from a browser: starts Prefect's UI and runs what is asked for there.

    Uses the Prefect server at PREFECT_API_URL where that is set, else starts one. Ctrl-C stops all of it.

    $ guidestore serve
    $ guidestore serve --host 0.0.0.0 --port 4200 --auth USER:PASSWORD
    """
    from guidestore.embeddings.places import shown
    from guidestore.flows.serving.serve import serve as run

    run(
        place,
        host=host,
        port=port,
        auth=auth,
        allow=allow or (),
        key=key,
        quiet_seconds=quiet_seconds,
        ready=lambda url: print(
            f"{shown(place)} is served: open {url}; codes and cases are at /explore (Ctrl-C stops it)",
            flush=True,
        ),
    )
