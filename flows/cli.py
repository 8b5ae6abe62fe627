"""The command `guidestore`. Every command imports what it needs when it runs, so that --help and sql start fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from embeddings.errors import GuidestoreError, InvalidInputError

if TYPE_CHECKING:
    from flows.evaluate import Evaluation
    from warehouse.cohorts.cohort import CohortReport

app = typer.Typer(
    name="guidestore",
    help="Encode medical images once, keep every latent code, train and compare guidance heads honestly.\n\n"
    "Start with `guidestore demo`. Then bring your own: `guidestore cohort add`, `guidestore encode` (or "
    "`guidestore import` for codes you have), `guidestore guide`, `guidestore sql`, `guidestore predict`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
cohort_app = typer.Typer(help="Cohorts: named sets of cases with images, labels and splits.", no_args_is_help=True)
add_app = typer.Typer(help="Add a cohort, or more of one, from files.", no_args_is_help=True)
cohort_app.add_typer(add_app, name="add")
app.add_typer(cohort_app, name="cohort")

Store = Annotated[
    Path, typer.Option("--store", envvar="GUIDESTORE_STORE", help="Folder of the store.", show_default=True)
]
STORE = Path("guidestore-store")
Format = Annotated[
    Literal["table", "csv", "json", "parquet"], typer.Option("--format", help="How to print the answer.")
]
At = Annotated[str | None, typer.Option("--at", help="Snapshot number, tag or alias; default: the newest.")]
Key = Annotated[Path | None, typer.Option("--key", help="Key file of a pseudonymized cohort.")]
Split = Annotated[str, typer.Option("--split", help="Split; default: the cohort's only one.")]
Target = Annotated[str, typer.Option("--target", help="Target; default: the cohort's only one.")]
FoldList = Annotated[list[int] | None, typer.Option("--fold", help="Fold; repeat for several; default: all.")]

_debug = False


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Runs the command line; errors become one sentence and an exit code."""
    try:
        code = app(standalone_mode=False)
    except GuidestoreError as error:
        if _debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; what was committed is safe, run the same command again to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of our pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        show = getattr(error, "show", None)  # a wrong command line: typer shows its usage itself
        if show is None and _debug:
            raise
        if show is not None:
            show()
        else:
            print(f"error: {type(error).__name__}: {error} (a bug of guidestore; --debug shows where)", file=sys.stderr)
        code = getattr(error, "exit_code", 70)
    sys.exit(code if isinstance(code, int) else 0)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Where images and store go.")] = Path("guidestore-demo"),
) -> None:
    """Run the main job on a generated cohort: encode once, keep every code, guide, compare, predict. Some 2 minutes.

    A second run reads no image: every code is in the store.
    """
    from rich.console import Console

    from flows.demo import run_demo
    from flows.output import paper_table, show_rows
    from flows.progress import progress_bars

    console = Console(stderr=True)
    with progress_bars():
        result = run_demo(folder, lambda text: console.print(text, highlight=False))
    print()
    paper_table(result.evaluation, "MRI guided by histology, phantom cohort, test cases")
    for question, (sql, rows) in result.answers.items():
        print(f'\n{question}\n  guidestore sql --store {folder / "store"} "{sql}"')
        if rows:
            show_rows(rows, list(rows[0]), "table")
        else:
            print("  (none)")
    print(f"\nA new case from its MRI alone (its slide would say {result.new_case_class}):")
    print(f"  guidestore predict --store {folder / 'store'} --run champion {folder / 'new-case' / 'NEW_0001'}")
    rows = result.prediction.as_rows()
    show_rows(rows, list(rows[0]), "table")
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    print(f"\n{times}\nimages read: {result.images_read}, networks and heads trained: {result.trained}", end="")
    print("" if result.images_read or result.trained else " (every code was in the store: nothing was read or trained)")
    print(f'snapshot {result.snapshot}, tag demo: guidestore sql --store {folder / "store"} "FROM code_sets"')


# Cohorts -----------------------------------------------------------------------------------------------------------


