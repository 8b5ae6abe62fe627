"""Labels from a table: which columns are targets, and of which kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from guidestore.embeddings.alike import NUMBER
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import ID_COLUMN, Table, TableRow, listed
from guidestore.embeddings.types import check_name
from guidestore.embeddings.words import count_of
from guidestore.warehouse.cohorts.class_words import check_classes, merged, sorted_classes
from guidestore.warehouse.cohorts.label_cells import LabelsRead, LabelsSource, without_missing
from guidestore.warehouse.cohorts.label_rules import LabelRules
from guidestore.warehouse.cohorts.missing_codes import note_of_missing_words
from guidestore.warehouse.cohorts.reading import Reading
from guidestore.warehouse.cohorts.several_labels import read_label_cells, read_label_columns
from guidestore.warehouse.cohorts.survival_labels import read_survival

MOST_CLASSES = 50
"""More are measurements, or ids, unless somebody says that they are classes."""
FEWEST_CLASSES = 10
"""From which on there must be two cases to a class: fewer cases are a trial."""
MOST_GRADES_SHOWN = 20
"""Of a sentence that asks for their order."""
_SMALLEST, _LARGEST = 1e-100, 1e100
"""Sizes of values whose squares are numbers too."""
_FAR = 100
"""Times the middle half of values, so far from its middle one lies apart from all."""
_TIME = re.compile(r"(.+?)[._ -]?(?:time|months|days|years)\Z", re.IGNORECASE)
_EVENTS = ("", *(sign + word for word in ("event", "status", "censor", "cens") for sign in ("_", ".", " ", "-", "")))


def read_labels(
    table: Table,
    names: Sequence[str],
    case_of: Callable[[TableRow], str],
    rules: LabelRules,
    reading: Reading,
) -> LabelsRead:
    """The labels of the columns `names`, and of those that `rules` make one target.

    Raises InvalidInputError naming row and column: on two labels of a case, near-equal classes that nobody told apart,
    a word that is no class, number or event, a time that is not above 0, and words or numbers that may be ids.
    """
    columns = {target: table.chosen(of, (), (ID_COLUMN,)) for target, of in rules.label_columns.items()}
    used = {column for of in (*rules.survival.values(), *columns.values()) for column in of}
    _check_asked(table, rules, [name for name in names if name not in used])
    standing = reading.targets
    source = LabelsSource(table, tuple(case_of(row) for row in table), rules, standing, reading.name_of)
    read = LabelsRead()
    pairs = _survival_pairs([name for name in names if name not in used and not rules.kind(name)])
    for name in names:
        if name in used:
            continue
        check_name(name, f"target (a column of {table.file.name})")
        known = standing[name].kind if name in standing else ""
        kind = rules.kind(name) or known.removesuffix("classes")
        if kind == "survival":
            raise InvalidInputError(
                f"{table.file.name}: survival has a time and an event, each in a column; say --survival "
                f"{name}=TIME_COLUMN,EVENT_COLUMN"
            )
        if kind == "multilabel":
            of_name = read_label_cells(source, name)
        elif kind == "value" or (not kind and not known and _is_measured(source, name, read)):
            of_name = _read_value(source, name)
        else:
            of_name = _read_classes(source, name, kind, pairs)
        if not of_name.labels:
            of_name.note("no label", f"column {name} has no label of any case", name)
        read += of_name
    for target, (time, event) in rules.survival.items():
        check_name(target, "target")
        read += read_survival(source, target, time, event)
    for target, of in columns.items():
        check_name(target, "target")
        read += read_label_columns(source, target, of)
    for time, event in pairs.values():
        read.note("survival?", _hint_of_survival(time, event), time, event)
    kinds = {row["target"]: row.get("kind") or "classes" for row in read.targets}
    for target in rules.units:
        if kinds.get(target, "classes") not in ("value", "survival"):
            raise InvalidInputError(f"--unit {target}: only values and times have a unit; leave it out, or say --kind")
    read.labels.sort(key=lambda row: (row["case_id"], row["target"]))
    return read


def _check_asked(table: Table, rules: LabelRules, names: Collection[str]) -> None:
    """Raises InvalidInputError where an option names a target, or a column, that there is not, or two of one name."""
    for target, kind in rules.kinds.items():
        if kind == "survival" and target not in rules.survival:
            raise InvalidInputError(
                f"--kind {target or 'TARGET'}=survival does not say the columns; write --survival "
                f"{target or 'TARGET'}=TIME_COLUMN,EVENT_COLUMN"
            )
    made = (*rules.survival, *rules.label_columns)
    for target in made:
        if target in names or made.count(target) > 1:
            raise InvalidInputError(
                f"{target} would be two targets of {table.file.name}; take the column out with --drop {target}, or "
                "choose another name"
            )
    for option, targets in rules.options():
        for name in targets:
            if name not in names and name not in made:
                raise InvalidInputError(
                    f"{table.file} has no column {name!r}, which --{option} names; it has {listed(tuple(names))}"
                )
    for target, columns in rules.survival.items():
        for column in columns:
            if column not in table.columns or column == ID_COLUMN:
                raise InvalidInputError(
                    f"{table.file} has no column {column!r}, which --survival {target} names; it has "
                    f"{listed(table.columns)}"
                )


def _survival_pairs(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Time column -> it and its event column, of columns that look like such: os_time and os_event, OS.time and OS."""
    by_name = {name.casefold(): name for name in names}
    pairs = {}
    for name in names:
        stem = match[1].casefold() if (match := _TIME.match(name)) else ""
        event = next((by_name[stem + end] for end in _EVENTS if stem and stem + end in by_name), "")
        if event and event != name:
            pairs[name] = (name, event)
    return pairs


