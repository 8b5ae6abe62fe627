"""A Ray cluster of several nodes on this machine, each a raylet with one CPU, that can be killed like a machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.flows.serving.waiting import free_port, until

MARK = "GUIDESTORE_TEST_NODE"
"""Environment variable of all processes of a node, by which they are found; other clusters may run beside."""


@dataclass
class Node:
    """One node: what started it, and the mark of its processes."""

    mark: str
    starter: subprocess.Popen[bytes]
    log: Path

    def processes(self) -> dict[int, str]:
        """Process id -> title, of all that live."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (place / "environ").read_bytes().split(b"\0"):
                    title = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if title:  # a zombie has none
                        found[int(place.name)] = title
        return found

    def working(self, task: str) -> list[int]:
        """The processes that are at that task: Ray puts its name in their title."""
        return [pid for pid, title in self.processes().items() if title.startswith(f"ray::{task}")]

    def send(self, number: signal.Signals) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As when its machine loses power: at once, and nobody is told."""
        self.send(signal.SIGSTOP)  # so that nothing is started meanwhile
        until(lambda: not self._killed(), "killed processes to be gone")
        self.starter.wait()

    def _killed(self) -> dict[int, str]:
        self.send(signal.SIGKILL)
        return self.processes()


@dataclass
class Cluster:
    """A head with one CPU, and nodes added to it."""

    folder: Path
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    nodes: list[Node] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of its nodes and drivers: Ray listens on all addresses, and only they know the token."""
        auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        # A node that stops answering is given up after some 6 s; Ray's own 15 to 30 are waited for in vain.
        health = {"initial_delay": 1000, "period": 1000, "timeout": 1000}
        quick = {f"RAY_health_check_{name}_ms": str(value) for name, value in health.items()}
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        return {**os.environ, **auth, **quick, **quiet}

    def add(self) -> Node:
        """Starts the head, or a further node with an address of its own."""
        number = 1 + len(self.nodes)
        place = (
            ["--head", f"--port={self.port}", f"--ray-client-server-port={free_port()}",
             f"--temp-dir={self.folder}", "--include-dashboard=false"]
            if number == 1
            else [f"--address={self.address}"]
        )  # fmt: skip
        mark, log = f"{self.folder.name}-{number}", self.folder / f"node-{number}.log"
        ray = Path(sys.executable).with_name("ray")
        with log.open("wb") as out:
            starter = subprocess.Popen(
                [ray, "start", *place, "--block", "--num-cpus=1", f"--node-ip-address=127.0.0.{number}",
                 "--min-worker-port=0", "--max-worker-port=0", f"--dashboard-agent-listen-port={free_port()}",
                 "--object-store-memory=200000000", "--disable-usage-stats"],
                env={**self.environment, MARK: mark},
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.nodes.append(Node(mark, starter, log))
        return self.nodes[-1]

    def ready(self) -> None:
        """Returns once all nodes that were added and not killed are up."""
        for node in self.nodes:
            until(
                lambda node=node: node.starter.poll() is not None or b"--block" in node.log.read_bytes(),
                node.log.name,
            )
            assert node.starter.poll() in (None, -signal.SIGKILL), node.log.read_text()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Starts a head. All processes of the cluster are gone on the way out."""
    folder = Path(tempfile.mkdtemp(prefix="gs-ray-", dir="/tmp"))  # the paths of Ray's sockets must be short
    cluster = Cluster(folder)
    try:
        cluster.add()
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