def _report_cohort(store: Path, report: CohortReport) -> None:
    from embeddings.store import EmbeddingStore
    from warehouse.indexer import build_index

    build_index(EmbeddingStore.open(store))
    added = ", ".join(f"{count} {kind}" for kind, count in report.added.items() if count) or "nothing new"
    print(f"cohort {report.cohort}: {added}; snapshot {report.snapshot}")
    for issue in report.issues:
        print(f"note: {issue.sentence}", file=sys.stderr)


@add_app.command("manifest")
def add_manifest_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="CSV/Parquet: case_id, modality, path[, image_id, mpp].")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="CSV/Parquet: case_id and a column per target.")
    ] = None,
    splits: Annotated[Path | None, typer.Option("--splits", help="CSV/Parquet: case_id, split, fold, part.")] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--classes", help="TARGET=A,B,C fixes the class order; repeat per target.")
    ] = None,
    pseudonymize: Annotated[
        Path | None, typer.Option("--pseudonymize", help="Hash ids with the key in this file (made if missing).")
    ] = None,
    store: Store = STORE,
) -> None:
    """A cohort from tables: images, labels and splits, each a CSV or Parquet file."""
    from embeddings.store import EmbeddingStore
    from warehouse.cohorts.manifest import add_manifest
    from warehouse.cohorts.pseudonyms import Pseudonyms

    orders = {}
    for item in classes or []:
        target, equals, names = item.partition("=")
        if not equals or not names:
            raise InvalidInputError(f"--classes {item!r}: write TARGET=CLASS,CLASS,…")
        orders[target] = tuple(names.split(","))
    _report_cohort(
        store,
        add_manifest(
            EmbeddingStore.create(store),
            name,
            manifest=images,
            labels=labels,
            splits=splits,
            classes=orders,
            pseudonyms=Pseudonyms.load_or_create(pseudonymize, store) if pseudonymize else None,
        ),
    )


@add_app.command("radpath")
def add_radpath_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    source: Annotated[Path, typer.Option("--source", help="Folder with Radiology/, Pathology/ and a label CSV.")],
    pseudonymize: Annotated[
        Path | None, typer.Option("--pseudonymize", help="Hash ids with the key in this file (made if missing).")
    ] = None,
    store: Store = STORE,
) -> None:
    """A cohort in the RadPath layout: four MRI sequences and a slide per case."""
    from embeddings.store import EmbeddingStore
    from flows.cohorts import add_radpath

    _report_cohort(store, add_radpath(EmbeddingStore.create(store), name, source, root=store, key_file=pseudonymize))


@add_app.command("phantom")
def add_phantom_command(
    name: Annotated[str, typer.Argument(help="Name of the cohort.")],
    images: Annotated[Path, typer.Option("--images", help="Folder to generate the files in.")],
    cases: Annotated[int, typer.Option("--cases", min=1, help="How many cases.")] = 48,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same pixels.")] = 0,
    store: Store = STORE,
) -> None:
    """A generated cohort of real files whose slides tell the class better than their MRI: to try things out."""
    from embeddings.store import EmbeddingStore
    from flows.cohorts import add_radpath
    from warehouse.cohorts.phantom import generate_phantom

    generate_phantom(images, cases=cases, seed=seed)
    _report_cohort(store, add_radpath(EmbeddingStore.create(store), name, images))


