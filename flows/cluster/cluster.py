"""A Ray cluster for the time of a run: one that is there, or one on this machine that ends with the run."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.work.devices import AUTO, CPU
from guidestore.flows.work.runners import Runner

CONNECT_SECONDS = 5.0
"""For a first answer at an address. Ray itself goes on trying for a minute and more."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a tool on hospital machines reports to nobody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a task without GPUs sees none; said, so that Ray does not warn
}


def prepare_ray(runner: Runner, device: str) -> None:
    """Call this before anything of Ray is touched: Ray reads its environment only when it loads.

    Raises InvalidInputError where Ray is not installed, nothing answers at the address, or no task would get a GPU.
    """
    _set_environment(runner)  # looking for Ray may load it: prefect-ray has it as a module that loads when touched
    if not all(importlib.util.find_spec(name) for name in ("ray", "prefect_ray")):
        raise InvalidInputError(
            "task runner ray needs Ray and prefect-ray: pip install 'guidestore[ray]', or use threads"
        )
    gpus = runner.gpus_per_task
    if gpus > 1 and gpus != int(gpus):
        raise InvalidInputError(f"gpus per task = {gpus:g}: Ray gives out whole GPUs, or a part of one")
    names = device.split(",")
    if not gpus and not {*names} <= {AUTO, CPU}:
        raise InvalidInputError(
            f"device {device} on Ray needs GPUs per task (--gpus-per-task 1; 0.5: two tasks share one)"
        )
    wanted = sum(name.strip().startswith("cuda") for name in names)
    if wanted > max(gpus, 1):
        raise InvalidInputError(
            f"device {device} on Ray are {wanted} GPUs of each task, and a task has {gpus:g}; give --gpus-per-task "
            f"{wanted}, or --device auto and let each task have one"
        )
    if runner.ray_address not in ("", "auto"):
        _check_answers(runner.ray_address)


def _set_environment(runner: Runner) -> None:
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    if not runner.ray_address and "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on all addresses. Left to itself it would keep a token in the home folder, by which clusters that
        # are started later ask their nodes for one.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


@contextmanager
def ray_cluster(runner: Runner) -> Iterator[Any]:
    """The module `ray`, connected. Nothing of it is left when this ends.

    Raises InvalidInputError where the cluster cannot be used, or has no node for a task.
    """
    import ray  # not before `prepare_ray`

    _connect(ray, runner.ray_address)
    try:
        _check_resources(ray, runner)
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    # A cluster that is there keeps its own settings.
    started_here = {} if address else {"include_dashboard": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                address or "local",
                namespace="guidestore",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **started_here,
            )
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        # Other versions of Ray or Python and other tokens, too.
        said = " ".join(str(error).split()).rstrip(".")
        where = f"the Ray cluster at {address}" if address else "a Ray of this machine's own"
        raise InvalidInputError(f"{where} cannot be used ({said}); see `ray status`, or use threads") from error


def _check_answers(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInputError(
            f"Ray address {address!r} is none: give host:port (as `ray start --head` says), ray://host:port, auto, or "
            "nothing for a Ray on this machine"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise InvalidInputError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one with `ray start --head`, or "
            "correct the address"
        ) from error


def _check_resources(ray: Any, runner: Runner) -> None:
    gpus = runner.gpus_per_task
    if not any(node["Resources"].get("GPU", 0) >= gpus for node in living(ray)):
        raise InvalidInputError(
            f"no node of the Ray cluster has {gpus:g} GPUs for a task; start one with `ray start --num-gpus`, or ask "
            "for fewer"
        )
    if not workers_of(ray, runner):
        raise InvalidInputError("the Ray cluster has no CPUs for tasks; start a node with `ray start --num-cpus`")


def living(ray: Any) -> list[dict[str, Any]]:
    """The nodes that are there now."""
    return [node for node in ray.nodes() if node["Alive"]]


def workers_of(ray: Any, runner: Runner) -> int:
    """How many tasks can run at once now: each takes a CPU and its GPUs."""
    count = 0
    for node in living(ray):
        cpus, gpus = (int(node["Resources"].get(name, 0) * 1000) for name in ("CPU", "GPU"))
        of_gpus = gpus // round(runner.gpus_per_task * 1000) if runner.gpus_per_task else cpus
        count += min(cpus // 1000, of_gpus)
    return count


def spans_machines(ray: Any) -> bool:
    """Whether a node is on another machine than this process."""
    return not all(is_here(node["NodeManagerAddress"]) for node in living(ray))


def is_here(host: str) -> bool:
    """Whether this machine has that address."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def lost(ray: Any, error: BaseException) -> bool:
    """Whether a task gave this error because its process or node is gone.

    Raises GuidestoreError where the worker could not run it at all.
    """
    if isinstance(error, ray.exceptions.RayTaskError | ray.exceptions.RuntimeEnvSetupError):
        said = str(error).strip().splitlines()[-1]
        raise GuidestoreError(
            f"a Ray worker could not run a batch ({said}); each node needs this version of guidestore, and must reach "
            "Prefect's server"
        ) from error
    return isinstance(error, ray.exceptions.RayError)
