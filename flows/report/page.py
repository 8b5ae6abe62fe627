"""The selected runs -> the page, and the page -> a file that is either whole or not there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from guidestore.embeddings.errors import FoldLeakageError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.runs import Head
from guidestore.embeddings.snapshot import Snapshot
from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.corrected import notes_on
from guidestore.flows.encoding.lookups import check_cohort
from guidestore.flows.report.accounting import Accounting, accounting_of
from guidestore.flows.report.bars import Bars, bars_of
from guidestore.flows.report.calibration import Calibrated, calibration_picture, calibrations_of
from guidestore.flows.report.code_map import CodeMap, Places, code_map
from guidestore.flows.report.confusion import Confusion, confusion_picture, confusions_of
from guidestore.flows.report.figures import Picture
from guidestore.flows.report.gains import gains_picture
from guidestore.flows.report.guidance import GuidanceTable, guidance_table, reliability_of
from guidestore.flows.report.guided_codes import Pairs, foretell, guided_pairs_of
from guidestore.flows.report.methods import methods_of
from guidestore.flows.report.outcomes import OutcomeShown, outcome_shown
from guidestore.flows.report.plain_words import headline, modality_words, plain_sentences, terms_of
from guidestore.flows.report.provenance import provenance_of
from guidestore.flows.report.sections import Section, sections_of
from guidestore.flows.report.table_files import file_stems, write_tables
from guidestore.flows.report.tables import Gain, InputTable, count, gain_of, input_table, summary_of
from guidestore.flows.results.blocks import block_effects
from guidestore.flows.results.effects import RowEffect
from guidestore.flows.results.evaluation import judging_metric
from guidestore.flows.results.families import family_of
from guidestore.flows.results.looks import count_look
from guidestore.flows.results.selection import RunSelection
from guidestore.flows.work.reporting import Progress, counted, no_progress
from guidestore.flows.work.threads import one_thread
from guidestore.heads.significance import MARGIN
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
    files: tuple[Path, ...]
    """Figures and tables beside the page."""
    uncounted: str
    """Why this look at test was not counted; '' where it was."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Everything that the template shows of one section; None and '' where a note says why it cannot."""

    section: Section
    cases: int
    metric_names: tuple[str, ...]
    inputs: InputTable
    gains: list[Gain]
    plain: list[str]
    accounting: Accounting | None
    bars: Bars
    outcome: OutcomeShown | None
    confusions: list[Confusion]
    calibrations: list[Calibrated]
    calibration: Picture | None
    guidance: GuidanceTable | None
    map: CodeMap | None
    codes_note: str
    cases_note: str

    @property
    def pictures(self) -> list[Picture]:
        """All that can be written into a folder."""
        confusions = confusion_picture(self.confusions) if self.confusions else None
        outcome, guidance, of_map = (part and part.picture for part in (self.outcome, self.guidance, self.map))
        all_of = (self.bars.picture, outcome, confusions, self.calibration, guidance, of_map)
        return [picture for picture in all_of if picture is not None]


def write_report(
    store: EmbeddingStore,
    selection: RunSelection,
    out: Path,
    *,
    at: int | str | None = None,
    only: Collection[str] = (),
    names_cases: bool = True,
    figures: Path | None = None,
    tables: Path | None = None,
    metric: Any = "",
    margin: float = MARGIN,
    progress: Progress = no_progress,
) -> Report:
    """Writes the report on the newest of the selected runs to the file `out`, over an earlier one.

    only: ids of runs; () for all that are selected. names_cases: whether the page says which case a point of a map is,
    and which was not predicted; of pseudonymized cohorts these are pseudonyms. figures, tables: folders, made where
    they are not there, for every figure as PDF, SVG and PNG, and for the tables as LaTeX and CSV. metric, margin: of
    verdicts, as of `flows.results.evaluation.evaluate`. The same store and snapshot give the same bytes. Raises
    NotFoundInStoreError without runs, InvalidInputError where something cannot be written, CorruptArtifactError.
    """
    out = Path(out)
    _check_writable(out)
    metric = judging_metric(metric, margin)
    for folder in (figures, tables):
        if folder is not None:
            _made(folder)
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
            for section in sections_of(runs, load_scores(snapshot, runs), predictions, metric)
        ]
        asked = (metric,) if metric else ()
        effects = block_effects([section.block for section in sections], predictions, metrics=asked, margin=margin)
        told = {effect.head: effect for section in sections for effect in effects[section.block.number]}
        family, places = family_of(told.values()), Places()
        p_values = family.p_values
        parts = [
            _part(snapshot, section, effects[section.block.number], places, p_values, names_cases=names_cases)
            for section in counted(sections, len(sections), "report", progress)
        ]
        made = provenance_of(store, snapshot, selection, runs)
        page = _render(
            parts=parts,
            summary=summary_of(sections, effects),
            family=family.sentence,
            terms=terms_of(sections, _metrics_of(sections)),
            names=_headings(sections),
            names_cases=names_cases,
            methods=methods_of(snapshot, made, runs, list(told.values())),
            made=made,
        )
        files: list[Path] = []
        if tables is not None:
            files += write_tables(tables, [(part.section, part.bars.told) for part in parts], effects, family)
        if figures is not None:
            files += _write_figures(figures, parts, list(told.values()), progress)
    data = page.encode()
    _write(out, data)
    effects_told = tuple(told.values())
    return Report(out, len(data), snapshot.version, len(sections), len(runs), effects_told, tuple(files), uncounted)


