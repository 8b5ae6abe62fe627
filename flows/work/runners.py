"""Where batches of work run: on this machine, or on a Ray cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from guidestore.flows.work.settings import Environment


class Runner(BaseModel):
    """Chosen for each encode and sweep; what comes out does not depend on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_runner: Literal["threads", "ray"] = Field(
        default="threads",
        description="threads: in this process. ray: batches of cases or heads are tasks on a Ray cluster, and those of "
        "a worker that is lost are done again.",
    )
    ray_address: Annotated[str, Environment("GUIDESTORE_RAY_ADDRESS")] = Field(
        default="",
        description="For ray: host:port, ray://host:port or auto; empty: Ray is started on this machine for the run.",
    )
    gpus_per_task: float = Field(
        default=0.0, ge=0, description="For ray: GPUs that each task has to itself; 0.5: two tasks share one."
    )
