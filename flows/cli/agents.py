"""mcp: the store for agents, over stdin and stdout, to read alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from guidestore.embeddings.errors import GuidestoreError, InvalidInputError
from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE, Store

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

app = App()

MOST_ROWS = 200
"""Of an answer, as of a table that `guidestore sql` prints."""
_INSTRUCTIONS = (
    "Reads a guidestore: latent codes of medical images, labels, splits, trained heads and their scores. Nothing here "
    "writes. Start with list_cohorts and list_code_sets; sql answers the rest (SHOW TABLES lists its views). Scores on "
    "test are no ground to choose by: compare looks at val alone, and guidestore counts looks at test, so leave those "
    "to its own commands."
)


@app.command("mcp")
def mcp_command(place: Store = STORE) -> None:
    """Let agents read the store: a Model Context Protocol server on stdin and stdout.

    It lists cohorts and code sets, answers SQL with the limits of `guidestore sql`, finds neighbours, advises and
    compares runs on val. Nothing it has writes. Needs `pip install 'guidestore[mcp]'`.

    $ guidestore mcp --store guidestore-store
    """
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise InvalidInputError("the package mcp is not installed: pip install 'guidestore[mcp]'") from error
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.work.memory import bound_memory

    bound_memory()
    EmbeddingStore.open(place)  # what is wrong with it is said here, and not to the agent
    server(place).run("stdio")


def server(place: str) -> MCPServer:
    """The server of the store at `place`. Every tool gives ``{"rows": […], "notes": […]}``, or an error's sentence."""
    from mcp.server.mcpserver import MCPServer
    from mcp.types import ToolAnnotations

    made = MCPServer("guidestore", instructions=_INSTRUCTIONS, log_level="WARNING")
    reads = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    for tool in _tools(place):
        made.tool(annotations=reads)(_told(tool))
    return made


def _told(tool: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The tool, whose errors are sentences."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    def run(*args: Any, **given: Any) -> dict[str, Any]:
        try:
            return tool(*args, **given)
        except GuidestoreError as error:
            raise ToolError(str(error)) from error

    return run


def _tools(place: str) -> Sequence[Callable[..., dict[str, Any]]]:
    from guidestore.embeddings.store import EmbeddingStore

    def list_cohorts() -> dict[str, Any]:
        """All cohorts: how many cases, which targets with their classes, which splits, how many codes."""
        from guidestore.flows.encoding.lookups import describe_cohort

        snapshot = EmbeddingStore.open(place).snapshot()
        names = sorted(set(snapshot.rows("cohorts")["cohort"].to_pylist()))
        return _answer([{"cohort": name, **row} for name in names for row in describe_cohort(snapshot, name)])

    def list_code_sets(cohort: str = "") -> dict[str, Any]:
        """Code sets as other tools name them: COHORT/MODALITY/ENCODER@DIGEST, with kind (bag, codes), dimensions and
        what the encoder was trained on. cohort: only that one's."""
        snapshot = EmbeddingStore.open(place).snapshot()
        chosen = snapshot.first_name(cohort)
        return _answer(
            [
                {
                    "code_set": str(key),
                    "kind": key.kind,
                    "dimensions": key.code_dim,
                    "trained_on": str(key.trained_on),
                }
                for key in snapshot.code_sets
                if not cohort or key.cohort == chosen
            ]
        )

    def sql(query: str, at: str = "", timeout_s: float = 60.0, most_rows: int = MOST_ROWS) -> dict[str, Any]:
        """Rows that a SELECT gives over the views (SHOW TABLES; FROM code_sets; FROM metrics WHERE part = 'val').

        DuckDB's SQL, read-only: no files, no extensions. at: snapshot number, tag or alias. At most 60 seconds and 200
        rows; what is beyond is counted in the notes."""
        from guidestore.warehouse.catalog import TIMEOUT_S, query_plain

        seconds, most = min(max(timeout_s, 0.001), TIMEOUT_S), min(max(most_rows, 0), MOST_ROWS)
        answer = query_plain(place, query, at or None, timeout_s=seconds, most_rows=most)
        more = [f"{answer.table.more:,} more rows; ask for fewer, or aggregate"] if answer.table.more else []
        behind = [answer.lag_line] if answer.lag_line and not at else []
        return _answer(answer.table.to_pylist(), [*more, *behind])

    def neighbours(
        case_id: str,
        code_set: str,
        k: int = 10,
        metric: Literal["cosine", "euclidean"] = "cosine",
        at: str = "",
    ) -> dict[str, Any]:
        """The k cases most like a case by their codes, with their labels; all codes are compared. code_set:
        COHORT/MODALITY/ENCODER[@DIGEST]."""
        from guidestore.flows.results.neighbours import neighbours as find

        store = EmbeddingStore.open(place)
        # exact: an index would be committed
        table = find(store, case_id, code_set, k=min(k, MOST_ROWS), metric=metric, at=at or None, exact=True)
        return _answer(table.rows, table.notes)

    def advise(
        cohort: str,
        inferior: str,
        superior: str,
        target: str = "",
        split: str = "",
        labelled: int | None = None,
    ) -> dict[str, Any]:
        """Whether guidance can be expected to help, by how much, which row, and the command that trains it. Trains
        nothing and looks at train cases alone. inferior, superior: MODALITY/ENCODER[@DIGEST]. labelled: a budget."""
        from guidestore.flows.guiding.advise import advise as foretell
        from guidestore.flows.guiding.settings import GuideSettings
        from guidestore.flows.work.naming import with_first_name
        from guidestore.flows.work.settings import validated

        store = EmbeddingStore.open(place)
        targets = (target,) if target else ()
        given = {"cohort": cohort, "inferior": inferior, "superior": superior, "targets": targets, "split": split}
        settings = with_first_name(store, validated(GuideSettings, **given))
        return _answer(foretell(store.snapshot(), settings, labelled=labelled))

    def compare(run_a: str, run_b: str, at: str = "") -> dict[str, Any]:
        """Run b minus run a on the val cases that both predict: each metric with its 95 % interval and p, and the cases
        whose class changed. Runs: an alias (champion), or 8 digits or more of an id."""
        from guidestore.flows.results.two_runs import compare_runs

        # val: a look at test is counted, which is a commit
        comparison = compare_runs(EmbeddingStore.open(place), run_a, run_b, part="val", at=at or None)
        notes = [f"a: {comparison.names[0]}", f"b: {comparison.names[1]}", *comparison.notes]
        return _answer(comparison.as_rows(), notes) | {"changed": _plain(comparison.changed_rows()[:MOST_ROWS])}

    return (list_cohorts, list_code_sets, sql, neighbours, advise, compare)


def _answer(rows: Sequence[dict[str, Any]], notes: Sequence[str] = ()) -> dict[str, Any]:
    more = [f"{len(rows) - MOST_ROWS:,} more rows"] if len(rows) > MOST_ROWS else []
    return {"rows": _plain(rows[:MOST_ROWS]), "notes": [*notes, *more]}


def _plain(value: Any) -> Any:
    """As JSON has it: what is no number is null, other things are text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    item = getattr(value, "item", None)
    return _plain(item()) if callable(item) else str(value)
