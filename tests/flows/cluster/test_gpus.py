"""GPUs per task on Ray, with GPUs that a cluster only says it has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.cluster.cluster import _check_resources, prepare_ray, workers_of
from guidestore.flows.cluster.flow import Batches, Carried
from guidestore.flows.work.runners import Runner


def cluster(*nodes: tuple[int, int]) -> Any:
    """A `ray` whose living nodes have so many (CPUs, GPUs)."""
    made = [{"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in nodes]
    return SimpleNamespace(nodes=lambda: made)


def on_ray(gpus: float) -> Runner:
    return Runner(task_runner="ray", gpus_per_task=gpus)


@pytest.mark.parametrize(("gpus", "workers"), [(0, 20), (1, 3), (0.5, 6), (2, 1)])
def test_as_many_tasks_at_once_as_there_are_gpus_for(gpus, workers):
    assert workers_of(cluster((16, 2), (4, 1)), on_ray(gpus)) == workers


def test_a_task_whose_gpus_no_node_has_is_refused():
    with pytest.raises(InvalidInputError, match="no node of the Ray cluster has 4 GPUs for a task"):
        _check_resources(cluster((16, 2), (4, 3)), on_ray(4))


@pytest.mark.parametrize(
    ("device", "gpus", "sentence"),
    [
        ("auto", 0, None),  # each worker finds its own
        ("auto", 1, None),
        ("cpu,cpu", 0, None),
        ("cuda", 1, None),
        ("cuda:0,cuda:1", 2, None),
        ("cuda", 0, "device cuda on Ray needs GPUs per task"),
        ("cuda:0,cuda:1", 1, "are 2 GPUs of each task, and a task has 1; give --gpus-per-task 2"),
    ],
)
def test_a_device_and_the_gpus_of_a_task_must_fit(device, gpus, sentence):
    if sentence is None:
        prepare_ray(on_ray(gpus), device)
    else:
        with pytest.raises(InvalidInputError, match=sentence):
            prepare_ray(on_ray(gpus), device)


def test_each_task_asks_ray_for_its_gpus():
    from prefect_ray.context import RemoteOptionsContext

    asked: list[dict[str, Any]] = []

    class Task:
        def submit(self, given: Carried) -> None:
            context = RemoteOptionsContext.get()
            asked.append(dict(context.current_remote_options))

    for gpus in (0, 0.5):
        Batches(cluster((4, 1)), on_ray(gpus))._submit(Task(), ())  # pyright: ignore[reportArgumentType]
    assert [options.get("num_gpus") for options in asked] == [None, 0.5]
