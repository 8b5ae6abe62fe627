"""Words that are classes: which are one class, which were told, and their order."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from guidestore.embeddings.alike import NUMBER
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import Table
from guidestore.warehouse.cohorts.cohort import CohortIssue
from guidestore.warehouse.cohorts.label_rules import LabelRules, quoted

_WORDS = re.compile(r"\d+(?!\w)|\w+|\|+|[^\w\s]")
_STOPS = frozenset(".,;:'\"`´‘’‚“”„")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_TRUTH: dict[str, str] = {
    **dict.fromkeys(("true", "yes", "wahr", "ja", "vrai", "oui"), "1"),
    **dict.fromkeys(("false", "no", "falsch", "nein", "faux", "non"), "0"),
}
_SHAPES = str.maketrans(
    "АВЕКМНОРСТУХІЈЅавекмнорстухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο",
    "ABEKMHOPCTYXIJSabekmhopctyxijsABEZHIKMNOPTYXo",
)
"""Cyrillic and Greek letters to the Latin ones of their shape."""


def merged(
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
            listing = ",".join(quoted(text) for text in group)
            raise InvalidInputError(
                f"{table.file.name}, column {name}: {shown} may be one class; --merge '{name}={listing}' makes them "
                f"one, named by the first, --merge {name} all that are alike, and --classes with each keeps them apart"
            )
    if not becomes:
        return texts, []
    used = [f"{text!r} ({counts[text]}) is {becomes[text]!r}" for text in becomes if counts[text]]
    issues = [CohortIssue("merged classes", f"of {name}, {', '.join(used)}", tuple(becomes))] if used else []
    return [becomes.get(text, text) if text is not None else None for text in texts], issues


def check_classes(table: Table, name: str, texts: Sequence[str | None], classes: Sequence[str]) -> None:
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
    """Equal for classes that a reader would take for one: other letters of one shape, accents, blanks, hyphens, commas,
    numbers written otherwise, Roman numbers, yes and True and 1."""
    if NUMBER.match(text):
        return _number(text)
    plain = unicodedata.normalize("NFKC", text).translate(_SHAPES).casefold()
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if unicodedata.category(c) not in ("Mn", "Cf"))
    plain = "".join("-" if unicodedata.category(c) in ("Pd", "Pc") else c for c in plain)
    plain = re.sub(r"(?<=\w)\s*-\s*(?=\w)", " ", plain)
    words = [word for word in _WORDS.findall(plain) if word not in _STOPS]
    plain = words[0] if words == ["l"] else " ".join(map(_word, words))
    plain = re.sub(r"(?<!\d) | (?!\d)", "", plain)
    plain = _TRUTH.get(plain, plain)
    return _number(plain) if NUMBER.match(plain) else plain or text


def _number(text: str) -> str:
    return repr(float(text.replace(",", ".")) + 0.0)


def _word(word: str) -> str:
    """Roman numbers as digits, also where an l or a bar stands for an I; an O alone as 0; 01 as 1."""
    if word.isdecimal():
        return str(int(word))
    digit = word.replace("l", "i").replace("|", "i")
    for number, end in ((digit, ""), (digit[:-1], digit[-1])):
        if number in _ROMAN and end in ("", "a", "b", "c"):
            return f"{_ROMAN.index(number) + 1}{end}"
    return "0" if word == "o" else word


def _visible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)