def _metrics_of(sections: Sequence[Section]) -> list[str]:
    return [name for section in sections for name in section.metrics]


def _headings(sections: Sequence[Section]) -> dict[int, str]:
    """Number of a block -> its heading, which no other has."""
    short = {section.block.number: section.target for section in sections}
    often = Counter(short.values())
    return {
        section.block.number: section.target
        if often[section.target] == 1
        else f"{section.target}: {section.inferior} by {section.superior}, {section.heads}, {section.split}"
        for section in sections
    }


def _write_figures(folder: Path, parts: Sequence[_Part], told: Sequence[RowEffect], progress: Progress) -> list[Path]:
    stems = file_stems([part.section for part in parts])
    files: list[Path] = []
    try:
        for part, stem in counted(zip(parts, stems, strict=True), len(parts), "figures", progress):
            words = modality_words(part.section)
            title = f"{part.section.target}: {words['I']} guided by {words['S']}, {count(part.cases, 'test case')}"
            for picture in part.pictures:
                files += picture.save(folder, stem, title)
        gains = gains_picture(told)
        if gains is not None:
            files += gains.save(folder, "all", "What guidance gained, n: test cases")
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be written ({error.strerror}); name another --figures") from error
    return files


def _part(
    snapshot: Snapshot,
    section: Section,
    effects: Sequence[RowEffect],
    places: Places,
    p_values: Mapping[Head, float],
    *,
    names_cases: bool,
) -> _Part:
    calibrations = calibrations_of(section)
    guidance, shown, accounting, note, cases_note = None, None, None, "", ""
    first, all_pairs = headline(effects), Pairs(snapshot)
    try:
        accounting = accounting_of(snapshot, section, effects, all_pairs, named=names_cases)
    except (NotFoundInStoreError, InvalidInputError, FoldLeakageError) as error:
        cases_note = f"Cases cannot be counted: {error}."
    try:
        pairs = guided_pairs_of(all_pairs, section)
        if pairs:
            guidance = guidance_table(pairs, *reliability_of(snapshot, pairs))
            guided_nd = foretell(snapshot, pairs[0].guidance, pairs[0])
            shown = code_map(section, pairs[0], guided_nd, places, named=names_cases)
        else:
            note = "No fold here has a trained G and two test pairs."
    except (NotFoundInStoreError, InvalidInputError, FoldLeakageError) as error:
        note = f"Nothing can be said of G: {error}."
    return _Part(
        section,
        len({case_id for run in section.predictions.values() for case_id in run.case_ids}),
        tuple(metric.title for metric in section.metrics.values()),
        input_table(section),
        [gain_of(effect) for effect in effects],
        plain_sentences(section, effects, p_values.get(first.head) if first else None),
        accounting,
        bars_of(section),
        outcome_shown(section),
        confusions_of(section),
        calibrations,
        calibration_picture(calibrations) if calibrations else None,
        guidance,
        shown,
        note,
        cases_note,
    )


def _nothing_found(snapshot: Snapshot, selection: RunSelection) -> str:
    """Raises NotFoundInStoreError where there is no such cohort."""
    if unmet := selection.unmet(all_runs(snapshot)):
        check_cohort(snapshot, selection.cohort)
    unscored = f"no run at snapshot {snapshot.version} of {' '.join(selection.options())} was scored on test"
    return f"{unmet or unscored}; {HOW_TO_GET_RUNS}"


def _render(**shown: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return environment.get_template("template.html").render(style=style, **shown)


def _seen(snapshot: Snapshot, section: Section) -> tuple[str, ...]:
    return tuple(notes_on(snapshot, section.runs))


def _check_writable(out: Path) -> None:
    """Before the work, not after it. Raises InvalidInputError."""
    try:
        is_folder, has_folder = out.is_dir(), out.parent.is_dir()
    except OSError as error:
        raise _refused(out, error) from error
    if is_folder:
        raise InvalidInputError(f"{out} is a folder; name the file of the report, as in {out / 'report.html'}")
    if out.suffix.lower() not in ("", ".html", ".htm"):
        raise InvalidInputError(f"{out}: a report is one HTML file; end its name in .html")
    if not has_folder:
        raise InvalidInputError(f"there is no folder {out.parent} to write {out.name} into; make it first")


def _made(folder: Path) -> None:
    """The folder is there. Raises InvalidInputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be made ({error.strerror}); name another folder") from error


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
        with suppress(OSError):  # a disk that is read-only refuses that too
            scratch.unlink()
        raise _refused(out, error) from error


def _refused(out: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(f"{out} cannot be written ({error.strerror}); name another place with --out")
