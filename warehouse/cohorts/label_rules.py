"""What a user says of the columns of a labels table: their kinds, classes, grades, times, events, units."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import MISSING, missing_words
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.words import count_of

_ALL = ""
_MOST_UNIT_CHARS = 40


@dataclass(frozen=True, slots=True)
class LabelRules:
    """Of a table's columns. Made by `of`."""

    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target -> its classes, grades or labels in order."""
    merged: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    """Target -> groups of words that are one class, the first its name; no group: all near-equal ones."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Target, or '' for all of them, -> its kind."""
    missing: tuple[str, ...] = MISSING
    survival: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Target -> the columns of its time and of its event."""
    events: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target -> the words of its event column that are the event."""
    label_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Target -> columns, or patterns of columns, each of which says of a label whether a case has it."""
    separator: str = ""
    """Between the labels of a cell; '' where nobody said."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Target -> the unit of its value or time."""

    def __post_init__(self) -> None:
        for target, kind in self.kinds.items():
            if kind not in KINDS:
                raise InvalidInputError(f"--kind {target or kind}: {kind!r} is none of {', '.join(KINDS)}")
        for option, kind, targets in (
            ("survival", "survival", self.survival),
            ("multilabel", "multilabel", self.label_columns),
        ):
            for target in targets:
                if self.kinds.get(target, kind) != kind:
                    raise InvalidInputError(
                        f"--{option} makes {target} {kind}, and --kind {target}={self.kinds[target]}; leave one out"
                    )
        for target in self.events:
            if target not in self.survival:
                raise InvalidInputError(
                    f"--event names {target}, whose time nobody said; add --survival {target}=TIME_COLUMN,EVENT_COLUMN"
                )

    @classmethod
    def of(
        cls,
        *,
        classes: Sequence[str] = (),
        merged: Sequence[str] = (),
        kinds: Sequence[str] = (),
        missing: Sequence[str] | None = None,
        order: Sequence[str] = (),
        survival: Sequence[str] = (),
        event: Sequence[str] = (),
        multilabel: Sequence[str] = (),
        separator: str = "",
        unit: Sequence[str] = (),
    ) -> LabelRules:
        """From options, as the fields of `layouts.manifest.Manifest` describe them. Raises InvalidInputError."""
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
            of_target[target] = kind
        times = {target: _pair(target, columns) for target, columns in _named("survival", survival).items()}
        columns = _named("multilabel", multilabel)
        orders = _orders("order", order)
        for target in orders:
            if of_target.setdefault(target, "ordinal") != "ordinal":
                raise InvalidInputError(
                    f"--order makes {target} ordinal, and --kind {target}={of_target[target]}; leave one out"
                )
        return cls(
            _orders("classes", classes) | orders,
            {target: tuple(of) for target, of in groups.items()},
            of_target,
            MISSING if missing is None else missing_words(missing, MISSING),
            times,
            _named("event", event),
            columns,
            separator,
            {target: _unit(target, words) for target, words in _named("unit", unit).items()},
        )

    def kind(self, target: str) -> str:
        """'' where nobody said."""
        if target in self.survival or target in self.label_columns:
            return "survival" if target in self.survival else "multilabel"
        return self.kinds.get(target, self.kinds.get(_ALL, ""))

    def options(self) -> list[tuple[str, Sequence[str]]]:
        """Each option and the targets that it names."""
        named = (
            *(("classes", self.classes), ("merge", self.merged), ("kind", self.kinds), ("unit", self.units)),
            *(("survival", self.survival), ("multilabel", self.label_columns)),
        )
        return [(option, [target for target in said if target != _ALL]) for option, said in named]


def quoted(text: str) -> str:
    """As a word of an option."""
    return f'"{text}"' if "," in text else text


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for fields in csv.reader([text]) for word in fields)


def _named(option: str, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Target -> its words, of ``TARGET=WORD,…``."""
    given: dict[str, tuple[str, ...]] = {}
    for text in texts:
        target, equals, names = text.partition("=")
        words = _words(names)
        if not (equals and target and all(words) and words):
            raise InvalidInputError(f"--{option} {text!r}: write TARGET={_FORMS[option]}")
        given[target] = (*given.get(target, ()), *words)
    return given


_FORMS = {"survival": "TIME_COLUMN,EVENT_COLUMN", "event": "WORD,…", "multilabel": "COLUMN,COLUMN,…", "unit": "UNIT"}


def _pair(target: str, columns: tuple[str, ...]) -> tuple[str, str]:
    if len(columns) == 2 and columns[0] == columns[1]:
        raise InvalidInputError(
            f"--survival {target} names column {columns[0]} for the time and for the event; write "
            f"{target}=TIME_COLUMN,EVENT_COLUMN"
        )
    if len(columns) != 2:
        raise InvalidInputError(
            f"--survival {target} names {count_of(len(columns), 'column')}; write {target}=TIME_COLUMN,EVENT_COLUMN"
        )
    return columns[0], columns[1]


def _unit(target: str, words: tuple[str, ...]) -> str:
    unit = words[0]
    if len(words) > 1 or len(unit) > _MOST_UNIT_CHARS or not unit.isprintable():
        raise InvalidInputError(
            f"--unit {target}={','.join(words)!r}: give one unit, of at most {_MOST_UNIT_CHARS} letters"
        )
    return unit


def _orders(option: str, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Target -> its classes, of ``TARGET=A,B``, ``TARGET=@FILE`` (one a line), or repeated with one class each."""
    given: dict[str, list[str]] = {}
    for text in texts:
        target, equals, names = text.partition("=")
        if not equals or not names:
            raise InvalidInputError(
                f"--{option} {text!r}: write TARGET=CLASS,CLASS,… or TARGET=@FILE with a class a line"
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
            raise InvalidInputError(f"--{option} names the class {twice[0]!r} of {target} twice; name it once")
    return orders


def _lines(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"the classes in {file} cannot be read; give a UTF-8 file with a class a line"
        ) from error
    return tuple(line.strip() for line in lines if line.strip())
