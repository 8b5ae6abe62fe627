"""One encoder per GPU: runs that encode on the same device of the same machine wait for each other."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

LEASE_SECONDS = 60.0
"""How long a run that was killed still holds its device."""


@contextmanager
def one_encoder_on(device: str) -> Iterator[None]:
    """Within it this run has `device` (cpu, cuda, cuda:1, …) of this machine to itself; it waits for that.

    The limit is in the UI under Concurrency, as ``guidestore-HOST-DEVICE``; raised there, more encode at once.
    """
    name = f"guidestore-{socket.gethostname()}-{'cuda:0' if device == 'cuda' else device}"
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    get_run_logger().info("waiting until no other run encodes on %s", device)
    with concurrency(name, lease_duration=LEASE_SECONDS, strict=True):
        get_run_logger().info("encoding on %s", device)
        yield
