"""Survival from two columns: a time, and whether it ended in the event. What the words of the event mean is said."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from guidestore.embeddings.alike import NUMBER
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import Table, means_missing
from guidestore.embeddings.words import count_of
from guidestore.warehouse.cohorts.label_cells import LabelsRead, LabelsSource
from guidestore.warehouse.cohorts.missing_codes import may_mean_missing

_PLAIN = {"1": True, "true": True, "0": False, "false": False}
_WORDS = {
    **dict.fromkeys(("dead", "deceased", "died", "death", "event", "yes", "y", "t"), True),
    **dict.fromkeys(("alive", "living", "censored", "no event", "no", "n", "f"), False),
}
_NUMBERED = re.compile(r"([01])\s*[:=-]\s*\S")
"""As cBioPortal writes it: 1:DECEASED."""
_THE_OPPOSITE = re.compile(r"cens|alive|living|surviv(?:ed|or)|event[ _.-]?free", re.IGNORECASE)
"""Names of columns whose 1, true or yes may mean that nothing happened, as `censorship` of many published tables."""
_ITSELF = frozenset({"dead", "deceased", "died", "death", "event", "alive", "living", "censored", "no event"})
"""Words that say what they mean, whatever the column is called."""
_DATE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}")
_OF_A_LIFE = {"days": 43_830, "weeks": 6_262, "months": 1_440, "years": 120}
"""120 years."""
_YEARS = (1900, 2100)
"""Whole numbers of which all lie here look like years of a calendar."""
_SHOWN = 5
_MOST_WORDS = 10
"""Different words that say who had an event, causes of it among them; a column of more is of times, or of names."""


def read_survival(source: LabelsSource, target: str, time_column: str, event_column: str) -> LabelsRead:
    """A survival target. Raises InvalidInputError naming row and column: on a time that is not above 0 or no number, on
    an event that nobody can read, and on several kinds of events."""
    read = LabelsRead()
    table, missing = source.table, source.rules.missing
    _check_no_dates(table, time_column)
    times = table.numbers([time_column], missing)[:, 0]
    _check_times(table, source.cases, time_column, times)
    texts = table.texts(event_column)
    unknown = means_missing(texts, missing)
    words = [None if text in unknown else text for text in texts]
    events = _events(source, target, event_column, words, read)
    labels = source.once(
        time_column,
        [
            None if np.isnan(time) or event is None else (float(time), event)
            for time, event in zip(times, events, strict=True)
        ],
        words=lambda label: f"{label[0]:g} {'with' if label[1] else 'without'} the event",
    )
    for what, lacks, halves in (
        (
            "time",
            f"no event in {event_column}",
            [event is None and not np.isnan(t) for t, event in zip(times, events, strict=True)],
        ),
        (
            "event",
            f"no time in {time_column}",
            [event is not None and np.isnan(t) for t, event in zip(times, events, strict=True)],
        ),
    ):
        half = sorted(map(source.name_of, {source.cases[row] for row in np.flatnonzero(halves)} - set(labels)))
        if half:
            read.note(
                "half an outcome",
                f"{count_of(len(half), 'case')} with {'a' if what == 'time' else 'an'} {what} and {lacks} "
                f"({_first(half)}): without outcome of {target}",
                *half,
            )
    read.note_missing_codes(target, (time for time, _ in labels.values()))
    happened = sum(event for _, event in labels.values())
    if labels and not happened:
        sentence = (
            f"all {len(labels)} cases of {target} are censored, so that nothing can be learnt of it; if the words of "
            f"{event_column} mean the opposite, --event {target}=WORD says which is the event"
        )
        read.note("all censored", sentence, target)
    read.labels = [
        {"case_id": case, "target": target, "time": time, "event": event} for case, (time, event) in labels.items()
    ]
    unit = source.unit(target, read)
    if sentence := _odd_times(target, [time for time, _ in labels.values()], unit):
        read.note("odd times", sentence, target)
    read.targets = [{"target": target, "kind": "survival", "unit": unit}]
    read.unlabelled = source.without(labels, target)
    return read


def _check_no_dates(table: Table, column: str) -> None:
    """Raises InvalidInputError where the times are days of a calendar."""
    dated = pa.types.is_temporal(table.data.schema.field(column).type)
    row = next((row for row, text in enumerate(table.texts(column)) if dated or _DATE.match(text)), None)
    if row is not None:
        raise InvalidInputError(
            f"{table.where(row, column)}: {table.texts(column)[row]!r} is a date or a duration of a program's own; "
            "give the time from the start, such as diagnosis, to it as a number in one unit for all cases"
        )


def _odd_times(target: str, times: Sequence[float], unit: str) -> str:
    """A sentence where times can hardly be in the unit, or look like years of a calendar; '' where they do not."""
    most = _OF_A_LIFE.get(unit.casefold().removesuffix("s") + "s")
    if most and max(times, default=0.0) > most:
        return (
            f"times of {target} reach {max(times):g} {unit}, which no life has; where some are in another unit, write "
            "all in one"
        )
    if len(times) > 1 and len(set(times)) == 1:
        return (
            f"all {len(times)} times of {target} are {times[0]:g}, so that nobody can be told to be sooner than others"
        )
    if len(times) > 1 and all(time.is_integer() and _YEARS[0] <= time <= _YEARS[1] for time in times):
        return f"all times of {target} look like years of a calendar; give the time from the start, such as diagnosis"
    return ""


def _check_times(table: Table, cases: Sequence[str], column: str, times: np.ndarray) -> None:
    if np.isinf(times).any():
        row = int(np.isinf(times).argmax())
        raise InvalidInputError(f"{table.where(row, column)}: {times[row]} is no time; blank it out")
    far = np.flatnonzero((times > 0) & ((times < 1e-100) | (times > 1e100)))
    if len(far):
        row = int(far[0])
        raise InvalidInputError(f"{table.where(row, column)}: {times[row]:g} is no time; give all in another unit")
    wrong: list[int] = np.flatnonzero(times <= 0).tolist()
    if wrong:
        shown = _first([f"{cases[row]} {times[row]:g}" for row in wrong])
        raise InvalidInputError(
            f"{table.where(wrong[0], column)}: {count_of(len(wrong), 'time')} not above 0 ({shown}); blank out the "
            "time of a case that was not followed up, and give an event on the first day a part of a unit, such as 0.5"
        )


def _events(
    source: LabelsSource, target: str, column: str, words: Sequence[str | None], read: LabelsRead
) -> list[bool | None]:
    """What each word says; None where missing."""
    counts = Counter(word for word in words if word is not None)
    told = source.rules.events.get(target)
    if told:
        meant = {word: any(_same(word, event) for event in told) for word in counts}
        for event in told:
            if not any(_same(word, event) for word in counts):
                raise InvalidInputError(
                    f"{source.table.file.name}, column {column} has no {event!r}, which --event {target} names; it has "
                    f"{_counted(counts)}"
                )
        read.note("words of events", _said(target, column, counts, meant), *counts)
        return [None if word is None else meant[word] for word in words]
    meant, plain = {}, True
    for word in counts:
        key = _number(word) or word.casefold()
        if key in _PLAIN:
            meant[word] = _PLAIN[key]
        elif key in _WORDS:
            meant[word], plain = _WORDS[key], False
        elif match := _NUMBERED.match(word):
            meant[word], plain = match[1] == "1", False
    unknown = [word for word in counts if word not in meant]
    if unknown:
        raise InvalidInputError(_unread(source, target, column, counts, words.index(unknown[0])))
    unsaid = [word for word in counts if word.casefold() not in _ITSELF and not _NUMBERED.match(word)]
    if unsaid and _THE_OPPOSITE.search(column):
        ways = [sorted(word for word in counts if meant[word] == happened) for happened in (True, False)]
        said = " and ".join(f"--event '{target}={','.join(way)}' takes {', '.join(way)} for it" for way in ways if way)
        raise InvalidInputError(
            f"{source.table.where(words.index(unsaid[0]), column)}: the events are {_counted(counts)}, and by the name "
            f"of {column} nobody can tell which of them is the event; {said}"
        )
    if not plain:
        read.note("words of events", _said(target, column, counts, meant), *counts)
    return [None if word is None else meant[word] for word in words]


def _unread(source: LabelsSource, target: str, column: str, counts: Counter[str], row: int) -> str:
    where = source.table.where(row, column)
    numbers = {_number(word) for word in counts}
    if len(counts) > _MOST_WORDS:
        return (
            f"{where}: {column} has {len(counts)} different values, so it cannot say who had the event; write "
            f"--survival {target}=TIME_COLUMN,EVENT_COLUMN with a column of events, 1 and 0"
        )
    unknown = next((word for word in counts if may_mean_missing(float(_number(word) or 0))), "")
    if unknown and {_number(word) for word in counts if word != unknown} == {"0", "1"}:
        return (
            f"{where}: the events are {_counted(counts)}; where {unknown} means that nobody knows, "
            f"--missing=default,{unknown} leaves those cases without, and where it is another cause, --event "
            f"{target}=1 takes them for censored"
        )
    if not all(number.isdecimal() for number in numbers) or len(numbers) == 1:
        example = next(iter(counts))
        return (
            f"{where}: nobody said which of {_counted(counts)} is the event; --event '{target}={example}', or what it "
            "is instead, says it, and takes the others for censored"
        )
    if len(numbers) == 2:
        return (
            f"{where}: the events are {_counted(counts)}, and not 0 and 1; --event {target}={max(numbers)} takes "
            f"{max(numbers)} for the event and {min(numbers)} for censored"
        )
    causes = sorted(numbers - {"0"}, key=float)
    return (
        f"{where}: the events are {_counted(counts)}, as of competing causes, which are not learnt together; --event "
        f"{target}={causes[0]} takes {causes[0]} for the event and the others for censored at their time, and --event "
        f"{target}={','.join(causes)} takes any of them"
    )


def _said(target: str, column: str, counts: Counter[str], meant: dict[str, bool]) -> str:
    event = ", ".join(f"{word!r} ({counts[word]})" for word in sorted(counts) if meant[word]) or "nothing"
    other = ", ".join(f"{word!r} ({counts[word]})" for word in sorted(counts) if not meant[word]) or "nothing"
    return f"of {column}, {event} is taken for the event of {target} and {other} for censored; --event says otherwise"


def _same(word: str, other: str) -> bool:
    number = _number(word)
    return word == other or (bool(number) and number == _number(other))


def _number(word: str) -> str:
    """``1`` of 1, 1.0 and 01; '' of what is no number."""
    return f"{float(word.replace(',', '.')):g}" if NUMBER.match(word) else ""


def _counted(counts: Counter[str]) -> str:
    shown = ", ".join(f"{word!r} ({count})" for word, count in sorted(counts.items())[:_SHOWN])
    return shown + ", …" * (len(counts) > _SHOWN)


def _first(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + ", …" * (len(items) > _SHOWN)
