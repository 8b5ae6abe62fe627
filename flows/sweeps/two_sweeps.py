"""Two sweeps: by target, how much better is the head that b chose on val than that of a, from stored predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from guidestore.embeddings.canonical import canonical_json
from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.runs import Head, Part, Run, RunPredictions
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.results.comparison import ChangedCase, MetricGain, compare_groups, split_and_fold
from guidestore.flows.results.effects import main_metric
from guidestore.flows.results.looks import count_look
from guidestore.flows.sweeps.file import SweepFile, as_mapping
from guidestore.flows.sweeps.ranking import ranked_on_val, sweep_runs
from guidestore.flows.work.naming import with_first_name
from guidestore.heads.significance import holm
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import load_runs
from guidestore.warehouse.sweeps import stored_sweeps


class Question(NamedTuple):
    """What both sweeps must have asked, for their answers to be compared."""

    cohort: str
    target: str
    split: str

    def __str__(self) -> str:
        return "/".join(self)


@dataclass(frozen=True, slots=True)
class ChosenHead:
    """The head that a sweep chose for a question: the best guided one on val."""

    head: Head
    runs: tuple[Run, ...]
    rank: int
    """Among the guided heads of the sweep for its target; 1 is the best."""

    @property
    def name(self) -> str:
        models = ", ".join(filter(None, (self.head.guidance, self.head.decoder)))
        budget = "" if self.head.labelled == "all" else f", {self.head.labelled} labels"
        return f"{self.head.row} ({models}{budget})"


@dataclass(frozen=True, slots=True)
class ChosenHeads:
    """What sweep b chose for a question minus what sweep a chose."""

    question: Question
    a: ChosenHead
    b: ChosenHead
    gain: MetricGain
    n_cases: int
    changed: tuple[ChangedCase, ...]


@dataclass(frozen=True, slots=True)
class SweepComparison:
    """Sweep b minus sweep a, question by question."""

    chosen: tuple[ChosenHeads, ...]
    notes: tuple[str, ...]

    def as_rows(self) -> list[dict[str, Any]]:
        """A flat row per question, for tables; of several, with p over all of them (Holm)."""
        adjusted = holm({str(both.question): both.gain.p for both in self.chosen}) if len(self.chosen) > 1 else {}
        return [
            {
                **both.question._asdict(),
                "head a": both.a.name,
                "head b": both.b.name,
                **both.gain.as_row(),
                "cases": both.n_cases,
                "changed": len(both.changed),
            }
            | ({"p_holm": adjusted[str(both.question)]} if adjusted else {})
            for both in self.chosen
        ]

    def changed_rows(self) -> list[dict[str, Any]]:
        """A flat row per case whose predicted class differs."""
        return [{"target": both.question.target, **case.as_row()} for both in self.chosen for case in both.changed]


def names_sweeps(store: EmbeddingStore, *names: str) -> bool:
    """Whether `names` are of sweeps that the store remembers.

    Raises InvalidInputError where a name also is that of a tag or alias, or where only some of them are of sweeps.
    """
    snapshot = store.snapshot()
    known = {sweep.name for sweep in stored_sweeps(snapshot)}
    of_sweeps = [name for name in names if name in known]
    for name in of_sweeps:
        if name in store.tags() or name in snapshot.aliases:
            raise InvalidInputError(
                f"{name!r} names a sweep and a tag or alias; give the number or the id, or the sweep's YAML file"
            )
    if of_sweeps and len(of_sweeps) < len(names):
        other = next(name for name in names if name not in known)
        raise InvalidInputError(
            f"{of_sweeps[0]!r} names a sweep and {other!r} does not; name two sweeps ({', '.join(sorted(known))}), two "
            "runs or two snapshots"
        )
    return bool(of_sweeps)


def runs_of_sweep(store: EmbeddingStore, sweep: str | SweepFile) -> list[Run]:
    """The stored runs of a sweep: of a name the newest sweep that was called so; of a file what was run of it, else
    what it means now. Raises NotFoundInStoreError, and InvalidInputError where none of its runs is there."""
    newest = store.snapshot()
    stored = stored_sweeps(newest)
    if isinstance(sweep, str):
        matching = [known for known in stored if known.name == sweep]
        if not matching:
            known = ", ".join(sorted({known.name for known in stored})) or "none yet"
            raise NotFoundInStoreError(f"there is no sweep {sweep!r} in the store; it has {known}")
    else:
        file = canonical_json(as_mapping(with_first_name(store, sweep)))
        matching = [known for known in stored if known.file == file]
        if not matching:
            return sweep_runs(store, sweep)
    return load_runs(newest, matching[-1].runs)


def compare_sweeps(
    store: EmbeddingStore, a: str | SweepFile, b: str | SweepFile, *, part: Part = "val", metric: str = ""
) -> SweepComparison:
    """Compares, question by question, the guided heads that sweeps `a` and `b` (names, or files) have best on val.

    Raises NotFoundInStoreError, and InvalidInputError where they have no cohort, target and split in common, or were
    not scored on `part`.
    """
    snapshot = store.snapshot()
    names = [sweep if isinstance(sweep, str) else sweep.name for sweep in (a, b)]
    runs = [runs_of_sweep(store, sweep) for sweep in (a, b)]
    if {run.id for run in runs[0]} == {run.id for run in runs[1]}:
        raise InvalidInputError(f"sweeps {names[0]} and {names[1]} are the same runs; name two")
    of_a, of_b = (_chosen(snapshot, of_sweep, metric) for of_sweep in runs)
    shared = sorted(of_a.keys() & of_b.keys())
    if not shared:
        has = [", ".join(sorted(map(str, chosen))) or "none" for chosen in (of_a, of_b)]
        raise InvalidInputError(
            f"sweeps {names[0]} and {names[1]} have no cohort, target and split in common: {has[0]} and {has[1]}"
        )
    notes = [
        f"{question} is in sweep {name} alone"
        for name, ours, theirs in ((names[0], of_a, of_b), (names[1], of_b, of_a))
        for question in ours
        if question not in theirs
    ]
    compared = [
        _compared(snapshot, question, of_a[question], of_b[question], names, part, metric) for question in shared
    ]
    chosen_runs = [run for question in shared for chosen in (of_a[question], of_b[question]) for run in chosen.runs]
    notes += notes_on(snapshot, chosen_runs)
    if part == "test":
        notes += filter(None, [count_look(store, chosen_runs, "compare")])
    shown = sorted({of_question.gain.metric for of_question in compared})
    notes.append(
        f"of each sweep the guided head that is best on val; {' and '.join(shown)} on {part} cases, 95 % intervals "
        "over them"
    )
    if part == "val":
        notes.append("val chose both heads, so it flatters both; part test says what is left")
    return SweepComparison(tuple(compared), tuple(notes))


def _chosen(snapshot: Snapshot, runs: Sequence[Run], metric: str) -> dict[Question, ChosenHead]:
    best: dict[Question, ChosenHead] = {}
    seen: Counter[str] = Counter()
    for ranked in ranked_on_val(snapshot, runs, metric):
        head = ranked.effect.head
        seen[head.target] += 1
        if ranked.effect.score is not None:
            own = tuple(run for run in runs if run.head == head)
            best.setdefault(Question(head.cohort, head.target, head.split), ChosenHead(head, own, seen[head.target]))
    return best


def _compared(
    snapshot: Snapshot,
    question: Question,
    a: ChosenHead,
    b: ChosenHead,
    names: Sequence[str],
    part: Part,
    metric: str,
) -> ChosenHeads:
    of_a, of_b = (_predictions(snapshot, chosen, name, part) for chosen, name in zip((a, b), names, strict=True))
    if not {run.fold for run in a.runs} & {run.fold for run in b.runs}:
        raise InvalidInputError(f"for {question} sweeps {names[0]} and {names[1]} have no fold in common")
    metrics = (metric or main_metric([*of_a, *of_b]),)
    comparison = compare_groups(of_a, of_b, metrics, split_and_fold)
    changed = tuple(comparison.changed(a.runs[0].classes))
    return ChosenHeads(question, a, b, comparison.gains[0], comparison.n_cases, changed)


def _predictions(snapshot: Snapshot, chosen: ChosenHead, name: str, part: Part) -> list[RunPredictions]:
    predictions = load_predictions(snapshot, chosen.runs, part)
    lacking = [run for run in chosen.runs if run.id not in predictions and run.status == "ok"]
    if lacking or not predictions:
        how = (
            f"a sweep leaves test alone; `guidestore sweep show FILE --test {chosen.rank}` scores it and what is better"
        )
        raise InvalidInputError(
            f"{chosen.name}, the best of sweep {name} on val for {chosen.head.target}, has no {part} predictions"
            + (f": {how}" if part == "test" else "")
        )
    return list(predictions.values())
