"""Heads: guide, evaluate, compare, predict, alias, heads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from guidestore.embeddings.words import count_of
from guidestore.flows.cli.app import FILE_OR_URL, App
from guidestore.flows.cli.from_settings import command
from guidestore.flows.cli.options import STORE, At, Format, Metric, SmallestEffect, Store

if TYPE_CHECKING:
    from guidestore.embeddings.runs import Part
    from guidestore.flows.guiding.settings import GuideSettings
    from guidestore.flows.models.predict import Prediction
    from guidestore.flows.results.evaluation import Evaluation
    from guidestore.flows.results.two_runs import RunComparison

app = App()

MOST_CHANGED = 100
"""Changed cases that `compare` prints, of sweeps and snapshots."""


@command(app, settings="guidestore.flows.guiding.settings:GuideSettings", arguments=("cohort",))
def guide(
    settings: GuideSettings,
    advise: Annotated[
        bool, typer.Option("--advise", help="Train nothing: foretell which guided row gains, how much, and say how.")
    ] = False,
    labelled: Annotated[
        int | None, typer.Option("--labelled", min=1, help="With --advise: what would so many labels give?")
    ] = None,
    metric: Metric = "",
    smallest_effect: SmallestEffect = 0.02,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Train guidance on stored codes and print the paper's table with its control.

    The five input rows are S+I, S, I, G(I) and G(I)+I. The control trains G on shuffled pairs: where it gains as much
    as the real G, the gain is capacity, not guidance.

    $ guidestore guide mfeat --inferior mor/mfeat --superior fou/mfeat --guidance ridge --decoder logistic
    $ guidestore guide mfeat --inferior mor/mfeat --superior fou/mfeat --advise
    """
    from guidestore.embeddings.errors import InvalidInputError
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    if labelled is not None and not advise:
        raise InvalidInputError("--labelled is a question to --advise; to train with fewer labels, run a sweep")
    if advise:
        _advise(settings, place, labelled, (metric, smallest_effect), format_)
        return
    said: list[str] = []

    def say(note: str) -> None:
        said.append(note)
        print(f"note: {note}", file=sys.stderr, flush=True)

    with progress_bars() as progress:
        from guidestore.flows.guiding.guide import guide as run
        from guidestore.flows.results.evaluation import evaluation_of, judging_metric, scored
        from guidestore.flows.results.own_scores import keep_scores

        metric = judging_metric(metric, smallest_effect)
        with opened(place) as store:
            report = run(store, settings, progress, say=say)
            runs, scores, predictions = scored(store.snapshot(), report.runs)
            keep_scores(store, runs, scores, predictions, metric, "test")
        judged = {"metric": metric, "margin": smallest_effect, "progress": progress}
        evaluation = evaluation_of(runs, scores, predictions, **judged)
    for note in report.notes:
        if note not in said:
            print(f"note: {note}", file=sys.stderr)
    title = f"{settings.cohort}: {settings.inferior} guided by {settings.superior}, test cases"
    _show_evaluation(evaluation, title, format_)
    print(
        f"runs: {report.trained} trained, {report.existing} there already; snapshot {report.snapshot}"
        + (f"; on {report.device}" if report.device else ""),
        file=sys.stderr,
    )


def _advise(
    settings: GuideSettings, place: str, labelled: int | None, judging: tuple[str, float], format_: str
) -> None:
    from guidestore.flows.cli.output import print_text, show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars(), opened(place) as store:
        from guidestore.embeddings.types import CodeSetName
        from guidestore.flows.encoding.seen import seen_notes
        from guidestore.flows.guiding.advise import advise
        from guidestore.flows.results.evaluation import judging_metric
        from guidestore.flows.work.naming import with_first_name

        judging_metric(*judging)
        snapshot, settings = store.snapshot(), with_first_name(store, settings)
        rows = advise(snapshot, settings, labelled=labelled)
        codes = [CodeSetName.parse(text, settings.cohort) for text in (settings.inferior, settings.superior)]
        redundant = dict.fromkeys(row["redundant"] for row in rows if row["redundant"])
        notes = [*seen_notes(snapshot, settings.cohort, codes), *redundant]
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if format_ != "table":
        show_rows(rows, list(rows[0]), format_)
        return
    for row in rows:
        print_text(f"{row['target']}: {row['advice']}")
        if row["command"]:
            print(f"  {row['command']}")


