"""Codes of the store -> a folder that another tool reads. It appears whole or not at all."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from guidestore.embeddings.bags import read_bag
from guidestore.embeddings.errors import FoldLeakageError, InvalidInputError, NotFoundInStoreError
from guidestore.embeddings.interchange.outgoing import (
    WRITERS,
    Outgoing,
    OutgoingBags,
    OutgoingCodes,
    OutgoingLabels,
    OutgoingSlide,
)
from guidestore.embeddings.outcomes import KINDS
from guidestore.embeddings.pairing import outcomes_of, parts_of
from guidestore.embeddings.records import Entry
from guidestore.embeddings.snapshot import Snapshot, fold_allows
from guidestore.embeddings.types import Bag, CodeSetKey, CodeSetName
from guidestore.embeddings.words import count_of
from guidestore.flows.work.new_folder import new_folder
from guidestore.flows.work.reporting import Progress, no_progress

STAMP_VERSION = "2.0.0"
"""STAMP refuses files of a version later than its own; all of STAMP 2 reads these attributes."""
_VERSION = re.compile(r"\d+(\.\d+)*\Z")


@dataclass(frozen=True, slots=True)
class CodesExported:
    """What an export wrote. notes: sentences about what was left out or made."""

    folder: Path
    tool: str
    code_sets: tuple[CodeSetKey, ...]
    slides: int
    cases: int
    snapshot: int
    notes: tuple[str, ...]


def export_codes(
    snapshot: Snapshot,
    output: Path,
    *,
    cohort: str,
    code_sets: Sequence[str],
    layout: str,
    split: str = "",
    target: str = "",
    stamp_version: str = STAMP_VERSION,
    progress: Progress = no_progress,
) -> CodesExported:
    """Writes the new folder `output`.

    cohort: its name in the store. code_sets: ``MODALITY/ENCODER[@DIGEST]``, one of bags at most. split, target: '' is
    the cohort's only one. Raises InvalidInputError where the folder is there, or the layout cannot hold what was asked
    for, NotFoundInStoreError, and FoldLeakageError for codes whose encoder was trained on other folds than those of
    `split`.
    """
    writer = WRITERS.load(layout)()
    if not _VERSION.match(stamp_version):
        raise InvalidInputError(f"{stamp_version!r} is no version of STAMP: write --stamp-version 2.4.0")
    out = collected(snapshot, cohort, code_sets, split=split, target=target, stamp_version=stamp_version)
    if not writer.keeps_nan:
        _check_finite(out.codes, writer.tool)
    if out.bags:
        out = replace(out, bags=replace(out.bags, slides=_told(out.bags.slides, progress)))
    with new_folder(output) as folder:
        writer.write(out, folder)
    slides = out.bags.slides if out.bags else ()
    cases = {slide.case_id for slide in slides} | {case for codes in out.codes for case in codes.codes.case_ids}
    keys = tuple([out.bags.key] if out.bags else []) + tuple(codes.key for codes in out.codes)
    return CodesExported(output, writer.tool, keys, len(slides), len(cases), snapshot.version, tuple(out.notes))


def collected(
    snapshot: Snapshot,
    cohort: str,
    code_sets: Sequence[str],
    *,
    split: str = "",
    target: str = "",
    stamp_version: str = STAMP_VERSION,
) -> Outgoing:
    """What an export is made of; nothing is read of bags yet. Raises as `export_codes`."""
    encoders = {row["encoder_digest"]: row for row in snapshot.rows("encoders").to_pylist()}
    notes: list[str] = []
    split, target = (
        split or _only(snapshot, "splits", cohort, notes),
        target or _only(snapshot, "targets", cohort, notes),
    )
    keys = list(dict.fromkeys(snapshot.code_set(CodeSetName.parse(text, cohort)) for text in code_sets))
    folds = _folds(snapshot, cohort, split, keys, notes) if split else {}
    bags = [key for key in keys if key.kind == "bag"]
    if len(bags) > 1:
        raise InvalidInputError(f"{bags[0]} and {bags[1]} are both bags; export them one at a time, to two folders")
    return Outgoing(
        cohort=cohort,
        snapshot=snapshot.version,
        bags=_bags(snapshot, bags[0], encoders, notes) if bags else None,
        codes=tuple(
            OutgoingCodes(key, snapshot.codes(key), encoders.get(key.encoder_digest, {}).get("version") or "")
            for key in keys
            if key.kind == "codes"
        ),
        labels=_labels(snapshot, cohort, target) if target else None,
        split=split,
        folds=folds,
        stamp_version=stamp_version,
        notes=notes,
    )


def _only(snapshot: Snapshot, kind: str, cohort: str, notes: list[str]) -> str:
    """The cohort's only split or target; '' where it has none, or several, which is said."""
    word = kind.removesuffix("s")
    names = sorted(set(snapshot.rows(kind, cohort=cohort)[word].to_pylist()))
    if len(names) > 1:
        notes.append(f"no {word} goes out: cohort {cohort} has {', '.join(names)}; name one with --{word}")
    return names[0] if len(names) == 1 else ""


