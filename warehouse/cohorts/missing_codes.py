"""Numbers that in other software say that nobody knows, such as 999 or -1: taken as they are, and noted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

_CODE = re.compile(r"-1|-?(9+|8+|7+)")
_UNSURE = frozenset(
    (
        *("unknown", "unk", "unknow", "not known", "missing", "not available", "unavailable", "not reported", "nr"),
        *("not evaluated", "not applicable", "not done", "not specified", "unspecified", "not determined", "nd", "n.d"),
        *("undetermined", "indeterminate", "undefined", "no data", "none given", "no information", "ni", "blank"),
        *("empty", "tbd", "to be determined", "n/v", "x", "nil", "not assessed", "not tested", "null", "none", "nan"),
        *("unbekannt", "fehlt", "fehlend", "keine angabe", "k.a", "k. a", "ka", "nicht bekannt", "nicht verfügbar"),
        *("inconnu", "inconnue", "manquant", "manquante", "non disponible", "non renseigné", "nc", "desconocido"),
        *("desconocida", "no disponible", "sin dato", "sin datos", "ignorado", "não informado", "desconhecido"),
        *("sconosciuto", "sconosciuta", "ignoto", "non noto", "onbekend", "okänd", "ukjent", "ukendt", "nieznany"),
        *("неизвестно", "нет данных", "不明", "未知", "不详", "n/a", "na", "n.a"),
    )
)
"""Words that say that nobody knows, in small letters, without brackets and points around them."""
_AROUND = "[](){}<>'\"*.? "
_SIGNS = frozenset("-–—*/?._#'\"()[]~^")
_FEWEST = 2
"""Cases with the same code; one alone may be what it says."""


def may_mean_missing(number: float) -> bool:
    """Whether such codes look so: -1, or 7, 8 or 9 and nothing else."""
    return bool(_CODE.fullmatch(f"{number:g}"))


def note_of_missing_codes(target: str, numbers: Iterable[float]) -> str:
    """A sentence where several cases of a target have a code that stands apart from what the others have: below 0 and
    alone there, or further from them than they lie from each other; '' where none has. Nobody's number is changed."""
    counts = Counter(numbers)
    for code in (min(counts, default=0.0), max(counts, default=0.0)):
        others = [number for number in counts if number != code]
        if len(others) < 2 or counts[code] < _FEWEST or not may_mean_missing(code):
            continue
        low, high = min(others), max(others)
        if (code < 0 <= low) or max(low - code, code - high) > high - low:
            return (
                f"{counts[code]} cases have {code:g} of {target}, apart from the others, which lie between {low:g} and "
                f"{high:g}; where that means that nobody knows, --missing=default,{code:g} leaves them without"
            )
    return ""


def note_of_missing_words(target: str, counts: Mapping[str, int]) -> str:
    """A sentence where classes say that nobody knows, or are numbers that do so among words; '' where none does.

    counts: cases by class.
    """
    numbers = {word for word in counts if _CODE.fullmatch(word)}
    found = [word for word in counts if _is_unsure(word) or (word in numbers and not _are_numbers(counts))]
    if not found:
        return ""
    shown = " and ".join(f"{word!r} ({counts[word]})" for word in found)
    asked = ",".join(f'"{word}"' if "," in word else word for word in found)
    return (
        f"of {target}, {shown} {'is a class' if len(found) == 1 else 'are classes'}; where that means that nobody "
        f"knows, --missing='default,{asked}' leaves these cases without"
    )


def _is_unsure(word: str) -> bool:
    return word.strip(_AROUND).casefold() in _UNSURE or _SIGNS.issuperset(word) or word.startswith("#")


def _are_numbers(words: Iterable[str]) -> bool:
    return all(word.replace(",", ".").lstrip("+-").replace(".", "", 1).isdigit() for word in words)
