"""The front door of `guidestore serve`: what can be done here, the last runs, and what needs somebody's eye.

It is made anew at every look, from Prefect's own answers and the index of the store; it writes nothing and has no
script. What a browser may ask is the gate's affair, which stands before it as before all else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.words import count_of
from guidestore.flows.engine.browsers import TAG
from guidestore.flows.engine.gate import Application, Receive, Send

if TYPE_CHECKING:
    from guidestore.flows.explore.explored import Explored

FOLDER = Path(__file__).parent
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_RUNS = 12
_DAYS = 7
_BAD = ("FAILED", "CRASHED")


@dataclass(frozen=True, slots=True)
class Action:
    """A deployment that can be run."""

    name: str
    does: str
    form: str
    """Where its form is."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """A flow run."""

    flow: str
    name: str
    page: str
    """Where it is shown."""
    state: str
    bad: bool
    when: str
    """UTC, to the minute."""
    says: str
    """Why it failed; '' where it did not."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What needs somebody's eye, and where to look."""

    says: str
    page: str


class Front:
    """Answers ``/`` itself and hands all else to `app`, which is Prefect's.

    explored: the store as the page at `page` reads it; opened when somebody first looks.
    """

    def __init__(self, app: Application, page: str, explored: Callable[[], Explored]) -> None:
        self._app = app
        self._page = page
        self._explored = explored

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        cookies = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"cookie"), "")
        body = (await self._shown(cookies)).encode()
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"content-security-policy", POLICY),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _shown(self, cookies: str) -> str:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        transport = httpx.ASGITransport(app=self._app)  # pyright: ignore[reportArgumentType]  (ASGI by another name)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as prefect:
            base = await _ui_base(prefect, cookies)
            actions = await _actions(prefect, base)
            runs = await _last_runs(prefect, base)
            alerts = await _alerts(prefect, base)
        try:
            about = await asyncio.to_thread(self._overview)
        except GuidestoreError as error:
            about = {"store": "", "snapshot": "", "cohorts": [], "behind": 0}
            alerts.append(Alert(f"The store cannot be read: {error}", self._page))
        alerts += self._of_store(about)
        environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("front.html").render(
            about=about, actions=actions, runs=runs, alerts=alerts, page=f"{self._page}/", base=base
        )

    def _overview(self) -> dict[str, Any]:
        from guidestore.flows.explore.cohorts import overview

        return overview(self._explored(), "")

    def _of_store(self, about: Mapping[str, Any]) -> list[Alert]:
        alerts = [
            Alert(
                f"{count_of(row['quarantined'], 'image')} of {row['cohort']} could not be read",
                f"{self._page}/?{httpx.QueryParams(page='cohort', cohort=row['cohort'], where='quarantined')}#cases",
            )
            for row in about["cohorts"]
            if row["quarantined"]
        ]
        if about["behind"]:
            alerts.append(Alert(f"The index is {count_of(about['behind'], 'commit')} behind the store", self._page))
        return alerts


async def _ui_base(prefect: httpx.AsyncClient, cookies: str) -> str:
    """Where the one of Prefect's UIs is that this browser last chose, else the server's own choice."""
    said = await _asked(prefect, "GET", "/ui-settings") or {}
    try:
        kept = SimpleCookie(cookies)
    except CookieError:
        kept = SimpleCookie()
    chosen = kept["prefect_ui_version"].value if "prefect_ui_version" in kept else ""
    version = chosen if chosen in ("v1", "v2") else said.get("default_ui", "v1")
    return str(said.get(f"{version}_base_url") or "").rstrip("/")


async def _actions(prefect: httpx.AsyncClient, base: str) -> list[Action]:
    asked = {"deployments": {"tags": {"all_": [TAG]}}, "sort": "NAME_ASC"}
    return [
        Action(
            one["name"],
            (one.get("description") or "").partition("\n\n")[0].replace("`", ""),
            f"{base}/deployments/deployment/{one['id']}/run",
        )
        for one in await _asked(prefect, "POST", "/api/deployments/filter", asked) or []
    ]


async def _last_runs(prefect: httpx.AsyncClient, base: str) -> list[LastRun]:
    asked = {"sort": "EXPECTED_START_TIME_DESC", "limit": _RUNS}
    found = await _asked(prefect, "POST", "/api/flow_runs/filter", asked) or []
    flows = {one["id"]: one["name"] for one in await _asked(prefect, "POST", "/api/flows/filter", {}) or []}
    return [_run(one, flows, base) for one in found]


def _run(one: Mapping[str, Any], flows: Mapping[str, str], base: str) -> LastRun:
    state = one.get("state") or {}
    bad = one.get("state_type") in _BAD
    when = one.get("start_time") or one.get("expected_start_time") or ""
    return LastRun(
        flows.get(one.get("flow_id") or "", "–"),
        one["name"],
        f"{base}/runs/flow-run/{one['id']}",
        one.get("state_name") or "–",
        bad,
        str(when)[:16].replace("T", " "),
        (state.get("message") or "") if bad else "",
    )


async def _alerts(prefect: httpx.AsyncClient, base: str) -> list[Alert]:
    since = (datetime.now(UTC) - timedelta(days=_DAYS)).isoformat()
    asked = {"flow_runs": {"state": {"type": {"any_": list(_BAD)}}, "start_time": {"after_": since}}}
    failed = await _asked(prefect, "POST", "/api/flow_runs/count", asked)
    alerts = []
    if failed:
        alerts.append(Alert(f"{count_of(failed, 'run')} failed in the last {_DAYS} days", f"{base}/runs"))
    ours = [one for one in await _asked(prefect, "POST", "/api/automations/filter", {}) or [] if TAG in one["tags"]]
    alerts += [
        Alert(f"The automation {one['name']!r} is switched off", f"{base}/automations")
        for one in ours
        if not one["enabled"]
    ]
    return alerts


async def _asked(prefect: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """What Prefect says, None where it refuses."""
    answer = await prefect.request(method, path, json=body)
    return answer.json() if answer.is_success else None
