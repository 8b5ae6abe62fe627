"""Labels from a table: what is missing, which words are one class, and which columns are measurements."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import MISSING, Table, TableRow, listed
from guidestore.embeddings.types import check_name
from guidestore.embeddings.words import count_of
from guidestore.warehouse.cohorts.cohort import CohortIssue

KINDS = ("classes", "value")
MOST_CLASSES = 50
"""More are measurements, or ids, unless somebody says that they are classes."""
FEWEST_CLASSES = 10
"""From which on there must be two cases to a class: fewer cases are a trial."""
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?\Z")
_ALL = ""


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What a user says of the columns of a labels table. Made by `of`."""

    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target -> its classes in order."""
    merged: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    """Target -> groups of words that are one class, the first its name; no group: all near-equal ones."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Target, or '' for all of them, -> its kind."""
    missing: tuple[str, ...] = MISSING

    @classmethod
    def of(
        cls, classes: Sequence[str], merged: Sequence[str], kinds: Sequence[str], missing: Sequence[str] | None
    ) -> LabelRules:
        """From options. classes: ``TARGET=A,B``, ``TARGET=@FILE`` (one a line), or repeated with one class each.

        merged: ``TARGET=NAME,WORD,…`` or ``TARGET``. kinds: ``KIND`` or ``TARGET=KIND``. Words with a comma stand in
        quotes. Raises InvalidInputError.
        """
        groups: dict[str, list[tuple[str, ...]]] = {}
        for text in merged:
            target, equals, names = text.partition("=")
            groups.setdefault(target, [])
            if equals:
                group = _words(names)
                if len(group) < 2:
                    raise InvalidInputError(f"--merge {text!r}: write TARGET=NAME,WORD,… or TARGET alone")
                groups[target].append(group)
        of_target: dict[str, str] = {}
        for text in kinds:
            target, _, kind = text.rpartition("=")
            if kind not in KINDS:
                raise InvalidInputError(f"--kind {text!r}: write {' or '.join(KINDS)}, or TARGET=KIND")
            of_target[target] = kind
        words = {target: tuple(of) for target, of in groups.items()}
        return cls(_orders(classes), words, of_target, MISSING if missing is None else tuple(missing))

    def kind(self, target: str) -> str:
        """'' where nobody said."""
        return self.kinds.get(target, self.kinds.get(_ALL, ""))


@dataclass(frozen=True, slots=True)
class LabelsRead:
    """Rows of kinds labels and targets; (case_id, target) of what is missing; what was met."""

    labels: list[dict[str, Any]]
    targets: list[dict[str, Any]]
    unlabelled: list[dict[str, str]]
    issues: tuple[CohortIssue, ...]


def read_labels(
    table: Table,
    names: Sequence[str],
    case_of: Callable[[TableRow], str],
    rules: LabelRules,
    standing: Mapping[str, Sequence[str]],
) -> LabelsRead:
    """The labels of the columns `names`; standing: target -> the classes that the store has.

    Raises InvalidInputError naming row and column: on two labels of a case, near-equal classes that nobody told apart,
    a word that is no class or no number, more than MOST_CLASSES classes or fractions that nobody calls classes.
    """
    for name in names:
        check_name(name, f"target (a column of {table.file.name})")
    for option, said in (("classes", rules.classes), ("merge", rules.merged), ("kind", rules.kinds)):
        for name in said:
            if name not in names and name != _ALL:
                raise InvalidInputError(
                    f"{table.file} has no column {name!r}, which --{option} names; it has {listed(tuple(names))}"
                )
    cases = [case_of(row) for row in table]
    read = LabelsRead([], [], [], ())
    issues: list[CohortIssue] = []
    for name in names:
        texts, issue = _without_missing(table, name, rules)
        issues += issue
        said = _Said(table, name, cases)
        if rules.kind(name) == "value":
            values = table.numbers([name], rules.missing)[:, 0].tolist()
            labels = said.once([None if value != value else value for value in values])
            read.labels.extend({"case_id": case, "target": name, "value": value} for case, value in labels.items())
            read.targets.append({"target": name, "kind": "value"})
        else:
            texts, issue = _merged(table, name, texts, rules, standing.get(name, ()))
            issues += issue
            labels = said.once(texts)
            if name in rules.classes:
                _check_classes(table, name, texts, rules.classes[name])
            classes = rules.classes.get(name) or _classes(table, name, labels, rules, standing.get(name, ()))
            read.labels.extend({"case_id": case, "target": name, "class": text} for case, text in labels.items())
            read.targets.extend(
                {"target": name, "class_index": index, "class": text} for index, text in enumerate(classes)
            )
        read.unlabelled.extend({"case_id": case, "target": name} for case in dict.fromkeys(cases) if case not in labels)
    read.labels.sort(key=lambda row: (row["case_id"], row["target"]))
    return LabelsRead(read.labels, read.targets, read.unlabelled, tuple(issues))


