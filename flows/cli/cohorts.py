"""Cohorts: add, split, list, show."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer
from typer.main import get_command

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.app import FILE_OR_URL, App, Group
from guidestore.flows.cli.options import STORE, Format, Key, Store, Target
from guidestore.flows.cli.output import Kind, show_done
from guidestore.flows.work.printable import one_line

if TYPE_CHECKING:
    from guidestore.warehouse.cohorts.cohort import CohortReport
    from guidestore.warehouse.cohorts.layout import Layout

_SHOWN_CHANGES = 5

app = App(help="Cohorts: named sets of cases with images, labels and splits.")


class LayoutGroup(Group):
    """A command for each layout, made of the fields of the layout's class when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        from guidestore.warehouse.cohorts.layout import LAYOUTS

        return list(LAYOUTS.names())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from guidestore.embeddings.plugins import names_object
        from guidestore.warehouse.cohorts.layout import LAYOUTS, own_layout

        if names_object(cmd_name):
            return _layout_command(own_layout(cmd_name), cmd_name)
        return _layout_command(LAYOUTS.load(cmd_name), cmd_name) if cmd_name in LAYOUTS else None


app.add_typer(
    App(
        cls=LayoutGroup,
        help="Add a cohort, or more of one, from files. A layout of your own is module:Class.",
    ),
    name="add",
)


def _layout_command(layout: type[Layout], called: str) -> Any:
    from guidestore.flows.work.settings import by_url

    def add(name: str, store: str, replace: bool, dry_run: bool, format_: Kind, **given: Any) -> None:
        from guidestore.flows.work.progress import progress_bars

        with progress_bars() as progress:
            from guidestore.flows.encoding.cohorts import add_files, layout_of
            from guidestore.flows.work.stores import to_fill

            def told(done: int, total: int) -> None:
                progress("files", done, total)

            asked = layout_of(called, given)
            with to_fill(store, dry_run=dry_run) as filled:
                report = add_files(filled, name, asked, told, supersede=replace, dry_run=dry_run)
        _show(report, format_, dry_run=dry_run)

    annotations: dict[str, Any] = {"name": Annotated[str, typer.Argument(help="Name of the cohort.")]}
    defaults: dict[str, Any] = {"store": STORE}
    for field, info in layout.model_fields.items():
        metavar = FILE_OR_URL if by_url(info) else None
        option = typer.Option(f"--{field.replace('_', '-')}", metavar=metavar, help=info.description)
        several = get_origin(info.annotation) is tuple
        annotations[field] = Annotated[list[str] | None if several else info.annotation, option]
        if not info.is_required():
            defaults[field] = None if several else info.default
    annotations["replace"] = Annotated[
        bool, typer.Option("--replace", help="These labels and images supersede others; the old stay in the history.")
    ]
    annotations["dry_run"] = Annotated[bool, typer.Option("--dry-run", help="Say what would be added; add nothing.")]
    defaults |= {"replace": False, "dry_run": False, "format_": "table"}
    annotations |= {"store": Store, "format_": Format}
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=defaults.get(name, inspect.Parameter.empty)
        )
        for name, kind in annotations.items()
    ]
    add.__doc__, add.__annotations__ = layout.__doc__, annotations
    add.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    made = App(add_completion=False)
    made.command(called)(add)
    return get_command(made)


def _show(report: CohortReport, format_: str, *, dry_run: bool = False, more: Sequence[str] = ()) -> None:
    classes = count_of(report.classes, "class")
    in_brackets = f" ({classes})" if report.classes else ""
    named = {
        "splits": count_of(report.splits, "split"),
        "targets": count_of(report.targets, "target") + in_brackets if report.targets else classes,
    }
    counts = {
        kind: named.get(kind, count_of(count, kind.removesuffix("s"))) for kind, count in report.added.items() if count
    }
    changed = [count_of(len(rows), kind.removesuffix("s")) for kind, rows in report.changed.items()]
    changed += [f"{what} of {count_of(count, 'image')}" for what, count in report.images_changed.items()]
    said = [f"would add {', '.join(counts.values())}" if dry_run else ", ".join(counts.values())] * bool(counts)
    said += [f"would change {', '.join(changed)}"] * bool(changed and dry_run)
    said += [f"{what} changed" for what in changed if not dry_run]
    added = ", ".join(said) or "nothing new"
    end = "nothing written" if dry_run else f"snapshot {report.snapshot}"
    row: dict[str, Any] = {"cohort": report.cohort, "snapshot": report.snapshot, "dry_run": dry_run}
    row |= {"splits": report.splits, "targets": report.targets, "classes": report.classes}
    added_to = {**report.added, "targets": report.targets, "splits": report.splits}
    row |= {f"{kind}_added": count for kind, count in added_to.items()}
    row |= {f"{kind}_changed": len(rows) for kind, rows in report.changed.items()}
    row |= {f"images_changed_{what}": count for what, count in report.images_changed.items()}
    show_done([f"cohort {report.cohort}: {added}; {end}", *more], [row], format_)
    for kind, rows in report.changed.items():
        more = f"; and {len(rows) - _SHOWN_CHANGES} more" if len(rows) > _SHOWN_CHANGES else ""
        print(f"note: {kind} changed: {'; '.join(rows[:_SHOWN_CHANGES])}{more}", file=sys.stderr)
    if set(report.images_changed) - {"path", "list of files"}:
        print("note: `guidestore encode` makes the codes of changed images again", file=sys.stderr)
    for issue in report.issues:
        print(one_line(f"note: {issue.sentence}"), file=sys.stderr)


