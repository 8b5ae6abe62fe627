"""Cohorts: add, split, list, show."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer
from typer.core import TyperGroup
from typer.main import get_command

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.options import STORE, Format, Store, Target

if TYPE_CHECKING:
    from guidestore.warehouse.cohorts.cohort import CohortReport
    from guidestore.warehouse.cohorts.layout import Layout

_SHOWN_CHANGES = 5

app = typer.Typer(help="Cohorts: named sets of cases with images, labels and splits.", no_args_is_help=True)


class LayoutGroup(TyperGroup):
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
    typer.Typer(
        cls=LayoutGroup,
        help="Add a cohort, or more of one, from files. A layout of your own is module:Class.",
        no_args_is_help=True,
    ),
    name="add",
)


def _layout_command(layout: type[Layout], called: str) -> Any:
    def add(name: str, store: str, replace: bool, dry_run: bool, **given: Any) -> None:
        from guidestore.flows.encoding.cohorts import add_files, layout_of
        from guidestore.flows.work.stores import to_fill

        asked = layout_of(called, given)
        with to_fill(store, dry_run=dry_run) as filled:
            report = add_files(filled, name, asked, supersede=replace, dry_run=dry_run)
        _show(report, dry_run=dry_run)

    annotations: dict[str, Any] = {"name": Annotated[str, typer.Argument(help="Name of the cohort.")]}
    defaults: dict[str, Any] = {"store": STORE}
    for field, info in layout.model_fields.items():
        option = typer.Option(f"--{field.replace('_', '-')}", help=info.description)
        several = get_origin(info.annotation) is tuple
        annotations[field] = Annotated[list[str] | None if several else info.annotation, option]
        if not info.is_required():
            defaults[field] = None if several else info.default
    annotations["replace"] = Annotated[
        bool, typer.Option("--replace", help="These labels and images supersede others; the old stay in the history.")
    ]
    annotations["dry_run"] = Annotated[bool, typer.Option("--dry-run", help="Say what would be added; add nothing.")]
    defaults |= {"replace": False, "dry_run": False}
    annotations["store"] = Store
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=defaults.get(name, inspect.Parameter.empty)
        )
        for name, kind in annotations.items()
    ]
    add.__doc__, add.__annotations__ = layout.__doc__, annotations
    add.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    made = typer.Typer(add_completion=False)
    made.command(called)(add)
    return get_command(made)


def _show(report: CohortReport, *, dry_run: bool = False) -> None:
    named = {
        "splits": count_of(report.splits, "split"),
        "targets": count_of(report.targets, "target")
        + (f" ({count_of(report.classes, 'class')})" if report.classes else ""),
    }
    counts = {
        kind: named.get(kind, count_of(count, kind.removesuffix("s"))) for kind, count in report.added.items() if count
    }
    changed = [f"{count_of(len(rows), kind.removesuffix('s'))} changed" for kind, rows in report.changed.items()]
    changed += [f"{what} of {count_of(count, 'image')} changed" for what, count in report.images_changed.items()]
    added = ", ".join([*counts.values(), *changed]) or "nothing new"
    would = "would add " if dry_run else ""
    print(
        f"cohort {report.cohort}: {would}{added}; " + ("nothing written" if dry_run else f"snapshot {report.snapshot}")
    )
    for kind, rows in report.changed.items():
        more = f"; and {len(rows) - _SHOWN_CHANGES} more" if len(rows) > _SHOWN_CHANGES else ""
        print(f"note: {kind} changed: {'; '.join(rows[:_SHOWN_CHANGES])}{more}", file=sys.stderr)
    if set(report.images_changed) - {"path", "list of files"}:
        print("note: `guidestore encode` makes the codes of changed images again", file=sys.stderr)
    for issue in report.issues:
        print(f"note: {issue.sentence}", file=sys.stderr)


@app.command("split")
def split_command(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    folds: Annotated[int, typer.Option("--folds", min=2, help="Stratified folds; each case is tested once.")] = 5,
    name: Annotated[str, typer.Option("--name", help="Name of the split; default cvFOLDS.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    val: Annotated[float, typer.Option("--val", min=0.01, max=0.9, help="Val's share of what is not test.")] = 0.15,
    target: Target = "",
    group: Annotated[
        str, typer.Option("--group", help="Cases that share it stay in one part: a column of --groups, or a target.")
    ] = "",
    groups: Annotated[Path | None, typer.Option("--groups", help="Table of case_id and the column of --group.")] = None,
    store: Store = STORE,
) -> None:
    """Draw stratified folds (train, val, test) with a seed, and keep them."""
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
        )
    _show(report)
    print(f"split {name}: {folds} folds, stratified by {target}{f', grouped by {group}' * bool(group)}, seed {seed}")


@app.command("remove")
def remove_command(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    target: Annotated[str, typer.Option("--target", help="Only this target and its labels.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: Store = STORE,
) -> None:
    """Take a cohort, or a target of it, out from here on. Earlier snapshots keep it (`--at`); `purge` is for ever."""
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
            print(f"target {target} of cohort {cohort}: {count_of(labels, 'label')} removed")
        else:
            print(f"cohort {cohort}: {count_of(remove_cohort(to_change, cohort), 'artifact')} removed")


@app.command("rename")
def rename_command(
    old: Annotated[str, typer.Argument(help="Cohort.")],
    new: Annotated[str, typer.Argument(help="What it is shown as from here on.")],
    store: Store = STORE,
) -> None:
    """Show a cohort by another name. Both names find it from then on: what is stored keeps the first."""
    from guidestore.flows.work.stores import opened
    from guidestore.warehouse.cohorts.renaming import rename_cohort

    with opened(store) as to_change:
        first = rename_cohort(to_change, old, new)
    print(f"cohort {first} is shown as {new}" + "; both names find it" * (new != first))


@app.command("list")
def list_cohorts(store: Store = STORE, format_: Format = "table") -> None:
    """All cohorts of the store."""
    from guidestore.flows.cli.store import ask

    ask("SELECT * FROM cohorts ORDER BY cohort", None, store, format_)


@app.command("show")
def show_cohort(
    cohort: Annotated[str, typer.Argument(help="Cohort.")], store: Store = STORE, format_: Format = "table"
) -> None:
    """One cohort: its images, labels, splits and codes, counted."""
    from guidestore.embeddings.store import EmbeddingStore
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.encoding.lookups import describe_cohort

    rows = describe_cohort(EmbeddingStore.open(store).snapshot(), cohort)
    show_rows(rows, ("what", "name", "count", "detail"), format_, title=f"cohort {cohort}")
