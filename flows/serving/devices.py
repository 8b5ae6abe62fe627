"""One encoder per GPU: runs that encode on the same device of the same machine wait for each other."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.context import SyncClientContext
from prefect.exceptions import ObjectAlreadyExists

from guidestore.flows.work.devices import devices_of

LEASE_SECONDS = 60.0
"""How long a run that was killed still holds its device."""
LOOK_SECONDS = 2.0
"""How often a run that waits for long looks whether the device is free."""


@contextmanager
def one_encoder_on(asked: str) -> Iterator[None]:
    """Within it this run has the devices that are asked for (auto, cpu, cuda:0,cuda:1, …) of this machine to itself;
    it waits for that. Raises InvalidInputError for one that is not here.
    """
    with ExitStack() as held:
        for device in sorted({*devices_of(asked)}):  # in one order, so that no two runs wait for each other
            held.enter_context(_one_encoder_on(device))
        yield


@contextmanager
def _one_encoder_on(device: str) -> Iterator[None]:
    """The same, of one device.

    The limit is in the UI under Concurrency, as ``guidestore-HOST-DEVICE``; raised there, more encode at once.
    Prefect's own `concurrency` waits in a thread that keeps a cancelled run alive for half a minute, and opens four
    connections of its own, a good part of what Prefect adds to a short encode.
    """
    name = f"guidestore-{socket.gethostname()}-{device}"
    with SyncClientContext.get_or_create() as run:
        get_run_logger().info("waiting until no other run encodes on %s", device)
        wait_s = 0.1  # the server may still be about to free what the last run gave back
        while (lease := _asked_once(run.client, name)) is None:
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LOOK_SECONDS)
        done = threading.Event()
        try:
            threading.Thread(target=_renew, args=(lease, done), daemon=True).start()
            get_run_logger().info("encoding on %s", device)
            yield
        finally:
            done.set()
            with suppress(httpx.HTTPError):  # the server is away; the lease ends by itself
                run.client.release_concurrency_slots_with_lease(lease)


def _asked_once(client: SyncPrefectClient, name: str) -> UUID | None:
    """The lease of the limit's slot, None where it is taken."""
    try:
        answer = client.increment_concurrency_slots_with_lease([name], 1, "concurrency", LEASE_SECONDS)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.LOCKED:
            return None
        raise
    granted = ConcurrencyLimitWithLeaseResponse.model_validate_json(answer.content)
    if not granted.limits:  # a limit that is not there refuses nobody
        with suppress(ObjectAlreadyExists):
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        return _asked_once(client, name)
    return granted.lease_id


def _renew(lease: UUID, done: threading.Event) -> None:
    """Until `done`. A night's encode outlives an outage of its server, even where it loses its lease by that."""
    while not done.wait(LEASE_SECONDS / 3):
        with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            client.renew_concurrency_lease(lease, LEASE_SECONDS)
