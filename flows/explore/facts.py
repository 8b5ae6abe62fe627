"""The cases of a cohort as one table, numbered: what can be searched, filtered and coloured by, in SQL.

A row per case: `i` (its number), `case_id`, a column per target, `fold_SPLIT` or `part_SPLIT` per split, and what it
has. The numbers are those of the points on the maps.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.explore.cohorts import check_cohort
from guidestore.flows.explore.explored import View, literal, quoted

OWN = ("i", "case_id", "modalities", "coded", "images", "codes", "bags", "quarantined")
CATEGORIES = 36
"""Values of a column beyond which it is a text, and not coloured by: the page has no more colours (map.js)."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one can ask about the cases."""

    name: str
    kind: str
    """number, category, text, list or flag."""
    about: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The table of a cohort in the memory of a view."""

    view: View
    cohort: str
    table: str
    """As FROM takes it."""
    columns: tuple[Column, ...]
    n: int
    """Cases."""

    def where(self, expression: str, search: str = "") -> str:
        """The clause of a filter and of a text that is looked for in the ids; '' for neither."""
        parts = [f"(\n{expression}\n)"] if expression.strip() else []
        if search.strip():
            parts.append(f"contains(lower(case_id), lower({literal(search.strip())}))")
        return f" WHERE {' AND '.join(parts)}" if parts else ""


def facts_of(view: View, cohort: str) -> Facts:
    """The cases of a cohort. Raises NotFoundInStoreError."""
    check_cohort(view, cohort)
    return view.once(("facts", cohort), lambda: _made(view, cohort))


def _made(view: View, cohort: str) -> Facts:
    name = "memory.main.cases_" + hashlib.sha256(cohort.encode()).hexdigest()[:12]
    of_cohort = f"cohort = {literal(cohort)}"
    columns = [
        Column("case_id", "text", "the case"),
        Column("modalities", "list", "modalities that it has images of"),
        Column("coded", "list", "modalities that it has codes or bags of"),
        Column("images", "number", "images"),
        Column("codes", "number", "case codes"),
        Column("bags", "number", "bags of patch codes"),
        Column("quarantined", "flag", "an image of it could not be read"),
    ]
    labels, picks = _labels(view, of_cohort)
    parts, folds = _splits(view, of_cohort)
    taken = Counter(column.name.lower() for column in columns)
    for column in (*labels, *parts):
        if taken[column.name.lower()]:
            raise InvalidInputError(f"cohort {cohort} has two columns {column.name!r}: rename that target")
        taken[column.name.lower()] += 1
    with view.connection() as con:
        con.execute(f"""
            CREATE OR REPLACE TABLE {name} AS
            WITH l AS (SELECT case_id, {picks} FROM labels WHERE {of_cohort} GROUP BY case_id),
            s AS (SELECT case_id, {folds} FROM splits WHERE {of_cohort} GROUP BY case_id),
            q AS (SELECT DISTINCT case_id, true AS bad FROM quarantine WHERE {of_cohort})
            SELECT row_number() OVER (ORDER BY c.case_id)::INTEGER - 1 AS i, c.case_id, c.modalities, c.coded,
                c.images, c.codes, c.bags, coalesce(q.bad, false) AS quarantined,
                l.* EXCLUDE (case_id), s.* EXCLUDE (case_id)
            FROM (SELECT * FROM cases WHERE {of_cohort}) c
            LEFT JOIN l USING (case_id) LEFT JOIN s USING (case_id) LEFT JOIN q USING (case_id)
            ORDER BY i
        """)
        con.execute(f"ALTER TABLE {name} DROP COLUMN IF EXISTS no_label")
        con.execute(f"ALTER TABLE {name} DROP COLUMN IF EXISTS no_split")
        (n,) = con.execute(f"SELECT count(*) FROM {name}").fetchall()[0]
    return Facts(view, cohort, name, (*columns, *labels, *parts), n)


def _labels(view: View, of_cohort: str) -> tuple[list[Column], str]:
    """A column per target (survival has two, multilabel one per label), and how each is read of the rows."""
    rows = view.ask(
        f"SELECT target, any_value(kind) AS kind, any_value(unit) AS unit, list(class ORDER BY class_index) AS classes "
        f"FROM targets WHERE {of_cohort} GROUP BY target ORDER BY target"
    )
    columns: list[Column] = []
    picks: list[str] = []

    def add(name: str, kind: str, about: str, value: str, of: str) -> None:
        name = f"label_{name}" if name.lower() in OWN else name
        columns.append(Column(name, kind, about))
        picks.append(f"max({value}) FILTER ({of}) AS {quoted(name)}")

    for row in rows:
        target, of = row["target"], f"target = {literal(row['target'])}"
        unit = f" ({row['unit']})" if row["unit"] else ""
        if row["kind"] == "value":
            add(target, "number", f"value{unit}", "value", of)
        elif row["kind"] == "survival":
            add(target, "number", f"time{unit}", "time", of)
            add(f"{target}_event", "flag", "whether it ended in the event", "event", of)
        elif row["kind"] == "multilabel":
            for label in row["classes"]:
                about = f"{target}: {label}, 1 or 0"
                add(f"{target}_{label}", "number", about, "value", f"{of} AND class = {literal(label)}")
        else:
            add(target, "category", "label", "nullif(class, '')", of)
    return columns, ", ".join(picks) or "0 AS no_label"


def _splits(view: View, of_cohort: str) -> tuple[list[Column], str]:
    """The part of each split of one fold, the fold that tests the case of others."""
    rows = view.ask(
        f"SELECT split, count(DISTINCT fold) AS folds FROM splits WHERE {of_cohort} GROUP BY split ORDER BY split"
    )
    columns: list[Column] = []
    picks: list[str] = []
    for row in rows:
        of = f"split = {literal(row['split'])}"
        if row["folds"] == 1:
            columns.append(Column(f"part_{row['split']}", "category", "train, val or test"))
            picks.append(f"max(part) FILTER ({of}) AS {quoted(columns[-1].name)}")
        else:
            columns.append(Column(f"fold_{row['split']}", "category", "fold that tests it"))
            picks.append(f"min(fold) FILTER ({of} AND part = 'test') AS {quoted(columns[-1].name)}")
    return columns, ", ".join(picks) or "0 AS no_split"


def check_numbers(facts: Facts, of: int) -> None:
    """Raises InvalidInputError where the cohort has not the `of` cases by whose numbers a page asks; -1: by none.

    A page asks at the snapshot that it was drawn from, but `purge` takes a case out of every snapshot.
    """
    if of not in (-1, facts.n):
        raise InvalidInputError(f"cohort {facts.cohort} has lost cases since this page was drawn; load it again")


# Asking --------------------------------------------------------------------------------------------------------------


def selected(facts: Facts, source: str, expression: str, search: str) -> np.ndarray:
    """(n,) int32: numbers of the cases that fit, ascending. source: of `outcomes`. Raises InvalidInputError."""
    check_expression(expression)
    table = facts.view.table(f"SELECT i FROM {source}{facts.where(expression, search)} ORDER BY i")
    return table["i"].to_numpy().astype(np.int32)


@dataclass(frozen=True, slots=True)
class Colours:
    """A value per case to colour by."""

    legend: dict[str, Any]
    """kind category: names and counts, in the order of the values; kind number: low and high; and missing."""
    values_n: np.ndarray
    """(n,) uint8, 255 for none, or float32, NaN for none."""


def coloured(facts: Facts, source: str, expression: str) -> Colours:
    """What an expression is for each case. Raises InvalidInputError, for too many values that are no numbers too."""
    check_expression(expression)
    table = facts.view.table(f"SELECT (\n{expression}\n) AS value FROM {source} ORDER BY i")
    values, kind = table["value"], str(table["value"].type)
    if len(values) != facts.n:
        raise InvalidInputError("an expression to colour by has one value for each case; use no aggregate")
    if re.match(r"(u?int|float|double|halffloat|decimal)", kind) and len(values.unique()) > 12:
        numbers_n = values.cast("float32").to_numpy()
        finite = numbers_n[np.isfinite(numbers_n)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
        missing = len(numbers_n) - len(finite)
        return Colours({"kind": "number", "low": low, "high": high, "missing": missing}, numbers_n)
    encoded = values.cast("string").combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    if len(names) > CATEGORIES:
        raise InvalidInputError(
            f"the expression has {len(names):,} different values; colour by a number, or by at most {CATEGORIES} values"
        )
    places = encoded.indices.fill_null(255).to_numpy().astype(np.uint8)
    order = sorted(range(len(names)), key=lambda place: _as_sorted(names[place]))
    rank = np.full(256, 255, np.uint8)
    rank[order] = np.arange(len(names))
    codes_n = rank[places]
    counts = np.bincount(codes_n, minlength=256)
    legend = {
        "kind": "category",
        "names": [names[place] for place in order],
        "counts": counts[: len(names)].tolist(),
        "missing": int(counts[255]),
    }
    return Colours(legend, codes_n)


def _as_sorted(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name


def check_expression(expression: str) -> None:
    """Raises InvalidInputError for what is more than one expression, before it stands between our brackets."""
    import duckdb

    if not expression.strip():
        return
    for text in (f"SELECT (\n{expression}\n)", f"SELECT 1 WHERE {expression}\n"):  # the second has no bracket to close
        try:
            statements = duckdb.extract_statements(text)
        except duckdb.Error as error:
            said = str(error).partition("\n")[0]
            raise InvalidInputError(f"this is no condition in SQL ({said}); write one, as `images > 1`") from error
        if len(statements) != 1:
            raise InvalidInputError("give one condition, without `;`")