@cohort_app.command("split")
def split_command(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    folds: Annotated[int, typer.Option("--folds", min=2, help="Stratified folds; each case is tested once.")] = 5,
    name: Annotated[str, typer.Option("--name", help="Name of the split; default cvFOLDS.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    val: Annotated[float, typer.Option("--val", min=0.01, max=0.9, help="Val's share of what is not test.")] = 0.15,
    target: Target = "",
    store: Store = STORE,
) -> None:
    """Draw stratified folds (train, val, test) with a seed, and keep them."""
    from embeddings.store import EmbeddingStore
    from flows.cohort_facts import only_target
    from flows.cohorts import add_split

    opened = EmbeddingStore.open(store)
    wanted = target or only_target(opened.snapshot(), cohort)
    name = name or f"cv{folds}"
    report = add_split(opened, cohort, wanted, name=name, folds=folds, seed=seed, val_fraction=val)
    _report_cohort(store, report)
    print(f"split {name}: {folds} folds, stratified by {wanted}, seed {seed}")


@cohort_app.command("list")
def list_cohorts(store: Store = STORE, format_: Format = "table") -> None:
    """All cohorts of the store."""
    _sql("SELECT * FROM cohorts ORDER BY cohort", None, store, format_)


@cohort_app.command("show")
def show_cohort(
    cohort: Annotated[str, typer.Argument(help="Cohort.")], store: Store = STORE, format_: Format = "table"
) -> None:
    """One cohort: its images, labels, splits and codes, counted."""
    from embeddings.store import EmbeddingStore
    from flows.cohort_facts import describe_cohort
    from flows.output import show_rows

    rows = describe_cohort(EmbeddingStore.open(store).snapshot(), cohort)
    show_rows(rows, ("what", "name", "count", "detail"), format_, title=f"cohort {cohort}")


# Codes -------------------------------------------------------------------------------------------------------------


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or npz with case_id; npy with --ids.")],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohort of the cases (made if new).")],
    modality: Annotated[str, typer.Option("--modality", help="What was encoded: mri_t1, clinical, …")],
    encoder: Annotated[str, typer.Option("--encoder", help="Name of what made the codes.")],
    version: Annotated[str, typer.Option("--encoder-version", help="Its version; another version, another set.")] = "1",
    trained_on: Annotated[
        str,
        typer.Option(
            "--trained-on", help="What it was trained on: none (never these cases), unknown, or COHORT/SPLIT/FOLD."
        ),
    ] = "unknown",
    ids: Annotated[Path | None, typer.Option("--ids", help="Text file of case ids, for .npy.")] = None,
    store: Store = STORE,
) -> None:
    """Bring case codes that you have already."""
    from embeddings.types import FoldScope
    from flows.import_codes import import_codes

    report = import_codes(
        store,
        file,
        cohort=cohort,
        modality=modality,
        encoder=encoder,
        version=version,
        trained_on=FoldScope.parse(trained_on),
        ids=ids,
    )
    known = report.codes - report.new
    print(f"{report.code_set}: {report.codes} codes of {report.code_set.code_dim} dimensions, {report.new} new", end="")
    print(f", {known} were there" if known else "", end="")
    print(f", {report.not_finite} with NaN (they stay out of training)" if report.not_finite else "")


@app.command()
def encode(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    modality: Annotated[str, typer.Option("--modality", help="histology, mri_all, mri_t1, …")],
    encoder: Annotated[str, typer.Option("--encoder", help="texture, first_order, densenet3d or attention_pooling.")],
    split: Split = "",
    fold: FoldList = None,
    target: Target = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of training.")] = 0,
    preset: Annotated[Literal["demo", "paper"], typer.Option("--preset", help="Sizes of trained encoders.")] = "demo",
    patch_encoder: Annotated[
        str, typer.Option("--patch-encoder", help="Whose bags attention_pooling pools.")
    ] = "texture",
    tile_px: Annotated[int, typer.Option("--tile-px", min=8, help="Edge of a tile in pixels.")] = 256,
    mpp: Annotated[float, typer.Option("--mpp", min=0.01, help="um per pixel of the tiles; 0.5 is 20x.")] = 0.5,
    shape: Annotated[
        tuple[int, int, int], typer.Option("--shape", help="Depth, height, width of volumes in voxels.")
    ] = (16, 24, 24),
    spacing: Annotated[float, typer.Option("--spacing", min=0.1, help="mm of the common grid of volumes.")] = 4.0,
    key: Key = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    store: Store = STORE,
) -> None:
    """Push a cohort's images through an encoder; each case is committed as it finishes.

    Interrupt it anywhere and run it again: only the missing cases are encoded. Cases that cannot be read are put into
    quarantine with the reason, and the others go on.
    """
    from flows.encode import encode as run
    from flows.progress import progress_bars
    from flows.settings import EncodeSettings, validated

    settings = validated(
        EncodeSettings,
        store=store,
        cohort=cohort,
        modality=modality,
        encoder=encoder,
        split=split,
        folds=tuple(fold or ()),
        target=target,
        seed=seed,
        preset=preset,
        patch_encoder=patch_encoder,
        tile_size_px=tile_px,
        target_mpp=mpp,
        volume_shape_vox=shape,
        volume_spacing_mm=spacing,
        key_file=key,
        device=device,
    )
    with progress_bars() as progress:
        report = run(settings, progress)
    for key_ in report.code_sets:
        print(f"code set {key_} (trained on {key_.trained_on})")
    for note in report.notes:
        print(f"note: {note}")
    print(
        f"encoded {report.encoded}, there already {report.existing}, in quarantine {len(report.failed)}, "
        f"image files read {report.images_read}; snapshot {report.snapshot}"
    )
    for case_id, reason in report.failed.items():
        print(f"quarantined: {case_id}: {reason}", file=sys.stderr)
    if report.failed:
        raise typer.Exit(8)


