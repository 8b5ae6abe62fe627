"""How the Prefect server of `serve` starts, and what is said where it cannot."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.engine import server as server_module
from guidestore.flows.engine.server import running_server, wait_until_ready
from tests.flows.serving.waiting import free_port


def bind(port: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))


def test_it_has_its_port_from_the_start_and_says_why_it_cannot_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that took its port once it had loaded lost it, now and then, to a Ray cluster that started beside it."""
    (tmp_path / "prefect.db").write_bytes(b"no database" * 1000)
    port = free_port()
    environment = {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with running_server("127.0.0.1", port, environment) as server:
        with pytest.raises(OSError, match="in use"):
            bind(port)
        with pytest.raises(InvalidInputError, match=rf"127.0.0.1:{port} cannot be listened on .*another --port"):
            running_server("127.0.0.1", port, environment).__enter__()
        with pytest.raises(
            GuidestoreError, match=r"cannot start \([\w.]*DatabaseError: .*file is not a database\): mend"
        ):
            wait_until_ready(f"http://127.0.0.1:{port}/api", server)
        assert server.returncode == 3
    bind(port)
    assert capfd.readouterr().err == ""


def test_one_of_ours_that_takes_too_long_is_said_to_be_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "START_SECONDS", 0.0)
    with subprocess.Popen(["sleep", "30"]) as slow:
        with pytest.raises(GuidestoreError, match=r"was started and does not answer .* when this machine is less busy"):
            wait_until_ready(f"http://127.0.0.1:{free_port()}/api", slow)
        slow.kill()
