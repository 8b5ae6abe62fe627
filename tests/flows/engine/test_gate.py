"""The gate round Prefect's server, without Prefect: who is let through, over HTTP and websockets, and with which body.

tests/flows/serving/test_serve.py attacks the real server from a real browser.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.engine.browsers import Extra
from guidestore.flows.engine.gate import Access, Gate, names_of
from guidestore.flows.engine.secrets import FILE, secrets_in

ID = "0f0e5f0c-41ab-4a48-b57c-3a0f26f1a6b1"
PRIVATE = "guidestore:private-private-private"
TOKEN = "t" * 64
HOST = "127.0.0.1:4200"
COOKIE = {"cookie": f"other=[1; guidestore_4200={TOKEN}"}
JSON = {"content-type": "application/json"}
CREATE = f"/api/deployments/{ID}/create_flow_run"


@dataclass
class Prefect:
    """Stands for Prefect's application: has one deployment and one automation, and keeps what reaches it."""

    facts: dict[str, Any] = field(default_factory=lambda: {"tags": ["guidestore"], "enforce_parameter_schema": True})
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept", "subprotocol": "prefect"})
            await send({"type": "websocket.send", "text": "first"})
            self.heard.append(await receive())
            await send({"type": "websocket.send", "text": "second"})
            return
        body = (await receive())["body"] if scope["method"] != "GET" else b""
        self.seen.append((scope["method"], scope["path"], body))
        headers = [(b"access-control-allow-origin", b"*")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(self.facts).encode()})


def access(**changed: Any) -> Access:
    given: dict[str, Any] = {"private": PRIVATE, "browser": TOKEN, "people": False, "names": names_of("127.0.0.1", "")}
    return Access(**given | changed)


def basic(said: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(said.encode()).decode()}"}


def ask(
    gate: Gate, path: str, headers: dict[str, str], method: str = "GET", body: bytes = b""
) -> tuple[int, dict, str]:
    """Status, headers and text of the answer. Headers may name another host than the usual."""
    path, _, query = path.partition("?")
    pairs = [(key.encode(), value.encode()) for key, value in ({"host": HOST} | headers).items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(gate({**scope, "scheme": "http", "server": ("127.0.0.1", 4200)}, receive, send))
    given = {key.decode(): value.decode() for key, value in answers[0]["headers"]}
    return answers[0]["status"], given, b"".join(one["body"] for one in answers[1:]).decode()


def talk(gate: Gate, headers: dict[str, str], first: Any) -> list[Any]:
    """What a client hears on a websocket that says this first."""
    pairs = [(key.encode(), value.encode()) for key, value in ({"host": HOST} | headers).items()]
    scope = {"type": "websocket", "path": "/api/events/in", "headers": pairs, "scheme": "ws", "server": ("", 4200)}
    messages = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": json.dumps(first)}])
    heard: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        heard.append(message)

    asyncio.run(gate(scope, receive, send))
    return heard


def test_programs_with_the_private_secret_may_do_all() -> None:
    prefect = Prefect()
    gate = Gate(prefect, access())
    for host in (HOST, "gpu.hospital:4200"):
        body = b'{"pull_steps": []}'
        status, headers, _ = ask(gate, f"/api/deployments/{ID}", {**basic(PRIVATE), "host": host}, "PATCH", body)
        assert status == 200
        assert "access-control-allow-origin" not in headers
        assert prefect.seen[-1] == ("PATCH", f"/api/deployments/{ID}", body)
    assert ask(gate, "/api/admin/settings", basic(f"{PRIVATE}x"))[0] == 401
    assert ask(gate, "/api/health", {"host": "anything"})[0] == 200
    assert ask(gate, "/api/flows/filter", {**basic(PRIVATE), "origin": "http://evil.example"}, "POST")[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "guidestore_4200="},
        {"cookie": f"guidestore_4201={TOKEN}"},
        {"cookie": f"guidestore_4200={TOKEN}x"},
        {"authorization": "Basic ?"},
        {"authorization": f"Bearer {TOKEN}"},
        basic(TOKEN),
    ],
)
def test_without_a_right_secret_nothing_is_told(headers: dict[str, str]) -> None:
    prefect = Prefect()
    for path in ("/", "/docs", "/openapi.json", "/api/version", "/api/docs", "//api/health", "/api/health/x"):
        status, _, text = ask(Gate(prefect, access()), path, headers)
        assert (status, "guidestore serve" in text) == (401, True), path
    assert ask(Gate(prefect, access(browser="")), "/", {"cookie": "guidestore_4200="})[0] == 401
    assert prefect.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:4201"},
        {"origin": "http://127.0.0.1"},
        {"origin": "https://127.0.0.1:4200"},
        {"origin": "null"},
        {"origin": "http://evil.example:4200", "host": "evil.example:4200"},
        {"host": "evil.example:4200"},
        {"host": "127.0.0.1.evil.example:4200"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
    ],
)
def test_a_cookie_is_worth_nothing_on_pages_of_others(headers: dict[str, str]) -> None:
    prefect = Prefect()
    gate = Gate(prefect, access())
    assert ask(gate, "/api/flows/filter", {**COOKIE, **JSON, **headers}, "POST", b"{}")[0] == 403
    assert ask(gate, "/api/version", {**COOKIE, **headers})[0] == 403
    assert ask(gate, "/", {**COOKIE, **headers}, "OPTIONS")[0] == 403
    assert [one["type"] for one in talk(gate, {**COOKIE, "origin": "http://e", **headers}, {})] == ["websocket.close"]
    assert prefect.seen == []
    assert prefect.heard == []


