"""What the store holds, for the page that one comes in by: cohorts, code sets, snapshots, names."""

from __future__ import annotations

from typing import Any

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.flows.explore.explored import Explored, View

_NEWEST = 12


def overview(explored: Explored, at: str) -> dict[str, Any]:
    """Everything that the landing page shows."""
    view = explored.view(at)

    def ask() -> dict[str, Any]:
        return {
            "cohorts": _cohorts(view),
            "code_sets": view.ask(
                "SELECT name, cohort, modality, encoder, kind, d, cases, artifacts, trained_on "
                "FROM code_sets ORDER BY ALL"
            ),
            "snapshots": view.ask(
                f"SELECT version, created_at, message, artifacts FROM snapshots ORDER BY version DESC LIMIT {_NEWEST}"
            ),
            "names": view.ask(
                "SELECT name, snapshot, 'tag' AS kind, '' AS run FROM tags UNION ALL "
                "SELECT name, snapshot, 'alias', run FROM aliases ORDER BY snapshot DESC, name"
            ),
            "sweeps": view.ask(
                "SELECT cohort, name, len(runs) AS runs, created_at FROM sweeps ORDER BY created_at DESC"
            ),
        }

    about = {
        "store": explored.store.storage.url.rstrip("/").rpartition("/")[2],
        "snapshot": view.version,
        "behind": explored.lag,
    }
    return about | view.once("overview", ask)


def _cohorts(view: View) -> list[dict[str, Any]]:
    return view.ask("""
        WITH of_runs AS (
            SELECT cohort, count(*) AS runs, list_sort(list(DISTINCT target)) AS targets, max(created_at) AS last_run
            FROM runs GROUP BY ALL
        ), refused AS (
            SELECT cohort, count(DISTINCT (case_id, image_id, modality)) AS quarantined FROM quarantine GROUP BY ALL
        )
        SELECT c.cohort, c.layout, c.pseudonymized, c.cases, c.images,
            coalesce(r.runs, 0) AS runs, coalesce(r.targets, []) AS targets, r.last_run,
            coalesce(q.quarantined, 0) AS quarantined
        FROM (
            SELECT cohort, layout, pseudonymized, cases, images FROM cohorts
            UNION ALL
            SELECT DISTINCT cohort, '', false, 0, 0 FROM code_sets WHERE cohort NOT IN (SELECT cohort FROM cohorts)
        ) c
        LEFT JOIN of_runs r USING (cohort) LEFT JOIN refused q USING (cohort)
        ORDER BY c.cohort
    """)


def check_cohort(view: View, cohort: str) -> None:
    """Raises NotFoundInStoreError where there is no such cohort."""
    known = view.once("names of cohorts", lambda: [row["cohort"] for row in _cohorts(view)])
    if cohort not in known:
        raise NotFoundInStoreError(f"there is no cohort {cohort!r}; there are {', '.join(known) or 'none yet'}")
