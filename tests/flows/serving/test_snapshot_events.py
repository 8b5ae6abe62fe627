"""What is told of new codes, and when, across restarts: of a server that keeps what it is sent. test_serve.py has a
real one."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.serving.automation import apply_automation, automation_of
from guidestore.flows.serving.snapshot_events import COMMITTED, READY, SnapshotEvents, StoreName
from tests.flows.serving.new_cases import add_cases

NAME = StoreName("0123456789ab", "store")


@dataclass
class Server:
    """Prefect's, as far as events and automations go."""

    told: list[tuple[str, int]] = field(default_factory=list)
    """Event and snapshot, in the order in which they came."""
    encodes: bool = False
    variables: dict[str, Any] = field(default_factory=dict)
    automations: list[Any] = field(default_factory=list)

    async def read_variable_by_name(self, name: str) -> Any:
        return SimpleNamespace(value=self.variables[name]) if name in self.variables else None

    async def create_variable(self, variable: Any) -> None:
        self.variables[variable.name] = variable.value

    update_variable = create_variable

    async def request(self, method: str, path: str, json: list[dict[str, Any]]) -> httpx.Response:
        assert (method, path) == ("POST", "/events")
        self.told += [(event["event"], event["payload"]["snapshot"]) for event in json]
        return httpx.Response(204, request=httpx.Request(method, "http://x/events"))

    async def read_flow_runs(self, **_: object) -> list[str]:
        return ["a run that encodes"] if self.encodes else []

    async def read_automations_by_name(self, name: str) -> list[Any]:
        return [one for one in self.automations if one.name == name]

    async def create_automation(self, automation: Any) -> None:
        self.automations.append(SimpleNamespace(id=len(self.automations), **dict(automation)))

    @property
    def client(self) -> PrefectClient:
        return cast(PrefectClient, self)


@pytest.fixture
def store(report_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(report_store, tmp_path / "store"))


def look(server: Server, store: Path, watching: SnapshotEvents | None = None) -> SnapshotEvents:
    """As the watcher does; it begins where none is given, as after a start of `guidestore serve`."""
    log = EmbeddingStore.open(store).log
    events = watching or SnapshotEvents(server.client, NAME, quiet_seconds=0.0)

    async def once() -> None:
        if watching is None:
            await events.begin(log.head, from_start=False)
        await events.look(log.table(), log.head)

    asyncio.run(once())
    return events


def test_what_came_while_nobody_watched_is_told_once(store: Path) -> None:
    server = Server()
    watching = look(server, store)
    assert server.told == []  # what is old is not announced
    first = add_cases(store, 0)
    look(server, store, watching)
    assert server.told == [(COMMITTED, first), (READY, first)]
    while_down = [add_cases(store, number) for number in (10, 20)]
    look(server, store)
    assert server.told[2:] == [*((COMMITTED, number) for number in while_down), (READY, while_down[-1])]
    look(server, store)
    assert len(server.told) == 5


def test_while_a_run_encodes_more_comes(store: Path) -> None:
    server = Server()
    watching = look(server, store)
    server.encodes = True
    first = add_cases(store, 0)
    look(server, store, watching)
    assert server.told == [(COMMITTED, first)]
    server.encodes = False
    look(server, store)  # and a start in between forgets nothing
    assert server.told[1:] == [(READY, first)]


def test_an_automation_that_was_switched_off_stays_so_when_it_changes() -> None:
    server, updated = Server(), []

    async def update_automation(number: int, automation: Any) -> None:
        updated.append((number, automation.enabled, automation.description))

    server.update_automation = update_automation  # pyright: ignore[reportAttributeAccessIssue]
    deployment = "11111111-1111-4111-8111-111111111111"
    asyncio.run(apply_automation(server.client, automation_of(NAME, deployment, "one head", {})))
    (there,) = server.automations
    assert there.enabled
    there.enabled = False
    there.model_dump = lambda **_: {"trigger": {}}
    asyncio.run(apply_automation(server.client, automation_of(NAME, deployment, "another head", {})))
    ((number, enabled, description),) = updated
    assert (number, enabled) == (0, False)
    assert "retrains another head on them" in description
