"""What one guided head and its baselines said of each test case, as columns beside the facts of the cohort."""

from __future__ import annotations

from typing import Any

from guidestore.embeddings.errors import InvalidInputError, NotFoundInStoreError
from guidestore.flows.explore.explored import View, literal
from guidestore.flows.explore.facts import Column, Facts, facts_of
from guidestore.flows.explore.verdicts import GuidedHead, guided_heads

SIDES = (("i", "row I, the cheap image alone"), ("guided", "the guided row"), ("s", "row S"), ("both", "row S+I"))
_OF_SIDE = (
    ("predicted", "category", "class that {} predicts: the likeliest in the mean over its runs"),
    ("right", "flag", "whether {} is right"),
    ("p", "number", "probability that {} gives the true class"),
)
COLUMNS = (
    Column("true_class", "category", "label of the target, as the head was tested on it"),
    *(Column(f"{side}_{name}", kind, about.format(what)) for side, what in SIDES for name, kind, about in _OF_SIDE),
    Column("gain", "number", "guided_p - i_p: what guidance added to the probability of the true class"),
    Column("turned", "category", "turned right, turned wrong, right in both, or wrong in both: I against guided"),
)


def head_of(view: View, cohort: str, key: str) -> GuidedHead:
    """The guided head of a link. Raises NotFoundInStoreError, InvalidInputError where it is not right or wrong."""
    heads = guided_heads(view, cohort)
    for guided in heads:
        if guided.key == key and guided.turns:
            return guided
        if guided.key == key:
            raise InvalidInputError(
                f"{guided.head.target} has no classes that a head gets right or wrong; look by a head of classes"
            )
    raise NotFoundInStoreError(
        f"cohort {cohort} has no guided head {key} at snapshot {view.version}; the link may be of another snapshot"
    )


def source_of(view: View, cohort: str, key: str) -> tuple[Facts, str, tuple[Column, ...]]:
    """The facts of a cohort, what FROM takes for them, and all columns; with those of a head where `key` is not ''."""
    facts = facts_of(view, cohort)
    if not key:
        return facts, facts.table, facts.columns
    name = view.once(("outcomes", cohort, key), lambda: _made(view, facts, head_of(view, cohort, key)))
    return facts, f"(SELECT * FROM {facts.table} LEFT JOIN {name} USING (i))", (*facts.columns, *COLUMNS)


def _made(view: View, facts: Facts, guided: GuidedHead) -> str:
    """The name of the table. Runs of folds that share a case count with the mean of their probabilities."""
    row = guided.group.row
    runs: dict[str, Any] = {"i": (), "guided": (), "s": (), "both": ()}
    if row is not None:
        runs = {"i": row.inferior, "guided": row.guided, "s": row.superior, "both": row.s_plus_i}
    else:
        runs["guided"] = [run.id for run in guided.group.members if run.head == guided.head]
    sides = [(run, side) for side, ids in runs.items() for run in ids]
    listed = ", ".join(f"({literal(run)}, {literal(side)})" for run, side in sides)
    columns = ", ".join(
        f"any_value(predicted) FILTER (side = '{side}') AS {side}_predicted, "
        f"any_value(predicted = label) FILTER (side = '{side}') AS {side}_right, "
        f"any_value(p_true) FILTER (side = '{side}') AS {side}_p"
        for side, _ in SIDES
    )
    name = f"memory.main.outcomes_{guided.key}"
    target = f"cohort = {literal(facts.cohort)} AND target = {literal(guided.head.target)}"
    with view.connection() as con:
        con.execute(f"""
            CREATE OR REPLACE TABLE {name} AS
            WITH asked(run, side) AS (VALUES {listed}),
            classes AS (SELECT class_index + 1 AS place, class FROM targets WHERE {target}),
            said AS (
                SELECT f.i, a.side, p.label, unnest(p.probabilities) AS p,
                    generate_subscripts(p.probabilities, 1) AS place
                FROM predictions p JOIN asked a USING (run) JOIN {facts.table} f USING (case_id)
                WHERE p.part = 'test' AND p.label IS NOT NULL
            ),
            means AS (SELECT i, side, any_value(label) AS label, place, avg(p) AS p FROM said GROUP BY i, side, place),
            of_side AS (
                SELECT i, side, any_value(label) AS label, first(class ORDER BY p DESC, place) AS predicted,
                    max(p) FILTER (class = label) AS p_true
                FROM means JOIN classes USING (place) GROUP BY i, side
            ),
            wide AS (SELECT i, any_value(label) AS true_class, {columns} FROM of_side GROUP BY i)
            SELECT *, guided_p - i_p AS gain, CASE
                WHEN i_right AND guided_right THEN 'right in both'
                WHEN i_right AND NOT guided_right THEN 'turned wrong'
                WHEN NOT i_right AND guided_right THEN 'turned right'
                WHEN NOT i_right AND NOT guided_right THEN 'wrong in both'
            END AS turned
            FROM wide
        """)
    return name
