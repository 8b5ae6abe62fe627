"""What one guided head and its baselines said of each test case, as columns beside the facts of the cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guidestore.embeddings.errors import NotFoundInStoreError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.flows.explore.explored import View, literal
from guidestore.flows.explore.facts import Column, Facts, facts_of
from guidestore.flows.explore.verdicts import GuidedHead, guided_heads

SIDES = (("i", "row I, the cheap image alone"), ("guided", "the guided row"), ("s", "row S"), ("both", "row S+I"))
OTHERS = 2000
"""Cases of a run that each of its cases is ordered against in time, where there are more."""
_CLASS = (
    ("predicted", "category", "class that {} predicts: the likeliest in the mean over its runs"),
    ("right", "flag", "whether {} is right"),
    ("p", "number", "probability that {} gives the true class"),
)
_OF_SIDE: Mapping[TargetKind, tuple[tuple[str, str, str], ...]] = {
    "classes": _CLASS,
    "ordinal": _CLASS,
    "multilabel": (
        ("right", "number", "share of its known labels that {} has right"),
        ("p", "number", "mean probability that {} gives to what is true of each known label"),
    ),
    "value": (
        ("predicted", "number", "value that {} predicts: the mean over its runs"),
        ("error", "number", "how far {} is from the true value"),
    ),
    "survival": (
        ("predicted", "number", "risk that {} gives it, as its rank among the test cases: 1 is the highest"),
        ("order", "number", "share of the cases known to end before or after it that {} puts on their side"),
    ),
}
"""Kind of target -> what is told of each side: end of the column's name, its kind, and what it says."""
_GAIN = {
    "value": ("i_error - guided_error", "how much nearer guidance came to the true value"),
    "survival": ("guided_order - i_order", "what guidance added to the share of cases in the right order"),
    "multilabel": ("guided_p - i_p", "what guidance added to the mean probability of what is true"),
}
_GAIN_OF_CLASS = ("guided_p - i_p", "what guidance added to the probability of the true class")
_TURNED = """, CASE
    WHEN i_right AND guided_right THEN 'right in both'
    WHEN i_right AND NOT guided_right THEN 'turned wrong'
    WHEN NOT i_right AND guided_right THEN 'turned right'
    WHEN NOT i_right AND NOT guided_right THEN 'wrong in both'
END AS turned"""


def columns_of_head(guided: GuidedHead) -> tuple[Column, ...]:
    """What is known of a test case by a head of its kind of target."""
    told = [
        Column(f"{side}_{name}", kind, about.format(what))
        for side, what in SIDES
        for name, kind, about in _OF_SIDE[guided.kind]
    ]
    gain, about = _GAIN.get(guided.kind, _GAIN_OF_CLASS)
    told.append(Column("gain", "number", f"{gain}: {about}"))
    if not guided.turns:
        return tuple(told)
    label = Column("true_class", "category", "label of the target, as the head was tested on it")
    ways = "turned right, turned wrong, right in both, or wrong in both: I against guided"
    return (label, *told, Column("turned", "category", ways))


def head_of(view: View, cohort: str, key: str) -> GuidedHead:
    """The guided head of a link. Raises NotFoundInStoreError."""
    for guided in guided_heads(view, cohort):
        if guided.key == key:
            return guided
    raise NotFoundInStoreError(
        f"cohort {cohort} has no guided head {key} at snapshot {view.version}; the link may be of another snapshot"
    )


def source_of(view: View, cohort: str, key: str) -> tuple[Facts, str, tuple[Column, ...]]:
    """The facts of a cohort, what FROM takes for them, and all columns; with those of a head where `key` is not ''."""
    facts = facts_of(view, cohort)
    if not key:
        return facts, facts.table, facts.columns
    guided = head_of(view, cohort, key)
    name = view.once(("outcomes", cohort, key), lambda: _made(view, facts, guided))
    source = f"(SELECT * FROM {facts.table} LEFT JOIN {name} USING (i))"
    return facts, source, (*facts.columns, *columns_of_head(guided))


