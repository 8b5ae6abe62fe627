"""Everything about one case: images, labels, predictions of every row, neighbours, lineage, quarantine."""

from __future__ import annotations

from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.flows.explore.explored import View, literal, quoted
from guidestore.flows.explore.facts import Column, check_expression, check_numbers, facts_of
from guidestore.flows.explore.maps import codes_batches
from guidestore.flows.explore.outcomes import source_of
from guidestore.heads.input_rows import INPUT_ROWS

PAGE = 50
"""Cases in a list at once."""
NEIGHBOURS = 12


def list_cases(
    view: View, cohort: str, *, head: str = "", where: str = "", search: str = "", order: str = "", page: int = 0
) -> dict[str, Any]:
    """A page of the cases that fit, with all columns. order: a column, `-COLUMN` for descending. Raises
    InvalidInputError."""
    facts, source, columns = source_of(view, cohort, head)
    check_expression(where)
    name = order.removeprefix("-") or "case_id"
    if name not in {column.name for column in columns}:
        raise InvalidInputError(f"there is no column {name!r} to sort by")
    clause = facts.where(where, search)
    (counted,) = view.ask(f"SELECT count(*) AS n FROM {source}{clause}")
    down = "DESC" if order.startswith("-") else "ASC"
    rows = view.ask(
        f"SELECT * FROM {source}{clause} ORDER BY {quoted(name)} {down} NULLS LAST, i "
        f"LIMIT {PAGE} OFFSET {PAGE * max(page, 0)}"
    )
    return {
        "n": counted["n"],
        "of": facts.n,
        "page": page,
        "per_page": PAGE,
        "columns": columns_of(columns),
        "rows": rows,
    }


def columns_of(columns: tuple[Column, ...]) -> list[dict[str, str]]:
    """As the page takes them."""
    return [{"name": column.name, "kind": column.kind, "about": column.about} for column in columns]


def case_at(view: View, cohort: str, number: int, head: str = "", of: int = -1) -> dict[str, Any]:
    """What the pointer shows of a point. of: cases that the page knows. Raises NotFoundInStoreError,
    InvalidInputError."""
    facts, source, _ = source_of(view, cohort, head)
    check_numbers(facts, of)
    rows = view.ask(f"SELECT * EXCLUDE (modalities, coded, images, codes, bags) FROM {source} WHERE i = {number:d}")
    if not rows:
        raise NotFoundInStoreError(f"cohort {cohort} has no case number {number}")
    return rows[0]


def case_of(view: View, cohort: str, case_id: str) -> dict[str, Any]:
    """All but its pictures and neighbours. Raises NotFoundInStoreError."""
    facts = facts_of(view, cohort)
    of_case = f"cohort = {literal(cohort)} AND case_id = {literal(case_id)}"
    found = view.ask(f"SELECT * FROM {facts.table} WHERE case_id = {literal(case_id)}")
    if not found:
        raise NotFoundInStoreError(f"cohort {cohort} has no case {case_id!r} at snapshot {view.version}")
    return {
        "case": found[0],
        "columns": columns_of(facts.columns),
        "labels": view.ask(
            f"SELECT target, class, value, time, event, unit FROM labels "
            f"LEFT JOIN ({_targets(of_case)}) USING (target) WHERE {of_case} ORDER BY target, class"
        ),
        "splits": view.ask(f"SELECT split, fold, part, origin FROM splits WHERE {of_case} ORDER BY split, fold"),
        "images": view.ask(
            f"SELECT image_id, modality, path, mpp, size, sha256 FROM images WHERE {of_case} "
            "ORDER BY modality, image_id"
        ),
        "quarantine": view.ask(
            f'SELECT image_id, modality, encoder, reason, "at" FROM quarantine WHERE {of_case} '
            "ORDER BY modality, image_id"
        ),
        "codes": _codes(view, of_case),
        "predictions": _predictions(view, of_case),
        "before": _beside(view, facts.table, found[0]["i"]),
    }


def _beside(view: View, table: str, number: int) -> dict[str, str | None]:
    """The cases before and after, by id."""
    rows = view.ask(f"SELECT i, case_id FROM {table} WHERE i IN ({number - 1}, {number + 1})")
    of = {row["i"]: row["case_id"] for row in rows}
    return {"previous": of.get(number - 1), "next": of.get(number + 1)}


def _codes(view: View, of_case: str) -> list[dict[str, Any]]:
    """Each code and bag of the case, and what it was made from."""
    made = view.ask(f"""
        SELECT code_set, artifact, kind, device,
            list({{kind: input_kind, id: left(input, 12)}} ORDER BY input_kind, input) AS inputs
        FROM lineage WHERE {of_case} AND kind IN ('bag', 'codes') GROUP BY ALL ORDER BY code_set, artifact
    """)
    facts = view.ask(
        f"SELECT l.artifact, l.image_id, l.modality, l.encoder, l.trained_on, l.shape, l.added_at AS snapshot, "
        f"e.version, e.preprocessing, c.meta ->> 'created_at' AS created_at "
        f"FROM shown.log l LEFT JOIN encoders e USING (encoder_digest) "
        f"LEFT JOIN shown.log c ON c.kind = 'commit' AND c.added_at = l.added_at "
        f"WHERE l.{of_case.replace(' AND case_id', ' AND l.case_id')} AND l.kind IN ('bag', 'codes') "
        f"AND is_live(l.added_at, l.removed_at)"
    )
    known = {row["artifact"]: row for row in facts}
    return [{**known.get(row["artifact"], {}), **row} for row in made]


