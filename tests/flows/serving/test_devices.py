"""A run keeps its device for as long as it encodes, whatever becomes of the server."""

from __future__ import annotations

import threading
from uuid import UUID

import httpx
import pytest

from guidestore.flows.serving import devices

LEASE = UUID(int=7)


def test_a_lease_is_renewed_until_done_and_an_outage_does_not_end_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """test_server_restart.py has the real server; a lease there is a minute or longer."""
    done, asked = threading.Event(), []

    class Client:
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def renew_concurrency_lease(self, lease: UUID, seconds: float) -> None:
            asked.append((lease, seconds))
            if len(asked) == 1:
                raise httpx.ConnectError("the server is away")
            if len(asked) == 3:
                done.set()

    monkeypatch.setattr(devices, "get_client", lambda sync_client: Client())
    monkeypatch.setattr(devices, "LEASE_SECONDS", 0.03)
    renewing = threading.Thread(target=devices._renew, args=(LEASE, done), daemon=True)
    renewing.start()
    renewing.join(30)
    assert not renewing.is_alive()
    assert asked == [(LEASE, 0.03)] * 3
