"""The tasks that Ray's workers do. Each opens the store itself; what it commits is there whatever becomes of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.cluster.batches import Measured, Stopwatch
from guidestore.flows.cluster.flow import Carried
from guidestore.flows.encoding.encode import EncodePlan, encode, plan_encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.engine.running import remote_step
from guidestore.flows.guiding.jobs import HeadJob, train_jobs
from guidestore.flows.work.devices import in_words, one_device
from guidestore.flows.work.reporting import EncodeReport
from guidestore.flows.work.threads import one_thread


@remote_step("plan encode")
def plan_task(given: Carried) -> Measured[EncodePlan]:
    """(place of the store, settings) -> what is missing.

    Here, because it needs the encoder: the driver may lack its weights and GPU.
    """
    place, settings = given.value
    return _named(lambda: Measured(plan_encode(EmbeddingStore.open(place), settings), 0.0))


@remote_step("encode cases")
def encode_task(given: Carried) -> Measured[EncodeReport]:
    """(cases, place of the store, settings) -> what came of them."""
    cases, place, settings = given.value
    return _named(lambda: _encode(place, settings.model_copy(update={"cases": tuple(cases)})))


@remote_step("train encoder")
def train_task(given: Carried) -> Measured[EncodeReport]:
    """(folds, place of the store, settings) -> what came of them."""
    folds, place, settings = given.value
    return _named(lambda: _encode(place, settings.model_copy(update={"folds": tuple(folds)})))


@remote_step("train heads")
def heads_task(given: Carried) -> Measured[tuple[str, list[list[list[Any]]]]]:
    """(batches of jobs, device) -> where it trained, and the heads of each job, batch by batch, as of `train_jobs`."""
    batches, asked = given.value
    watch = Stopwatch()
    watch("", 0, len(batches))

    def train(jobs: list[HeadJob], device: str) -> list[list[Any]]:
        # Ray's arrays are read-only, and PyTorch warns of those.
        trained = train_jobs(deepcopy(jobs), test=False, device=device)
        watch("", 1, len(batches))
        return trained

    def work() -> tuple[str, list[list[list[Any]]]]:
        device = one_device(asked, "heads")
        with one_thread():
            return in_words((device,)), [train(jobs, device) for jobs in batches]

    return watch.measured(_named(work))


def _encode(place: str, settings: EncodeSettings) -> Measured[EncodeReport]:
    """Without the index, which is the driver's."""
    watch = Stopwatch()
    return watch.measured(encode(EmbeddingStore.open(place), settings, watch))


def _named[T](work: Callable[[], T]) -> T:
    """An error that a user can act on says on which machine: folders and devices differ."""
    try:
        return work()
    except GuidestoreError as error:
        raise type(error)(f"{error} (on Ray worker {socket.gethostname()})") from error