@app.command()
def evaluate(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    target: Annotated[str, typer.Option("--target", help="Only runs of this target.")] = "",
    inferior: Annotated[str, typer.Option("--inferior", help="Only runs of MODALITY/ENCODER as inferior.")] = "",
    superior: Annotated[str, typer.Option("--superior", help="Only runs of MODALITY/ENCODER as superior.")] = "",
    guidance: Annotated[str, typer.Option("--guidance", help="Only this G (rows without G stay).")] = "",
    decoder: Annotated[str, typer.Option("--decoder", help="Only this decoder.")] = "",
    part: Annotated[Literal["test", "val"], typer.Option("--part", help="Which cases.")] = "test",
    pool_targets: Annotated[
        bool, typer.Option("--pool-targets", help="The mean gain over all targets, cases drawn jointly; one verdict.")
    ] = False,
    on: Annotated[
        str, typer.Option("--on", help="Another cohort, whose codes of the same encoders the frozen heads read.")
    ] = "",
    by: Annotated[
        str, typer.Option("--by", help="Gains in each class of this other target (site, sex, …); no verdict.")
    ] = "",
    metric: Metric = "",
    smallest_effect: SmallestEffect = 0.02,
    at: At = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Print the tables again from stored runs; trains nothing. The store counts the look at test.

    $ guidestore evaluate mfeat
    $ guidestore evaluate mfeat --part val --metric balanced_accuracy --format csv
    $ guidestore evaluate skin --pool-targets
    """
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars() as progress, opened(place, adds=False) as store:
        from guidestore.flows.cli.evaluation import Asked, evaluated
        from guidestore.flows.results.selection import RunSelection

        selection = RunSelection(
            cohort, target=target, inferior=inferior, superior=superior, guidance=guidance, decoder=decoder
        )
        asked = Asked(part, pool_targets, on, by, metric, smallest_effect, at, format_)
        show, notes = evaluated(store, selection, asked, progress)
    show()
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _show_evaluation(evaluation: Evaluation, title: str, format_: str) -> None:
    from guidestore.flows.cli.output import FOR_EYES, show_rows
    from guidestore.flows.cli.verdict_tables import show_verdicts

    if format_ in FOR_EYES:
        show_verdicts(evaluation, title, format_)
    else:
        rows = evaluation.as_rows()
        show_rows(rows, list(rows[0]), format_)


@app.command()
def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="Run (alias, or 8 digits or more of its id), sweep (YAML file or name), or snapshot (number or tag)."
        ),
    ],
    b: Annotated[str, typer.Argument(help="The run, sweep or snapshot that may be better.")],
    part: Annotated[
        Literal["test", "val"] | None,
        typer.Option("--part", help="Which cases; default: val for sweeps, test for runs and snapshots."),
    ] = None,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="Each run stands for its head, over all folds and seeds.")
    ] = False,
    at: At = None,
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Say how much better run B is than run A on the same cases, how sure that is, and which cases changed.

    From stored predictions alone: gains with 95 % intervals over cases, McNemar's test, the cases that changed. Of two
    sweeps: per task, the guided heads that each has best on val. Of two snapshots: what each head that both have gained
    between them.

    $ guidestore compare champion 0a1b2c3d
    $ guidestore compare champion 0a1b2c3d --pooled --part val
    $ guidestore compare first.yaml second.yaml
    $ guidestore compare submitted 31
    """
    from guidestore.flows.cli.output import show_rows
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    with progress_bars(), opened(place, adds=False) as store:
        from guidestore.flows.results.two_runs import RunComparison
        from guidestore.flows.results.two_snapshots import SnapshotComparison
        from guidestore.flows.sweeps.comparing import compare_named

        comparison = compare_named(store, a, b, part=part, at=at, pooled=pooled)
    if isinstance(comparison, RunComparison):
        _show_two_runs(comparison, part or "test", format_)
        return
    what = "snapshot" if isinstance(comparison, SnapshotComparison) else "sweep"
    rows = comparison.as_rows()
    names = [Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in (a, b)]
    show_rows(rows, list(rows[0]), format_, title=f"{what} {names[0]} (a) and {what} {names[1]} (b)")
    _show_rest(comparison.notes, comparison.changed_rows(), format_)


def _show_rest(notes: Sequence[str], changed: list[dict[str, Any]], format_: str) -> None:
    """What stands below a table for the eye: notes, and the cases whose prediction changed."""
    from guidestore.flows.cli.output import FOR_EYES, print_text, show_rows

    if format_ not in FOR_EYES:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        return
    for note in notes:
        print_text(note)
    if changed:
        shown = changed[:MOST_CHANGED]
        first = f", the first {MOST_CHANGED}" if len(changed) > MOST_CHANGED else ""
        show_rows(shown, list(shown[0]), format_, title=f"{count_of(len(changed), 'prediction')} changed{first}")


def _show_two_runs(comparison: RunComparison, part: Part, format_: str) -> None:
    from guidestore.flows.cli.output import FOR_EYES, print_text, show_rows

    rows, changed = comparison.as_rows(), comparison.changed_rows()
    if format_ not in FOR_EYES:
        show_rows(rows, list(rows[0]), format_)
        _show_rest(comparison.notes, changed, format_)
        return
    for name, whole in zip("ab", comparison.names, strict=True):
        print_text(f"{name}: {whole}\n")
    print_text(f"{count_of(comparison.n_cases, f'{part} case')}, b minus a:\n")
    show_rows(rows, list(rows[0]), format_)
    test = comparison.mcnemar
    if test is not None:
        kind = "exact" if test.exact else "chi-squared"
        print_text(f"McNemar ({kind}): only a right {test.only_a}, only b right {test.only_b}, p {test.p_value:.3g}")
    for note in comparison.notes:
        print_text(note)
    if changed:
        show_rows(changed, list(changed[0]), format_, title=f"{count_of(len(changed), 'case')} changed")


@app.command()
def predict(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar=FILE_OR_URL, help="Inferior images: NIfTI files, case folders, or slides."),
    ] = None,
    run: Annotated[str, typer.Option("--run", help="Alias (champion) or run id.")] = "champion",
    model: Annotated[
        Path | None, typer.Option("--model", help="Folder of `export-model` instead of a run of the store.")
    ] = None,
    codes: Annotated[
        Path | None,
        typer.Option("--codes", metavar=FILE_OR_URL, help="Codes instead of images: CSV, Parquet, npz."),
    ] = None,
    encoder: Annotated[str, typer.Option("--encoder", help="With --codes: what made them, NAME or NAME@DIGEST.")] = "",
    case: Annotated[
        list[str] | None, typer.Option("--case", help="A case whose code is in the store; repeatable.")
    ] = None,
    slide_mpp: Annotated[
        float | None, typer.Option("--slide-mpp", help="um per level-0 pixel of slides that do not say it.")
    ] = None,
    trust_geometry: Annotated[
        bool,
        typer.Option(
            "--trust-geometry", help="Take the place that each sequence of a volume says, though it is unsure."
        ),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights file of a pretrained encoder; default: the model hub.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, mps, cuda, cuda:1, …")] = "auto",
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Probabilities, values or risks of new cases from the inferior image alone.

    $ guidestore predict --run champion new-cases/PAT_0042
    $ guidestore predict --model exported --codes new.csv --encoder radiomics --format csv
    $ guidestore predict --case PAT_0001 --case PAT_0002
    """
    from guidestore.flows.cli.predictions import show_predictions
    from guidestore.flows.work.progress import progress_bars
    from guidestore.flows.work.stores import opened

    given = {
        "files": files or (),
        "codes": codes,
        "encoder": encoder,
        "mpp": slide_mpp,
        "trust_geometry": trust_geometry,
        "device": device,
        "weights": weights,
    }
    with progress_bars() as progress:
        given["progress"] = progress
        if model is None:
            from guidestore.flows.models.predict import predict as run_predict

            with opened(place) as store:
                prediction = run_predict(store, run, cases=case or (), **given)
        else:
            prediction = _predict_exported(model, case, given)
    show_predictions(prediction, format_)
    for note in prediction.notes:
        print(f"note: {note}", file=sys.stderr)


def _predict_exported(folder: Path, cases: list[str] | None, given: dict[str, Any]) -> Prediction:
    from guidestore.embeddings.errors import InvalidInputError
    from guidestore.flows.models.exported import ExportedModel

    if cases:
        raise InvalidInputError("--case reads codes of the store, which --model does without; give images, or --codes")
    return ExportedModel.open(folder).predict(**given)


@app.command("alias")
def alias_command(
    name: Annotated[str, typer.Argument(help="Movable name, such as champion.")],
    run: Annotated[str, typer.Argument(help="Run id (8 digits or more) or another alias.")],
    place: Store = STORE,
    format_: Format = "table",
) -> None:
    """Point a movable name at a run; `predict --run NAME` then uses it.

    $ guidestore alias champion 0a1b2c3d
    """
    from guidestore.flows.cli.output import show_done
    from guidestore.flows.work.stores import opened

    with opened(place) as store:
        entry = store.find_run(run)
        store.move_alias(name, artifact=entry.artifact)
    show_done([f"{name} -> run {entry.artifact[:12]}"], [{"alias": name, "run": entry.artifact}], format_)


@app.command("heads")
def heads_command(format_: Format = "table") -> None:
    """List guidance models, decoders, fusions and students: their parameters with defaults, and what each is.

    A class of your own works too: `--guidance my_models:Shrunk` names the class Shrunk of my_models.py.

    $ guidestore heads
    """
    from guidestore.flows.cli.output import print_table, show_rows, terminal_width
    from guidestore.flows.work.progress import progress_bars

    with progress_bars():
        from guidestore.heads.listing import COLUMNS, every_model

        rows = every_model()
    if format_ != "table":
        show_rows(rows, COLUMNS, format_, title="heads")
        return
    gap = " " if terminal_width() is None else "\n"
    for role in dict.fromkeys(row["role"] for row in rows):
        of_role = [row for row in rows if row["role"] == role]
        shown = [(row["name"], gap.join(filter(None, (row["is"], row["parameters"])))) for row in of_role]
        print_table((role, "what it is, and its parameters"), shown, format_, most_lines=99)
        print()