def _predictions(view: View, of_case: str) -> list[dict[str, Any]]:
    """Per target and head the mean over its runs that scored the case on test, or else on val.

    higher_than: of a risk, which has no scale that two runs share, the share of the run's cases that have a lower one.
    """
    rows = view.ask(f"""
        WITH mine AS (
            SELECT * FROM predictions WHERE {of_case} AND part IN ('test', 'val')
            QUALIFY part = max(part) OVER (
                PARTITION BY target, "row", control, guidance, decoder, mode, labelled, split
            )
        ),
        risks AS (
            SELECT run, part, case_id, percent_rank() OVER (PARTITION BY run, part ORDER BY risk) AS higher_than
            FROM predictions WHERE run IN (SELECT run FROM mine WHERE risk IS NOT NULL)
        )
        SELECT target, "row", control, guidance, decoder, mode, labelled, split, part, inferior, superior,
            any_value(label) AS label, count(*) AS runs, list(DISTINCT fold ORDER BY fold) AS folds,
            list(probabilities) AS probabilities, avg(value) AS value, avg(higher_than) AS higher_than
        FROM mine LEFT JOIN risks USING (run, part, case_id) GROUP BY ALL
    """)
    targets = {row["target"]: row for row in view.ask(_targets(of_case))}
    for row in rows:
        lists = [one for one in row["probabilities"] or () if one]
        row["probabilities"] = [sum(column) / len(lists) for column in zip(*lists, strict=True)] if lists else []
        about = targets.get(row["target"], {})
        row |= {"classes": about.get("classes") or [], "kind": about.get("kind"), "unit": about.get("unit")}
    rows_in_order = list(INPUT_ROWS)
    return sorted(
        rows,
        key=lambda row: (
            row["target"],
            row["mode"],
            row["control"],
            rows_in_order.index(row["row"]) if row["row"] in rows_in_order else len(rows_in_order),
            row["guidance"],
            row["decoder"],
        ),
    )


def _targets(of_case: str) -> str:
    """The query of the targets of the case's cohort: kind, unit, and classes or labels in their order."""
    return (
        "SELECT target, any_value(kind) AS kind, any_value(unit) AS unit, "
        "list(class ORDER BY class_index) FILTER (class <> '') AS classes "
        f"FROM targets WHERE {of_case.partition(' AND ')[0]} GROUP BY target"
    )


def neighbours_of(view: View, cohort: str, case_id: str, code_set: str) -> list[dict[str, Any]]:
    """The nearest cases in one code set, by cosine similarity, as SQL's neighbours() has them: a case counts with its
    most similar pair of images. The codes come in batches: joined to themselves, a million take gigabytes.

    Raises NotFoundInStoreError, and InvalidInputError where the case has no finite code there.
    """
    facts = facts_of(view, cohort)
    known = view.ask(
        f"SELECT name, d FROM code_sets WHERE kind = 'codes' AND cohort = {literal(cohort)} "
        f"AND (name = {literal(code_set)} OR code_set_stem(name) = {literal(code_set)}) ORDER BY name"
    )
    if not known:
        raise NotFoundInStoreError(f"cohort {cohort} has no set of case codes {code_set!r}")
    name, width = known[0]["name"], known[0]["d"]
    codes = f"codes_{width} WHERE code_set = {literal(name)} AND unit IS NOT NULL"
    asked = view.ask(f"SELECT unit FROM {codes} AND case_id = {literal(case_id)}")
    if not asked:
        raise InvalidInputError(f"case {case_id} has no finite code in {name}")
    asked_md = np.array([row["unit"] for row in asked], np.float32)
    best_n = np.full(facts.n, -np.inf, np.float32)
    others = f"SELECT case_id, unit FROM {codes} AND case_id <> {literal(case_id)}"
    source = f"SELECT f.i, o.unit AS code FROM ({others}) o JOIN {facts.table} f USING (case_id)"
    for numbers_b, units_bd in codes_batches(view, source, width):
        np.maximum.at(best_n, numbers_b, (units_bd @ asked_md.T).max(axis=1))
    nearest = np.argsort(-best_n, kind="stable")[:NEIGHBOURS]  # equals by their number, which is the order of their ids
    nearest = nearest[np.isfinite(best_n[nearest])]
    listed = ", ".join(f"({rank}, {number})" for rank, number in enumerate(nearest.tolist(), start=1))
    if not listed:
        return []
    rows = view.ask(f"""
        SELECT r.rank, f.case_id, (
            SELECT string_agg(
                target || '=' || CASE
                    WHEN time IS NOT NULL THEN printf('%.4g', time) || CASE WHEN event THEN '' ELSE '+' END
                    ELSE coalesce(nullif(class, ''), printf('%.4g', value))
                END, ', ' ORDER BY target, class
            ) FROM labels l WHERE l.cohort = {literal(cohort)} AND l.case_id = f.case_id
                AND NOT coalesce(class <> '' AND value = 0, false)
        ) AS labels
        FROM (VALUES {listed}) r(rank, i) JOIN {facts.table} f USING (i) ORDER BY r.rank
    """)
    return [row | {"similarity": float(best_n[number])} for row, number in zip(rows, nearest, strict=True)]