# Heads -------------------------------------------------------------------------------------------------------------


@app.command()
def guide(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    inferior: Annotated[str, typer.Option("--inferior", help="Cheap modality's code set: MODALITY/ENCODER[@DIGEST].")],
    superior: Annotated[str, typer.Option("--superior", help="Strong modality's code set: MODALITY/ENCODER[@DIGEST].")],
    guidance: Annotated[
        str, typer.Option("--guidance", help="G: autoencoder, ridge, or preset radpath-paper.")
    ] = "autoencoder",
    decoder: Annotated[str, typer.Option("--decoder", help="D_c: mlp, logistic, or preset radpath-paper.")] = "mlp",
    mode: Annotated[
        list[str] | None, typer.Option("--mode", help="matched and/or as-published (needs trained classifiers).")
    ] = None,
    split: Split = "",
    fold: FoldList = None,
    target: Target = "",
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Seed; repeat for several; default 0.")] = None,
    permutations: Annotated[
        int, typer.Option("--permutations", min=0, help="Shuffled-pairs controls per fold and seed.")
    ] = 5,
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Train guidance on stored codes and print the paper's table with its control.

    The five input rows are S+I, S, I, G(I) and G(I)+I. The control trains G on shuffled pairs: where it gains as much
    as the real G, the gain is capacity, not guidance.
    """
    from flows.evaluate import evaluate
    from flows.guide import guide as run
    from flows.progress import progress_bars
    from flows.settings import GuideSettings, validated

    settings = validated(
        GuideSettings,
        store=store,
        cohort=cohort,
        inferior=inferior,
        superior=superior,
        guidance=guidance,
        decoder=decoder,
        modes=tuple(mode or ("matched",)),
        split=split,
        folds=tuple(fold or ()),
        target=target,
        seeds=tuple(seed or (0,)),
        permutations=permutations,
    )
    with progress_bars() as progress:
        report = run(settings, progress)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    _show_evaluation(evaluate(store, report.runs), f"{cohort}: {inferior} guided by {superior}, test cases", format_)
    print(
        f"runs: {report.trained} trained, {report.existing} there already; snapshot {report.snapshot}", file=sys.stderr
    )


@app.command()
def evaluate(
    cohort: Annotated[str, typer.Argument(help="Cohort.")],
    target: Annotated[str, typer.Option("--target", help="Only runs of this target.")] = "",
    inferior: Annotated[str, typer.Option("--inferior", help="Only runs of MODALITY/ENCODER as inferior.")] = "",
    superior: Annotated[str, typer.Option("--superior", help="Only runs of MODALITY/ENCODER as superior.")] = "",
    guidance: Annotated[str, typer.Option("--guidance", help="Only this G (rows without G stay).")] = "",
    decoder: Annotated[str, typer.Option("--decoder", help="Only this decoder.")] = "",
    part: Annotated[Literal["test", "val"], typer.Option("--part", help="Which cases.")] = "test",
    at: At = None,
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Print the table again from stored runs; trains nothing."""
    from flows.evaluate import evaluate as run
    from flows.evaluate import find_runs

    def wanted(row: dict) -> bool:
        return (
            row["cohort"] == cohort
            and target in ("", row["target"])
            and (not inferior or row["inferior"].startswith(f"{cohort}/{inferior}"))
            and (not superior or row["superior"].startswith(f"{cohort}/{superior}"))
            and guidance in ("", row["guidance"] or guidance)
            and decoder in ("", row["decoder"])
        )

    _show_evaluation(run(store, find_runs(store, wanted, at), part, at), f"{cohort}, {part} cases", format_)


def _show_evaluation(evaluation: Evaluation, title: str, format_: str) -> None:
    from flows.output import paper_table, show_rows

    if format_ == "table":
        paper_table(evaluation, title)
    else:
        rows = evaluation.as_rows()
        show_rows(rows, list(rows[0]), format_)


@app.command()
def predict(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Inferior images: NIfTI files, case folders, or slides.")
    ] = None,
    run: Annotated[str, typer.Option("--run", help="Alias (champion) or run id.")] = "champion",
    codes: Annotated[Path | None, typer.Option("--codes", help="Codes instead of images: CSV, Parquet, npz.")] = None,
    encoder: Annotated[str, typer.Option("--encoder", help="With --codes: what made them, NAME or NAME@DIGEST.")] = "",
    case: Annotated[
        list[str] | None, typer.Option("--case", help="A case whose code is in the store; repeatable.")
    ] = None,
    mpp: Annotated[float | None, typer.Option("--mpp", help="um per pixel of slides that do not say it.")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Class probabilities of new cases from the inferior image alone."""
    from embeddings.interchange.arrays import read_case_codes
    from flows.output import show_rows
    from flows.predict import predict as run_predict

    prediction = run_predict(
        store,
        run,
        files=files or (),
        codes=read_case_codes(codes) if codes else None,
        cases=case or (),
        encoder=encoder,
        mpp=mpp,
        device=device,
    )
    rows = prediction.as_rows()
    show_rows(rows, list(rows[0]), format_, title=f"run {prediction.run[:12]}")


@app.command("alias")
def alias_command(
    name: Annotated[str, typer.Argument(help="Movable name, such as champion.")],
    run: Annotated[str, typer.Argument(help="Run id (8 digits or more) or another alias.")],
    store: Store = STORE,
) -> None:
    """Point a movable name at a run; `predict --run NAME` then uses it."""
    from embeddings.store import EmbeddingStore
    from warehouse.indexer import build_index

    opened = EmbeddingStore.open(store)
    entry = opened.find_run(run)
    opened.move_alias(name, artifact=entry.artifact)
    build_index(opened)
    print(f"{name} -> run {entry.artifact[:12]}")


# The store ---------------------------------------------------------------------------------------------------------


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="Any SELECT, or `FROM codes`, `FROM metrics`, `SHOW TABLES`, …")],
    at: At = None,
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Ask the warehouse: cohorts, codes, runs, metrics, predictions, lineage, at any snapshot, read-only.

    Examples: `FROM code_sets`; `FROM metrics WHERE metric = 'balanced_accuracy' AND part = 'test'`;
    `FROM neighbours('CASE', 'COHORT/MODALITY/ENCODER', 5)`; `SHOW TABLES` lists all views.
    """
    _sql(query, at, store, format_)


def _sql(query: str, at: str | None, store: Path, format_: str) -> None:
    from flows.output import show_arrow
    from warehouse.catalog import query as ask
    from warehouse.catalog import query_plain

    answer = ask(store, query, at=at) if format_ == "parquet" else query_plain(store, query, at=at)
    show_arrow(answer.table, format_)
    if answer.commits_behind and at is None:
        print(
            f"note: the index is {answer.commits_behind} commits behind; `guidestore index` brings it up",
            file=sys.stderr,
        )


@app.command()
def index(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="From the commits, not from the last index.")] = False,
    store: Store = STORE,
) -> None:
    """Bring the SQL index up to the newest commit. It is disposable: the commits hold everything."""
    from embeddings.store import EmbeddingStore
    from warehouse.indexer import build_index

    info = build_index(EmbeddingStore.open(store), rebuild=rebuild)
    print(f"index at snapshot {info.version}: {info.path.name}")


