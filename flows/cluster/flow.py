"""Work in batches as a Prefect flow on Ray. Prefect and Ray load with this module.

A batch is plain data and a task of `flows.cluster.tasks`. Ray runs the batches of a lost worker again, up to RETRIES
times; Prefect keeps a task run's state where it runs, so a second start under the same id is nothing special to its
server.
"""

from __future__ import annotations

import guidestore.flows.engine.environment  # noqa: F401  (before Prefect)

# isort: split

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefect import State, Task, flow
from prefect.events.worker import EventsWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    get_current_settings,
    temporary_settings,
)
from prefect.states import Failed
from prefect_ray import RayTaskRunner
from prefect_ray.context import remote_options

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.cluster.batches import Measured, in_batches
from guidestore.flows.cluster.cluster import lost, ray_cluster, spans_machines, workers_of
from guidestore.flows.engine.running import without_paths
from guidestore.flows.engine.secrets import secrets_in
from guidestore.flows.engine.server import running_server, wait_until_ready
from guidestore.flows.work.runners import Runner

RETRIES = 3
"""How often a batch is done again whose worker was lost. A batch that kills its workers ends there."""
LOOK_SECONDS = 1.0
"""How often the driver looks for new workers while no batch ends."""
NO_WORKER_SECONDS = 300.0
"""How long the cluster may be without a worker: a node that starts again takes minutes."""

DRAIN_SECONDS = 10.0
"""For Prefect's last events to reach a server of our own."""


class Carried:
    """Data of a batch that Prefect does not look into: it would visit every element of every list."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Batches:
    """What work in a flow on Ray can do: submit one task, or many units in batches."""

    def __init__(self, ray: Any, runner: Runner) -> None:
        self._ray, self._runner = ray, runner
        self._worker_seen = time.monotonic()

    def one(self, task: Task[..., Any], *given: Any) -> Any:
        """What the task gives. Raises GuidestoreError."""
        future = self._submit(task, given)
        while not self._wait([future]):
            self._workers()
        measured = self._outcome(future)
        if measured is None:
            raise GuidestoreError(f"the workers that were to {task.name} were lost {1 + RETRIES} times; run it again")
        return measured.result

    def many[U, R](
        self,
        task: Task[..., Any],
        units: Sequence[U],
        finished: Callable[[list[U], R], None],
        *given: Any,
        most: int | None = None,
    ) -> list[U]:
        """The task with (units of a batch, *given), batch by batch. The units whose workers were lost too often.

        most: units of a batch; None: as many as are worth a task.
        """
        return in_batches(
            units,
            submit=lambda batch: self._submit(task, (batch, *given)),
            wait=self._wait,
            outcome=self._outcome,
            workers=self._workers,
            finished=finished,
            most=most,
        )

    def _submit(self, task: Task[..., Any], given: tuple[Any, ...]) -> Any:
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": RETRIES}
        if self._runner.gpus_per_task:
            options["num_gpus"] = self._runner.gpus_per_task
        with remote_options(**options):
            return task.submit(Carried(given))

    def _wait(self, futures: Sequence[Any]) -> list[Any]:
        by_ref = {future.wrapped_future: future for future in futures}
        try:
            done, _ = self._ray.wait(list(by_ref), num_returns=1, timeout=LOOK_SECONDS)
        except SystemError as error:  # what a signal raised in Ray's own code
            if error.__cause__ is None or isinstance(error.__cause__, Exception):
                raise
            raise error.__cause__ from None
        return [by_ref[ref] for ref in done]

    def _outcome(self, future: Any) -> Measured[Any] | None:
        try:
            return future.result()
        except GuidestoreError:
            raise
        except Exception as error:
            if not lost(self._ray, error):
                raise
            return None

    def _workers(self) -> int:
        workers = workers_of(self._ray, self._runner)
        if workers:
            self._worker_seen = time.monotonic()
        elif time.monotonic() - self._worker_seen > NO_WORKER_SECONDS:
            raise GuidestoreError(
                f"the Ray cluster has had no worker for {NO_WORKER_SECONDS:g} s; what was committed is safe, run it "
                "again to go on"
            )
        return max(1, workers)


_work: ContextVar[Callable[[], None]] = ContextVar("work")


_RUNNER: Any = RayTaskRunner()  # it finds this process connected


@flow(name="batches on Ray", task_runner=_RUNNER, persist_result=False)
def _flow() -> State[Any] | None:
    # Ray carries a flow's own body to every worker, so that body is one name.
    return _do()


def _do() -> State[Any] | None:
    try:
        _work.get()()
    except _SentenceError as error:
        return Failed(message=without_paths(str(error)))
    return None


class _SentenceError(Exception):
    """A GuidestoreError on its way past Prefect, which would log it with a traceback and all paths."""


def run_on_ray(name: str, runner: Runner, work: Callable[[Batches], None]) -> None:
    """Does the work on the cluster as a flow run of that name. Raises GuidestoreError."""
    failed: list[GuidestoreError] = []

    with _prefect_server() as ready, ray_cluster(runner) as ray:
        _check_reached(spans_machines(ray), ready())
        batches = Batches(ray, runner)

        def worked() -> None:
            try:
                work(batches)
            except GuidestoreError as error:
                failed.append(error)
                raise _SentenceError(str(error)) from error

        token = _work.set(worked)
        try:
            state = _flow.with_options(flow_run_name=name)(return_state=True)
        finally:
            _work.reset(token)
    if failed:
        raise failed[0]
    state.result()


# Prefect's server ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _prefect_server() -> Iterator[Callable[[], bool]]:
    """The server that PREFECT_API_URL names, else one of our own, which the workers of this machine reach.

    What it gives returns once the server answers, and says whether it is our own. Prefect would start one in every
    worker process.
    """
    if get_current_settings().api.url:
        yield lambda: False
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    with tempfile.TemporaryDirectory(prefix="guidestore-prefect-", ignore_cleanup_errors=True) as home:
        own = {"PREFECT_API_URL": url, "PREFECT_HOME": home}
        # Nobody will read a log there.
        settings: dict[Any, Any] = {PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}
        settings[PREFECT_API_AUTH_STRING] = secrets_in(Path(home)).private
        with running_server("127.0.0.1", port, own) as process, temporary_settings(settings):

            def ready() -> bool:
                wait_until_ready(url, process)
                return True

            try:
                yield ready
            finally:
                # What is still to be told goes before the server does: Prefect would try for a minute when we exit.
                EventsWorker.drain_all(timeout=DRAIN_SECONDS, at_exit=False)


def _check_reached(others: bool, own_server: bool) -> None:
    """Raises InvalidInputError where workers of other machines cannot reach Prefect's server."""
    if not others:
        return
    if own_server:
        raise InvalidInputError(
            "the Ray cluster has nodes on other machines, and their tasks report to a Prefect server: start one with "
            "`prefect server start --host` an address that they reach, and set PREFECT_API_URL to it"
        )
    url = get_current_settings().api.url or ""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        raise InvalidInputError(
            f"the Ray cluster has nodes on other machines, which cannot reach Prefect's server at {url}: it must "
            "listen on an address that they reach, and PREFECT_API_URL name that"
        )
