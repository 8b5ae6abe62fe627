"""Cells of a labels table: what is missing, and what a case says once; and what reading labels gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import Table, means_missing
from guidestore.embeddings.outcomes import Target
from guidestore.warehouse.cohorts.cohort import CohortIssue
from guidestore.warehouse.cohorts.label_rules import LabelRules
from guidestore.warehouse.cohorts.missing_codes import note_of_missing_codes
from guidestore.warehouse.cohorts.reading import itself


@dataclass(slots=True)
class LabelsRead:
    """Rows of kinds labels and targets; (case_id, target[, class]) of what is missing; what was met."""

    labels: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    unlabelled: list[dict[str, str]] = field(default_factory=list)
    issues: list[CohortIssue] = field(default_factory=list)

    def __iadd__(self, other: LabelsRead) -> Self:
        self.labels += other.labels
        self.targets += other.targets
        self.unlabelled += other.unlabelled
        self.issues += other.issues
        return self

    def note_missing_codes(self, target: str, numbers: Iterable[float]) -> None:
        """Adds an issue where some may mean that nobody knows."""
        if sentence := note_of_missing_codes(target, numbers):
            self.note("missing?", sentence, target)

    def note(self, kind: str, sentence: str, *items: str) -> None:
        """Adds an issue."""
        self.issues.append(CohortIssue(kind, sentence, items))


@dataclass(frozen=True, slots=True)
class LabelsSource:
    """What labels are read from."""

    table: Table
    cases: tuple[str, ...]
    """(n,) the case of each row."""
    rules: LabelRules
    standing: Mapping[str, Target]
    """The targets that the store has."""
    name_of: Callable[[str], str] = itself
    """How an issue names a case."""

    def known(self, target: str) -> tuple[str, ...]:
        """The classes, grades or labels that the store has."""
        return self.standing[target].names if target in self.standing else ()

    def once(self, column: str, values: Sequence[Any], words: Callable[[Any], str] = repr) -> dict[str, Any]:
        """case_id -> its value, without missing ones (None). Raises InvalidInputError where a case has two, which it
        tells in `words`."""
        labels: dict[str, tuple[Any, int]] = {}
        for row, (case, value) in enumerate(zip(self.cases, values, strict=True)):
            if value is None:
                continue
            before, where = labels.setdefault(case, (value, row))
            if before != value:
                raise InvalidInputError(
                    f"{self.table.where(row, column)}: case {case} is {words(value)} here and {words(before)} in row "
                    f"{self.table.row_numbers[where]}; give it one label"
                )
        return {case: value for case, (value, _) in labels.items()}

    def without(self, labels: Mapping[str, Any], target: str, **more: str) -> list[dict[str, str]]:
        """Rows of the cases that have no label among `labels`."""
        missing = [case for case in dict.fromkeys(self.cases) if case not in labels]
        return [{"case_id": case, "target": target, **more} for case in missing]

    def unit(self, target: str, read: LabelsRead) -> str:
        """Of a value or a time; the store's where nobody said. Where neither does, that is noted."""
        unit = self.rules.units.get(target) or (self.standing[target].unit if target in self.standing else "")
        if not unit:
            read.note(
                "no unit", f"nobody said the unit of {target}; --unit {target}=UNIT keeps it with the numbers", target
            )
        return unit


def without_missing(table: Table, name: str, rules: LabelRules) -> tuple[list[str | None], list[CohortIssue]]:
    """The texts, None where missing; a word that is a class by name is none."""
    texts = table.texts(name)
    missing = means_missing(texts, rules.missing) - set(rules.classes.get(name, ()))
    found = Counter(text for text in texts if text in missing)
    if not found:
        return list(texts), []
    counts = ", ".join(f"{text or 'blank'} {count}" for text, count in sorted(found.items()))
    what = "row has" if found.total() == 1 else "rows have"
    sentence = f"{found.total()} {what} no label of {name} ({counts})"
    issues = [] if set(found) == {""} else [CohortIssue("missing labels", sentence, tuple(sorted(found)))]
    return [None if text in missing else text for text in texts], issues
