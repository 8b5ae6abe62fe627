"""Sweeps: plan, run, show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guidestore.flows.cli.app import App
from guidestore.flows.cli.from_settings import command
from guidestore.flows.cli.options import STORE, Format, Store

if TYPE_CHECKING:
    from guidestore.flows.work.runners import Runner

app = App(help="A grid of heads on stored codes, from one YAML file.")

File = Annotated[Path, typer.Argument(help="The sweep: a YAML file.")]


@app.command()
def plan(file: File, place: Store = STORE, format_: Format = "table") -> None:
    """Say how many heads a sweep trains, how many distinct G, and about how long that takes here.

    $ guidestore sweep plan grid.yaml
    """
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars(), opened(place) as store:
        from guidestore.flows.sweeps.file import read_sweep
        from guidestore.flows.sweeps.plan import plan_sweep

        sweep = read_sweep(file)
        planned = plan_sweep(store, sweep)
    row = {
        "sweep": sweep.name,
        "snapshot": planned.snapshot,
        "runs": len(planned.runs),
        "there already": len(planned.runs) - planned.missing,
        "to train": planned.missing,
        "distinct G": planned.guidance_fits,
        "decoders": planned.decoder_fits,
        "students": planned.student_fits,
        "batches": planned.batches,
        "minutes, about": round(planned.seconds / 60, 1),
    }
    for note in planned.notes:
        print(f"note: {note}", file=sys.stderr)
    show_rows([row], list(row), format_)


@command(app, runner="guidestore.flows.work.runners:Runner")
def run(
    runner: Runner,
    file: File,
    device: Annotated[str, typer.Option("--device", help="Where networks train: auto, cpu, cuda, cuda:1, …")] = "auto",
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Train what the store lacks of a sweep; killed and run again, it goes on where it was.

    Test is not read: `guidestore sweep show --test N` scores the heads that were chosen on val.

    $ guidestore sweep run grid.yaml
    $ guidestore sweep run grid.yaml --device cuda
    """
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    def say(note: str) -> None:
        print(f"note: {note}", file=sys.stderr, flush=True)

    with progress_bars() as progress, opened(place) as store:
        from guidestore.flows.sweeps.file import read_sweep
        from guidestore.flows.sweeps.run import run_sweep

        sweep = read_sweep(file)
        if runner.task_runner == "ray":
            from guidestore.flows.cluster.sweep import sweep_on_ray

            report = sweep_on_ray(store, sweep, runner, progress, device=device, say=say)
        else:
            report = run_sweep(store, sweep, progress, device=device, say=say)
    on = f"; on {report.device}" if report.device else ""
    counts = {"trained": report.trained, "there_already": report.existing, "diverged": report.diverged}
    counted = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())
    said = f"runs: {counted}; snapshot {report.snapshot}{on}; see them with `guidestore sweep show {file}`"
    row = {"sweep": sweep.name, **counts, "snapshot": report.snapshot, "device": report.device}
    show_done([said], [row], format_)


@app.command()
def show(
    file: File,
    top: Annotated[int, typer.Option("--top", min=1, help="How many heads of each target to print.")] = 20,
    test: Annotated[
        int,
        typer.Option(
            "--test", min=0, help="Score this many of the best on val, of each target, on test. The look is counted."
        ),
    ] = 0,
    metric: Annotated[
        str, typer.Option("--metric", help="What to rank by: auroc (the default), balanced_accuracy, f1_micro, …")
    ] = "",
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Rank a sweep's guided heads on val, target by target: scores beside I, S and S+I, gains over I and every control.

    Test is not looked at unless --test says for how many; then the store counts the looks.

    $ guidestore sweep show grid.yaml
    $ guidestore sweep show grid.yaml --top 5 --test 1
    """
    from guidestore.flows.cli.output import FOR_EYES, show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place) as store:
        from guidestore.flows.cli.ranking_table import ranking_table
        from guidestore.flows.results.looks import count_looks
        from guidestore.flows.sweeps.file import read_sweep
        from guidestore.flows.sweeps.ranking import family_on_test, rank_sweep

        sweep = read_sweep(file)
        ranked = rank_sweep(store, sweep, metric=metric, chosen=test, progress=progress)
    targets = list(dict.fromkeys(of_head.effect.head.target for of_head in ranked))
    shown = [[one for one in ranked if one.effect.head.target == target][:top] for target in targets]
    if format_ in FOR_EYES:
        for target, heads in zip(targets, shown, strict=True):
            ranking_table(target, sum(one.effect.head.target == target for one in ranked), heads, format_)
    else:
        rows = [of_head.as_row() for heads in shown for of_head in heads]
        show_rows(rows, list(max(rows, key=len)), format_)
    if test:
        print(family_on_test(ranked), file=sys.stderr)
        snapshot = store.snapshot()
        looks = count_looks(snapshot, snapshot.first_name(sweep.cohort))
        print(f"looks at test of cohort {sweep.cohort} so far: {looks}", file=sys.stderr)


@app.command()
def curve(
    file: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to draw it: a .svg or .png file.")],
    heads: Annotated[int, typer.Option("--heads", min=1, help="How many heads to draw, the best on val first.")] = 4,
    test: Annotated[
        bool, typer.Option("--test", help="Score on test instead of val what is drawn. The look at it is counted.")
    ] = False,
    metric: Annotated[
        str, typer.Option("--metric", help="What to draw: auroc (the default), balanced_accuracy, f1_micro, …")
    ] = "",
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Draw what labels buy, in a sweep of several `labelled`: for I, the guided heads and their controls.

    $ guidestore sweep curve labels.yaml --output curve.svg
    """
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place) as store:
        from guidestore.flows.sweeps.file import read_sweep
        from guidestore.flows.sweeps.label_curve import draw_curves, label_curves

        curves = label_curves(store, read_sweep(file), metric=metric, heads=heads, test=test, progress=progress)
        draw_curves(curves, output)
    rows = [row for of_head in curves for row in of_head.as_rows()]
    show_rows(
        rows,
        list(rows[0]),
        format_,
        title=f"{curves[0].metric} on {'test' if test else 'val'}, 95 % intervals over cases",
    )
    print(f"drawn to {output}", file=sys.stderr)
