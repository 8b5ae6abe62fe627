"""Who may ask our Prefect server what: an ASGI application round Prefect's own, over HTTP and websockets.

Programs (runner, runs, Ray, workers, `prefect deploy`) give the private secret and may do all. Browsers give the token
once, or name and password, and may do what `browsers` lists. Pages of other origins, other ports of this machine
included, may do nothing, whatever a browser sends along for them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import html
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from guidestore.flows.engine.browsers import TAG, Extra, RefusedError, rule_for

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_BYTES = 4 * 2**20
"""Of a body that is looked at."""
_POLICY = 1008
"""Websocket close code: policy violation."""
_HEADERS = [
    (b"content-security-policy", b"frame-ancestors 'none'; script-src 'self' blob: 'unsafe-eval'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
]


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in, and where."""

    private: str = field(repr=False)
    """``user:password`` of programs."""
    browser: str = field(repr=False)
    """Token of browsers, or their ``user:password`` where `people`."""
    people: bool
    """Whether browsers give name and password instead of the token."""
    names: frozenset[str]
    """Host names that the server is reached by, beside addresses and localhost."""
    page: str = ""
    """Origin by which a proxy has browsers reach the pages, '' without one."""
    extras: frozenset[Extra] = frozenset()
    command: str = "serve"
    """Of guidestore, which printed the address with the token."""


def names_of(host: str, page: str) -> frozenset[str]:
    """The names of a server that listens on `host` and whose pages are at the URL `page` ('' without a proxy)."""
    given = {host, socket.gethostname(), urlsplit(page).hostname or ""}
    return frozenset(name.lower() for name in given if name)


