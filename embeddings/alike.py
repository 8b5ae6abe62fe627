"""Ids and words that a reader would take for one, and that are two: A1 and a1, é in one character and in two, 7 and
007."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from guidestore.embeddings.words import count_of

NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?\Z")
_SHOWN = 5
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mrz|Mai|Okt|Dez"
_DATE = re.compile(rf"(?:\d{{1,2}}-(?:{_MONTH})(?:-\d{{2,4}})?|(?:{_MONTH})-\d{{2}})\Z")
"""As Excel writes 1-3, MARCH1 or 3-1 of a CSV file that it opened."""


def alike_ids(new: Iterable[str], known: Iterable[str]) -> str:
    """A sentence that names the groups of alike ids with one of `new` in them; '' where there is none."""
    fresh = set(new)
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for case_id in fresh:
        groups[_plain(case_id)].add(case_id)
    for case_id in known:  # of a million, few are like one of `new`
        if (plain := _plain(case_id)) in groups:
            groups[plain].add(case_id)
    several = sorted(sorted(group) for group in groups.values() if len(group) > 1)
    if not several:
        return ""
    shown = "; ".join(" and ".join(map(repr, group)) for group in several[:_SHOWN]) + "; …" * (len(several) > _SHOWN)
    return (
        f"{count_of(len(several), 'group')} of cases whose ids differ in upper and lower case, leading zeros or the "
        f"form of characters alone: {shown}; they are cases apart, so write an id alike in all tables if they are one"
    )


def date_ids(new: Iterable[str]) -> str:
    """A sentence that names ids such as 1-Mar, which a spreadsheet program makes of other text; '' where none is."""
    found = sorted(case_id for case_id in new if _DATE.match(case_id))
    if not found:
        return ""
    return (
        f"{count_of(len(found), 'id')} such as {found[0]} may be what a spreadsheet program made of other text, and "
        "would then match no other table; save the column as text, as it was"
    )


def _plain(case_id: str) -> str:
    plain = unicodedata.normalize("NFKC", case_id).casefold()
    return plain.lstrip("0") or "0" if plain.isdecimal() else plain


def plain_word(text: str) -> str:
    """Equal for words, of classes or groups, that a reader would take for one: as ids, and in blanks, hyphens and the
    form of numbers besides."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(" " if unicodedata.category(c) in ("Pd", "Pc") else c for c in plain)
    plain = " ".join("".join(c for c in plain if unicodedata.category(c) != "Cf").split())
    if text.isdecimal():
        return f"{text.lstrip('0') or '0'}.0"  # as a float would be, of more digits than it holds
    return repr(float(text.replace(",", "."))) if NUMBER.match(text) else plain
