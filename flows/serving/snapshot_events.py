"""Snapshots as Prefect events: one for each commit that added codes, and one when no more of them come.

The watcher reads the log of commits, so it does not matter who commits: the command line on another machine, a flow, an
import. The last number that was announced is a Prefect variable: what is committed while nobody watches is announced
later. An event says how many cases there are, and names none.
"""

from __future__ import annotations

import datetime
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.schemas.events import Event, Resource

from guidestore.flows.serving.new_codes import NewCodes, codes_by_commit, codes_since

COMMITTED = "guidestore.codes.committed"
"""Event: a commit added codes. Payload: that of `NewCodes`, and the store's name."""
READY = "guidestore.snapshot.ready"
"""Event: case codes were added, and nothing more comes. Payload: the same, over all commits since the last such one;
`snapshot` is the newest number."""
QUIET_SECONDS = 45.0
"""How long no case codes must come. An encode commits every 30 s; nobody wants 30 trainings of one night's encode."""
ENCODING = ("encode", "experiment")
"""Flows that commit codes: while one runs, more comes."""
_AT_ONCE = 100
"""Events sent in one request."""


@dataclass(frozen=True, slots=True)
class StoreName:
    """How events and automations call a store: by its first commit, which stays what it is when the folder moves."""

    id: str
    """Hex."""
    name: str
    """The folder's own name, without where it lies."""

    @property
    def resource(self) -> str:
        """Id of the resource of its events."""
        return f"guidestore.store.{self.id}"

    @property
    def variable(self) -> str:
        """Name of the Prefect variable that keeps what was announced."""
        return f"guidestore_announced_{self.id}"


def store_name(log: pa.Table, folder: str) -> StoreName | None:
    """The name of the store with this folded log; None while it has no commit."""
    first = log.filter((pc.field("kind") == "commit") & (pc.field("added_at") == 1))["artifact"].to_pylist()
    return StoreName(first[0][:12], folder) if first else None


@dataclass
class SnapshotEvents:
    """Announces the commits of one store. `look` is to be called every few seconds."""

    client: PrefectClient
    store: StoreName
    quiet_seconds: float = QUIET_SECONDS
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    """Runs that began before are none of this server: what ran them is gone."""
    _announced: int = 0
    """Number of the last snapshot that was announced."""
    _ready: int = 0
    """Snapshot of the last event READY, or where announcing began."""
    _seen: int = 0
    """Number of the last snapshot that was looked at."""
    _codes_seen_at: float | None = None
    """When case codes came that no event READY has told of (monotonic seconds)."""

    async def begin(self, head: int, *, from_start: bool) -> None:
        """Reads what was announced. On a new server announcing begins at `head`, or with the first commit."""
        stored = await self.client.read_variable_by_name(self.store.variable)
        if stored is None or not isinstance(stored.value, dict):
            start = 0 if from_start else head
            value: Any = {"announced": start, "ready": start}
            await self.client.create_variable(VariableCreate(name=self.store.variable, value=value))
        else:
            value = stored.value
        # A store that was put back from a copy has fewer commits than were announced.
        self._announced, self._ready = (min(int(value[name]), head) for name in ("announced", "ready"))
        self._seen = self._ready

    async def look(self, log: pa.Table, head: int) -> None:
        """Announces what was committed up to `head`, and that nothing more comes where that is so."""
        if head > self._seen:
            news = codes_by_commit(log, self._seen, head)
            untold = [one for one in news if one.snapshot > self._announced]
            for start in range(0, len(untold), _AT_ONCE):
                some = untold[start : start + _AT_ONCE]
                await self._send(COMMITTED, some)
                await self._remember(some[-1].snapshot, self._ready)
            if any(one.case_codes for one in news):
                self._codes_seen_at = time.monotonic()
            self._seen = head
        if self._codes_seen_at is not None and await self._is_quiet(self._codes_seen_at):
            await self._send(READY, [codes_since(log, self._ready, head)])
            await self._remember(head, head)
            self._codes_seen_at = None

    async def _is_quiet(self, since: float) -> bool:
        if time.monotonic() - since < self.quiet_seconds:
            return False
        running = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
            start_time=FlowRunFilterStartTime.model_validate({"after_": self.started}),
        )
        encoding = FlowFilter(name=FlowFilterName(any_=list(ENCODING)))
        # Without an order Prefect's client sends null, which a server with a FastAPI from 0.151 on refuses.
        order = FlowRunSort.ID_DESC
        return not await self.client.read_flow_runs(flow_filter=encoding, flow_run_filter=running, sort=order, limit=1)

    async def _send(self, event: str, news: list[NewCodes]) -> None:
        """By HTTP, whose answer says that the server has them; Prefect's own emitter tells nobody that it lost one."""
        labels = {"prefect.resource.id": self.store.resource, "prefect.resource.name": self.store.name}
        events = [
            Event(
                # The same event of the same commit has the same id, so that none is kept twice.
                id=uuid.uuid5(uuid.NAMESPACE_URL, f"{self.store.resource}/{event}/{one.snapshot}"),
                event=event,
                resource=Resource(labels),
                payload={"store": self.store.name, **one.as_payload()},
            ).model_dump(mode="json")
            for one in news
        ]
        response = await self.client.request("POST", "/events", json=events)
        response.raise_for_status()

    async def _remember(self, announced: int, ready: int) -> None:
        if (announced, ready) == (self._announced, self._ready):
            return
        value: Any = {"announced": announced, "ready": ready}
        await self.client.update_variable(VariableUpdate(name=self.store.variable, value=value))
        self._announced, self._ready = announced, ready
