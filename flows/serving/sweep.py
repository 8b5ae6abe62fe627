"""The deployment `sweep`: a grid of heads on stored codes, ranked on val."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import BeforeValidator, Field

from guidestore.embeddings.types import check_name
from guidestore.embeddings.words import count_of
from guidestore.flows.engine.running import HOUR, one_sentence, shown, step
from guidestore.flows.guiding.recipes import every_guidance
from guidestore.flows.serving.artifacts import show_table
from guidestore.flows.serving.forms import Device, asked, form_of, one_of, opened_store, ray_address
from guidestore.flows.serving.notes import log_notes
from guidestore.flows.sweeps.file import Model, SweepFile, named
from guidestore.flows.sweeps.ranking import rank_sweep
from guidestore.flows.sweeps.run import SweepReport, run_sweep
from guidestore.flows.work.devices import AUTO
from guidestore.flows.work.runners import Runner
from guidestore.heads.registry import CONCATENATION, FUSIONS, STUDENTS, every_decoder_name

_NAMED = "sweep"


class GuidanceChoice(Model):
    """A guidance model with parameters; lists of them make a grid."""

    name: str = one_of(every_guidance(), "G: a guidance model or preset; or margins, a plug.")


class DecoderChoice(Model):
    """A decoder with parameters; lists of them make a grid."""

    name: str = one_of(every_decoder_name(), "A decoder or preset, of the targets' kind.")


class FusionChoice(Model):
    """A fusion with parameters; lists of them make a grid."""

    name: str = one_of((CONCATENATION, *FUSIONS.names()), "How the two codes are joined.")


class StudentChoice(Model):
    """A student with parameters; lists of them make a grid."""

    name: str = one_of(STUDENTS.names(), "A family of students.")


class SweepForm(SweepFile, form_of(Runner, without=("ray_address",))):
    """What to try. Lists make a grid; a model's parameters stand beside its name, and a list of them is a grid too."""

    name: str = Field(default=_NAMED, description="What the sweep is called.")
    # Frozen, so that a narrower type is sound.
    guidance: Annotated[tuple[GuidanceChoice, ...], BeforeValidator(named)] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=(GuidanceChoice(name="ridge"),), description="Guidance models G; none: students alone."
    )
    decoder: Annotated[tuple[DecoderChoice, ...], BeforeValidator(named)] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=(DecoderChoice(name="logistic"),), min_length=1, description="Decoders D_c."
    )
    fusion: Annotated[tuple[FusionChoice, ...], BeforeValidator(named)] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=(FusionChoice(name=CONCATENATION),), min_length=1, description="How the codes of two are joined."
    )
    students: Annotated[tuple[StudentChoice, ...], BeforeValidator(named)] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=(), description="Students of label transfer, for row T(I)."
    )
    device: Device = AUTO


@flow(name="sweep", timeout_seconds=7 * 24 * HOUR, persist_result=False)
@one_sentence
def sweep(settings: SweepForm) -> None:
    """Trains what the store lacks of a grid and ranks it on val; `guidestore sweep show --test` scores the best."""
    check_name(settings.name, "sweep")
    wanted = asked(settings, SweepFile)
    report = train_grid(wanted, settings.device, asked(settings, Runner, ray_address=ray_address()))
    rank(wanted, report)


@step("train grid", cached=lambda report: not report.trained)
def train_grid(wanted: SweepFile, device: str, runner: Runner) -> SweepReport:
    """One commit per batch; run again, it goes on where it was."""
    log = get_run_logger()
    with opened_store() as store:
        if runner.task_runner == "ray":
            from guidestore.flows.cluster.sweep import sweep_on_ray  # it sets what Prefect logs, and loads Ray

            report = sweep_on_ray(store, wanted, runner, shown(), device=device)
        else:
            report = run_sweep(store, wanted, shown(), device=device)
        log_notes(report.notes, store.snapshot())
    log.info(
        "images read: 0; heads trained: %d, there already: %d, diverged: %d",
        report.trained,
        report.existing,
        report.diverged,
    )
    return report


@step("rank")
def rank(wanted: SweepFile, report: SweepReport) -> None:
    """The guided heads, best on val first."""
    with opened_store() as store:
        ranked = [of_head.as_row() for of_head in rank_sweep(store, wanted, progress=shown())]
    columns = [name for name in ranked[0] if any(row.get(name) is not None for row in ranked)] if ranked else []
    rows = [{name: row.get(name) for name in columns} for row in ranked]
    counts = f"{count_of(report.trained, 'run')} trained, {report.existing} there already, {report.diverged} diverged"
    show_table("sweep-ranking", rows, f"{count_of(len(rows), 'guided head')}, balanced accuracy on val. {counts}.")