@pytest.mark.parametrize("host", ["localhost:8080", "[::1]:4200", "10.1.2.3:80", "gpu-server", "GPU-server:4200"])
def test_names_of_our_own(host: str) -> None:
    gate = Gate(Prefect(), access(names=names_of("gpu-server", "")))
    assert ask(gate, "/api/flows/filter", {**COOKIE, "host": host, "origin": f"http://{host}"}, "POST", b"{}")[0] == 200


def test_behind_a_proxy_the_page_has_another_origin() -> None:
    page = "https://guidestore.example"
    gate = Gate(Prefect(), access(page=page, names=names_of("127.0.0.1", f"{page}/api")))
    named = {**COOKIE, "host": "guidestore.example"}
    assert ask(gate, "/api/flows/filter", {**named, "origin": page}, "POST", b"{}")[0] == 200
    assert ask(gate, "/api/flows/filter", {**named, "origin": "https://guidestore.example:8443"}, "POST")[0] == 403
    assert "; Secure" in ask(gate, f"/?token={TOKEN}", {"host": "guidestore.example"})[1]["set-cookie"]


def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    gate = Gate(Prefect(), access())
    status, headers, _ = ask(gate, f"//evil.example/a b?x=1&token={TOKEN}", {})
    assert (status, headers["location"]) == (303, "/evil.example/a%20b?x=1")
    assert headers["set-cookie"] == f"guidestore_4200={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    # By a link on another site: a strict cookie comes only with what our own page asks for.
    there = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    status, headers, text = ask(gate, f"/?token={TOKEN}", there)
    assert (status, "set-cookie" in headers, 'content="0;url=/"' in text) == (200, True, True)
    assert ask(gate, f"/api/version?token={TOKEN}", {})[0] == 401
    assert "set-cookie" not in ask(gate, "/?token=wrong", {})[1]