def _made(view: View, facts: Facts, guided: GuidedHead) -> str:
    """The name of the table. Runs of folds that share a case count with the mean of what they say."""
    row = guided.group.row
    runs: dict[str, Any] = {"i": (), "guided": (), "s": (), "both": ()}
    if row is not None:
        runs = {"i": row.inferior, "guided": row.guided, "s": row.superior, "both": row.s_plus_i}
    else:
        runs["guided"] = [run.id for run in guided.group.members if run.head == guided.head]
    sides = [(run, side) for side, ids in runs.items() for run in ids]
    listed = ", ".join(f"({literal(run)}, {literal(side)})" for run, side in sides)
    columns = ", ".join(
        f"any_value(\"{name}\") FILTER (side = '{side}') AS {side}_{name}"
        for side, _ in SIDES
        for name, _, _ in _OF_SIDE[guided.kind]
    )
    target = f"cohort = {literal(facts.cohort)} AND target = {literal(guided.head.target)}"
    gain, _ = _GAIN.get(guided.kind, _GAIN_OF_CLASS)
    label, turned = ("any_value(label) AS true_class, ", _TURNED) if guided.turns else ("", "")
    name = f"memory.main.outcomes_{guided.key}"
    with view.connection() as con:
        con.execute(f"""
            CREATE OR REPLACE TABLE {name} AS
            WITH asked(run, side) AS (VALUES {listed}),
            truth AS (SELECT f.i, l.* FROM labels l JOIN {facts.table} f USING (case_id) WHERE {target}),
            classes AS (SELECT class_index + 1 AS place, class FROM targets WHERE {target}),
            said AS (
                SELECT f.i, a.run, a.side, p.label, p.probabilities, p.value, p.risk
                FROM predictions p JOIN asked a USING (run) JOIN {facts.table} f USING (case_id)
                WHERE p.part = 'test'
            ),
            {_TOLD[guided.kind]},
            wide AS (SELECT i, {label}{columns} FROM of_side GROUP BY i)
            SELECT *, {gain} AS gain{turned} FROM wide
        """)
    return name


_EACH_CLASS = """
    each AS (
        SELECT i, side, label, unnest(probabilities) AS p, generate_subscripts(probabilities, 1) AS place FROM said
    )
"""
_TOLD_CLASS = f"""
    {_EACH_CLASS},
    means AS (
        SELECT i, side, any_value(label) AS label, place, avg(p) AS p FROM each WHERE label IS NOT NULL
        GROUP BY i, side, place
    ),
    of_class AS (
        SELECT i, side, any_value(label) AS label, first(class ORDER BY p DESC, place) AS predicted,
            max(p) FILTER (class = label) AS p
        FROM means JOIN classes USING (place) GROUP BY i, side
    ),
    of_side AS (SELECT *, predicted = label AS "right" FROM of_class)
"""
_TOLD: Mapping[TargetKind, str] = {
    "classes": _TOLD_CLASS,
    "ordinal": _TOLD_CLASS,
    "multilabel": f"""
        {_EACH_CLASS},
        means AS (SELECT i, side, class, avg(p) AS p FROM each JOIN classes USING (place) GROUP BY i, side, class),
        of_side AS (
            SELECT i, side, avg(((p >= 0.5) = (value = 1))::INTEGER) AS "right",
                avg(CASE WHEN value = 1 THEN p ELSE 1 - p END) AS p
            FROM means JOIN truth USING (i, class) WHERE value IS NOT NULL GROUP BY i, side
        )
    """,
    "value": """
        means AS (SELECT i, side, avg(value) AS predicted FROM said GROUP BY i, side),
        of_side AS (
            SELECT i, side, predicted, abs(predicted - truth.value) AS error FROM means JOIN truth USING (i)
            WHERE truth.value IS NOT NULL
        )
    """,
    "survival": f"""
        known AS (
            SELECT said.i, run, side, risk, time, event, percent_rank() OVER (PARTITION BY run ORDER BY risk) AS rank
            FROM said JOIN truth USING (i) WHERE time IS NOT NULL
        ),
        others AS (
            SELECT * FROM known QUALIFY row_number() OVER (PARTITION BY run ORDER BY hash(i), i) <= {OTHERS}
        ),
        pairs AS (
            SELECT a.i, a.side, CASE WHEN a.risk = b.risk THEN 0.5
                WHEN (a.time < b.time) = (a.risk > b.risk) THEN 1 ELSE 0 END AS in_order
            FROM known a JOIN others b ON a.run = b.run AND (
                (a.event AND a.time < b.time) OR (b.event AND b.time < a.time)
            )
        ),
        orders AS (SELECT i, side, avg(in_order) AS "order" FROM pairs GROUP BY i, side),
        ranks AS (SELECT i, side, avg(rank) AS predicted FROM known GROUP BY i, side),
        of_side AS (SELECT i, side, predicted, "order" FROM ranks LEFT JOIN orders USING (i, side))
    """,
}
"""Kind of target -> the queries from `said`, `truth` and `classes` to `of_side`: a row per case and side."""