def _hint_of_survival(time: str, event: str) -> str:
    target = match[1].strip("._ -") if (match := _TIME.match(time)) else time
    return (
        f"columns {time} and {event} look like a time and whether it ended in an event: --survival "
        f"'{target}={time},{event}' makes them one target"
    )


def _read_value(source: LabelsSource, name: str) -> LabelsRead:
    read = LabelsRead()
    table, rules = source.table, source.rules
    _, issues = without_missing(table, name, rules)
    read.issues += issues
    values = table.numbers([name], rules.missing)[:, 0].tolist()
    for row, value in enumerate(values):
        if abs(value) == float("inf"):
            raise InvalidInputError(f"{table.where(row, name)}: {value} is no measurement; leave the cell blank")
        if value and not _SMALLEST <= abs(value) <= _LARGEST and value == value:
            raise InvalidInputError(
                f"{table.where(row, name)}: {value:g} cannot be reckoned with; correct it, or give all values in "
                "another unit"
            )
    labels = source.once(name, [None if value != value else value for value in values])
    if len(labels) > 1 and len(set(labels.values())) == 1:
        only = next(iter(labels.values()))
        sentence = f"all {len(labels)} cases have the value {only:g} of {name}, so that nothing can be learnt of it"
        read.note("one value", sentence, name)
    read.note_missing_codes(name, labels.values())
    if sentence := _far_from_all(source, name, labels):
        read.note("far from all", sentence, name)
    read.labels = [{"case_id": case, "target": name, "value": value} for case, value in labels.items()]
    read.targets = [{"target": name, "kind": "value", "unit": source.unit(name, read)}]
    read.unlabelled = source.without(labels, name)
    return read


def _far_from_all(source: LabelsSource, name: str, labels: Mapping[str, float]) -> str:
    """A sentence where a value lies so far from the others that squared errors hang on it; '' where none does."""
    if len(labels) < FEWEST_CLASSES:
        return ""
    low, middle, high = np.quantile(list(labels.values()), [0.25, 0.5, 0.75])
    case, value = max(labels.items(), key=lambda item: abs(item[1] - middle))
    if not abs(value - middle) > _FAR * (high - low) > 0:
        return ""
    return (
        f"case {source.name_of(case)} has {value:g} of {name}, where half of all lie between {low:g} and {high:g}: R² "
        "and squared errors hang on it; correct it where it is wrong, or give the logarithm"
    )


def _read_classes(source: LabelsSource, name: str, kind: str, pairs: Mapping[str, tuple[str, str]]) -> LabelsRead:
    """Of kind ordinal, or classes ('': nobody said)."""
    read = LabelsRead()
    table, rules, known = source.table, source.rules, source.known(name)
    texts, issues = without_missing(table, name, rules)
    read.issues += issues
    texts, issues = merged(table, name, texts, rules, known)
    read.issues += issues
    labels = source.once(name, texts)
    if name in rules.classes:
        check_classes(table, name, texts, rules.classes[name])
    if kind == "ordinal":
        classes = _grades(source, name, labels, read)
    else:
        if name not in rules.classes and kind != "classes":
            _check_few(source, name, labels, pairs)
        classes = rules.classes.get(name) or sorted_classes(set(labels.values()))
    unsure = Counter(text for text in labels.values() if text not in rules.classes.get(name, ()))
    if sentence := note_of_missing_words(name, unsure):
        read.note("missing?", sentence, name)
    if all(NUMBER.match(text) for text in labels.values()):
        read.note_missing_codes(name, (float(text.replace(",", ".")) for text in labels.values()))
    read.labels = [{"case_id": case, "target": name, "class": text} for case, text in labels.items()]
    of_kind = {"kind": "ordinal"} if kind == "ordinal" else {}
    read.targets = [
        {"target": name, "class_index": index, "class": text, **of_kind} for index, text in enumerate(classes)
    ]
    read.unlabelled = source.without(labels, name)
    return read


