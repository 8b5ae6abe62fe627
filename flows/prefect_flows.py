"""The steps as Prefect flows: `encode`, `guide`, `evaluate`. Where no server is set up, Prefect starts its own."""

from __future__ import annotations

import os

# Before Prefect is imported: a tool on hospital machines reports to nobody, and its own output comes first.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
# Prefect gives its own server 20 s to start; on two loaded cores that ran out.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

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
