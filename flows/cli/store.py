"""The store: sql, index, tag, fsck, gc, purge, compact."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.words import count_of
from guidestore.flows.cli.app import App
from guidestore.flows.cli.options import STORE, At, Format, Key, Store

if TYPE_CHECKING:
    from guidestore.embeddings.purge import PurgePlan

app = App()


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="Any SELECT, or `FROM codes`, `FROM metrics`, `SHOW TABLES`, …")],
    at: At = None,
    place: Store = STORE,
    format_: Format = "table",
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.001, help="Seconds after which a query is stopped.")
    ] = 60.0,
) -> None:
    """Ask the warehouse: cohorts, codes, runs, metrics, predictions, lineage, at any snapshot, read-only.

    `SHOW TABLES` lists all views.

    $ guidestore sql "FROM code_sets"
    $ guidestore sql "FROM metrics WHERE part = 'test'" --format csv
    $ guidestore sql "FROM neighbours('CASE', 'COHORT/MODALITY/ENCODER', 5)" --at 12
    """
    ask(query, at, place, format_, timeout)


def ask(query: str, at: str | None, place: str, format_: str, timeout_s: float = 60.0) -> None:
    """Prints what SQL answers, and how far the index is behind."""
    from guidestore.flows.cli.output import MAX_TABLE_ROWS, STREAMED, show_arrow, show_plain, terminal_width
    from guidestore.flows.work.memory import bound_memory
    from guidestore.warehouse.catalog import query as query_arrow
    from guidestore.warehouse.catalog import query_plain, query_rows

    bound_memory()
    streamed = STREAMED | ({} if terminal_width() else {"table": show_plain})
    if format_ in streamed:
        answer = query_rows(place, query, streamed[format_], at, timeout_s=timeout_s)
    elif format_ == "table":
        answer = query_plain(place, query, at, timeout_s=timeout_s, most_rows=MAX_TABLE_ROWS)
        show_arrow(answer.table, format_, more=answer.table.more)
    else:
        answer = query_arrow(place, query, at, timeout_s=timeout_s)
        show_arrow(answer.table, format_)
    if answer.lag_line and at is None:
        print(f"note: {answer.lag_line}", file=sys.stderr)


@app.command()
def index(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="From the commits, not from the last index.")] = False,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Bring the SQL index up to the newest commit. It is disposable: the commits hold everything.

    $ guidestore index
    $ guidestore index --rebuild
    """
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.progress import progress_bars

    with progress_bars() as progress:
        from guidestore.warehouse.indexer import build_index

        info = build_index(
            EmbeddingStore.open(place), rebuild=rebuild, progress=lambda done, total: progress("index", done, total)
        )
    row = {"snapshot": info.version, "index": info.path.name, "action": info.action}
    show_done([f"index at snapshot {info.version}: {info.path.name}"], [row], format_)


