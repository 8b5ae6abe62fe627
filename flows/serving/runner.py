"""The runner of `guidestore serve`: it outlives an outage of its server."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.runner import Runner


class PatientRunner(Runner):
    """Looks itself whether a run is to be cancelled.

    Prefect's runner is told through a websocket, which an outage of the server ends. Its polling, which then takes
    over, gives up for good after the third look without an answer, and no run could be cancelled any more.
    """

    async def start(self, *args: Any, **settings: Any) -> None:
        # Of the polling that fails, a traceback each time.
        logging.getLogger("prefect.FlowRunCancellingObserver").setLevel(logging.CRITICAL)
        looking = asyncio.create_task(self._look())
        try:
            await super().start(*args, **settings)
        finally:
            looking.cancel()

    def abandon(self) -> None:
        """Ends the processes of all runs at once: without its server no run can be told that it is cancelled."""
        for flow_run_id in self._process_manager.flow_run_ids():
            process = self._process_manager.get(flow_run_id)
            if process:
                with suppress(ProcessLookupError):
                    process.hard_kill()

    async def _look(self) -> None:
        async with get_client() as client:
            while True:
                await asyncio.sleep(self.query_seconds)
                if not self.started:
                    continue
                self._cancelling_observer.on_failure = None  # pyright: ignore[reportOptionalMemberAccess]  # it only logs
                for flow_run_id in self._process_manager.flow_run_ids():
                    with suppress(httpx.HTTPError):  # the server is away: we ask again
                        run = await client.read_flow_run(flow_run_id)
                        if run.state and run.state.is_cancelling():
                            await self._cancel_run(run)
