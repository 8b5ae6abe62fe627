"""What we lean on in Prefect though it promises nobody to keep it: each name is there and is called as we call it.

What upstream could offer in their place: docs/decisions/prefect-internals.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata

import pytest


@dataclass(frozen=True)
class Lean:
    """A name of Prefect's, the file of ours that uses it, and what does not work without."""

    name: str
    user: str
    without: str
    holds: Callable[[], bool]


def takes(module: str, name: str, *arguments: str) -> bool:
    """Whether there is such a function, and it takes arguments of these names."""
    target = import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    return set(arguments) <= inspect.signature(target).parameters.keys()


def _of_a_runner(name: str) -> bool:
    from prefect.runner import Runner

    return hasattr(Runner(name="contract"), name)


def _form_can_be_replaced() -> bool:
    from prefect import flow
    from prefect.utilities.callables import ParameterSchema

    @flow
    def of_one_number(number: int) -> None: ...

    deployment = of_one_number.to_deployment("contract")
    schema = deployment._parameter_openapi_schema.model_copy(deep=True)
    schema.properties["number"]["enum"] = [1, 2]
    deployment._parameter_openapi_schema = schema
    return isinstance(schema, ParameterSchema) and "enum" in deployment._parameter_openapi_schema.properties["number"]


def _logger_of_the_observer() -> bool:
    from prefect._internal.observers import FlowRunCancellingObserver

    async def nothing(_: object) -> None: ...

    return FlowRunCancellingObserver(on_cancelling=nothing).logger.name == "prefect.FlowRunCancellingObserver"


RUNNER, SERVER, CLUSTER = "flows/serving/runner.py", "flows/engine/server.py", "flows/cluster/flow.py"
DATABASE = "prefect.server.database.configurations"
LEANS = [
    Lean(
        "Runner._process_manager",
        RUNNER,
        "runs go on unseen when the server of `guidestore serve` has died",
        lambda: (
            _of_a_runner("_process_manager")
            and takes("prefect.runner._process_manager", "ProcessManager.get", "flow_run_id")
            and takes("prefect.runner._process_manager", "ProcessManager.flow_run_ids")
            and takes("prefect.runner._process_manager", "ProcessHandle.hard_kill")
        ),
    ),
    Lean(
        "Runner._cancel_run",
        RUNNER,
        "a run cannot be cancelled after an outage of the server",
        lambda: takes("prefect.runner", "Runner._cancel_run", "flow_run"),
    ),
    Lean(
        "Runner._cancelling_observer",
        RUNNER,
        "Prefect gives up on cancelling, and kills runs, once its polling failed",
        lambda: (
            _of_a_runner("_cancelling_observer")
            and takes("prefect._internal.observers", "FlowRunCancellingObserver", "on_failure", "on_cancelling")
        ),
    ),
    Lean(
        "Runner.started, Runner.query_seconds",
        RUNNER,
        "nobody looks whether runs are to be cancelled",
        lambda: _of_a_runner("started") and _of_a_runner("query_seconds"),
    ),
    Lean(
        "the logger prefect.FlowRunCancellingObserver",
        RUNNER,
        "an outage of the server prints a traceback each time it is polled",
        _logger_of_the_observer,
    ),
    Lean(
        "RunnerDeployment._parameter_openapi_schema",
        "flows/serving/serve.py",
        "forms have no drop-downs of what the store has",
        _form_can_be_replaced,
    ),
    Lean(
        "AioSqliteConfiguration.begin_transaction",
        SERVER,
        "the server answers 503 to writes at once",
        lambda: takes(DATABASE, "AioSqliteConfiguration.begin_transaction", "session", "with_for_update"),
    ),
    Lean(
        "prefect.server.api.server.create_app",
        SERVER,
        "`guidestore serve` starts no server",
        lambda: takes("prefect.server.api.server", "create_app"),
    ),
    Lean(
        "SyncClientContext.get_or_create",
        "flows/serving/devices.py",
        "a run that encodes opens more connections of its own",
        lambda: takes("prefect.context", "SyncClientContext.get_or_create"),
    ),
    Lean(
        "EventsWorker.drain_all",
        CLUSTER,
        "a command that ran on Ray hangs for a minute as it ends",
        lambda: takes("prefect.events.worker", "EventsWorker.drain_all", "timeout", "at_exit"),
    ),
    Lean(
        "PrefectRayFuture.wrapped_future, remote_options",
        CLUSTER,
        "Ray's batches cannot be waited for, nor be given GPUs",
        lambda: (
            takes("prefect_ray.task_runners", "PrefectRayFuture", "wrapped_future")
            and takes("prefect_ray.context", "remote_options", "new_remote_options")
        ),
    ),
]


@pytest.mark.parametrize("lean", LEANS, ids=lambda lean: lean.name)
def test_prefect_still_has_it(lean: Lean) -> None:
    try:
        holds = lean.holds()
    except (AttributeError, ImportError, TypeError):
        holds = False
    version = metadata.version("prefect")
    assert holds, f"Prefect {version} changed {lean.name}, which {lean.user} uses; without it, {lean.without}"