def test_name_and_password_take_the_place_of_the_token() -> None:
    gate = Gate(Prefect(), access(browser="reader:secret", people=True))
    status, headers, _ = ask(gate, "/", {"accept": "text/html"})
    assert (status, headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert ask(gate, "/", basic("reader:secret"))[0] == 200
    assert ask(gate, f"/api/deployments/{ID}", {**basic("reader:secret"), **JSON}, "PATCH", b"{}")[0] == 403
    assert ask(gate, "/", basic("reader:Secret"))[0] == 401
    assert ask(gate, f"/?token={TOKEN}", {})[0] == 401
    assert ask(gate, f"/api/deployments/{ID}", basic(PRIVATE), "PATCH")[0] == 200


def test_a_websocket_hears_nothing_before_the_secret() -> None:
    prefect = Prefect()
    gate = Gate(prefect, access())
    right = {"type": "auth", "token": PRIVATE}
    assert [one.get("text") for one in talk(gate, {}, right)] == [None, "second"]
    assert [one.get("text") for one in talk(gate, basic(PRIVATE), {"any": 1})] == [None, "first", "second"]
    prefect.heard.clear()
    for wrong in ({"type": "auth", "token": TOKEN}, {"type": "auth", "token": None}, {"token": PRIVATE}, [], "x"):
        heard = talk(gate, {}, wrong)
        assert [one["type"] for one in heard] == ["websocket.accept", "websocket.close"]
        assert prefect.heard.pop()["type"] == "websocket.disconnect"
    # Not even our own pages have one.
    assert [one["type"] for one in talk(gate, {**COOKIE, "origin": f"http://{HOST}"}, right)] == ["websocket.close"]


def browse(body: Any, path: str = CREATE, method: str = "POST", *extras: Extra, **facts: Any) -> tuple[int, Any]:
    """Status, and the body that reached Prefect."""
    prefect = Prefect()
    prefect.facts |= facts
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, _ = ask(Gate(prefect, access(extras=frozenset(extras))), path, {**COOKIE, **JSON}, method, text)
    last = prefect.seen[-1] if prefect.seen else ("GET", "", b"")
    return status, json.loads(last[2]) if status == 200 and last[2] else None


def test_a_browser_starts_runs_by_parameters_alone() -> None:
    settings = {"parameters": {"settings": {"cohort": "skin", "of": {"__prefect_kind": "json", "value": "[1]"}}}}
    silent = {"job_variables": {}, "work_queue_name": None, "empirical_policy": {"retries": 0, "resuming": False}}
    state = {"type": "SCHEDULED", "state_details": {"deferred": False, "scheduled_time": None}}
    asked = {**settings, **silent, "state": state, "enforce_parameter_schema": True, "name": "n"}
    status, got = browse(asked)
    assert (status, got["parameters"], set(got)) == (200, settings["parameters"], {"parameters", "state", "name"})


@pytest.mark.parametrize(
    "body",
    [
        {"job_variables": {"env": {"LD_PRELOAD": "x"}}},
        {"infrastructure_document_id": ID},
        {"work_queue_name": "mine"},
        {"pull_steps": [{}]},
        {"enforce_parameter_schema": False},
        {"parent_task_run_id": ID},
        {"context": {"a": 1}},
        {"state": {"type": "SCHEDULED", "data": {"type": "result"}}},
        {"state": {"type": "COMPLETED"}},
        {"state": {"type": "SCHEDULED", "state_details": {"cache_key": "x"}}},
        {"parameters": {"a": [{"__prefect_kind": "jinja", "template": "{{ 1 }}"}]}},
        {"parameters": {"a": {"__prefect_kind": "workspace_variable", "variable_name": "x"}}},
        {"parameters": []},
        [],
        None,
        b'{"name": ',
        b"[" * 100_000,
        b" " * 5_000_000,
    ],
)
def test_a_browser_gives_nothing_else(body: Any) -> None:
    assert browse(body) == (403, None)


def test_what_was_looked_at_is_what_goes_on() -> None:
    assert browse(b'{"job_variables": {"a": 1}, "job_variables": null, "name": "n"}') == (200, {"name": "n"})


def test_deployments_and_automations_of_others_are_not_touched() -> None:
    assert browse({}, tags=[])[0] == 403
    assert browse({}, enforce_parameter_schema=False)[0] == 403
    switch = (f"/api/automations/{ID}", "PATCH")
    assert browse({"enabled": False}, *switch) == (200, {"enabled": False})
    assert browse({"enabled": False}, *switch, tags=["x"])[0] == 403
    assert browse({"enabled": "no"}, *switch)[0] == 403
    assert browse({"enabled": False, "actions": []}, *switch)[0] == 403


def test_runs_are_stopped_and_never_finished_by_hand() -> None:
    path = f"/api/flow_runs/{ID}/set_state"
    for state in ("CANCELLING", "PAUSED"):
        assert browse({"state": {"type": state, "name": "n"}, "force": True}, path)[0] == 200
    for state in ("COMPLETED", "RUNNING", "FAILED", None):
        assert browse({"state": {"type": state}}, path)[0] == 403


@pytest.mark.parametrize(
    ("extra", "method", "path", "body"),
    [
        ("automations", "POST", "/api/automations/", {"name": "n", "actions": [{"type": "run-deployment"}]}),
        ("automations", "PUT", f"/api/automations/{ID}", {"name": "n", "actions": []}),
        ("automations", "DELETE", f"/api/automations/{ID}", None),
        ("limits", "PATCH", "/api/v2/concurrency_limits/guidestore-host-cpu", {"limit": 2}),
        (
            "schedules",
            "POST",
            f"/api/deployments/{ID}/schedules",
            [{"schedule": {"cron": "0 0 * * *"}, "active": True}],
        ),
    ],
)
def test_what_allow_adds(extra: str, method: str, path: str, body: Any) -> None:
    assert browse(body, path, method)[0] == 403
    assert browse(body, path, method, *(one for one in Extra if one != extra))[0] == 403
    assert browse(body, path, method, Extra(extra))[0] == 200


def test_what_allow_adds_runs_no_commands() -> None:
    action = {"type": "run-deployment", "job_variables": {"command": "sh"}}
    assert browse({"actions": [action]}, "/api/automations/", "POST", Extra.AUTOMATIONS)[0] == 403
    schedule = {"schedule": {"cron": "0 0 * * *"}, "job_variables": {"command": "sh"}}
    assert browse([schedule], f"/api/deployments/{ID}/schedules", "POST", Extra.SCHEDULES)[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", f"/api/deployments/{ID}"),
        ("DELETE", f"/api/flow_runs/{ID}"),
        ("POST", "/api/deployments/"),
        ("POST", "/api/flow_runs/"),
        ("POST", f"{CREATE}/bulk"),
        ("POST", f"{CREATE}/"),
        ("POST", "/api/block_documents/filter"),
        ("GET", f"/api/block_documents/{ID}"),
        ("POST", "/api/variables/"),
        ("POST", "/api/work_pools/"),
        ("POST", "/api/events"),
        ("POST", "/api/deployments/get_scheduled_flow_runs"),
        ("GET", "/api/metrics"),
        ("POST", "/"),
    ],
)
def test_all_else_is_refused(method: str, path: str) -> None:
    assert browse({}, path, method, *Extra)[0] == 403


def test_a_form_is_no_json() -> None:
    prefect = Prefect()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(Gate(prefect, access()), CREATE, {**COOKIE, "content-type": kind}, "POST", b"{}")[0] == 403
    assert prefect.seen == []


def test_the_secret_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = secrets_in(home)
    assert secrets_in(home) == first
    assert first.private not in repr(first)
    assert [file.name for file in home.iterdir()] == [FILE]
    assert (home / FILE).stat().st_mode & 0o777 == 0o600
    assert secrets_in(tmp_path / "other").token != first.token
    (home / FILE).chmod(0o644)
    with pytest.raises(InvalidInputError, match="can be read by others"):
        secrets_in(home)
    (home / FILE).write_text("short")
    (home / FILE).chmod(0o600)
    with pytest.raises(InvalidInputError, match="holds no secret"):
        secrets_in(home)
