"""`guidestore mcp`, spoken to over stdin and stdout with the official client."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client

from guidestore.embeddings.store import EmbeddingStore
from guidestore.warehouse.runs import all_runs

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("list_cohorts", {}),
    ("list_code_sets", {"cohort": "skin"}),
    ("sql", {"query": "SELECT 1 AS one, 'nan'::DOUBLE AS none, DATE '2026-01-02' AS day"}),
    ("sql", {"query": "SELECT range AS n FROM range(1000)", "most_rows": 5000}),
    ("sql", {"query": "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) FROM r", "timeout_s": 0.5}),
    ("sql", {"query": "COPY (SELECT 1) TO 'stolen.csv'"}),
    ("sql", {"query": "SELECT * FROM read_csv('/etc/passwd')"}),
    ("sql", {"query": "INSTALL httpfs"}),
    ("neighbours", {"case_id": "lesion-000", "code_set": "skin/clinical/made", "k": 3}),
    ("neighbours", {"case_id": "nobody", "code_set": "skin/clinical/made"}),
    ("advise", {"cohort": "skin", "inferior": "clinical/made", "superior": "dermoscopy/made", "target": "PIG"}),
    ("advise", {"cohort": "skni", "inferior": "clinical/made", "superior": "dermoscopy/made"}),
)


def tree(place: Path) -> dict[str, str]:
    files = (file for file in place.rglob("*") if file.is_file())
    return {str(file.relative_to(place)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def told(report_store: Path) -> dict[str, Any]:
    """What the server said: its tools, and the answer to each call; and whether the store is as it was."""
    runs = [
        run for run in all_runs(EmbeddingStore.open(report_store).snapshot()) if run.target == "PIG" and not run.control
    ]
    pair = [run.id for run in runs if run.row in ("I", "S+I") and run.seed == runs[0].seed][:2]
    calls = (
        *CALLS,
        ("compare", {"run_a": pair[0], "run_b": pair[1]}),
        ("compare", {"run_a": "nothing", "run_b": pair[1]}),
    )
    before = tree(report_store)
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "guidestore", "mcp", "--store", str(report_store)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    async def speak() -> dict[str, Any]:
        with anyio.fail_after(120):
            async with stdio_client(command) as (read, write), ClientSession(read, write) as session:
                await session.initialize()
                tools = (await session.list_tools()).tools
                answers = [await session.call_tool(name, arguments) for name, arguments in calls]
                return {"tools": tools, "answers": answers}

    said = anyio.run(speak)
    return said | {"calls": calls, "untouched": tree(report_store) == before}


def answers(told: dict[str, Any], tool: str) -> list[Any]:
    """A dictionary of an answer, the sentence of an error."""
    found = [answer for (name, _), answer in zip(told["calls"], told["answers"], strict=True) if name == tool]
    return [answer.content[0].text if answer.is_error else json.loads(answer.content[0].text) for answer in found]


def test_every_tool_reads_and_none_wrote(told: dict[str, Any]) -> None:
    names = {tool.name for tool in told["tools"]}
    assert names == {"list_cohorts", "list_code_sets", "sql", "neighbours", "advise", "compare"}
    assert all(tool.annotations.read_only_hint and not tool.annotations.destructive_hint for tool in told["tools"])
    assert told["untouched"]


def test_it_lists_cohorts_and_code_sets(told: dict[str, Any]) -> None:
    (cohorts,) = answers(told, "list_cohorts")
    assert {row["cohort"] for row in cohorts["rows"]} == {"skin"}
    (sets,) = answers(told, "list_code_sets")
    assert [row["code_set"].split("@")[0] for row in sets["rows"]] == ["skin/clinical/made", "skin/dermoscopy/made"]


def test_sql_has_the_limits_of_the_command_line(told: dict[str, Any]) -> None:
    one, many, endless, copied, read, installed = answers(told, "sql")
    assert one["rows"] == [{"one": 1, "none": None, "day": "2026-01-02"}]
    assert len(many["rows"]) == 200
    assert many["notes"] == ["800 more rows; ask for fewer, or aggregate"]
    assert "took longer than 0.5 s" in endless
    assert "read-only and COPY does more than read" in copied
    assert "can neither read nor write files" in read
    assert "does more than read" in installed


def test_neighbours_advice_and_comparisons(told: dict[str, Any]) -> None:
    near, nobody = answers(told, "neighbours")
    assert len(near["rows"]) == 3
    assert near["rows"][0]["rank"] == 1
    assert "nobody" in nobody
    advice, unknown = answers(told, "advise")
    assert advice["rows"][0]["target"] == "PIG"
    assert advice["rows"][0]["advice"]
    assert "did you mean 'skin'" in unknown
    compared, nothing = answers(told, "compare")
    assert {"metric", "a", "b", "gain", "low", "high", "p"} <= set(compared["rows"][0])
    assert compared["notes"][0].startswith("a: ")
    assert "nothing" in nothing
