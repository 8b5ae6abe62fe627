"""Encoding on one and on two Ray workers of one CPU and one thread each, beside the plain single-process run.

Slides to bags by the texture encoder on the CPU, through prefect-ray, as `guidestore encode --task-runner ray` does it.
Warm-up: what a worker process imports and Prefect's server starts with is paid before; the plan of each run and its
pilots are not. Target: two workers at least 1.3 times as fast as one, on two cores.
Run: OMP_NUM_THREADS=1 python tests/benchmarks/ray_encoding.py [SLIDES [REPEATS]]
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.encode import encode
from guidestore.flows.encoding.settings import EncodeSettings
from guidestore.flows.work.reporting import EncodeReport, no_progress
from guidestore.flows.work.runners import Runner
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.benchmarks.measuring import show
from tests.flows.cluster.ray_nodes import running_cluster

BAR = 1.3
WARM_UP = 0.37
"""um per pixel of runs that warm up: another code set than those that are measured."""


def main() -> None:
    slides = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    rates: dict[str, list[float]] = {}
    print(f"load average before: {os.getloadavg()[0]:.2f}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        images, empty = Path(folder) / "images", Path(folder) / "empty"
        generate_phantom(images, cases=slides, seed=1)
        add_layout(EmbeddingStore.create(empty), "phantom", Radpath(source=images, splits=0))

        def without_codes() -> EmbeddingStore:
            place = Path(folder) / "store"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(empty, place)
            return EmbeddingStore.open(place)

        def settings(**changed: Any) -> EncodeSettings:
            asked = {"modality": "histology", "encoder": "texture", "tile_px": 64, "mpp": 0.5}
            return EncodeSettings(cohort="phantom", **{**asked, **changed})

        def timed(name: str, work: Callable[[], EncodeReport]) -> None:
            start = time.perf_counter()
            report = work()
            taken = time.perf_counter() - start
            assert report.encoded == slides, report
            rates.setdefault(name, []).append(slides / taken)

        def plain() -> None:
            few = tuple(f"PHANTOM_{case:04d}" for case in range(1, 4))
            encode(without_codes(), settings(cases=few))
            for _ in range(repeats):
                store = without_codes()
                timed("one process", lambda store=store: encode(store, settings()))

        def on_ray(name: str, batches: Any) -> None:
            from guidestore.flows.cluster.encode import EncodeOnRay

            EncodeOnRay(without_codes(), settings(mpp=WARM_UP), no_progress).cases(batches)
            for _ in range(repeats):
                work = EncodeOnRay(without_codes(), settings(), no_progress)
                timed(name, lambda work=work: (work.cases(batches), work.report)[1])

        plain()
        with running_cluster() as cluster:
            os.environ.update(cluster.environment)
            from guidestore.flows.cluster.flow import run_on_ray  # not before: Ray reads its environment once

            runner = Runner(task_runner="ray", ray_address=cluster.address)
            for name in ("1 Ray worker", "2 Ray workers"):
                cluster.ready()
                run_on_ray(name, runner, lambda batches, name=name: on_ray(name, batches))
                cluster.add()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    one = medians["1 Ray worker"]
    show(
        f"{slides} slides of 1,280 px to bags by the texture encoder; medians of {repeats}",
        ["", "slides/s", "to one worker", "of each repeat"],
        [
            [name, f"{median:.2f}", f"{median / one:.2f}", " ".join(f"{value:.2f}" for value in rates[name])]
            for name, median in medians.items()
        ],
    )
    ratio = medians["2 Ray workers"] / one
    print(f"load average after: {os.getloadavg()[0]:.2f}; two workers to one: {ratio:.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