def _folds(
    snapshot: Snapshot, cohort: str, split: str, keys: Sequence[CodeSetKey], notes: list[str]
) -> dict[int, dict[str, str]]:
    """fold -> case -> part, of the folds that the codes may be used in."""
    rows = snapshot.rows("splits", cohort=cohort).to_pylist()
    numbers = sorted({row["fold"] for row in rows if row["split"] == split})
    if not numbers:
        known = ", ".join(sorted({row["split"] for row in rows})) or "none"
        raise NotFoundInStoreError(f"cohort {cohort} has no split {split!r}; it has {known}")
    allowed = [fold for fold in numbers if all(fold_allows(key.trained_on, cohort, split, fold) for key in keys)]
    trained = ", ".join(sorted({str(key.trained_on) for key in keys if key.trained_on.kind == "fold"}))
    if not allowed:
        raise FoldLeakageError(
            f"no fold of split {split} goes with these codes: their encoder was trained on {trained}, and other folds "
            "test on cases that it saw; name that split, or codes of another encoder"
        )
    if len(allowed) < len(numbers):
        notes.append(f"only fold {', '.join(map(str, allowed))} of split {split}: the encoder was trained on {trained}")
    return {fold: parts_of(snapshot, cohort, split, fold) for fold in allowed}


def _labels(snapshot: Snapshot, cohort: str, name: str) -> OutgoingLabels:
    target, outcomes = outcomes_of(snapshot, cohort, name, KINDS)
    columns: dict[str, dict[str, Any]] = {}
    for case_id, outcome in sorted(outcomes.items()):
        if isinstance(outcome, Mapping):
            told: Mapping[str, Any] = {label: int(has_it) for label, has_it in outcome.items()}
        else:
            told = (
                dict(zip(("time", "event"), outcome, strict=True)) if isinstance(outcome, tuple) else {"label": outcome}
            )
        for column, value in told.items():
            columns.setdefault(column, {})[case_id] = value
    return OutgoingLabels(name, target.names if target.has_classes else (), columns)


def _bags(
    snapshot: Snapshot, key: CodeSetKey, encoders: Mapping[str, Mapping[str, Any]], notes: list[str]
) -> OutgoingBags:
    entries = sorted(snapshot.code_set_entries(key), key=lambda entry: (entry.case_id, entry.image_id))
    if len({(entry.case_id, entry.image_id) for entry in entries}) < len(entries):
        raise InvalidInputError(f"{key} has several bags of one slide; correct them first, or choose another snapshot")
    named = {entry.image_id for entry in entries}
    if len(named) < len(entries):
        notes.append("slides of several cases have one name: files are called <case>_<slide>")
    names = [entry.image_id if len(named) == len(entries) else f"{entry.case_id}_{entry.image_id}" for entry in entries]
    lower = Counter(name.lower() for name in names)
    twice = next((name for name in names if lower[name.lower()] > 1), None)
    if twice:
        raise InvalidInputError(
            f"two slides of {key} would have files of the name {twice}; import them under other names"
        )
    row = encoders.get(key.encoder_digest, {})
    slides = tuple(_slide(snapshot, entry, name) for entry, name in zip(entries, names, strict=True))
    return OutgoingBags(key, slides, json.loads(row.get("preprocessing") or "{}"), row.get("version") or "")


def _slide(snapshot: Snapshot, entry: Entry, name: str) -> OutgoingSlide:
    tiles, code_dim = entry.shape
    has_places = any(file.path == f"{entry.path}/coords/zarr.json" for file in entry.files)
    return OutgoingSlide(
        entry.case_id,
        entry.image_id,
        name,
        tiles,
        code_dim,
        np.dtype(entry.dtype),
        has_places,
        partial(read_bag, snapshot.storage, entry),
    )


def _told(slides: Sequence[OutgoingSlide], progress: Progress) -> tuple[OutgoingSlide, ...]:
    """The slides, whose tiles are told as they are read."""
    done, total = 0, sum(slide.tiles for slide in slides)

    def telling(slide: OutgoingSlide) -> OutgoingSlide:
        def read(rows: slice) -> Bag:
            nonlocal done
            bag = slide.read(rows)
            done = min(done + len(bag), total)
            progress("tiles written", done, total)
            return bag

        return replace(slide, read=read)

    return tuple(map(telling, slides))


def _check_finite(sets: Sequence[OutgoingCodes], tool: str) -> None:
    for codes in sets:
        bad = np.flatnonzero(~np.isfinite(codes.codes.codes_nd).all(axis=1))
        if len(bad):
            raise InvalidInputError(
                f"{count_of(len(bad), 'code')} of {codes.key} lack values (such as that of case "
                f"{codes.codes.case_ids[bad[0]]}), which {tool} would train on; export npz or parquet, or import the "
                "codes with --nan drop-column"
            )