@app.command("tag")
def tag_command(
    name: Annotated[str, typer.Argument(help="Name that will always mean this snapshot.")],
    at: At = None,
    store: Store = STORE,
) -> None:
    """Give a snapshot a fixed name."""
    from embeddings.store import EmbeddingStore

    print(f"{name} -> snapshot {EmbeddingStore.open(store).tag(name, at)}")


@app.command("fsck")
def fsck_command(
    drop: Annotated[
        bool,
        typer.Option(
            "--drop-damaged", help="Drop damaged codes from the newest snapshot, so that encode makes them again."
        ),
    ] = False,
    store: Store = STORE,
    format_: Format = "table",
) -> None:
    """Read every byte of the store and name what is not as it was committed."""
    from embeddings.fsck import drop_damaged, fsck
    from embeddings.storage import LocalStorage
    from embeddings.store import EmbeddingStore
    from flows.output import show_rows
    from flows.progress import progress_bars

    if not (store / "format.json").exists() and not (store / "commits").is_dir():
        raise InvalidInputError(f"there is no guidestore at {store}: name one with --store")
    with progress_bars() as progress:
        report = fsck(LocalStorage(store), lambda done, total: progress("checking", done, total))
    rows = [{"problem": f.problem, "path": f.path, "case": f.case_id, "detail": f.detail} for f in report.findings]
    if rows or format_ != "table":
        show_rows(rows, ("problem", "path", "case", "detail"), format_)
    verdict = "clean" if report.clean else f"{sum(not f.harmless for f in report.findings)} problems"
    print(
        f"{report.commits} commits, {report.files} files, {report.bytes / 1e6:.1f} MB read: {verdict}", file=sys.stderr
    )
    if drop:
        print(f"{drop_damaged(EmbeddingStore.open(store), report)} damaged artifacts dropped", file=sys.stderr)
    if not report.clean:
        raise typer.Exit(4)