@app.command("split")
def split_command(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    folds: Annotated[int, typer.Option("--folds", min=2, help="Stratified folds; each case is tested once.")] = 5,
    name: Annotated[str, typer.Option("--name", help="Name of the split; default cvFOLDS.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw.")] = 0,
    val: Annotated[float, typer.Option("--val", min=0.01, max=0.9, help="Val's share of what is not test.")] = 0.15,
    target: Target = "",
    group: Annotated[
        str, typer.Option("--group", help="Cases that share it stay in one part: a column of --groups, or a target.")
    ] = "",
    groups: Annotated[
        Path | None,
        typer.Option("--groups", metavar=FILE_OR_URL, help="Table of case_id and the column of --group."),
    ] = None,
    id_column: Annotated[
        str, typer.Option("--id-column", help="Column of the case ids in --groups; default: case_id.")
    ] = "case_id",
    key: Key = None,
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Draw stratified folds (train, val, test) with a seed, and keep them.

    $ guidestore cohort split glioma --folds 5
    $ guidestore cohort split glioma --folds 3 --name by-site --groups sites.csv --group site
    """
    from guidestore.flows.encoding.cohorts import add_split
    from guidestore.flows.encoding.lookups import only_target
    from guidestore.flows.work.stores import opened

    name = name or f"cv{folds}"
    with opened(store) as of_cohort:
        cohort = of_cohort.snapshot().first_name(cohort)
        target = target or only_target(of_cohort.snapshot(), cohort)
        report = add_split(
            of_cohort,
            cohort,
            target,
            name=name,
            folds=folds,
            seed=seed,
            val_fraction=val,
            group=group,
            groups=groups,
            id_column=id_column,
            key=key,
        )
    drawn = f"split {name}: {folds} folds, stratified by {target}{f', grouped by {group}' * bool(group)}, seed {seed}"
    _show(report, format_, more=[drawn])


@app.command("remove")
def remove_command(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    target: Annotated[str, typer.Option("--target", help="Only this target and its labels.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Take a cohort, or a target of it, out from here on. Earlier snapshots keep it (`--at`); `purge` is for ever.

    $ guidestore cohort remove glioma --target survival --yes
    """
    from guidestore.flows.work.stores import opened
    from guidestore.warehouse.cohorts.removal import remove_cohort, remove_target

    what = (
        f"target {target} of cohort {cohort}" if target else f"cohort {cohort} with its images, labels, codes and runs"
    )
    if not yes:
        typer.confirm(f"Remove {what} from the newest snapshot?", abort=True)
    with opened(store) as to_change:
        if target:
            labels = remove_target(to_change, cohort, target)
            sentence = f"target {target} of cohort {cohort}: {count_of(labels, 'label')} removed"
            row = {"cohort": cohort, "target": target, "labels_removed": labels}
        else:
            artifacts = remove_cohort(to_change, cohort)
            sentence = f"cohort {cohort}: {count_of(artifacts, 'artifact')} removed"
            row = {"cohort": cohort, "artifacts_removed": artifacts}
    show_done([sentence], [row], format_)


@app.command("rename")
def rename_command(
    old: Annotated[str, typer.Argument(help="Cohort.")],
    new: Annotated[str, typer.Argument(help="What it is shown as from here on.")],
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Show a cohort by another name. Both names find it from then on: what is stored keeps the first.

    $ guidestore cohort rename glioma gliomas-2026
    """
    from guidestore.flows.work.stores import opened
    from guidestore.warehouse.cohorts.renaming import rename_cohort

    with opened(store) as to_change:
        first = rename_cohort(to_change, old, new)
    sentence = f"cohort {first} is shown as {new}" + "; both names find it" * (new != first)
    sentence += f", {old} does no more" * (old not in (first, new))
    show_done([sentence], [{"first_name": first, "cohort": new}], format_)


@app.command("list")
def list_cohorts(store: Store = STORE, format_: Format = "table") -> None:
    """All cohorts of the store.

    $ guidestore cohort list
    """
    from guidestore.flows.cli.store import ask

    ask("SELECT * FROM cohorts ORDER BY cohort", None, store, format_)


@app.command("show")
def show_cohort(
    cohort: Annotated[str, typer.Argument(help="Cohort.")], store: Store = STORE, format_: Format = "table"
) -> None:
    """One cohort: its images, labels, splits and codes, counted.

    $ guidestore cohort show glioma
    """
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.encoding.lookups import describe_cohort

    rows = describe_cohort(EmbeddingStore.open(store).snapshot(), cohort)
    show_rows(rows, ("what", "name", "count", "detail"), format_, title=f"cohort {cohort}")
