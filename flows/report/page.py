"""The selected runs -> the page, and the page -> a file that is either whole or not there."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from guidestore.embeddings.errors import FoldLeakageError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.seen import seen_in
from guidestore.flows.report.bars import Bars, bars_of
from guidestore.flows.report.calibration import N_BINS, Calibrated, calibrations_of, draw_calibration
from guidestore.flows.report.code_map import CodeMap, Places, code_map
from guidestore.flows.report.confusion import Confusion, confusions_of
from guidestore.flows.report.figures import css_colour
from guidestore.flows.report.guidance import GuidanceTable, guidance_table, reliability_of
from guidestore.flows.report.guided_codes import foretell, guided_pairs_of
from guidestore.flows.report.methods import Methods, methods_of
from guidestore.flows.report.outcomes import OutcomeShown, outcome_shown
from guidestore.flows.report.provenance import Provenance, provenance_of
from guidestore.flows.report.sections import Section, sections_of
from guidestore.flows.report.tables import Gain, InputTable, SummaryRow, gain_of, input_table, summary_of
from guidestore.flows.results.blocks import block_effects
from guidestore.flows.results.effects import RowEffect
from guidestore.flows.results.families import family_of
from guidestore.flows.results.looks import count_look
from guidestore.flows.results.selection import RunSelection
from guidestore.flows.work.colours import ROW_COLOURS
from guidestore.flows.work.reporting import Progress, counted, no_progress
from guidestore.flows.work.threads import one_thread
from guidestore.heads.metrics import drawn_metrics
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import HOW_TO_GET_RUNS, all_runs, load_runs, load_scores, newest_runs

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Report:
    """What was written. `effects`: the verdicts in it, in their order."""

    file: Path
    size: int
    """In bytes."""
    snapshot: int
    sections: int
    runs: int
    effects: tuple[RowEffect, ...]
    uncounted: str
    """Why this look at test was not counted; '' where it was."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Everything that the template shows of one section; None and '' where `codes_note` says why it cannot."""

    section: Section
    cases: int
    metric_names: tuple[str, ...]
    inputs: InputTable
    gains: list[Gain]
    bars: Bars
    outcome: OutcomeShown | None
    confusions: list[Confusion]
    calibrations: list[Calibrated]
    calibration_svg: Markup
    guidance: GuidanceTable | None
    map: CodeMap | None
    codes_note: str


def write_report(
    store: EmbeddingStore,
    selection: RunSelection,
    out: Path,
    *,
    at: int | str | None = None,
    only: Collection[str] = (),
    progress: Progress = no_progress,
) -> Report:
    """Writes the report on the newest of the selected runs to the file `out`, over an earlier one.

    only: ids of runs; () for all that are selected. The same store and snapshot give the same bytes. Raises
    NotFoundInStoreError without runs, InvalidInputError where `out` cannot be written, CorruptArtifactError.
    """
    out = Path(out)
    _check_writable(out)
    snapshot = store.snapshot(at)
    newest = newest_runs(snapshot, lambda run: selection.wants(run) and (not only or run.id in only))
    if not newest:
        raise NotFoundInStoreError(_nothing_found(snapshot, selection))
    runs = load_runs(snapshot, [run.id for run in newest.values()])
    uncounted = count_look(store, runs, "report")
    snapshot = store.snapshot(at)  # that of the look, so that the same call again gives the same bytes
    with one_thread():
        predictions = load_predictions(snapshot, runs)
        sections = [
            replace(section, seen=_seen(snapshot, section))
            for section in sections_of(runs, load_scores(snapshot, runs), predictions)
        ]
        effects = block_effects([section.block for section in sections], predictions)
        places = Places()
        parts = [
            _part(snapshot, section, effects[section.block.number], places)
            for section in counted(sections, len(sections), "report", progress)
        ]
        told = {effect.head: effect for section in sections for effect in effects[section.block.number]}
        made = provenance_of(store, snapshot, selection, runs)
        page = _render(
            parts=parts,
            summary=summary_of(sections, effects),
            family=family_of(told.values()).sentence,
            methods=methods_of(snapshot, made, runs, list(told.values())),
            made=made,
        )
    data = page.encode()
    _write(out, data)
    return Report(out, len(data), snapshot.version, len(sections), len(runs), tuple(told.values()), uncounted)


def _part(snapshot: Snapshot, section: Section, effects: Sequence[RowEffect], places: Places) -> _Part:
    calibrations = calibrations_of(section)
    guidance, shown, note = None, None, ""
    try:
        pairs = guided_pairs_of(snapshot, section)
        if pairs:
            guidance = guidance_table(section, pairs, *reliability_of(snapshot, pairs))
            shown = code_map(section, pairs[0], foretell(snapshot, pairs[0].guidance, pairs[0]), places)
        else:
            note = "No fold here has a trained G and two test pairs."
    except (NotFoundInStoreError, InvalidInputError, FoldLeakageError) as error:
        note = f"Nothing can be said of G: {error}."
    return _Part(
        section,
        len({case_id for run in section.predictions.values() for case_id in run.case_ids}),
        tuple(metric.title for metric in drawn_metrics(section.kind).values()),
        input_table(section),
        [gain_of(effect) for effect in effects],
        bars_of(section),
        outcome_shown(section),
        confusions_of(section),
        calibrations,
        draw_calibration(section, calibrations) if calibrations else Markup(),
        guidance,
        shown,
        note,
    )


def _nothing_found(snapshot: Snapshot, selection: RunSelection) -> str:
    unmet = selection.unmet(all_runs(snapshot))
    unscored = f"no run at snapshot {snapshot.version} of {' '.join(selection.options())} was scored on test"
    return f"{unmet or unscored}; {HOW_TO_GET_RUNS}"


def _render(*, parts: list[_Part], summary: list[SummaryRow], family: str, methods: Methods, made: Provenance) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return environment.get_template("template.html").render(
        parts=parts,
        summary=summary,
        family=family,
        methods=methods,
        made=made,
        style=style,
        row_colours={row: css_colour(colour) for row, colour in ROW_COLOURS.items()},
        n_bins=N_BINS,
        several_heads=len(parts) > len({part.section.target for part in parts}),
    )


def _seen(snapshot: Snapshot, section: Section) -> tuple[str, ...]:
    return tuple(seen_in(snapshot, section.runs))


def _check_writable(out: Path) -> None:
    """Before the work, not after it. Raises InvalidInputError."""
    try:
        is_folder, has_folder = out.is_dir(), out.parent.is_dir()
    except OSError as error:
        raise _refused(out, error) from error
    if is_folder:
        raise InvalidInputError(f"{out} is a folder; name the file of the report, as in {out / 'report.html'}")
    if not has_folder:
        raise InvalidInputError(f"there is no folder {out.parent} to write {out.name} into; make it first")


def _write(out: Path, data: bytes) -> None:
    """Whole or not at all: a file beside it, then a rename. Raises InvalidInputError where the disk refuses."""
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        scratch.replace(out)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise _refused(out, error) from error


def _refused(out: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(f"{out} cannot be written ({error.strerror}); name another place with --out")
