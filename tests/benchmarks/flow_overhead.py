"""What Prefect adds to the work: encoding 200 small cases as a flow, and a retrain that is asked for through the API.

The flow `encode` runs in this process against a real server, in turns with the plain function that it calls, each time
into a new store: until it is Completed, with its artifacts, and until it returns. Between the two Prefect waits for its
thread that sends heartbeats, which sleeps a second at a time; nobody else waits for that. The retrain runs as it does
after a click: by `guidestore serve`, in a process of its own.
Targets: the flow is Completed in less than 1.10 x the time of the plain function; a retrain is done in under 60 s.
Run: python -m tests.benchmarks.flow_overhead [CASES]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from embeddings.store import EmbeddingStore
from flows.cohorts import add_derm7pt
from tests.benchmarks.measuring import show
from tests.flows.serving import RETRAIN
from tests.flows.waiting import free_port
from tests.report_store import make_store
from warehouse.cohorts.derm7pt_phantom import generate_derm7pt_phantom

REPEATS = 15
RETRAINS = 3


def encode_times(release: Path, folder: Path) -> dict[str, list[float]]:
    """Seconds of the plain function and of the flow, in turns, each into a store that has the cohort alone."""
    from flows.deployments.encode import EncodeForm
    from flows.deployments.encode import encode as flow
    from flows.encode import encode
    from flows.settings import EncodeSettings

    asked: dict[str, Any] = {"cohort": "skin", "modality": "clinical", "encoder": "colour_texture"}
    taken: dict[str, list[float]] = {"plain function": [], "flow, until Completed": [], "flow, until it returns": []}
    for repeat in range(1 + REPEATS):
        plain, flowing = folder / f"plain-{repeat}", folder / f"flow-{repeat}"
        for root in (plain, flowing):
            add_derm7pt(EmbeddingStore.create(root), "skin", release)
        began = time.time()
        encode(EncodeSettings(store=plain, **asked))
        plain_s = time.time() - began
        os.environ["GUIDESTORE_STORE"] = str(flowing)
        began = time.time()
        state = flow(EncodeForm(**asked), return_state=True)
        seconds = (plain_s, state.timestamp.timestamp() - began, time.time() - began)
        assert state.is_completed(), state
        if repeat:  # the first warms up
            for own, one in zip(taken.values(), seconds, strict=True):
                own.append(one)
    return taken


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
        generate_derm7pt_phantom(folder / "release_v0", cases=cases, seed=1)
        trained = make_store(folder)
        serve = [sys.executable, "-m", "flows.cli", "serve", "--port", str(port)]
        environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
        process = subprocess.Popen([*serve, "--store", str(trained)], env=environment, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            taken = encode_times(folder / "release_v0", folder)
            plain = taken["plain function"]
            ratios = {what: [one / base for one, base in zip(own, plain, strict=True)] for what, own in taken.items()}
            show(
                f"{cases} photographs to stored codes; medians of {REPEATS}",
                ["", "s", "to the plain function", "of each repeat"],
                [
                    [
                        what,
                        f"{statistics.median(own):.2f}",
                        f"{statistics.median(ratios[what]):.2f}",
                        " ".join(f"{value:.2f}" for value in ratios[what]),
                    ]
                    for what, own in taken.items()
                ],
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