def _by_numbers(word: str) -> list[tuple[int, int, str]]:
    """Sorts G2 before G10: digits by their number, the rest as text."""
    parts = re.split(r"(\d+)", word)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _grades(source: LabelsSource, name: str, labels: Mapping[str, str], read: LabelsRead) -> Sequence[str]:
    """In their order: as told, as in the store, or of numbers. Raises InvalidInputError where none of these says it."""
    found, known = set(labels.values()), source.known(name)
    numbered = all(NUMBER.match(text) for text in found.union(known))
    if name in source.rules.classes:
        grades: Sequence[str] = source.rules.classes[name]
    elif known and found.issubset(known):
        grades = known
    elif numbered:
        grades = sorted_classes(found.union(known))
    else:
        words = sorted(found.union(known), key=_by_numbers)
        shown = ",".join(words[:MOST_GRADES_SHOWN]) + (",…" if len(words) > MOST_GRADES_SHOWN else "")
        raise InvalidInputError(
            f"{source.table.file.name}, column {name}: nobody said the order of these grades; --order "
            f"'{name}={shown}', in the right order, says it"
        )
    if len(found) == 1 and len(labels) > 1:
        only = next(iter(found))
        sentence = f"all {len(labels)} cases are of grade {only} of {name}, so that nothing can be learnt of it"
        read.note("one grade", sentence, name)
    unused = [grade for grade in grades if grade not in found and grade not in known]
    if unused:
        read.note("unused grades", f"no case is of grade {', '.join(unused)} of {name}", *unused)
    if numbered and not any(float(text.replace(",", ".")) % 1 for text in grades):
        there = [int(float(text.replace(",", "."))) for text in grades]
        skipped = sorted(set(range(min(there), max(there))).difference(there)) if there else []
        if 0 < len(skipped) <= len(there):
            told = ",".join(map(str, sorted([*there, *skipped])))
            sentence = (
                f"the grades of {name} skip {', '.join(map(str, skipped))}: a grade counts as one step above the one "
                f"before it; --order {name}={told} keeps its place"
            )
            read.note("skipped grades", sentence, *map(str, skipped))
    return grades


def _is_measured(source: LabelsSource, name: str, read: LabelsRead) -> bool:
    """Whether a column of which nobody said the kind holds measurements beyond doubt: many numbers, and no ids.

    What is taken is noted. Numbers that may be ids or classes are left to `_check_few`.
    """
    if name in source.rules.classes or name in source.rules.merged:
        return False
    texts, _ = without_missing(source.table, name, source.rules)
    given = [text for text in texts if text is not None]
    different = set(given)
    if not given or not all(NUMBER.match(text) for text in different):
        return False
    whole = all(float(text.replace(",", ".")).is_integer() for text in different)
    many = len(different) > MOST_CLASSES and len(different) < len(given) if whole else len(different) >= FEWEST_CLASSES
    if not many:
        return False
    read.note(
        "taken for values",
        f"column {name} holds {len(different):,} different numbers and is taken for a measurement (--kind "
        f"{name}=value); --kind {name}=classes takes every number for a class, and --drop {name} leaves it out",
        name,
    )
    return True


def _check_few(
    source: LabelsSource, name: str, labels: Mapping[str, str], pairs: Mapping[str, tuple[str, str]]
) -> None:
    """Raises InvalidInputError where classes that nobody called so look like measurements, or like ids."""
    names, file = set(labels.values()), source.table.file.name
    hint = (
        f"--kind {name}=value stores it as a measurement, --kind {name}=classes takes every word for a class, and "
        f"--drop {name} leaves it out"
    ) + (f"; {_hint_of_survival(*pairs[name])}" if name in pairs else "")
    if len(names) > MOST_CLASSES:
        raise InvalidInputError(f"{file}, column {name} has {len(names):,} different labels; {hint}")
    new = names.difference(source.known(name))
    if len(new) >= FEWEST_CLASSES and 2 * len(new) > len(labels):
        raise InvalidInputError(
            f"{file}, column {name} has {len(new):,} different labels of {count_of(len(labels), 'case')}, so that most "
            f"cases are a class of their own; if it holds ids, --id-column {name} says so; {hint}"
        )
    if names and all(NUMBER.match(text) for text in names):
        fractions = sorted(text for text in names if not float(text.replace(",", ".")).is_integer())
        if fractions:
            raise InvalidInputError(
                f"{file}, column {name} holds numbers that are not whole (such as {fractions[0]}); {hint}"
            )