@app.command("gc")
def gc_command(
    dry_run: Annotated[bool, typer.Option("--dry-run/--delete", help="Only list, or delete.")] = True,
    store: Store = STORE,
) -> None:
    """Sweep what crashed writers left, once it is older than 24 hours. Lists only, unless --delete."""
    from embeddings.gc import collect
    from embeddings.store import EmbeddingStore

    sweep = collect(EmbeddingStore.open(store), dry_run=dry_run)
    for file in sweep.swept:
        print(f"{'would delete' if dry_run else 'deleted'} {file.path} ({file.size} bytes)")
    print(
        f"{len(sweep.swept)} orphans, {sweep.bytes / 1e6:.1f} MB; {len(sweep.kept)} younger ones stay", file=sys.stderr
    )


@app.command("purge")
def purge_command(
    case: Annotated[str, typer.Argument(help="Case id as it stands in the store.")],
    cohort: Annotated[str, typer.Option("--cohort", help="Cohort of the case.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    key: Key = None,
    store: Store = STORE,
) -> None:
    """Remove a withdrawn case from every snapshot, and name the trained weights that saw it. Cannot be undone."""
    from embeddings.purge import purge
    from embeddings.store import EmbeddingStore
    from warehouse.indexer import build_index

    if key is not None:
        from warehouse.cohorts.pseudonyms import Pseudonyms

        case = Pseudonyms.load(key).case(case)
    if not yes:
        typer.confirm(f"Remove case {case} of cohort {cohort} from every snapshot for ever?", abort=True)
    opened = EmbeddingStore.open(store)
    report = purge(opened, cohort, case)
    build_index(opened)
    print(f"case {case}: {report.artifacts} artifacts gone, {report.rewritten} shared files rewritten")
    for entry in report.weights:
        what = f"{entry.meta.get('role')} {entry.meta.get('name')}"
        print(f"saw the case, train it again: {what} of {entry.split}/{entry.fold} ({entry.artifact[:12]})")


@app.command("compact")
def compact_command(store: Store = STORE) -> None:
    """Join the many small files of each set of case codes into one; earlier snapshots keep theirs."""
    from embeddings.compact import compact
    from embeddings.store import EmbeddingStore

    opened = EmbeddingStore.open(store)
    for key in opened.snapshot().code_sets:
        joined = compact(opened, key)
        if joined:
            print(f"{key}: {joined} files joined")


if __name__ == "__main__":
    main()
