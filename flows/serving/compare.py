"""The deployment `compare`: two runs, two sweeps or two snapshots, from stored predictions alone."""

from __future__ import annotations

from typing import Literal

from prefect import flow
from pydantic import Field

from guidestore.embeddings.runs import Part
from guidestore.embeddings.words import count_of
from guidestore.flows.engine.running import HOUR, one_sentence, step
from guidestore.flows.results.two_runs import compare_runs
from guidestore.flows.results.two_snapshots import compare_snapshots, names_snapshots
from guidestore.flows.serving.artifacts import show_markdown, show_table
from guidestore.flows.serving.choices import name_in
from guidestore.flows.serving.forms import Form, opened_store
from guidestore.flows.sweeps.two_sweeps import compare_sweeps, names_sweeps


class CompareForm(Form):
    """How much better is b than a on the same cases, how sure is that, and how many predictions changed?"""

    a: str = Field(description="Alias of a run, sweep, tag of a snapshot, or head with one of its runs.")
    b: str = Field(description="The one of the same kind that may be better.")
    part: Literal["val", "test"] = Field(
        default="val", description="Which cases. Choose on val; look at test when the choice is made."
    )


@flow(name="compare", timeout_seconds=HOUR, persist_result=False)
@one_sentence
def compare(settings: CompareForm) -> None:
    """Compares two heads, sweeps or snapshots from their stored predictions, over all folds and seeds; trains nothing,
    reads no image."""
    a, b = name_in(settings.a), name_in(settings.b)
    with opened_store() as store:
        sweeps = names_sweeps(store, a, b)
        snapshots = names_snapshots(store, a, b)
    (of_sweeps if sweeps else of_snapshots if snapshots else of_heads)(a, b, settings.part)


@step("compare sweeps")
def of_sweeps(a: str, b: str, part: Part) -> None:
    """Per task the gain of the head that b chose on val over that of a, and how many predictions changed."""
    with opened_store() as store:
        comparison = compare_sweeps(store, a, b, part=part)
    show_table("compare-sweeps", comparison.as_rows(), f"Sweep b minus sweep a. {'. '.join(comparison.notes)}.")
    _tell_changed(a, b, part, len(comparison.changed_rows()))


@step("compare snapshots")
def of_snapshots(a: str, b: str, part: Part) -> None:
    """What each head that both snapshots have gained between them."""
    with opened_store() as store:
        comparison = compare_snapshots(store, a, b, part=part)
    notes = ". ".join(comparison.notes)
    show_table("compare-snapshots", comparison.as_rows(), f"Snapshot b minus snapshot a. {notes}.")
    _tell_changed(a, b, part, len(comparison.changed_rows()))


@step("compare heads")
def of_heads(a: str, b: str, part: Part) -> None:
    """Per metric the gain with its interval, and how many predictions changed."""
    with opened_store() as store:
        comparison = compare_runs(store, a, b, part=part, pooled=True)
    cases = count_of(comparison.n_cases, f"{part} case")
    names = f"a: {comparison.names[0]}; b: {comparison.names[1]}; {cases}."
    test = comparison.mcnemar
    if test is not None:
        names += f" McNemar: only a right {test.only_a}, only b right {test.only_b}, p {test.p_value:.3g}."
    show_table("compare-runs", comparison.as_rows(), f"{names} {'. '.join(comparison.notes)}.")
    _tell_changed(a, b, part, len(comparison.changed_rows()), "--pooled")


def _tell_changed(a: str, b: str, part: Part, count: int, *more: str) -> None:
    """How many predictions changed, and who names them: what is known of a case stays in the store."""
    names = " ".join(["guidestore compare", a, b, "--part", part, *more])
    text = f"{count_of(count, 'prediction')} changed. To see which, in a terminal:\n\n```\n{names}\n```\n"
    show_markdown("compare-changed-cases", text, f"{count_of(count, 'prediction')} changed.")
