"""How flows run under Prefect: which errors are tried again, how the others are said, and where progress is seen."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import State, Task, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import FailedRun
from prefect.logging import get_logger
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from guidestore.embeddings.errors import GuidestoreError, StorageError
from guidestore.flows.engine.processes import die_with_parent
from guidestore.flows.work.reporting import Progress

HOUR = 3600.0
SECONDS_BETWEEN_UPDATES = 2.0


def may_pass(task: Any, run: Any, state: State[Any]) -> bool:
    """Whether trying again can help: the disk or the network refused. Bad input stays bad."""
    return isinstance(state.data, OSError | StorageError)


_TRIED_AGAIN: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_pass,
    "persist_result": False,
    "cache_policy": NO_CACHE,
}


def step[**P, T](
    name: str, *, cached: Callable[[Any], bool] | None = None
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A task: after an error of disk or network three more tries, some 2, 4 and 8 s later.

    cached: whether the store had all of the result by its recipe, so that nothing was made; the UI then says `Cached`.
    It is the store that knows: a cache of Prefect's own would still claim what a purge took out of it.
    """

    def decorate(work: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> State[T]:
            with _told_without_paths():
                result = work(*args, **kwargs)
            if cached and cached(result):
                return Completed(name="Cached", message="The store had all of it.", data=result)
            return Completed(data=result)

        asked: Any = task(name=name, **_TRIED_AGAIN)(run)

        @functools.wraps(work)
        def ask(*args: P.args, **kwargs: P.kwargs) -> T:
            return asked(*args, **kwargs).result()

        return ask

    return decorate


def remote_step[**P, T](name: str) -> Callable[[Callable[P, T]], Task[P, T]]:
    """A `step` to be submitted to a cluster's workers."""

    def decorate(work: Callable[P, T]) -> Task[P, T]:
        @functools.wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            with _told_without_paths():
                return work(*args, **kwargs)

        return task(name=name, **_TRIED_AGAIN)(run)

    return decorate


@contextmanager
def _told_without_paths() -> Iterator[None]:
    """Prefect keeps an error and what caused it, in its log and its database: neither may tell a patient's folder."""
    try:
        yield
    except GuidestoreError as error:
        raise type(error)(without_paths(str(error))) from None
    except TimeoutError:
        raise  # Prefect's own: the state becomes TimedOut
    except OSError as error:
        raise StorageError(without_paths(str(error))) from None
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(at.filename).name}, line {at.lineno}"
        raise GuidestoreError(
            without_paths(
                f"{type(error).__name__}: {error} ({where}); this is a defect of guidestore, please report it"
            )
        ) from None


_URL_OR_PATH = re.compile(
    r"""(?P<url>\b(?:https?|s3)://[^\s;,()'"]+)
    |(?<=')/[^']+|(?<=")/[^"]+  # in quotes, as Python's errors have it
    |(?<![\w.@/])/[^\s:;,()'"]+(?:(?:[ ][^\s:;,()'"/]+)+/[^\s:;,()'"]+)*  # and with spaces within
    """,
    re.VERBOSE,
)


def without_paths(sentence: str) -> str:
    """The sentence without absolute paths: folders and files may be called after patients. URLs stay."""
    return _URL_OR_PATH.sub(lambda match: match["url"] or "…", sentence)


def _one_line(record: logging.LogRecord) -> bool:
    """A filter of what Prefect logs about a run. It adds tracebacks, which hide the sentence and name folders."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, FailedRun):
        return False  # a flow's Failed state, whose sentence is logged already
    if error and str(error) not in record.getMessage():
        record.msg, record.args = "%s: %s: %s", (record.getMessage(), type(error).__name__, without_paths(str(error)))
    record.exc_info = record.exc_text = None
    return True


for _name in ("flow_runs", "task_runs"):
    get_logger(_name).addFilter(_one_line)


def one_sentence[**P, T](work: Callable[P, T]) -> Callable[P, T | State[Any]]:
    """A flow's function that fails with the sentence of a GuidestoreError as its message."""

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T | State[Any]:
        if "PREFECT__FLOW_RUN_ID" in os.environ:  # a runner's or worker's process, not somebody's notebook
            # Not SIGTERM: without a server to tell, Prefect spins for ever. A commit is whole or not there.
            die_with_parent(signal.SIGKILL)
        try:
            with _told_without_paths():
                return work(*args, **kwargs)
        except GuidestoreError as error:
            sentence = str(error)
            get_run_logger().error("%s", sentence)
            return Failed(message=sentence)

    # Prefect reads the form from the signature, and would look its names up in this module.
    cast(Any, run).__signature__ = inspect.signature(work, eval_str=True)
    return run


class Shown:
    """Progress as lines of the run's log and as one progress artifact for each kind of work."""

    def __init__(self) -> None:
        self._log: logging.Logger | logging.LoggerAdapter[Any] = get_run_logger()
        self._artifacts: dict[str, UUID] = {}
        self._told: dict[str, tuple[float, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        told_at, told = self._told.get(what, (-SECONDS_BETWEEN_UPDATES, -1))
        now = time.monotonic()
        if done == told or (done < total and now - told_at < SECONDS_BETWEEN_UPDATES):
            return
        self._told[what] = (now, done)
        self._log.info("%s: %d of %d", what, done, total)
        percent = 100.0 * done / total if total else 100.0
        if what not in self._artifacts:
            artifact = create_progress_artifact(percent, description=what)
            if isinstance(artifact, UUID):
                self._artifacts[what] = artifact
        else:
            update_progress_artifact(self._artifacts[what], percent)


def shown() -> Progress:
    """The progress of the flow or task run that this is called in."""
    return Shown()