@dataclass(frozen=True, slots=True)
class _Said:
    table: Table
    name: str
    cases: Sequence[str]

    def once(self, values: Sequence[Any]) -> dict[str, Any]:
        """case_id -> its value, without missing ones. Raises InvalidInputError where a case has two."""
        labels: dict[str, tuple[Any, int]] = {}
        for row, (case, value) in enumerate(zip(self.cases, values, strict=True)):
            if value is None:
                continue
            before, where = labels.setdefault(case, (value, row))
            if before != value:
                raise InvalidInputError(
                    f"{self.table.where(row, self.name)}: case {case} is {value!r} here and {before!r} in row "
                    f"{self.table.row_numbers[where]}; give it one label"
                )
        return {case: value for case, (value, _) in labels.items()}


def _without_missing(table: Table, name: str, rules: LabelRules) -> tuple[list[str | None], list[CohortIssue]]:
    """The texts, None where missing; a word that is a class by name is none."""
    missing = {"", *rules.missing} - set(rules.classes.get(name, ()))
    texts = table.texts(name)
    found = Counter(text for text in texts if text in missing)
    if not found:
        return list(texts), []
    counts = ", ".join(f"{text or 'blank'} {count}" for text, count in sorted(found.items()))
    what = "row has" if found.total() == 1 else "rows have"
    sentence = f"{found.total()} {what} no label of {name} ({counts})"
    issues = [] if set(found) == {""} else [CohortIssue("missing labels", sentence, tuple(sorted(found)))]
    return [None if text in missing else text for text in texts], issues


def _merged(
    table: Table, name: str, texts: list[str | None], rules: LabelRules, standing: Sequence[str]
) -> tuple[list[str | None], list[CohortIssue]]:
    """The texts with the names of their classes. Raises InvalidInputError where two classes may be one."""
    counts = Counter(text for text in texts if text is not None)
    becomes: dict[str, str] = {}
    for group in rules.merged.get(name, ()):
        becomes |= dict.fromkeys(group[1:], group[0])
    told = set(rules.classes.get(name, ()))
    near: dict[str, list[str]] = {}
    for text in sorted({becomes.get(text, text) for text in counts} | set(standing)):
        near.setdefault(_alike(text), []).append(text)
    for group in near.values():
        if len(group) < 2 or told.issuperset(group):
            continue
        if name in rules.merged and not rules.merged[name]:
            first = max(group, key=lambda text: (text in told, text in standing, counts[text]))
            becomes |= {text: first for text in group if text != first}
        elif any(counts[text] for text in group):
            shown = " and ".join(f"{text!r} ({counts[text] or 'in the store'})" for text in group)
            shown = (
                shown if len(set(map(_visible, group))) == len(group) else f"{shown}, written in different characters"
            )
            listing = ",".join(_quoted(text) for text in group)
            raise InvalidInputError(
                f"{table.file.name}, column {name}: {shown} may be one class; --merge '{name}={listing}' makes them "
                f"one, named by the first, --merge {name} all that are alike, and --classes with each keeps them apart"
            )
    if not becomes:
        return texts, []
    used = [f"{text!r} ({counts[text]}) is {becomes[text]!r}" for text in becomes if counts[text]]
    issues = [CohortIssue("merged classes", f"of {name}, {', '.join(used)}", tuple(becomes))] if used else []
    return [becomes.get(text, text) if text is not None else None for text in texts], issues


