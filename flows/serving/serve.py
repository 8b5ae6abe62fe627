"""`guidestore serve`: a Prefect server where none is configured, the deployments, and a runner for their runs."""

from __future__ import annotations

import os

# Before Prefect is imported: a tool on hospital machines reports to nobody; and what runs log is seen in the UI.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT", "false")
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")

import asyncio
import ipaddress
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_API_AUTH_STRING,
    get_current_settings,
    temporary_settings,
)
from pydantic import ValidationError

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.embeddings.places import absolute
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.engine.browsers import Extra
from guidestore.flows.engine.secrets import secrets_in
from guidestore.flows.engine.server import running_server, wait_until_ready
from guidestore.flows.serving.choices import choices_of, defaults_of, with_choices
from guidestore.flows.serving.forms import KEY, PAGE_URL, STORE, page_url
from guidestore.flows.serving.server import PAGE
from guidestore.flows.serving.snapshot_events import QUIET_SECONDS
from guidestore.flows.work.progress import progress_bars
from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms
from guidestore.warehouse.indexer import build_index

LOOK_SECONDS = 2.0
"""How often the runner asks for runs: a click starts within it. Prefect's own 10 s feel like a hung page."""


DEPLOYMENTS = ("encode", "retrain", "sweep", "experiment", "compare", "verify")


def serve(
    place: str,
    *,
    host: str,
    port: int,
    auth: str,
    ready: Callable[[str], None],
    key: Path | None = None,
    quiet_seconds: float = QUIET_SECONDS,
    allow: Sequence[Extra] = (),
) -> None:
    """Serves the deployments over the store at `place` until SIGINT or SIGTERM. `ready` is told where to click.

    auth: ``user:password`` that people give in a browser in place of the token in the address, '' for none; of a server
    that PREFECT_API_URL names, what it asks for. allow: what a browser may do beside the usual. key: the key file of
    the pseudonymized cohorts; no form, log or artifact names it. quiet_seconds: how long no new case codes must come
    until an event says that the snapshot is ready to be trained on. Raises GuidestoreError.
    """
    place = absolute(place)
    store = EmbeddingStore.open(place)
    with progress_bars() as progress:  # the page of codes reads it
        build_index(store, progress=lambda done, total: progress("index", done, total))
    os.environ[STORE] = place
    if key is not None:
        Pseudonyms.load(key)
        os.environ[KEY] = str(key.absolute())
    with _configured(host, port, auth, allow) as (url, server):
        loop = asyncio.Runner()
        try:
            loop.run(_run(store, lambda: ready(url), quiet_seconds, server))
        except GuidestoreError:  # the server is gone: tasks that are cancelled would try for a minute to tell it
            raise
        except BaseException:
            loop.close()
            raise
        else:
            loop.close()


