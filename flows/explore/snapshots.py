"""Snapshots of the store, and what changed between two: cases, codes, labels, predictions."""

from __future__ import annotations

from typing import Any

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.explore.explored import Explored, View

MOST = 200
"""Rows of each kind that are listed; all are counted."""


def list_snapshots(view: View, before: int | None = None) -> list[dict[str, Any]]:
    """The newest MOST up to `before`, with the names that each has."""
    where = f"WHERE version < {before:d}" if before is not None else ""
    return view.ask(f"""
        SELECT s.version, s.created_at, s.message, s.artifacts, s.host,
            coalesce((SELECT list(name ORDER BY name) FROM tags t WHERE t.snapshot = s.version), []) AS tags,
            coalesce((SELECT list(name ORDER BY name) FROM aliases a WHERE a.snapshot = s.version), []) AS aliases
        FROM snapshots s {where} ORDER BY s.version DESC LIMIT {MOST}
    """)


def difference(explored: Explored, a: str, b: str) -> dict[str, Any]:
    """What snapshot `b` has that `a` has not, and the other way round. Raises InvalidInputError for the same twice."""
    old, new = explored.view(a), explored.view(b)
    if old.version == new.version:
        raise InvalidInputError(f"{a} and {b} are the same snapshot {old.version}; name two")
    if old.version > new.version:
        old, new = new, old
    newest = explored.view()
    key = ("difference", old.version, new.version)
    return newest.once(key, lambda: _difference(newest, old.version, new.version))


def _difference(view: View, old: int, new: int) -> dict[str, Any]:
    in_old, in_new = (f"added_at <= {at} AND (removed_at IS NULL OR removed_at > {at})" for at in (old, new))

    def changed(columns: str, table: str, more: str = "true") -> tuple[str, str]:
        """SELECTs of what came and of what went."""
        a, b = (f"(SELECT DISTINCT {columns} FROM shown.{table} WHERE {live} AND {more})" for live in (in_old, in_new))
        return f"({b} EXCEPT {a})", f"({a} EXCEPT {b})"

    tables = {
        "cases": changed("cohort, case_id", "cases"),
        "codes": changed(
            "cohort, modality, encoder, left(encoder_digest, 12) AS digest, case_id, image_id, artifact", "log",
            "kind IN ('bag', 'codes')",
        ),
        "labels": changed("cohort, case_id, target, class, value, time, event", "labels"),
        "images": changed("cohort, case_id, image_id, modality, left(sha256, 12) AS sha256", "images"),
        "quarantine": changed("cohort, case_id, image_id, modality, encoder, reason", "quarantine"),
        "runs": changed(
            'cohort, target, "row", control, guidance, decoder, split, fold, seed, left(run, 12) AS run', "runs"
        ),
    }  # fmt: skip
    told: dict[str, Any] = {"a": old, "b": new, "changes": {}}
    for name, (came, went) in tables.items():
        rows = {}
        for what, sql in (("came", came), ("went", went)):
            (counted,) = view.ask(f"SELECT count(*) AS n FROM {sql}")
            rows[what] = {
                "n": counted["n"],
                "rows": view.ask(f"SELECT * FROM {sql} ORDER BY ALL LIMIT {MOST}") if counted["n"] else [],
            }
        told["changes"][name] = rows
    told["predictions"] = _predictions(view, in_old, in_new)
    return told


def _predictions(view: View, in_old: str, in_new: str) -> dict[str, Any]:
    """Test and val predictions that changed: of the newest run of each head, fold and seed at either snapshot."""

    def newest(live: str) -> str:
        of_r, of_p = (
            live.replace("added_at", f"{one}.added_at").replace("removed_at", f"{one}.removed_at") for one in "rp"
        )
        return f"""(
            SELECT r.cohort, r.target, r.split, r.fold, r.seed, r.mode, r."row", r.guidance, r.decoder, r.labelled,
                code_set_stem(r.inferior) AS inferior, code_set_stem(r.superior) AS superior,
                p.part, p.case_id, p.label, p.predicted, r.run
            FROM shown.predictions p JOIN shown.runs r USING (run)
            WHERE {of_r} AND {of_p} AND p.part IN ('val', 'test') AND r.control = ''
            QUALIFY row_number() OVER (
                PARTITION BY r.cohort, r.target, r.split, r.fold, r.seed, r.mode, r."row", r.guidance, r.decoder,
                    r.labelled, code_set_stem(r.inferior), code_set_stem(r.superior), p.part, p.case_id
                ORDER BY r.snapshot DESC, r.run
            ) = 1
        )"""

    sql = f"""
        SELECT cohort, target, case_id, part, "row", guidance, decoder, split, fold, seed, n.label,
            o.predicted AS before, n.predicted AS after
        FROM {newest(in_old)} o JOIN {newest(in_new)} n USING (
            cohort, target, split, fold, seed, mode, "row", guidance, decoder, labelled, inferior, superior,
            part, case_id
        )
        WHERE o.run <> n.run AND o.predicted IS DISTINCT FROM n.predicted
    """
    (counted,) = view.ask(f"SELECT count(*) AS n FROM ({sql})")
    return {"n": counted["n"], "rows": view.ask(f"{sql} ORDER BY ALL LIMIT {MOST}") if counted["n"] else []}
