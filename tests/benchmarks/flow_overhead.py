"""What Prefect adds to the work: encoding 200 small cases as a flow, and a retrain that is asked for through the API.

The flow `encode` runs in this process against a real server, in turns with the plain function that it calls, each time
into a new store: until it is Completed, with its artifacts, and until it returns. Between the two Prefect waits for its
thread that sends heartbeats, which sleeps a second at a time; nobody else waits for that. What Prefect adds is some
requests, the same for all kinds of cases; a flow of one task that does nothing makes most of them. The retrain runs as
it does after a click: by `guidestore serve`, in a process of its own.
Targets: `serve` is ready in under 30 s, the flow is Completed in less than 1.10 x the time of the plain function, and a
retrain is done in under 60 s.
Run: python -m tests.benchmarks.flow_overhead [CASES]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.cohorts.layout import add_layout
from guidestore.warehouse.cohorts.layouts.derm7pt import Derm7pt
from guidestore.warehouse.cohorts.layouts.derm7pt_phantom import generate_derm7pt_phantom
from guidestore.warehouse.cohorts.layouts.phantom import generate_phantom
from guidestore.warehouse.cohorts.layouts.radpath import Radpath
from tests.benchmarks.measuring import show
from tests.flows.serving.server import RETRAIN
from tests.flows.serving.waiting import free_port
from tests.report_store import make_store

RETRAINS = 3


@dataclass(frozen=True)
class Work:
    """What is encoded, and how often: the quicker it is, the more a ratio is moved by other things."""

    title: str
    repeats: int
    add: Callable[[EmbeddingStore], object]
    asked: dict[str, Any]


def works(folder: Path, cases: int) -> list[Work]:
    """The encoders that need no weights, on cases of both of the paper's data sets."""
    photographs, scans = folder / "release_v0", folder / "radpath"
    generate_derm7pt_phantom(photographs, cases=cases, seed=1)
    generate_phantom(scans, cases=cases, seed=1, slide_px=256)

    def add_scans(store: EmbeddingStore) -> object:
        return add_layout(store, "small", Radpath(source=scans, splits=0))

    mri = {"cohort": "small", "encoder": "first_order"}
    skin = {"cohort": "small", "encoder": "colour_texture", "modality": "clinical"}
    return [
        Work("photographs", 15, lambda store: add_layout(store, "small", Derm7pt(source=photographs)), skin),
        Work("MRI, one sequence", 9, add_scans, {**mri, "modality": "mri_t1"}),
        Work("MRI, four sequences", 5, add_scans, {**mri, "modality": "mri_all"}),
    ]


def encode_times(work: Work, folder: Path) -> list[tuple[float, float, float]]:
    """Of each repeat the seconds of the plain function, and of the flow until it is Completed and until it returns."""
    from guidestore.flows.encoding.encode import encode
    from guidestore.flows.encoding.settings import EncodeSettings
    from guidestore.flows.serving.encode import EncodeForm
    from guidestore.flows.serving.encode import encode as flow
    from guidestore.flows.work.stores import opened

    taken = []
    for _ in range(1 + work.repeats):
        with tempfile.TemporaryDirectory(dir=folder) as stores:
            plain, flowing = Path(stores) / "plain", Path(stores) / "flow"
            for root in (plain, flowing):
                work.add(EmbeddingStore.create(root))
            began = time.time()
            with opened(plain) as store:
                encode(store, EncodeSettings(**work.asked))
            plain_s = time.time() - began
            os.environ["GUIDESTORE_STORE"] = str(flowing)
            began = time.time()
            state = flow(EncodeForm(**work.asked), return_state=True)
            taken.append((plain_s, state.timestamp.timestamp() - began, time.time() - began))
            assert state.is_completed(), state
    return taken[1:]  # the first warms up


def row_of(work: Work, taken: list[tuple[float, float, float]]) -> list[str]:
    """Medians, and the ratio of each repeat."""
    ratios = [completed / plain for plain, completed, _ in taken]
    seconds = [f"{statistics.median(own):.2f}" for own in zip(*taken, strict=True)]
    added_s = statistics.median(completed - plain for plain, completed, _ in taken)
    each = " ".join(f"{ratio:.2f}" for ratio in ratios)
    return [work.title, *seconds, f"{added_s:.2f}", f"{statistics.median(ratios):.2f}", each]


def retrain_parts(api: httpx.Client, seed: int) -> list[float]:
    """Seconds of a retrain: asked to begun, its steps, the rest of the flow, and all of it as the asker sees it."""
    deployment = api.get("/deployments/name/retrain/retrain").json()["id"]
    body = {"state": {"type": "SCHEDULED"}, "parameters": {"settings": {**RETRAIN, "permutations": 5, "seeds": [seed]}}}
    start = time.perf_counter()
    run = api.post(f"/deployments/{deployment}/create_flow_run", json=body).raise_for_status().json()
    while (state := api.get(f"/flow_runs/{run['id']}").json())["state"]["type"] not in ("COMPLETED", "FAILED"):
        time.sleep(0.1)
    seen_s = time.perf_counter() - start
    assert state["state"]["type"] == "COMPLETED", state["state"]
    began, ended = (datetime.fromisoformat(state[name]) for name in ("start_time", "end_time"))
    asked = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    steps_s = sum(step["total_run_time"] for step in api.post("/task_runs/filter", json=asked).json())
    flow_s = (ended - began).total_seconds()
    begun_s = (began - datetime.fromisoformat(run["created"])).total_seconds()
    return [begun_s, steps_s, flow_s - steps_s, seen_s]


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        os.environ |= {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        os.environ |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "OMP_NUM_THREADS": "1"}
        to_encode = works(folder, cases)
        trained = make_store(folder)
        serve = [sys.executable, "-m", "guidestore", "serve", "--port", str(port)]
        environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
        began = time.monotonic()
        process = subprocess.Popen([*serve, "--store", str(trained)], env=environment, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            print(f"guidestore serve, its first start: ready in {time.monotonic() - began:.1f} s")
            show(
                f"{cases} cases to stored codes; medians",
                ["", "plain function, s", "flow Completed, s", "returned, s", "added, s", "ratio", "of each repeat"],
                [row_of(work, encode_times(work, folder)) for work in to_encode],
            )
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=30) as api:
                parts = list(zip(*(retrain_parts(api, 100 + seed) for seed in range(RETRAINS)), strict=True))
            labels = ["asked to begun", "its steps", "the rest of the flow", "asked to seen"]
            show(
                f"A retrain through the API; medians of {RETRAINS}",
                ["", "s", "of each"],
                [
                    [label, f"{statistics.median(own):.1f}", " ".join(f"{value:.1f}" for value in own)]
                    for label, own in zip(labels, parts, strict=True)
                ],
            )
            overhead_s = statistics.median(seen - steps for _, steps, _, seen in zip(*parts, strict=True))
            print(f"Prefect's part of a retrain: {overhead_s:.1f} s, most of it the start of a process")
        finally:
            process.terminate()
            process.wait(60)


if __name__ == "__main__":
    main()
