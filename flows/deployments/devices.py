"""One encoder per GPU: runs that encode on the same device of the same machine wait for each other."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

LEASE_SECONDS = 60.0
"""How long a run that was killed still holds its device."""
LOOK_SECONDS = 2.0
"""How often a run that waits for long looks whether the device is free."""


@contextmanager
def one_encoder_on(device: str) -> Iterator[None]:
    """Within it this run has `device` (cpu, cuda, cuda:1, …) of this machine to itself; it waits for that.

    The limit is in the UI under Concurrency, as ``guidestore-HOST-DEVICE``; raised there, more encode at once.
    """
    name = f"guidestore-{socket.gethostname()}-{'cuda:0' if device == 'cuda' else device}"
    with get_client(sync_client=True) as client:
        try:  # to make one that is there has the server print a traceback
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    get_run_logger().info("waiting until no other run encodes on %s", device)
    with ExitStack() as held:
        wait_s = 0.1  # the server may still be about to free what the last run gave back
        while not _taken(name, held):
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LOOK_SECONDS)
        get_run_logger().info("encoding on %s", device)
        yield


def _taken(name: str, held: ExitStack) -> bool:
    """Asks once: Prefect's own waiting goes on in a thread that keeps a cancelled run alive for half a minute."""
    asked = concurrency(
        name,
        max_retries=0,
        lease_duration=LEASE_SECONDS,
        strict=True,
        raise_on_lease_renewal_failure=False,  # a night's encode outlives an outage of its server
    )
    try:
        held.enter_context(asked)
    except ConcurrencySlotAcquisitionError as error:
        answer = error.__cause__
        if isinstance(answer, httpx.HTTPStatusError) and answer.response.status_code == httpx.codes.LOCKED:
            return False
        raise
    return True
