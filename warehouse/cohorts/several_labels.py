"""Several labels of a case: from a column for each, or from cells with all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from guidestore.embeddings.errors import InvalidInputError
from guidestore.warehouse.cohorts.class_words import merged, sorted_classes
from guidestore.warehouse.cohorts.label_cells import LabelsRead, LabelsSource, without_missing

SEPARATORS = (";", "|", ",")
_LIST = re.compile(r"\s*(?:\[.*\]|\{.*\}|\(.*\))\s*\Z", re.DOTALL)
_NONE = re.compile(r"none|normal|negative|no[ _-]?findings?|nothing|healthy|no", re.IGNORECASE)
"""Labels that, where they stand alone, may say that there is no label."""
_HAS_IT = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
}


def read_label_columns(source: LabelsSource, target: str, columns: Sequence[str]) -> LabelsRead:
    """A target of the labels `columns`: 1 has it, 0 has it not, blank was not looked at.

    Raises InvalidInputError naming row and column of another word.
    """
    read = LabelsRead()
    table = source.table
    names = _in_order(source, target, columns)
    for name in names:
        texts, issues = without_missing(table, name, source.rules)
        read.issues += issues
        has: list[bool | None] = []
        for row, text in enumerate(texts):
            said = _HAS_IT.get(text.casefold()) if text is not None else None
            if text is not None and said is None:
                raise InvalidInputError(
                    f"{table.where(row, name)}: {text!r} does not say whether a case has the label; write 1 or 0, and "
                    "nothing where nobody looked (--missing names words for that)"
                )
            has.append(said)
        labels = source.once(name, has)
        read.labels += [
            {"case_id": case, "target": target, "class": name, "value": float(value)} for case, value in labels.items()
        ]
        read.unlabelled += source.without(labels, target, **{"class": name})
    return _finished(read, target, names)


def read_label_cells(source: LabelsSource, target: str) -> LabelsRead:
    """A target whose labels stand in one column, several in a cell; what a filled cell does not name, a case has not.

    A cell of a separator alone has none of them; a blank one was not looked at. Raises InvalidInputError.
    """
    read = LabelsRead()
    table, rules = source.table, source.rules
    texts, issues = without_missing(table, target, rules)
    read.issues += issues
    listed = next((row for row, text in enumerate(texts) if text is not None and _LIST.match(text)), None)
    if listed is not None:
        raise InvalidInputError(
            f"{table.where(listed, target)}: {texts[listed]!r} is a list as a program writes it; write its labels as "
            "a;b, and a lone ; for none"
        )
    separator = _separator(source, target, [text for text in texts if text is not None], read)
    cells = [None if text is None else [word.strip() for word in text.split(separator)] for text in texts]
    words = [(row, word) for row, of_cell in enumerate(cells) for word in of_cell or () if word]
    named, issues = merged(table, target, [word for _, word in words], rules, source.known(target))
    read.issues += issues
    by_row: list[frozenset[str] | None] = [None if of_cell is None else frozenset() for of_cell in cells]
    for (row, _), name in zip(words, named, strict=True):
        by_row[row] = frozenset({*(by_row[row] or ()), str(name)})
    found = {str(name) for name in named}
    names = _in_order(source, target, sorted_classes(found | set(source.known(target))))
    for row, of_row in enumerate(by_row):
        if strange := sorted((of_row or frozenset()).difference(names)):
            raise InvalidInputError(
                f"{table.where(row, target)}: {strange[0]!r} is none of the labels {', '.join(names)}"
            )
    labels = source.once(target, by_row)
    for name in filter(_NONE.fullmatch, names):
        if all(len(of_case) == 1 for of_case in labels.values() if name in of_case):
            sentence = (
                f"{name} of {target} stands alone in its cells and is taken for a label; where it means that a case "
                "has none, write a lone separator"
            )
            read.note("label?", sentence, name)
    read.labels = [
        {"case_id": case, "target": target, "class": name, "value": float(name in of_case)}
        for case, of_case in labels.items()
        for name in names
    ]
    read.unlabelled = source.without(labels, target)
    return _finished(read, target, names)


def _in_order(source: LabelsSource, target: str, names: Sequence[str]) -> Sequence[str]:
    """As told by --classes, which must name the same where labels are columns, else as they are."""
    told = source.rules.classes.get(target)
    if told is None:
        return names
    if target in source.rules.label_columns and set(told) != set(names):
        raise InvalidInputError(
            f"--classes {target}={','.join(told)} names other labels than its columns {', '.join(names)}; name these"
        )
    return told


def _separator(source: LabelsSource, target: str, texts: Sequence[str], read: LabelsRead) -> str:
    if source.rules.separator:
        return source.rules.separator
    found = [sign for sign in SEPARATORS if any(sign in text for text in texts)]
    if len(found) != 1:
        what = f"{' and '.join(map(repr, found))} stand" if found else f"none of {' '.join(SEPARATORS)} stands"
        raise InvalidInputError(
            f"{source.table.file.name}, column {target}: {what} in its cells, so that nobody can tell what parts its "
            "labels; --separator says it"
        )
    sentence = f"the labels in a cell of {target} are taken to be parted by {found[0]!r}; --separator says otherwise"
    read.note("separator", sentence, found[0])
    return found[0]


def _finished(read: LabelsRead, target: str, names: Sequence[str]) -> LabelsRead:
    """With the rows of the target, and a note on labels that all cases have, or none."""
    values_of: dict[str, set[float]] = {name: set() for name in names}
    for row in read.labels:
        values_of[row["class"]].add(row["value"])
    for name, values in values_of.items():
        if len(values) < 2:
            what = "no case was looked at for" if not values else "all cases have" if values == {1.0} else "no case has"
            read.note("one value", f"{what} the label {name} of {target}, so that nothing can be learnt of it", name)
    read.targets = [
        {"target": target, "class_index": index, "class": name, "kind": "multilabel"}
        for index, name in enumerate(names)
    ]
    return read
