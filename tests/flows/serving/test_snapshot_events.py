"""New codes become Prefect events, and an automation retrains on them: a real server, as a user has it.

The store is in a bucket, so that a served bucket needs no server of its own; test_serve.py has one on a disk.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guidestore.embeddings.opening import storage_at
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes
from tests.browsing import chromium
from tests.flows.serving.server import Served, serving
from tests.flows.serving.waiting import WAIT_SECONDS, until

NAME = "guidestore: retrain on new codes (store)"
QUIET = ("--quiet-seconds", "2")


def upload(store: Path, url: str) -> None:
    """The same files under the same names; what stays on each machine is left out."""
    bucket = storage_at(url)
    for file in sorted(store.rglob("*")):
        path = file.relative_to(store).as_posix()
        if file.is_file() and not path.startswith(("index/", "staging/")):
            bucket.create(path, file.read_bytes())


def add_cases(store: Path | str, first: int, *, count: int = 4) -> int:
    """Commits labelled train cases with codes of both modalities, as another process would; the snapshot's number."""
    opened = EmbeddingStore.open(store)
    snapshot = opened.snapshot()
    ids = tuple(f"new-{number:03d}" for number in range(first, first + count))
    labels = snapshot.rows("labels", cohort="skin").to_pylist()
    classes = {
        target: sorted({row["class"] for row in labels if row["target"] == target}) for target in ("DIAG", "PIG")
    }
    facts = [{"cohort": "skin", "case_id": case_id} for case_id in ids]
    rng = np.random.default_rng(first)
    with opened.begin("new cases") as transaction:
        transaction.write_rows("cases", facts, cohort="skin")
        labelled = [
            {**fact, "target": target, "class": names[number % len(names)]}
            for target, names in classes.items()
            for number, fact in enumerate(facts)
        ]
        transaction.write_rows("labels", labelled, cohort="skin")
        placed = {"split": "official", "fold": 0, "part": "train", "origin": "given"}
        transaction.write_rows("splits", [{**fact, **placed} for fact in facts], cohort="skin")
        for key in snapshot.code_sets:
            codes = CaseCodes(ids, rng.normal(size=(count, key.code_dim)).astype(np.float32), key=key)
            transaction.write_codes(codes, input_digests=[[case_id] for case_id in ids])
    return opened.snapshot().version


def events(served: Served, name: str) -> list[dict[str, Any]]:
    asked = {"filter": {"event": {"name": [name]}, "order": "ASC"}}
    return served.api.post("/events/filter", json=asked).raise_for_status().json()["events"]


def automation(served: Served) -> dict[str, Any]:
    found = served.api.post("/automations/filter", json={"automations": {"name": {"any_": [NAME]}}}).json()
    return found[0] if found else {}


def retrains(served: Served) -> list[dict[str, Any]]:
    asked = {"flows": {"name": {"any_": ["retrain"]}}, "sort": "START_TIME_ASC"}
    return served.api.post("/flow_runs/filter", json=asked).json()


def switch_off(served: Served, picture: Path) -> None:
    """In the browser: Automations, and the switch."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 560})
        page.set_default_timeout(1000 * WAIT_SECONDS)
        page.goto(served.page)
        page.get_by_role("link", name="Automations").first.click()
        page.get_by_text(NAME).first.wait_for()
        switch = page.get_by_role("switch")
        switch.wait_for()
        page.screenshot(path=picture)
        assert switch.get_attribute("aria-checked") == "true"
        switch.click()
        until(lambda: not automation(served)["enabled"])


def ready(served: Served, snapshot: int) -> bool:
    return any(event["payload"]["snapshot"] >= snapshot for event in events(served, "guidestore.snapshot.ready"))


@pytest.mark.prefect_pages
def test_new_codes_are_announced_and_retrained_on(bucket: str, report_store: Path, tmp_path: Path) -> None:
    """One story, because a server takes long to start: new codes, the switch in the browser, a restart, and the end.

    PICTURES=docs makes the picture of docs/serving.md anew.
    """
    store = f"{bucket}/store"
    upload(report_store, store)
    with serving(store, tmp_path, *QUIET) as served:
        assert served.line.startswith(f"{store} is served: open http://127.0.0.1:")
        form = served.api.get("/deployments/name/retrain/retrain").json()["parameter_openapi_schema"]
        assert form["definitions"]["RetrainForm"]["properties"]["target"]["enum"] == ["", "DIAG", "PIG"]
        until(lambda: automation(served))
        assert automation(served)["enabled"]
        assert "the heads of the form's defaults" in automation(served)["description"]
        assert not events(served, "guidestore.codes.committed"), "what is old is not announced"

        numbers = [add_cases(store, first) for first in (0, 10, 20)]
        until(lambda: len(events(served, "guidestore.codes.committed")) == 3)
        told = [event["payload"] for event in events(served, "guidestore.codes.committed")]
        assert [event["snapshot"] for event in told] == numbers
        assert [(event["codes"], event["cases"], event["cohorts"]) for event in told] == [(8, 4, ["skin"])] * 3
        assert {name.partition("@")[0] for name in told[0]["code_sets"]} == {
            "skin/clinical/made",
            "skin/dermoscopy/made",
        }
        assert "new-0" not in str(told)
        assert str(tmp_path) not in str(told)
        assert bucket not in str(told)

        until(lambda: retrains(served))
        run = retrains(served)[0]
        assert served.end_of(run["id"])["type"] == "COMPLETED", served.log(run["id"])
        assert run["parameters"]["settings"]["snapshot"] == str(numbers[-1])
        until(lambda: "Finished in state" in served.log(run["id"]))
        assert re.search(r"images read: 0; heads trained: [1-9]\d*, there already: 0", served.log(run["id"]))
        assert {"retrain-result", "retrain-champion", "retrain-figure", "retrain-summary"} <= set(
            served.artifacts(run["id"])
        )
        champion = EmbeddingStore.open(store).find_run("champion").artifact
        (fact,) = [
            one for one in EmbeddingStore.open(store).snapshot().rows("runs").to_pylist() if one["run"] == champion
        ]
        assert fact["snapshot"] == numbers[-1]
        until(lambda: "the champion's head" in automation(served)["description"])
        assert len(retrains(served)) == 1, "three commits shortly after one another, one retraining"

        switch_off(served, Path(os.environ.get("PICTURES", tmp_path)) / "serve-automation.png")

    while_down = add_cases(store, 30)
    with serving(store, tmp_path, *QUIET) as served:
        until(lambda: ready(served, while_down))
        assert events(served, "guidestore.codes.committed")[-1]["payload"]["snapshot"] == while_down
        assert not automation(served)["enabled"]
        time.sleep(2)  # it would be there by now
        assert len(retrains(served)) == 1, "nobody retrains what is switched off"

        os.kill(served.server(), signal.SIGKILL)
        assert served.process.wait(30) == 1  # it had told events: Prefect would try for 70 s to tell that it goes
        until(lambda: not served.processes())
    told = (tmp_path / "stderr").read_text()
    assert told.startswith("error: the Prefect server ended with code -9"), told
    assert told.count("\n") == 1, told