@app.command("tag")
def tag_command(
    name: Annotated[str, typer.Argument(help="Name that will always mean this snapshot.")],
    at: At = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Give a snapshot a fixed name.

    $ guidestore tag submitted
    $ guidestore tag before-relabelling --at 12
    """
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.stores import opened

    with opened(place, adds=False) as store:
        snapshot = store.tag(name, at)
    show_done([f"{name} -> snapshot {snapshot}"], [{"tag": name, "snapshot": snapshot}], format_)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="Snapshot: number, tag or alias.")],
    b: Annotated[str | None, typer.Argument(help="The later one; default: the newest.")] = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Count what snapshot B has and A has not, and the other way round: codes, labels, splits, runs, weights.

    $ guidestore diff 12
    $ guidestore diff submitted 31 --format csv
    """
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.results.changes import COLUMNS, changes_between

    rows = changes_between(EmbeddingStore.open(place), a, b)
    show_rows(rows, COLUMNS, format_, title=f"snapshot {a} (A) and {b or 'the newest'} (B)")


@app.command("fsck")
def fsck_command(
    drop: Annotated[
        bool,
        typer.Option(
            "--drop-damaged", help="Drop damaged codes from the newest snapshot, so that encode makes them again."
        ),
    ] = False,
    head: Annotated[
        str, typer.Option("--head", help="Head that an earlier fsck printed: its commit must still be in the log.")
    ] = "",
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Read every byte of the store and name what is not as it was committed.

    It prints the head of the log. Keep that elsewhere: `--head` then tells whether commits were taken away or forged.

    $ guidestore fsck
    $ guidestore fsck --drop-damaged
    """
    from guidestore.embeddings.fsck import drop_damaged, fsck
    from guidestore.embeddings.opening import storage_at
    from guidestore.embeddings.places import shown
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    storage = storage_at(place)
    if storage.size("format.json") is None and next(iter(storage.list("commits")), None) is None:
        raise InvalidInputError(f"there is no guidestore at {shown(place)}: name one with --store")
    with progress_bars() as progress:
        report = fsck(storage, lambda done, total: progress("checking", done, total), head=head)
    rows = [{"problem": f.problem, "path": f.path, "case": f.case_id, "detail": f.detail} for f in report.findings]
    if rows or format_ != "table":
        show_rows(rows, ("problem", "path", "case", "detail"), format_)
    print(f"head {report.head or 'none yet'}", file=sys.stderr)
    verdict = "clean" if report.clean else count_of(sum(not f.harmless for f in report.findings), "problem")
    print(
        f"{count_of(report.commits, 'commit')}, {count_of(report.files, 'file')}, {report.bytes / 1e6:.1f} MB read: "
        f"{verdict}",
        file=sys.stderr,
    )
    if drop:
        with opened(place) as store:
            print(f"{count_of(drop_damaged(store, report), 'damaged artifact')} dropped", file=sys.stderr)
    if not report.clean:
        raise typer.Exit(4)


@app.command("gc")
def gc_command(
    dry_run: Annotated[bool, typer.Option("--dry-run/--delete", help="Only list, or delete.")] = True,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Sweep what crashed writers left, once it is older than 24 hours. Lists only, unless --delete.

    Swept data lie in the store's trash for another day, and go with the first `gc --delete` after that.

    $ guidestore gc
    $ guidestore gc --delete
    """
    from guidestore.embeddings.gc import collect
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place) as store:
        sweep = collect(store, dry_run=dry_run, progress=lambda done, total: progress("sweeping", done, total))
    moves, deletes = ("would move", "would delete") if dry_run else ("moved", "deleted")
    rows, sentences = [], []
    for file in (*sweep.swept, *sweep.emptied):
        trashed = file in sweep.swept and file.path.startswith("objects/")
        verb, where = (moves, " to the trash") if trashed else (deletes, "")
        rows.append({"what": f"{verb}{where}", "path": file.path, "bytes": file.size})
        sentences.append(f"{verb} {file.path}{where} ({count_of(file.size, 'byte')})")
    for path in sweep.restored:
        rows.append({"what": "moved back from the trash", "path": path, "bytes": None})
        sentences.append(f"moved {path} back from the trash")
    show_done(sentences, rows, format_, columns=("what", "path", "bytes"))
    print(
        f"{count_of(len(sweep.swept), 'orphan')}, {sweep.bytes / 1e6:.1f} MB; {len(sweep.kept)} stay, young or of "
        "writers at work",
        file=sys.stderr,
    )


@app.command("purge")
def purge_command(
    case: Annotated[str, typer.Argument(help="Case id as it stands in the store.")],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohort of the case.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    key: Key = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Remove a withdrawn case from every snapshot, and name the trained weights that saw it. Cannot be undone.

    $ guidestore purge PAT_0042 --cohort glioma
    """
    from guidestore.embeddings.purge import plan_purge, purge
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.stores import opened

    if key is not None:
        from guidestore.warehouse.cohorts.pseudonyms import Pseudonyms

        case = Pseudonyms.load(key).case(case)
    with opened(place) as store:
        if not yes:
            _confirm(plan_purge(store, cohort, case))
        report = purge(store, cohort, case)
    saw = [
        {"what": f"{entry.meta.get('role')} {entry.meta.get('name')}", "fold": f"{entry.split}/{entry.fold}"}
        | {"weights": entry.artifact}
        for entry in report.weights
    ]
    gone = f"{count_of(report.artifacts, 'artifact')} gone, {count_of(report.rewritten, 'shared file')} rewritten"
    again = (f"saw the case, train it again: {row['what']} of {row['fold']} ({row['weights'][:12]})" for row in saw)
    counted = {"case": case, "artifacts": report.artifacts, "rewritten": report.rewritten}
    show_done([f"case {case}: {gone}", *again], [counted | row for row in saw or [{}]], format_)
    if store.storage.keeps_versions():
        print(
            f"note: the bucket keeps versions, so old ones of the case's files are still in it: delete the noncurrent "
            f"versions below {store.storage.url}/objects and /checkpoints too",
            file=sys.stderr,
        )
    _forget(case)


def _forget(case: str) -> None:
    """What Prefect's servers were told of the case."""
    import os

    from guidestore.flows.engine.forgetting import forget_case, own_database

    if database := own_database():
        print(f"{forget_case(database, case)} rows that named it taken out of {database}", file=sys.stderr)
    if other := os.environ.get("PREFECT_API_URL"):
        print(
            f"note: logs, artifacts and messages of runs at {other} may name the case: delete those runs there",
            file=sys.stderr,
        )


def _confirm(plan: PurgePlan) -> None:
    """Shows what will go and has the case id typed. Raises typer.Abort."""
    parts = [f"{count} {kind}" for kind, count in plan.artifacts.items()]
    parts += ["its rows (labels, splits, images)", f"its predictions of {count_of(plan.runs, 'run')}"]
    print(f"case {plan.case_id} of cohort {plan.cohort}, in every snapshot: {', '.join(parts)}", file=sys.stderr)
    if plan.weights:
        print(f"{len(plan.weights)} trained weights that saw it stay, and will be named", file=sys.stderr)
    typed = typer.prompt("This cannot be undone. Type the case id to go on", err=True)
    if typed != plan.case_id:
        raise InvalidInputError(f"{typed!r} is not {plan.case_id}: nothing was changed")


@app.command("compact")
def compact_command(place: Store = STORE, format_: Format = "table") -> None:
    """Join the many small files of each set of case codes into one; earlier snapshots keep theirs.

    $ guidestore compact
    """
    from guidestore.embeddings.compact import compact
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.reporting import counted
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place) as store:
        keys = store.snapshot().code_sets
        done = [(str(key), compact(store, key)) for key in counted(keys, len(keys), "code sets", progress)]
    rows = [{"code_set": name, "files_joined": joined} for name, joined in done if joined]
    sentences = [f"{row['code_set']}: {count_of(row['files_joined'], 'file')} joined" for row in rows]
    show_done(sentences or ["nothing to join"], rows, format_, columns=("code_set", "files_joined"))
