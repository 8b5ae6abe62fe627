"""Words that are classes: which are one class, which were told, and their order."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from guidestore.embeddings.alike import plain_word
from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.interchange.table import Table
from guidestore.warehouse.cohorts.cohort import CohortIssue
from guidestore.warehouse.cohorts.label_rules import LabelRules, quoted


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
        near.setdefault(plain_word(text), []).append(text)
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


def _visible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)
