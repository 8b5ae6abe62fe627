"""The steps as Prefect flows: `encode`, `guide`, `evaluate`. Where no server is set up, Prefect starts its own."""

from __future__ import annotations

import flows.prefect_environment  # noqa: F401  (before Prefect)

# isort: split

from pathlib import Path

from prefect import flow

from flows import encode as encode_step
from flows import evaluate as evaluate_step
from flows import guide as guide_step
from flows.progress import current_progress
from flows.settings import EncodeSettings, GuideSettings


@flow(name="encode", persist_result=False)
def encode_flow(settings: EncodeSettings) -> encode_step.EncodeReport:
    """Images of one modality -> codes. Encodes only what the store lacks; see `EncodeSettings`."""
    return encode_step.encode(settings, current_progress())


@flow(name="guide", persist_result=False)
def guide_flow(settings: GuideSettings) -> guide_step.GuideReport:
    """Stored codes -> trained and evaluated heads. Opens no image; see `GuideSettings`."""
    return guide_step.guide(settings, current_progress())


@flow(name="evaluate", persist_result=False)
def evaluate_flow(store: Path, runs: list[str]) -> evaluate_step.Evaluation:
    """Stored runs -> the paper's table."""
    return evaluate_step.evaluate(store, runs)