@contextmanager
def _configured(
    host: str, port: int, auth: str, allow: Sequence[Extra]
) -> Iterator[tuple[str, subprocess.Popen[bytes] | None]]:
    """Prefect's settings for this process and its runs; the address to click, and the server if it is ours."""
    auth = auth or PREFECT_SERVER_API_AUTH_STRING.value() or ""
    if auth and not all(auth.partition(":")):
        raise InvalidInputError("--auth wants user:password, neither of them empty")
    with ExitStack() as stack:
        settings = get_current_settings()
        api_url, process, token = settings.api.url, None, ""
        secret = {PREFECT_API_AUTH_STRING: auth} if auth else {}
        if api_url:
            print(
                f"note: who may do what at {api_url} is that server's affair; what `guidestore serve` guards on "
                "servers that it starts (docs/serving.md) may not be guarded there",
                file=sys.stderr,
                flush=True,
            )
        else:
            if not auth and not _is_loopback(host):
                raise InvalidInputError(
                    f"{host} can be reached by others: give --auth user:password, or stay on 127.0.0.1"
                )
            api_url = f"http://{_reached_as(host)}:{port}/api"
            own = {"PREFECT_API_URL": api_url, "PREFECT_SERVER_API_HOST": host, "PREFECT_SERVER_API_PORT": str(port)}
            own |= {"PREFECT_SERVER_API_AUTH_STRING": auth}
            secrets = secrets_in(settings.home)
            secret = {PREFECT_API_AUTH_STRING: secrets.private}
            token = "" if auth else f"/?token={secrets.token}"
            os.environ[PAGE_URL] = f"{PAGE}/"
            process = stack.enter_context(running_server(host, port, own, allow, "guidestore.flows.serving.server"))
        stack.enter_context(temporary_settings({PREFECT_API_URL: api_url, **secret}))
        _load_flows()  # while the server starts
        wait_until_ready(api_url, process)
        yield (get_current_settings().ui_url or api_url.removesuffix("/api")).rstrip("/") + token, process


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reached_as(host: str) -> str:
    """The address by which this machine reaches a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _load_flows() -> dict[str, Any]:
    """Name -> flow; importing them takes seconds."""
    return {name: getattr(import_module(f"guidestore.flows.serving.{name}"), name) for name in DEPLOYMENTS}


def deployments(snapshot: Snapshot) -> list[Any]:
    """The deployments, with drop-downs and defaults of the store as it is."""
    from prefect.types.entrypoint import EntrypointType

    flows, choices, defaults = _load_flows(), choices_of(snapshot), defaults_of(snapshot)
    deployments = []
    for name in DEPLOYMENTS:
        deployment = flows[name].to_deployment(
            name,
            parameters=_parameters(flows[name], defaults.get(name, {})),
            entrypoint_type=EntrypointType.MODULE_PATH,
            description=_described(flows[name].description),
            tags=["guidestore"],
        )
        # Prefect has no public way to say what a string may be only when it is registered.
        deployment._parameter_openapi_schema = with_choices(deployment._parameter_openapi_schema, choices)
        deployments.append(deployment)
    return deployments


def _described(text: str | None) -> str | None:
    """What a deployment does, with the way to the page of codes where that is beside it."""
    way = f"[Codes and cases of the store]({page_url()})" if page_url() else ""
    return "\n\n".join(filter(None, (text, way))) or None


def _parameters(flow: Any, given: dict[str, Any]) -> dict[str, Any] | None:
    """Defaults of a form, all of its fields where they are enough to run."""
    form = get_type_hints(flow.fn).get("settings")
    if form is None or not given:
        return None
    with suppress(ValidationError):
        given = form(**given).model_dump(mode="json")
    return {"settings": given}


async def _run(
    store: EmbeddingStore, ready: Callable[[], None], quiet_seconds: float, server: subprocess.Popen[bytes] | None
) -> None:
    from guidestore.flows.serving.runner import PatientRunner
    from guidestore.flows.serving.watching import Watcher

    async def register() -> None:
        for deployment in await asyncio.to_thread(lambda: deployments(store.snapshot())):
            await deployment.aapply()

    # For the runs: the UI has their errors, and the terminal would get their tracebacks.
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    runner = PatientRunner(name="guidestore", query_seconds=LOOK_SECONDS)
    snapshot = store.snapshot()
    for deployment in await asyncio.to_thread(deployments, snapshot):
        await runner.aadd_deployment(deployment)
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(runner.start())
    while not runner.started and not running.done():
        await asyncio.sleep(0.05)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # after the runner has set its own
        loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(Watcher(store, choices_of(snapshot), register, quiet_seconds=quiet_seconds).watch())
    ready()
    stopping = asyncio.create_task(stop.wait())
    ending = asyncio.create_task(_end_of(server))
    await asyncio.wait([running, stopping, ending], return_when=asyncio.FIRST_COMPLETED)
    for task in (watching, stopping, ending):
        task.cancel()
    if ending.done() and not stop.is_set():
        runner.abandon()
        loop.set_exception_handler(lambda *_: None)  # Prefect's tasks, cancelled as we go, would print tracebacks
        raise GuidestoreError(
            f"the Prefect server ended with code {ending.result()}, and the runs with it; what they had committed is "
            "in the store: start `guidestore serve` again"
        )
    print("stopping: runs that go on become Cancelled, what they had committed is safe", file=sys.stderr, flush=True)
    if not running.done():
        await runner.astop()  # its runs become Cancelled, and their processes end
    await running


async def _end_of(server: subprocess.Popen[bytes] | None) -> int:
    """The exit code of our own server, once it ended. Somebody else's may come back: the runner waits for it."""
    while server is None or server.poll() is None:
        await asyncio.sleep(1)
    return server.returncode