def _classes(
    table: Table, name: str, labels: Mapping[str, str], rules: LabelRules, standing: Sequence[str]
) -> list[str]:
    """In order. Raises InvalidInputError where they look like measurements, or like ids.

    labels: case_id -> its label. standing: the classes that the store has.
    """
    names = set(labels.values())
    if rules.kind(name) != "classes":
        hint = (
            f"--kind {name}=value stores it as a measurement, --kind {name}=classes takes every word for a class, and "
            f"--drop {name} leaves it out"
        )
        if len(names) > MOST_CLASSES:
            raise InvalidInputError(f"{table.file.name}, column {name} has {len(names):,} different labels; {hint}")
        new = names.difference(standing)
        if len(new) >= FEWEST_CLASSES and 2 * len(new) > len(labels):
            raise InvalidInputError(
                f"{table.file.name}, column {name} has {len(new):,} different labels of "
                f"{count_of(len(labels), 'case')}, so that most cases are a class of their own; if it holds ids, "
                f"--id-column {name} says so; {hint}"
            )
        if names and all(_NUMBER.match(text) for text in names):
            fractions = sorted(text for text in names if not float(text.replace(",", ".")).is_integer())
            if fractions:
                raise InvalidInputError(
                    f"{table.file.name}, column {name} holds numbers that are not whole (such as {fractions[0]}); "
                    f"{hint}"
                )
    return sorted_classes(names)


def _check_classes(table: Table, name: str, texts: Sequence[str | None], classes: Sequence[str]) -> None:
    """Raises InvalidInputError at the first text that is none of the classes."""
    for row, text in enumerate(texts):
        if text is not None and text not in classes:
            raise InvalidInputError(f"{table.where(row, name)}: {text!r} is none of the classes {', '.join(classes)}")


def sorted_classes(names: set[str]) -> list[str]:
    """Class names in order: as numbers where all are numbers, so that 10 comes after 9."""
    try:
        return sorted(names, key=lambda name: (float(name), name))
    except ValueError:
        return sorted(names)


def _alike(text: str) -> str:
    """Equal for classes that a reader would take for one."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(" " if unicodedata.category(c) in ("Pd", "Pc") else c for c in plain)
    plain = " ".join("".join(c for c in plain if unicodedata.category(c) != "Cf").split())
    if _NUMBER.match(text):
        return repr(float(text.replace(",", ".")))
    return plain


def _visible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _quoted(text: str) -> str:
    return f'"{text}"' if "," in text else text


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for fields in csv.reader([text]) for word in fields)


def _orders(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Target -> its classes."""
    given: dict[str, list[str]] = {}
    for text in texts:
        target, equals, names = text.partition("=")
        if not equals or not names:
            raise InvalidInputError(
                f"--classes {text!r}: write TARGET=CLASS,CLASS,… or TARGET=@FILE with a class a line"
            )
        given.setdefault(target, []).append(names)
    orders = {}
    for target, of_target in given.items():
        if len(of_target) > 1:
            orders[target] = tuple(of_target)
        elif of_target[0].startswith("@"):
            orders[target] = _lines(Path(of_target[0][1:]))
        else:
            orders[target] = _words(of_target[0])
        twice = [name for name, count in Counter(orders[target]).items() if count > 1]
        if twice:
            raise InvalidInputError(f"--classes names the class {twice[0]!r} of {target} twice; name it once")
    return orders


def _lines(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"the classes in {file} cannot be read; give a UTF-8 file with a class a line"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())