class _Asked:
    """What a request or websocket says of itself. Raises RefusedError where it says something twice."""

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self.http = scope["type"] == "http"
        self.method: str = scope.get("method", "GET").upper()
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "http"), scope.get("scheme", "http"))
        self.port: int = (scope.get("server") or ("", 0))[1] or 0
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.host = self.header("host") or ""
        self.origin = self.header("origin")
        self.site = self.header("sec-fetch-site") or ""
        self.navigates = self.method == "GET" and self.header("sec-fetch-mode") in ("navigate", None)
        self.wants_page = self.method == "GET" and "text/html" in (self.header("accept") or "")

    def header(self, name: str) -> str | None:
        """Its value; None without it."""
        values = [value for key, value in self._headers if key.lower() == name.encode()]
        if len(values) > 1 and name != "cookie":
            raise RefusedError(f"there are two headers {name}")
        return b"; ".join(values).decode("latin-1") if values else None

    def basic(self) -> str:
        """What the Authorization header says, '' where it says nothing."""
        scheme, _, value = (self.header("authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return ""
        try:
            return base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            return ""

    def cookies(self, name: str) -> list[str]:
        """All of that name: a page on another port of the host may have set one, and others that no parser likes."""
        pairs = (one.partition("=") for one in (self.header("cookie") or "").split(";"))
        return [value.strip() for key, _, value in pairs if key.strip() == name]


def _same(given: str, wanted: str) -> bool:
    """Whether a secret is right, in a time that does not tell how much of it is."""
    return bool(wanted) and hmac.compare_digest(given.encode(), wanted.encode())


class Gate:
    """Prefect's application, behind the checks."""

    def __init__(self, app: Application, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = _with_headers(send)
        try:
            await self._pass(_Asked(scope), scope, receive, send)
        except RefusedError as reason:
            if scope["type"] == "http":
                await _answer(send, HTTPStatus.FORBIDDEN, {"detail": str(reason)})
            else:
                await send({"type": "websocket.close", "code": _POLICY, "reason": str(reason)})

    async def _pass(self, asked: _Asked, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if asked.http and asked.method == "GET" and asked.path == "/api/health":
            await self._app(scope, receive, send)  # says that it answers, and no more
            return
        own = {f"{asked.scheme}://{asked.host}", self._access.page}
        if asked.origin is not None and asked.origin not in own:
            raise RefusedError(f"this server answers its own pages only, not those of {asked.origin[:200]}")
        if _same(asked.basic(), self._access.private):
            await self._app(scope, receive, send)
            return
        if not asked.http and asked.origin is None:  # no browser: those always say where they are
            await self._app(scope, *_handshake(self._access.private, receive, send))
            return
        if not self._is_named(asked.host):
            raise RefusedError(
                f"this server is not called {asked.host[:200]!r}; if it is, start `guidestore serve` with "
                "PREFECT_UI_API_URL=http://THAT_NAME/api (`guidestore explore` goes by localhost alone)"
            )
        if asked.site in ("cross-site", "same-site") and not asked.navigates:
            raise RefusedError("this server answers its own pages only")
        if not self._access.people and await self._exchanged(asked, send):
            return
        given = [asked.basic()] if self._access.people else asked.cookies(_cookie(asked))
        if not any(_same(one, self._access.browser) for one in given):
            await self._ask_who(asked, send)
            return
        if not asked.http:
            raise RefusedError("no websocket from a browser")
        await self._pass_browser(asked, scope, receive, send)

    def _is_named(self, host: str) -> bool:
        """Whether this is a name of ours. An address is: no other name can be made to mean it."""
        name = (urlsplit(f"//{host}").hostname or "").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in self._access.names
        return True

    async def _exchanged(self, asked: _Asked, send: Send) -> bool:
        """Gives the cookie for the right token in the address, and leads on to the address without it."""
        pairs = parse_qsl(asked.query.decode("latin-1"), keep_blank_values=True)
        token = next((value for name, value in pairs if name == "token"), None)
        if not asked.http or asked.method != "GET" or asked.path.startswith("/api/") or token is None:
            return False
        if not _same(token, self._access.browser):
            return False
        rest = urlencode([(name, value) for name, value in pairs if name != "token"])
        to = "/" + quote(asked.path.lstrip("/")) + (f"?{rest}" if rest else "")
        secure = "; Secure" if f"https://{asked.host}" in (self._access.page, f"{asked.scheme}://{asked.host}") else ""
        headers = [
            (b"set-cookie", f"{_cookie(asked)}={token}; Path=/; HttpOnly; SameSite=Strict{secure}".encode()),
            (b"cache-control", b"no-store"),
        ]
        if asked.site == "cross-site":  # a link in a mail: a redirect would come without a strict cookie
            page = f'<meta http-equiv="refresh" content="0;url={html.escape(to)}">'
            await _answer(send, HTTPStatus.OK, page, headers)
        else:
            await _answer(send, HTTPStatus.SEE_OTHER, "", [*headers, (b"location", to.encode())])
        return True

    async def _ask_who(self, asked: _Asked, send: Send) -> None:
        if not asked.http:
            raise RefusedError("no websocket without the secret")
        headers: list[tuple[bytes, bytes]] = [(b"cache-control", b"no-store")]
        if self._access.people:
            sentence = "Name and password, please."
            headers.append((b"www-authenticate", b'Basic realm="guidestore", charset="UTF-8"'))
        else:
            sentence = (
                f"Open the address that `guidestore {self._access.command}` printed, the whole of it, with the token."
            )
        if asked.wants_page:
            again = '<p>You did, and came here by a link on another page? <a href="">Go on</a>.</p>'
            page = f"<!doctype html><title>guidestore</title><p>{html.escape(sentence)}</p>{again}"
            await _answer(send, HTTPStatus.UNAUTHORIZED, page, headers)
        else:
            await _answer(send, HTTPStatus.UNAUTHORIZED, {"detail": sentence}, headers)

    async def _pass_browser(self, asked: _Asked, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        rule, ours = rule_for(asked.method, asked.path, self._access.extras)
        if asked.method not in ("GET", "HEAD"):
            kind = (asked.header("content-type") or "application/json").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise RefusedError("a body is JSON here")
        if rule.of_ours and not await self._is_ours(rule.of_ours, ours):
            raise RefusedError(f"that is none of guidestore's {rule.of_ours}")
        if rule.checked:
            # What was looked at goes on, and nothing else: two parsers could read one text in two ways.
            body = json.dumps(rule.checked(await _json(receive))).encode()
            headers = [(key, value) for key, value in scope["headers"] if key.lower() not in _OF_BODY]
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            scope, receive = {**scope, "headers": headers}, _giving(body, receive)
        await self._app(scope, receive, send)

    async def _is_ours(self, kind: str, id_: str) -> bool:
        """Whether the deployment or automation is one that guidestore made, and checks parameters if it has any."""
        facts = await self._read(f"/api/{kind}/{id_}")
        if not isinstance(facts, dict) or TAG not in (facts.get("tags") or ()):
            return False
        return kind != "deployments" or facts.get("enforce_parameter_schema") is True

    async def _read(self, path: str) -> Any:
        """What Prefect's API has there, None where it has nothing."""
        scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET"}
        scope |= {"scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b""}
        scope |= {"headers": [(b"host", b"localhost")], "server": ("localhost", 80), "client": ("127.0.0.1", 0)}
        got: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            got.append(message)

        await self._app(scope, receive, send)
        if not got or got[0].get("status") != HTTPStatus.OK:
            return None
        return json.loads(b"".join(message.get("body", b"") for message in got[1:]))


_OF_BODY = (b"content-length", b"content-type", b"content-encoding", b"transfer-encoding")


def _cookie(asked: _Asked) -> str:
    """Its name. Browsers share cookies among all ports of a host."""
    return f"guidestore_{asked.port}"


def _handshake(private: str, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """A websocket whose first message must be the private secret, as Prefect's clients send it. Until then the
    application says nothing.
    """
    known = False

    async def checked() -> Message:
        nonlocal known
        message = await receive()
        if known or message["type"] != "websocket.receive":
            return message
        try:
            said = json.loads(message.get("text") or message.get("bytes") or b"")
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict) and said.get("type") == "auth" and _same(str(said.get("token")), private):
            known = True
            return message
        await send({"type": "websocket.close", "code": _POLICY, "reason": "the secret is missing or wrong"})
        return {"type": "websocket.disconnect", "code": _POLICY}

    async def kept(message: Message) -> None:
        if known or message["type"] != "websocket.send":
            await send(message)

    return checked, kept


async def _json(receive: Receive) -> Any:
    """The whole body, parsed. Raises RefusedError."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError("the body did not come whole")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            raise RefusedError(f"a body has at most {MOST_BYTES} bytes here")
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        raise RefusedError("the body is no JSON") from error


def _giving(body: bytes, receive: Receive) -> Receive:
    given = False

    async def first() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return first


def _with_headers(send: Send) -> Send:
    """Nobody frames, embeds or learns the addresses of our pages; no other origin is let read them.

    Only the pages' own files are scripts: the older of Prefect's two UIs shows markup in Markdown as it comes.
    """

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [one for one in message.get("headers", ()) if not one[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await send(message)

    return sent


async def _answer(
    send: Send, status: HTTPStatus, content: Any, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """An answer of our own: a page where the content is text, else JSON."""
    page = isinstance(content, str)
    body = (content if page else json.dumps(content)).encode()
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    own = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": int(status), "headers": own})
    await send({"type": "http.response.body", "body": body})
