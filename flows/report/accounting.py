"""Every case accounted for: what of the cohort came into a section's predictions, and where the others stayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.outcomes import KINDS, known_of
from guidestore.embeddings.pairing import outcomes_of, parts_of
from guidestore.embeddings.runs import Run
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.types import PARTS
from guidestore.embeddings.words import count_of
from guidestore.flows.report.guided_codes import Pairs
from guidestore.flows.report.plain_words import headline, modality_words
from guidestore.flows.report.sections import Section
from guidestore.flows.results.effects import RowEffect
from guidestore.heads.input_rows import I

NO_PART = "in no part"
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Accounting:
    """A table: its columns, and per part of the fold the count of different cases in each; and sentences."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    notes: tuple[str, ...]


def accounting_of(
    snapshot: Snapshot, section: Section, effects: Sequence[RowEffect], pairs: Pairs, *, named: bool
) -> Accounting:
    """Of one section. named: whether cases without a prediction are named. Raises GuidestoreError where the codes or
    the split are not in the snapshot (any more)."""
    both = [run for run in section.runs if run.inferior is not None and run.superior is not None]
    units = {(run.split, run.fold): run for run in reversed(both)}
    folds = sorted(units)
    cohort = section.runs[0].cohort
    every = set(snapshot.rows("cases", cohort=cohort)["case_id"].to_pylist())
    quarantined = set(snapshot.rows("quarantine", cohort=cohort)["case_id"].to_pylist())
    words, first = modality_words(section), headline(effects)
    guided = [run for run in section.runs if first is not None and run.head == first.head]
    inferior = [run for run in section.runs if run.row == I and not run.control]
    said = {I: _predicted(section, inferior), **({first.head.row: _predicted(section, guided)} if first else {})}

    def counted(parts: dict[str, str], run: Run, said_here: dict[str, set[str]]) -> list[tuple[str, tuple[int, ...]]]:
        codes = pairs.of(run)
        ids = np.array(codes.case_ids, dtype=object)
        whole = every | set(parts)
        coded = [
            set(ids[has]) | (set(snapshot.codes(key).case_ids) - set(parts) if key else set())
            for has, key in (
                (codes.has_inferior, codes.inferior_key),
                (codes.has_superior, codes.superior_key),
            )
        ]
        _, outcomes = outcomes_of(snapshot, run.cohort, run.target, KINDS)
        usable = coded[0] & coded[1]
        sets = [whole, quarantined, *coded, usable, usable & set(outcomes), *said_here.values()]
        unsplit = whole - set(parts)
        groups: list[tuple[str, Callable[[str], bool]]] = [
            *((part, lambda case, part=part: parts.get(case) == part) for part in PARTS),
            (NO_PART, lambda case: case in unsplit),
            ("all", lambda case: True),
        ]
        return [(name, tuple(sum(map(belongs, of)) for of in sets)) for name, belongs in groups]

    notes = []
    rows: list[tuple[str, tuple[int, ...]]] = []
    for number, (split, fold) in enumerate(folds):
        run = units[split, fold]
        codes = pairs.of(run)
        parts = parts_of(snapshot, run.cohort, split, fold)
        of_fold = {row: {case for unit, case in of if unit == (split, fold)} for row, of in said.items()}
        if not number:
            rows = counted(parts, run, of_fold)
        usable = set(np.array(codes.case_ids, dtype=object)[codes.rows("test", codes.is_pair & known_of(codes.y))])
        lacking = sorted(usable - set.intersection(*of_fold.values())) if of_fold else []
        if lacking:
            which = f": {', '.join(lacking[:_LISTED])}{', …' if len(lacking) > _LISTED else ''}" if named else ""
            where = f" of fold {fold}" if len(folds) > 1 else ""
            notes.append(f"{count_of(len(lacking), 'test case')}{where} could be predicted and were not{which}.")
    for row, runs in ((I, inferior), *(((first.head.row, guided),) if first else ())):
        runs = [run for run in runs if run.id in section.predictions]
        predictions = sum(len(section.predictions[run.id]) for run in runs)
        cases = {case for _, case in said[row]}
        notes.append(
            f"{row}: {count_of(predictions, 'prediction')} of {count_of(len(cases), 'test case')} by "
            f"{count_of(len(runs), 'run')} ({count_of(len({run.fold for run in runs}), 'fold')}, "
            f"{count_of(len({run.seed for run in runs}), 'seed')})."
        )
    columns = (
        "cases",
        "in quarantine",
        f"code of {words['I']}",
        f"code of {words['S']}",
        "both codes",
        f"both, and {section.target} known",
        *(f"predicted by {row}" for row in said),
    )
    split, fold = folds[0] if folds else ("", 0)
    several = f", the first of {len(folds)}" if len(folds) > 1 else ""
    return Accounting(f"Cases by part of split {split}, fold {fold}{several}", columns, tuple(rows), tuple(notes))


def _predicted(section: Section, runs: Iterable[Run]) -> set[tuple[tuple[str, int], str]]:
    """((split, fold), case) of the predictions of these runs."""
    return {
        ((run.split, run.fold), case)
        for run in runs
        if run.id in section.predictions
        for case in section.predictions[run.id].case_ids
    }
