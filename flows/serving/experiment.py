"""The deployment `experiment`: the paper's Table 1 or 2, of a cohort that the store has."""

from __future__ import annotations

from typing import Literal

from prefect import flow, get_run_logger
from pydantic import Field

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.engine.running import HOUR, one_sentence, shown, step
from guidestore.flows.paper.derm7pt import run_derm7pt
from guidestore.flows.paper.radpath import run_radpath
from guidestore.flows.paper.report import ExperimentReport
from guidestore.flows.paper.settings import Derm7ptSettings, RadPathSettings
from guidestore.flows.serving.artifacts import show_paper_table, show_quarantine
from guidestore.flows.serving.devices import one_encoder_on
from guidestore.flows.serving.forms import Device, Form, asked, key_file, opened_store, same_as
from guidestore.flows.serving.notes import log_notes
from guidestore.flows.work.devices import AUTO


class ExperimentForm(Form):
    """A table of the paper. What is missing is encoded and trained, the rest is reused."""

    table: Literal["radpath", "derm7pt"] = Field(
        description="radpath: Table 1, MRI guided by histology; derm7pt: Table 2, photographs guided by dermoscopy."
    )
    cohort: str = Field(description="A cohort of that layout, added with `guidestore cohort add`.")
    preset: Literal["demo", "paper", "released"] = Field(
        default="demo",
        description="Small networks for two CPU cores, the paper's, or (derm7pt alone) those of the released code.",
    )
    permutations: int = same_as(RadPathSettings, "permutations")
    device: Device = AUTO


@flow(name="experiment", timeout_seconds=7 * 24 * HOUR, persist_result=False)
@one_sentence
def experiment(settings: ExperimentForm) -> None:
    """Makes a table of the paper from a cohort of the store, ours beside the published numbers."""
    report = make_table(settings)
    show_paper_table(f"experiment-{settings.table}", report.table)
    if report.failed:
        show_quarantine("experiment-quarantine", report.failed)


@step("make table", cached=lambda report: not (report.encoded or report.trained))
def make_table(settings: ExperimentForm) -> ExperimentReport:
    """Encodes and trains what is missing."""
    if settings.table == "radpath" and settings.preset == "released":
        raise InvalidInputError("radpath has no preset 'released'; choose demo or paper")
    with opened_store() as store, one_encoder_on(settings.device):
        if settings.table == "radpath":
            report = run_radpath(store, asked(settings, RadPathSettings, key=key_file()), shown())
        else:
            report = run_derm7pt(store, asked(settings, Derm7ptSettings), shown())
        log_notes(report.notes, store.snapshot())
    log = get_run_logger()
    log.info(
        "images read: %d, codes made: %d, networks and heads trained: %d",
        report.images_read,
        report.encoded,
        report.trained,
    )
    return report
