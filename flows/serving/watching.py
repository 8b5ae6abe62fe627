"""While `guidestore serve` runs it looks at the store every few seconds, and tells Prefect what is new."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import httpx
from prefect.client.orchestration import PrefectClient, get_client

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.serving.automation import ALIAS, apply_automation, automation_of, retraining
from guidestore.flows.serving.choices import Choices, choices_of
from guidestore.flows.serving.snapshot_events import SnapshotEvents, StoreName, store_name

LOOK_SECONDS = 5.0
"""How often the store is looked at: new names are in the drop-downs, and new codes announced, within it."""


class Watcher:
    """Keeps the forms' drop-downs, the automation and the events of one store up to date.

    `register` registers the deployments anew; `quiet_seconds`: see `SnapshotEvents`.
    """

    def __init__(
        self, store: EmbeddingStore, shown: Choices, register: Callable[[], Awaitable[None]], *, quiet_seconds: float
    ) -> None:
        self._store = store
        self._shown = shown
        self._register = register
        self._quiet_seconds = quiet_seconds
        self._was_empty = store.log.head == 0
        self._looked_at = -1
        self._applied: object = None
        self._events: SnapshotEvents | None = None

    async def watch(self) -> None:
        """For ever. What the disk or the server refuses is said once, and tried again at the next look."""
        said = ""
        async with get_client() as client:
            while True:
                try:
                    await self._look(client)
                    said = ""
                except (GuidestoreError, OSError, httpx.HTTPError) as error:
                    sentence = str(error).partition("\n")[0]
                    if sentence != said:
                        said = sentence
                        print(f"the store is served, but what is new in it is not: {said}", file=sys.stderr, flush=True)
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, client: PrefectClient) -> None:
        head = await asyncio.to_thread(self._store.log.refresh)
        log = self._store.log.table()
        name = store_name(log, self._store.storage.url.rpartition("/")[2])
        if head != self._looked_at:
            now = await asyncio.to_thread(choices_of, self._store.snapshot())
            if now != self._shown:
                await self._register()
                self._shown = now
            if name:
                await self._automate(client, name)
            self._looked_at = head
        if name:
            if self._events is None:
                events = SnapshotEvents(client, name, self._quiet_seconds)
                await events.begin(head, from_start=self._was_empty)
                self._events = events
            await self._events.look(log, head)

    async def _automate(self, client: PrefectClient, name: StoreName) -> None:
        """After what its settings come from: the champion, and the names that there are."""
        snapshot = self._store.snapshot()
        state = (snapshot.aliases.get(ALIAS), snapshot.code_sets, self._shown)
        if state == self._applied:
            return
        wanted = await asyncio.to_thread(retraining, self._store)
        if wanted:
            deployment = await client.read_deployment_by_name("retrain/retrain")
            await apply_automation(client, automation_of(name, deployment.id, *wanted))
        self._applied = state
