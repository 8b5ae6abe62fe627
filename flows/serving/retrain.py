"""The deployment `retrain`: guidance trained anew on stored codes, and the champion if it has won."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote

from prefect import flow, get_run_logger
from pydantic import Field

from guidestore.embeddings.errors import GuidestoreError
from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import check_name
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.engine.running import HOUR, one_sentence, shown, step
from guidestore.flows.guiding.guide import guide
from guidestore.flows.guiding.recipes import every_guidance
from guidestore.flows.guiding.settings import GuideSettings
from guidestore.flows.results import champion
from guidestore.flows.results.champion import Champion, Decision
from guidestore.flows.results.evaluation import Evaluation, evaluate
from guidestore.flows.results.looks import count_look
from guidestore.flows.serving.artifacts import (
    as_markdown,
    bars,
    result_row,
    result_rows,
    show_figure,
    show_markdown,
    show_table,
)
from guidestore.flows.serving.forms import Device, asked, form_of, one_of, opened_store, page_url
from guidestore.flows.serving.notes import log_notes
from guidestore.flows.work.devices import AUTO
from guidestore.flows.work.reporting import Progress
from guidestore.heads.input_rows import GUIDED_PLUS_I, INPUT_ROWS, REFERENCE
from guidestore.heads.registry import every_decoder_name
from guidestore.warehouse.runs import load_runs


class RetrainForm(form_of(GuideSettings, without=("targets", "modes"))):
    """Stored codes -> the five input rows of the paper and their control; no image is read."""

    target: str = Field(default="", description="What to foretell; empty: the cohort's only target.")
    snapshot: str = Field(default="", description="Snapshot number, tag or alias to train on; empty: the newest.")
    guidance: str = one_of(every_guidance(), "G: a guidance model or preset; or margins, a plug.", default="ridge")
    decoder: str = one_of(
        every_decoder_name(),
        "D_c: a decoder or preset, of the target's kind: ridge learns values and survival, mlp every kind.",
        default="logistic",
    )
    alias: str = Field(
        default="champion",
        description="Moves to the new head where that is better on val than the head it names; empty: moves nothing.",
    )
    row: str = one_of(
        ("", *(name for name, row in INPUT_ROWS.items() if not row.needs_superior and name != REFERENCE)),
        "Whose head contests the alias; empty: the guided row's.",
        default="",
    )
    device: Device = AUTO


@dataclass(frozen=True, slots=True)
class Trained:
    """Ids of all runs that were asked for, and how many of them are new."""

    runs: tuple[str, ...]
    new: int
    existing: int
    notes: tuple[str, ...]
    snapshot: int


@flow(name="retrain", timeout_seconds=24 * HOUR, persist_result=False)
@one_sentence
def retrain(settings: RetrainForm) -> None:
    """Trains guidance on stored codes, says whether it helps, and moves the alias where the new head is better on val.

    What the store has already is reused. Opens no image.
    """
    if settings.alias:
        check_name(settings.alias, "alias")
    trained = train_heads(settings)
    evaluation = read_table(trained.runs)
    try:
        decision = contest_alias(settings.alias, trained.runs, settings.row) if settings.alias else None
    except GuidestoreError:  # where val is too small to choose by, what was trained is shown all the same
        show_result(settings, trained, evaluation, None)
        raise
    show_result(settings, trained, evaluation, decision)


@step("train heads", cached=lambda trained: not trained.new)
def train_heads(settings: RetrainForm) -> Trained:
    """Trains what is missing, one commit per fold and seed."""
    log = get_run_logger()
    with opened_store() as store:
        trained = (_at_snapshot if settings.snapshot else _at_newest)(store, settings, shown())
        log_notes(trained.notes, store.snapshot())
    log.info("images read: 0; heads trained: %d, there already: %d", trained.new, trained.existing)
    return trained


def _at_newest(store: EmbeddingStore, settings: RetrainForm, progress: Progress) -> Trained:
    targets = (settings.target,) if settings.target else ()
    report = guide(store, asked(settings, GuideSettings, targets=targets), progress)
    return Trained(tuple(report.runs), report.trained, report.existing, tuple(report.notes), report.snapshot)


def _at_snapshot(store: EmbeddingStore, settings: RetrainForm, progress: Progress) -> Trained:
    """A sweep of one head is the same runs, at any snapshot; it leaves test alone, so that is scored after it."""
    from guidestore.flows.guiding.scoring import score_test
    from guidestore.flows.sweeps.file import SweepFile
    from guidestore.flows.sweeps.run import run_sweep

    targets = (settings.target,) if settings.target else None
    sweep = asked(settings, SweepFile, name="retrain", at=settings.snapshot, targets=targets)
    report = run_sweep(store, sweep, progress, device=settings.device, remember=False)
    score_test(store, report.runs, progress)
    count_look(store, load_runs(store.snapshot(), report.runs), "retrain")
    return Trained(tuple(report.runs), report.trained, report.existing, tuple(report.notes), store.snapshot().version)


@step("evaluate")
def read_table(runs: tuple[str, ...]) -> Evaluation:
    """The paper's rows on test, from stored predictions."""
    with opened_store() as store:
        snapshot = store.snapshot()
        evaluation = evaluate(snapshot, runs)
        return replace(evaluation, notes=(*evaluation.notes, *notes_on(snapshot, load_runs(snapshot, runs))))


