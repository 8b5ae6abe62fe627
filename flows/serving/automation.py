"""The automation that retrains on new codes: in the UI under Automations, where anyone can switch it off."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from prefect.automations import AutomationCore, EventTrigger, Posture, RunDeployment
from prefect.client.orchestration import PrefectClient
from pydantic import ValidationError

from guidestore.embeddings.errors import AmbiguousNameError, GuidestoreError
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CodeSetName
from guidestore.flows.guiding.recipes import SCHEMES
from guidestore.flows.results.champion import champion_of
from guidestore.flows.serving.choices import defaults_of
from guidestore.flows.serving.retrain import RetrainForm
from guidestore.flows.serving.snapshot_events import READY, StoreName
from guidestore.warehouse.runs import all_runs, load_runs

SNAPSHOT = {"__prefect_kind": "jinja", "template": "{{ event.payload.snapshot }}"}
"""What Prefect replaces by the event's number, as the text that the form wants."""
ALIAS = "champion"


def retraining(store: EmbeddingStore) -> tuple[str, dict[str, Any]] | None:
    """What to retrain, in words, and its settings: those of the champion, else the defaults of the form.

    None where the store has nothing to train on yet.
    """
    of_champion = _of_champion(store)
    given = of_champion or defaults_of(store.snapshot()).get("retrain")
    if not given:
        return None
    try:
        settings = RetrainForm(**given).model_dump(mode="json")
    except ValidationError:
        return None
    return "the champion's head" if of_champion else "the heads of the form's defaults", settings


def _of_champion(store: EmbeddingStore) -> dict[str, Any] | None:
    """Settings of the head that the alias names; None without one, or where the form cannot say them."""
    try:
        champion = champion_of(store, ALIAS)
    except GuidestoreError:  # an alias of a snapshot, or of a run that was withdrawn
        return None
    if champion is None:
        return None
    snapshot = store.snapshot()
    runs = load_runs(snapshot, champion.runs)
    run = next(run for run in runs if run.id == champion.run)
    given = {
        **{name: getattr(run, name) for name in ("cohort", "target", "split", "guidance", "decoder")},
        "inferior": _code_set(snapshot, run, run.inferior),
        "superior": _code_set(snapshot, run, run.superior),
        "seeds": sorted({run.seed for run in runs}),
        "alias": ALIAS,
    }
    if run.guidance in SCHEMES:  # its rows have a decoder of their own
        del given["decoder"]
    if run.mode != "matched" or run.labelled != "all" or not _in_form(given):
        return None  # a sweep's, with parameters of its own
    permutations = _permutations(snapshot, run)
    return {**given, "permutations": permutations} if permutations else given


def _in_form(given: dict[str, Any]) -> bool:
    """Whether the drop-downs of the form have this G and this D_c: it has no field for their parameters."""
    for name in ("guidance", "decoder"):
        if name in given and given[name] not in RetrainForm.model_json_schema()["properties"][name]["enum"]:
            return False
    return True


def _code_set(snapshot: Snapshot, run: Run, name: CodeSetName | None) -> str:
    """MODALITY/ENCODER, with the digest where that names several."""
    if name is None:
        return ""
    try:
        snapshot.code_set(name.stem, split=run.split, fold=run.fold)
    except AmbiguousNameError:
        return name.within
    return name.stem.within


def _permutations(snapshot: Snapshot, run: Run) -> int:
    """How many shuffled-pairs controls the head had."""
    return len(
        {
            control.permutation
            for control in all_runs(snapshot)
            if control.control == "shuffled"
            and control.unit == run.unit
            and replace(control.head, control="", permutation=-1) == run.head
        }
    )


def automation_of(store: StoreName, deployment: Any, what: str, settings: dict[str, Any]) -> AutomationCore:
    """Runs the deployment of this id on every event READY of the store, at the event's snapshot."""
    wanted = AutomationCore(
        name=f"guidestore: retrain on new codes ({store.name})",
        description=f"When new case codes are in store {store.name} and no more come, retrains {what} on them; no "
        "image is read. Switch it off and it stays off. `guidestore serve` keeps its settings: for others, make an "
        f"automation of your own on the event {READY}.",
        tags=["guidestore"],
        trigger=EventTrigger(
            expect={READY},
            match={"prefect.resource.id": store.resource},  # pyright: ignore[reportArgumentType]
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment,
                parameters={"settings": {**settings, "snapshot": SNAPSHOT}},
                job_variables=None,
            )
        ],
    )
    # To update one, Prefect's client sends the fields that were set alone; its server wants all but the owner.
    return AutomationCore.model_validate(wanted.model_dump(mode="json", exclude={"owner_resource"}))


async def apply_automation(client: PrefectClient, wanted: AutomationCore) -> None:
    """Makes the automation, or brings the one of that name up to date. Who switched it off has it stay so."""
    there = await client.read_automations_by_name(wanted.name)
    if not there:
        await client.create_automation(wanted)
        return
    old = there[0]
    kept = wanted.model_copy(update={"enabled": old.enabled})
    if _facts(old) != _facts(kept):
        await client.update_automation(old.id, kept)


def _facts(automation: AutomationCore) -> dict[str, Any]:
    """What two automations are compared by; the server gives triggers ids of their own."""
    content = automation.model_dump(mode="json", include={"description", "enabled", "tags", "trigger", "actions"})
    content["trigger"].pop("id", None)
    return content