@step("contest alias")
def contest_alias(alias: str, runs: tuple[str, ...], row: str) -> Decision:
    """Moves the alias, or says why not."""
    with opened_store() as store:
        decision = champion.contest(store, alias, runs, row)
    get_run_logger().info("%s", decision.sentence)
    return decision


@step("show result")
def show_result(settings: RetrainForm, trained: Trained, evaluation: Evaluation, decision: Decision | None) -> None:
    """The run's artifacts: the table, the figure, the champion's, and where to find all of it."""
    heads = asked(settings, GuideSettings)
    title = f"{heads.cohort}: {heads.inferior} guided by {heads.superior}"
    rows = result_rows(evaluation)
    if decision and decision.before:
        rows.append(_champion_row(decision.before))
    show_table("retrain-result", rows, f"{title}, test cases. {'. '.join(evaluation.notes)}.")
    if decision:
        show_table(
            "retrain-champion",
            decision.as_rows() or [{"alias": decision.alias, "run": decision.run[:12], "moved": decision.moved}],
            f"{decision.sentence}.{' Both on val.' if decision.gains else ''}",
        )
    show_figure("retrain-figure", bars(evaluation, title), f"{title}, test cases.")
    show_markdown("retrain-summary", _summary(settings, trained, rows, decision), "What was trained, and where it is.")


def _champion_row(before: Champion) -> dict[str, str]:
    """The row of the champion before, on test, for the eye alone: it decides nothing."""
    with opened_store() as store:
        count_look(store, load_runs(store.snapshot(), before.runs), "retrain")
        evaluation = evaluate(store.snapshot(), before.runs)
    return result_row(evaluation.rows[0], None, f"champion before: {before.name}")


def _summary(settings: RetrainForm, trained: Trained, rows: list[dict[str, str]], decision: Decision | None) -> str:
    run = decision.run if decision else trained.runs[0]
    decided = [row for row in rows if row["verdict"]]
    guided = next((row for row in decided if row["input"] == GUIDED_PLUS_I), decided[0] if decided else {})
    page = f"{page_url()}?page=cohort&cohort={quote(asked(settings, GuideSettings).cohort)}" if page_url() else ""
    lines = [
        f"Is it guidance? By the test cases: **{guided.get('verdict') or '–'}**.\n",
        f"{decision.sentence}.\n" if decision else "",
        as_markdown(rows),
        f"\nImages read: 0. Heads trained: {trained.new}, there already: {trained.existing}. "
        f"Trained on {f'snapshot {settings.snapshot}' if settings.snapshot else 'the newest snapshot'}; all of it is "
        f"in snapshot {trained.snapshot}.\n",
        f"\n[Its verdicts, cases and maps]({page})\n" if page else "",
        "\n```\n"
        f"guidestore sql \"FROM runs WHERE run = '{run}'\"\n"
        f"guidestore sql --at {trained.snapshot} \"FROM metrics WHERE run = '{run}'\"\n"
        f"guidestore predict --run {decision.alias if decision and decision.moved else run[:12]} --case CASE\n"
        "```\n",
    ]
    return "\n".join(filter(None, lines))
